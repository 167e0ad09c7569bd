"""A run with jobs at a provider, as its driver sees it: what they have answered is an answer at once.

submit -> in a job that was collected -> answered
-> in a job that has not ended -> unsent, with the job
-> in none                     -> the engine that sends, if there is one
"""

from __future__ import annotations

from chatpipe.batch.engine import Callbacks, Engine, RunRequest
from chatpipe.batch.items import Item
from chatpipe.batch.journal.answers import RecordedAnswer
from chatpipe.batch.journal.store import RunStore
from chatpipe.batch.provider_jobs.collected_results import Collected, CollectedResults
from chatpipe.batch.provider_jobs.job_records import JobRecords
from chatpipe.batch.result import Result
from chatpipe.errors import SomeFailed, Status
from chatpipe.response.result_line import timestamp
from chatpipe.wire.answer import Answer

_UNCONFIRMED = "it may lie in a job that was not confirmed"


class CollectedEngine:
    """See Engine. sender is that for requests which lie in no job; None if the jobs are all that is asked."""

    def __init__(self, results: CollectedResults | None, records: JobRecords, sender: Engine | None) -> None:
        self._results = results
        self._records = records
        self._sender = sender
        self._callbacks: Callbacks

    def start(self, callbacks: Callbacks) -> None:
        self._callbacks = callbacks
        if self._sender is not None:
            self._sender.start(callbacks)

    def submit(self, request: RunRequest) -> None:
        found = None if self._results is None else self._results.find(request.fingerprint)
        found = found or self._waiting(request.fingerprint)
        if found is None:
            if self._sender is not None:
                self._sender.submit(request)
        elif self._callbacks.may_send(request, is_bought=True):
            self._callbacks.answered(request.number, found.answer, found.latency_s)

    async def room(self) -> None:
        if self._sender is not None:
            await self._sender.room()

    def flush(self) -> None:
        if self._sender is not None:
            self._sender.flush()

    async def drain(self) -> None:
        if self._sender is not None:
            await self._sender.drain()

    def stop(self, *, now: bool) -> None:
        if self._sender is not None:
            self._sender.stop(now=now)

    def _waiting(self, fingerprint: str) -> Collected | None:
        """The result of a request that lies in a job which has not ended."""
        record = self._records.job_of(fingerprint)
        if record is None:
            return None
        since = "" if record.first_creating_at is None else f" since {timestamp(record.first_creating_at)}"
        where = "" if self._records.is_own(record) else f" at '{record.fields.get('server')}'"
        job = f"it lies in job {record.job_id}" if record.job_id else _UNCONFIRMED
        fault = SomeFailed(f"{job}{where}{since}", Status.SOME_FAILED)
        return Collected(Answer(None, None, fault, attempts=0), 0.0)


class CollectedStore:
    """See AnswerStore. A good answer of a job is newer than a recorded one, and counts before it."""

    def __init__(self, store: RunStore, results: CollectedResults) -> None:
        self._store = store
        self._results = results

    def fingerprint(self, item: Item) -> str:
        return self._store.fingerprint(item)

    def find_answer(self, item: Item, fingerprint: str) -> RecordedAnswer | None:
        found = self._store.find_answer(item, fingerprint)
        if found is not None and self._results.has_good(fingerprint):
            return None
        return found

    def record(self, number: int, result: Result) -> None:
        self._store.record(number, result)


class NoStops:
    """The stop policy of a run whose answers are all there."""

    def reserve(self, request: RunRequest, *, is_bought: bool = False) -> None:
        """Permit it."""

    def observe(self, number: int, result: Result) -> None:
        """Go on."""
