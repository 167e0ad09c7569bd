"""The fingerprints of a run with jobs: its lines are looked up by them, in the jobs and in the journal."""

from __future__ import annotations

from chatpipe.batch.items import Item
from chatpipe.batch.journal.store import RunStore
from chatpipe.batch.provider_jobs.job_records import JobRecords


class JobFingerprints:
    """The fingerprints of items. by_id: it is a run with --match id.

    changed has the numbers of the lines whose fingerprint is that of the request which is in a job.
    """

    def __init__(self, store: RunStore, records: JobRecords, *, by_id: bool) -> None:
        self._store = store
        self._records = records
        self.of = self._by_id if by_id else store.fingerprint
        self.changed: set[int] = set()

    def _by_id(self, item: Item) -> str:
        """The fingerprint of an item. One that was changed after it went into an open job keeps the old one.

        Call it once for each item, in input order.
        """
        store, records = self._store, self._records
        fingerprint = store.fingerprint(item)
        if not item.has_own_id or records.is_empty or not item.is_ours:
            return fingerprint
        if records.job_of(fingerprint) is not None or store.lookup.has_answer(item, fingerprint):
            return fingerprint
        in_job = records.fingerprint_of(item.custom_id)
        if in_job is None:
            return fingerprint
        self.changed.add(item.line)
        return in_job
