"""The lines in open jobs of a journal, for a run that only estimates."""

from __future__ import annotations

from chatpipe.batch.journal.recorded_events import RecordedEvents
from chatpipe.batch.journal.store import RunStore
from chatpipe.batch.provider_jobs.job_fingerprints import JobFingerprints
from chatpipe.batch.provider_jobs.job_records import JobRecords, refuse_fresh, refuse_open_jobs
from chatpipe.batch.run_spec import RunSpec


class OpenLines:
    """The lines in open jobs. fingerprint makes those of items, as LineFingerprints does."""

    def __init__(self, spec: RunSpec, store: RunStore, events: RecordedEvents) -> None:
        """Raises UsageFault if the run itself would be refused, as open_run_jobs()."""
        self._records = JobRecords(events.of_journal())
        if not spec.resume.no_send:
            refuse_open_jobs(events.of_reused(), self._records.records)
        if spec.resume.fresh:
            refuse_fresh(self._records)
        self.fingerprint = JobFingerprints(store, self._records, by_id=spec.resume.match == "id").of

    def has(self, fingerprint: str) -> bool:
        """Return True for a request that lies in an open job."""
        return self._records.job_of(fingerprint) is not None
