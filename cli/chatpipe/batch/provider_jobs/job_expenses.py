"""The expenses for the jobs in a journal, for the budget of a run: expected ones, and known ones."""

from __future__ import annotations

from collections.abc import Mapping

from chatpipe.batch.budget import Budget
from chatpipe.batch.journal.answers import AnswerIndex
from chatpipe.batch.provider_jobs.collected_results import CollectedResults
from chatpipe.batch.provider_jobs.job_journal import JobJournal
from chatpipe.inputs import values
from chatpipe.inputs.values import Value
from chatpipe.jobs.part_record import PartRecord
from chatpipe.limits.tokens import guess_answer_tokens, usage_at_first
from chatpipe.response.result_line import ResultLine
from chatpipe.response.usage import Usage, spent_usage


class JobExpenses:
    """The jobs of earlier runs: reserved in the budget while they are open, spent once they are collected.

    Failed lines of a job cost nothing. results is None if no job can be collected.
    """

    def __init__(self, budget: Budget, records: JobJournal, results: CollectedResults | None) -> None:
        self._budget = budget
        self._records = records
        self._results = results
        self._reserved: list[PartRecord] = []

    def count(self, recorded: AnswerIndex | None) -> None:
        """Count all jobs, before this run creates its own. recorded has the answers that are counted."""
        if self._budget.is_unlimited:
            return
        for record in self._records.in_flight():
            if self._is_collected(record):
                self._spend(record, recorded)
            else:
                self._budget.reserve_job(record.token, _expected_usage(record), record.fields.get("model"))
                self._reserved.append(record)

    def settle(self) -> None:
        """Count the jobs that this run has collected since."""
        for record in filter(self._is_collected, self._reserved):
            self._budget.release_job(record.token)
            self._spend(record, None)
        self._reserved = [each for each in self._reserved if not self._is_collected(each)]

    def _is_collected(self, record: PartRecord) -> bool:
        return self._results is not None and record.token in self._results.tokens

    def _spend(self, record: PartRecord, recorded: AnswerIndex | None) -> None:
        assert self._results is not None
        for fingerprint in self._records.fingerprints_of(record):
            completion = self._results.completion(fingerprint)
            if completion is not None and not _is_recorded(fingerprint, completion, recorded):
                self._budget.spend_answer(completion)


def _expected_usage(record: PartRecord) -> Usage:
    """The usage that the lines of a job may come to. An earlier release has not recorded it."""
    if record.expected_usage is None:
        return usage_at_first(0, record.size * guess_answer_tokens([{}]))
    return spent_usage(None, [record.expected_usage])


def _is_recorded(fingerprint: str, completion: Mapping[str, Value], recorded: AnswerIndex | None) -> bool:
    """Return True if this answer of a job is recorded. There may be an older one to the same request.

    That is so if a run was killed between the answer and the note that the job is collected.
    """
    found = None if recorded is None else recorded.find(fingerprint)
    return found is not None and ResultLine(values.loads(found.line)).completion == completion
