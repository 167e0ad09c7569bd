"""The budget of a run at a provider: for lines that are sent, and for those that already lie in its jobs."""

from __future__ import annotations

from collections.abc import Mapping

from chatpipe.batch import remedies
from chatpipe.batch.budget import open_budget
from chatpipe.batch.engine import RunRequest
from chatpipe.batch.items import Item
from chatpipe.batch.journal.answers import AnswerIndex
from chatpipe.batch.provider_jobs.collected_results import CollectedResults
from chatpipe.batch.provider_jobs.job_journal import JobJournal
from chatpipe.batch.result import Result
from chatpipe.batch.run_spec import RunSpec
from chatpipe.errors import BudgetReached, ChatpipeError, quantity
from chatpipe.inputs import values
from chatpipe.inputs.values import Value
from chatpipe.response.result_line import ResultLine
from chatpipe.response.usage import usage_of

# The next step for a run whose jobs have not ended.
LATER = "run the same command later"


class JobBudget:
    """The stop policy of a run at a provider, too: it stops none, and counts the answers of jobs.

    expected_cost() works as in Budget, at the prices of the Batch API, if it has_prices.
    """

    def __init__(
        self, spec: RunSpec, recorded: AnswerIndex | None, records: JobJournal, results: CollectedResults
    ) -> None:
        """Recorded are the answers of the journal, which are counted now. Raises like open_budget()."""
        budget = open_budget(spec.limits, recorded, spec.console.note, in_jobs=True)
        self._spec = spec
        self._budget = budget
        self._first_left_out: Item | None = None
        self._left_out = 0  # lines
        self._recorded = recorded
        self._records = records
        self._results = results
        self.is_unlimited = budget.is_unlimited
        self.has_prices = bool(budget.prices)
        self.expected_cost = budget.expected_cost
        self.currency = budget.currency

    def leaves_out(self, item: Item) -> bool:
        """Reserve a line that has to be sent. Returns True if there is no room for it, or was none before."""
        if self.is_unlimited:
            return False
        if self._first_left_out is None and self._budget.reserve(item) is not None:
            self._first_left_out = item
        self._left_out += self._first_left_out is not None
        return self._first_left_out is not None

    def fault(self, *, are_open: bool) -> ChatpipeError | None:
        """The fault of a run that has left lines out, None for any other.

        are_open: jobs have not ended, and may cost less than is reserved for them.
        """
        if self._first_left_out is None:
            return None
        next_run = remedies.next_run(self._spec)
        lines = quantity(self._left_out, "line")
        fault = self._budget.reserve(self._first_left_out)
        if fault is None:  # there was no room before jobs had ended
            return BudgetReached(f"{lines} left out: {self._budget.spent_text()} spent so far", fix=next_run)
        fault.what = f"{lines} left out: {fault.what}"
        fault.fix = f"{LATER}, or {fault.fix}" if are_open else f"{fault.fix}, {next_run}"
        return fault

    def reserve(self, request: RunRequest) -> None:
        """Permit a request: nothing is sent that has no room."""

    def observe(self, number: int, result: Result) -> None:
        """Count the answer of a job, unless the journal had it already: see count_known()."""
        if not self.is_unlimited and self._budget.has_reserved(result.item):
            self._budget.settle(result)

    def count_known(self, item: Item, fingerprint: str) -> None:
        """Count a line that is not sent, if it lies in a job: nothing else has counted it yet."""
        if self.is_unlimited or self._records.job_of(fingerprint) is None:
            return
        completion = self._results.completion(fingerprint)
        if completion is None and self._results.holds(fingerprint):
            return  # it has failed
        if completion is not None and self._is_recorded(fingerprint, completion):
            return  # a run was killed between the answer and the note that the job is collected
        if completion is not None and (usage := usage_of(completion)).total:
            self._budget.reserve_used(item, usage, completion.get("model"))
        else:
            self._budget.reserve_bought(item)

    def _is_recorded(self, fingerprint: str, completion: Mapping[str, Value]) -> bool:
        """Return True if this answer of a job is recorded. There may be an older one to the same request."""
        found = None if self._recorded is None else self._recorded.find(fingerprint)
        return found is not None and ResultLine(values.loads(found.line)).completion == completion
