"""The budget of a run at a provider: for lines that are sent, and for those that already lie in its jobs."""

from __future__ import annotations

from collections.abc import Mapping

from chatpipe.batch.budget import open_budget
from chatpipe.batch.items import Item
from chatpipe.batch.journal.answers import AnswerIndex
from chatpipe.batch.provider_jobs.collected_results import CollectedResults
from chatpipe.batch.provider_jobs.job_records import JobRecords
from chatpipe.batch.run_spec import RunSpec
from chatpipe.inputs import values
from chatpipe.inputs.values import Value
from chatpipe.limits.tokens import TokenEstimator
from chatpipe.response.result_line import ResultLine
from chatpipe.response.usage import usage_of


class JobBudget:
    """reserve() and expected_cost() are those of Budget, at the prices of the Batch API."""

    def __init__(
        self, spec: RunSpec, recorded: AnswerIndex | None, records: JobRecords, results: CollectedResults
    ) -> None:
        """Recorded are the answers of the journal, which are counted now. Raises like open_budget()."""
        budget = open_budget(spec.limits, TokenEstimator(), recorded, spec.console.note, in_jobs=True)
        self._budget = budget
        self._recorded = recorded
        self._records = records
        self._results = results
        self.reserve = budget.reserve
        self.expected_cost = budget.expected_cost

    def count_known(self, item: Item, fingerprint: str) -> None:
        """Count a line that is not sent, if it lies in a job: nothing else has counted it yet."""
        if self._budget.is_unlimited or self._records.job_of(fingerprint) is None:
            return
        completion = self._results.completion(fingerprint)
        if completion is None and self._results.holds(fingerprint):
            return  # it has failed
        if completion is not None and self._is_recorded(fingerprint, completion):
            return  # a run was killed between the answer and the note that the job is collected
        if completion is not None and (usage := usage_of(completion)).total:
            self._budget.spend(usage, completion.get("model"), in_job=True)
        else:
            self._budget.reserve_bought(item)

    def _is_recorded(self, fingerprint: str, completion: Mapping[str, Value]) -> bool:
        """Return True if this answer of a job is recorded. There may be an older one to the same request."""
        found = None if self._recorded is None else self._recorded.find(fingerprint)
        return found is not None and ResultLine(values.loads(found.line)).completion == completion
