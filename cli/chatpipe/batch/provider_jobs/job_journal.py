"""The jobs of a run at a provider, as the journal records them before each step that costs money.

A line `{"chatpipe_job": EVENT, "token": ...}` is an event of one part of the input: planned, uploaded,
creating, refused, created, collected, lost. A part is collected once all of its results are recorded. A lost
one may be found again, with another key.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from chatpipe.batch.journal.journal import Journal
from chatpipe.batch.journal.recorded_events import JOB_EVENT
from chatpipe.batch.provider_jobs.job_records import JobRecords
from chatpipe.batch.provider_jobs.part_lines import PlannedLines
from chatpipe.inputs import values
from chatpipe.inputs.values import Value
from chatpipe.jobs.part_record import PartRecord
from chatpipe.system.signals import delay_signals


class JobJournal(JobRecords):
    """The jobs that a journal names, and those that are added to it."""

    def __init__(self, journal: Journal, events: Iterable[Mapping[str, Value]]) -> None:
        super().__init__(events)
        self.path = journal.path
        # By the digest of a part that is about to be planned
        self.lines_of: dict[str, PlannedLines] = {}
        self._journal = journal

    def plan(self, token: str, **fields: Value) -> PartRecord:
        """Add a part. Raises CannotWrite."""
        lines = self.lines_of[str(fields["sha256"])]
        known = {name: value for name, value in lines._asdict().items() if value is not None}
        self._append({JOB_EVENT: "planned", "token": token, **fields, **known})
        return self.records[token]

    def note(self, record: PartRecord, event: str, **fields: Value) -> None:
        """Add an event. Once this returns, neither a kill nor a power failure can lose it."""
        self._append({JOB_EVENT: event, "token": record.token, **fields})

    def _append(self, event: dict[str, Value]) -> None:
        with delay_signals():  # the journal and this object say the same
            self._journal.append(values.dumps(event))
            self._journal.sync()
            self.take(event)
