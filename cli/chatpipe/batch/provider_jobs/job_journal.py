"""The jobs of a run at a provider, as the journal records them before each step that costs money.

A line `{"chatpipe_job": EVENT, "token": ...}` is an event of one part of the input: planned, uploaded,
creating, refused, created, collected, lost. A part whose results are all recorded is collected, and of no
interest any more. A lost one may be found again, by another key.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Collection, Iterable, Mapping

from chatpipe.batch.journal.journal import Journal
from chatpipe.batch.journal.recorded_events import JOB_EVENT
from chatpipe.errors import UsageFault
from chatpipe.inputs import values
from chatpipe.inputs.values import Value
from chatpipe.jobs.input_parts import FINGERPRINT_DIGITS, split_fingerprints
from chatpipe.jobs.part_record import PartRecord
from chatpipe.named_tuple import NamedTuple
from chatpipe.system.line_index import SortedIndex
from chatpipe.system.signals import delay_signals


class PlannedLines(NamedTuple):
    """The lines of a part: their fingerprints, one after the other, and their numbers as first and count.

    expected_cost is what all of them will cost, None without prices.
    """

    fingerprints: str
    numbers: list[list[int]]
    expected_cost: float | None = None


class LinePlace(NamedTuple):
    """The part that a line lies in, and its number among the lines there, from 1."""

    part: PartRecord
    position: int


class JobJournal:
    """The parts that the journal names. Their fingerprints are indexed, 12 bytes each.

    records has all parts by their tokens, in their order. server names the server of the run.
    """

    def __init__(self, journal: Journal, events: Iterable[Mapping[str, Value]], server: str) -> None:
        self.path = journal.path
        self.server = server
        self.records: dict[str, PartRecord] = {}
        # By the digest of a part that is about to be planned
        self.lines_of: dict[str, PlannedLines] = {}
        self._journal = journal
        # The token of each part, and the number of lines before it. The index has the number of a line.
        self._tokens: list[str] = []
        self._starts: list[int] = [0]
        self._index = SortedIndex("I")
        self._not_indexed: list[tuple[int, str]] = []  # number of the first line, fingerprints
        for event in events:
            self._take(dict(event))

    def with_digest(self, digest: str, server: str) -> PartRecord | None:
        """The newest record of a part with these bytes for this server, unless it is over."""
        found = [
            record
            for record in self.records.values()
            if not record.is_over
            and record.fields.get("sha256") == digest
            and record.fields.get("server") == server
        ]
        return found[-1] if found else None

    def plan(self, token: str, **fields: Value) -> PartRecord:
        """Add a part. Raises CannotWrite."""
        lines = self.lines_of[str(fields["sha256"])]
        known = {name: value for name, value in lines._asdict().items() if value is not None}
        self._append({JOB_EVENT: "planned", "token": token, **fields, **known})
        return self.records[token]

    def note(self, record: PartRecord, event: str, **fields: Value) -> None:
        """Add an event. Once this returns, neither a kill nor a power failure can lose it."""
        self._append({JOB_EVENT: event, "token": record.token, **fields})

    def is_own(self, record: PartRecord) -> bool:
        """Return True for a part that is at the server of this run."""
        return record.fields.get("server") == self.server

    def open_records(self) -> list[PartRecord]:
        """The records of jobs whose results are not recorded yet."""
        return [each for each in self.records.values() if each.job_id is not None and not each.is_over]

    def lost_records(self) -> list[PartRecord]:
        """The records of jobs that the provider did not know."""
        return [each for each in self.records.values() if each.is_lost and not each.is_collected]

    def unconfirmed(self) -> list[PartRecord]:
        """The records of jobs that may have been created."""
        return [each for each in self.records.values() if each.creating_at is not None]

    @property
    def is_empty(self) -> bool:
        """True if no part was ever planned, so that job_of() finds none."""
        return not self._tokens

    def job_of(self, fingerprint: str) -> PartRecord | None:
        """The record of the open job that a request lies in, also of one that may have been created."""
        found = self.place_of(fingerprint) if self._tokens else None
        return None if found is None else found.part

    def place_of(self, fingerprint: str) -> LinePlace | None:
        """The open job that a request lies in, and its line there."""
        self._index_all()
        for number in self._index.find(fingerprint_key(fingerprint)):
            part_number = bisect_right(self._starts, number) - 1
            record = self.records[self._tokens[part_number]]
            if record.is_in_flight:
                return LinePlace(record, number - self._starts[part_number] + 1)
        return None

    def _index_all(self) -> None:
        """Index what was planned since the last search: most runs search for none of it."""
        while self._not_indexed:
            start, fingerprints = self._not_indexed.pop()
            for number, each in enumerate(split_fingerprints(fingerprints), start):
                self._index.add(fingerprint_key(each), number)

    def _append(self, event: dict[str, Value]) -> None:
        with delay_signals():  # the journal and this object say the same
            self._journal.append(values.dumps(event))
            self._journal.sync()
            self._take(event)

    def _take(self, event: dict[str, Value]) -> None:
        token = event.get("token")
        if not isinstance(token, str):
            return
        if event.get(JOB_EVENT) == "planned":
            fingerprints, start = str(event.pop("fingerprints", "")), self._starts[-1]
            self._tokens.append(token)
            self._starts.append(start + len(fingerprints) // FINGERPRINT_DIGITS)
            self._not_indexed.append((start, fingerprints))
            self.records[token] = PartRecord(token, event)
        elif token in self.records:
            self.records[token].take(str(event.get(JOB_EVENT)), event)


def fingerprint_key(fingerprint: str) -> int:
    return int(fingerprint[:16], 16)


def refuse_open_jobs(reused: Iterable[tuple[str, Mapping[str, Value]]], own: Collection[Value]) -> None:
    """Raise UsageFault for a file of --reuse with jobs whose answers nobody has collected.

    reused are the events in these files, each with the name of its file. own are the tokens of the journal,
    of which such a file may be a copy.
    """
    records: dict[str, PartRecord] = {}
    paths: dict[str, str] = {}
    for path, event in reused:
        token = str(event.get("token"))
        if event.get(JOB_EVENT) == "planned":
            records[token], paths[token] = PartRecord(token, dict(event)), path
        elif token in records:
            records[token].take(str(event.get(JOB_EVENT)), dict(event))
    for token, record in records.items():
        if token not in own and record.is_in_flight:
            what = f"{paths[token]} has job {record.job_id or token}, whose answers nobody has collected"
            raise UsageFault(what, place="--reuse", fix="name this file with --journal, or add --no-send")
