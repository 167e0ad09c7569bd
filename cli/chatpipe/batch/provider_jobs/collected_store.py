"""The answers of a run beside those of its jobs: the store of its driver."""

from __future__ import annotations

from chatpipe.batch.items import Item
from chatpipe.batch.journal.answers import RecordedAnswer
from chatpipe.batch.journal.store import RunStore
from chatpipe.batch.provider_jobs.collected_results import CollectedResults
from chatpipe.batch.result import Result


class CollectedStore:
    """See AnswerStore. A good answer that a job has just given counts before a recorded one, which is older.

    The fingerprint of an item may be asked for several times in a row: it is made, and counted, once.
    """

    def __init__(self, store: RunStore, results: CollectedResults | None) -> None:
        self._store = store
        self._results = results
        self._line = 0
        self._fingerprint = ""

    def fingerprint(self, item: Item) -> str:
        if item.line != self._line:
            self._fingerprint = self._store.fingerprint(item)
            self._line = item.line
        return self._fingerprint

    def has_answer(self, item: Item, fingerprint: str) -> bool:
        """See RunStore."""
        return self._store.has_answer(item, fingerprint)

    def find_answer(self, item: Item, fingerprint: str) -> RecordedAnswer | None:
        found = self._store.find_answer(item, fingerprint)
        if found is not None and self._results is not None and self._results.has_good(fingerprint):
            return None
        return found

    def record(self, number: int, result: Result) -> None:
        self._store.record(number, result)
