"""The answer store of a run with jobs at a provider: what the jobs have answered is known.

find_answer -> answered by a job that was collected -> that answer
            -> in a job that has not ended          -> unsent, with the job
            -> in a job without an answer to it     -> sent, or unsent with the reason
            -> in none                              -> sent, if this run sends
"""

from __future__ import annotations

from collections.abc import Sequence

from chatpipe.batch.driver import CollectedAnswer
from chatpipe.batch.items import Item
from chatpipe.batch.journal.answers import RecordedAnswer
from chatpipe.batch.journal.send_reasons import SendReason
from chatpipe.batch.journal.store import RunStore
from chatpipe.batch.provider_jobs.collected_results import CollectedResults
from chatpipe.batch.provider_jobs.job_fingerprints import JobFingerprints
from chatpipe.batch.provider_jobs.job_journal import JobJournal
from chatpipe.batch.provider_jobs.result_answer import is_unsent, unsent
from chatpipe.batch.result import PlainAnswers
from chatpipe.response.result_line import timestamp

# The server may have moved, or is another one.
_OF_OTHER_SERVER = "set --base-url to that server, or give the job up with another --journal"
_NOT_ASKED = ", and --no-send does not ask for its answer"
_UNCONFIRMED = "it may be in a job that was not confirmed"


class JobAnswerStore:
    """See AnswerStore. A good answer of a job is newer than a recorded one, and counts before it.

    With --dedupe, the first of identical lines takes it from the job. The others take what that line has
    recorded, as it is in other runs, so that its tokens and its price count once.

    by_id: it is a run with --match id. answers_all: nothing is sent, so that a request which lies in no job
    has no answer. has_asked: the run has looked for jobs that have ended.
    """

    def __init__(
        self,
        store: RunStore,
        results: CollectedResults | None,
        records: JobJournal,
        *,
        by_id: bool,
        answers_all: bool,
        has_asked: bool,
    ) -> None:
        self._store = store
        self._results = results
        self._records = records
        self._answers_all = answers_all
        self._has_asked = has_asked
        fingerprints = JobFingerprints(store, records, by_id=by_id)
        self.fingerprint, self._changed = fingerprints.of, fingerprints.changed
        self.make_room = store.make_room
        self.record, self.record_all = store.record, store.record_all

    @property
    def has_journal(self) -> bool:
        return self._store.has_journal

    def find_answer(self, item: Item, fingerprint: str) -> RecordedAnswer | CollectedAnswer | None:
        results = self._results
        recorded = self._store.find_answer(item, fingerprint)
        if recorded is not None:
            if results is None or not results.has_new(fingerprint):
                return recorded
            self._store.lookup.send_reasons[item.line] = SendReason.resent
        found = None if results is None else results.find(fingerprint)
        if found is None or results is None:
            return self._waiting(fingerprint)
        is_sent = not self._answers_all and is_unsent(found[0]) and not results.is_lost(fingerprint)
        if not is_sent or item.line in self._changed:  # that fingerprint is not the one of its request
            return found
        self._store.lookup.send_reasons[item.line] = SendReason.unsent
        return None

    def find_plain(self, items: Sequence[Item]) -> PlainAnswers | None:
        results, fingerprints = self._results, [item.fingerprint for item in items]
        if results is None or not self._store.lookup.knows_nothing or not all(fingerprints):
            return None
        found = (file.find_plain(fingerprints) for file in results.files)
        return next(filter(None, found), None)

    def _waiting(self, fingerprint: str) -> CollectedAnswer | None:
        """The result of a request that lies in a job which has not ended."""
        record = self._records.job_of(fingerprint)
        if record is None:
            return (unsent("it is in no job"), 0.0) if self._answers_all else None
        since = "" if record.first_creating_at is None else f" since {timestamp(record.first_creating_at)}"
        is_own = self._records.is_own(record)
        where = "" if is_own else f" at '{record.fields.get('server')}'"
        job = f"it is in job {record.job_id}" if record.job_id else _UNCONFIRMED
        why = "" if self._has_asked else _NOT_ASKED
        return unsent(f"{job}{where}{since}{why}", "" if is_own else _OF_OTHER_SERVER), 0.0
