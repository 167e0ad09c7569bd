"""The budget of a run at a provider: for lines that are sent, and for the jobs that its journal has."""

from __future__ import annotations

from chatpipe.batch import remedies
from chatpipe.batch.budget import Budget, open_budget
from chatpipe.batch.engine import RunRequest
from chatpipe.batch.items import Item
from chatpipe.batch.journal.answers import AnswerIndex
from chatpipe.batch.provider_jobs.collected_results import CollectedResults
from chatpipe.batch.provider_jobs.job_expenses import JobExpenses
from chatpipe.batch.provider_jobs.job_journal import JobJournal
from chatpipe.batch.provider_jobs.part_file import RunPart
from chatpipe.batch.result import Result
from chatpipe.batch.run_spec import RunSpec
from chatpipe.errors import BudgetReached, ChatpipeError, quantity
from chatpipe.limits.prices import price_of

# The next step for a run whose jobs have not ended.
LATER = "run the same command later"


def count_jobs(
    budget: Budget, recorded: AnswerIndex | None, records: JobJournal, results: CollectedResults | None
) -> None:
    """Count the jobs of a journal for a run that sends its requests itself: see JobExpenses."""
    JobExpenses(budget, records, results).count(recorded)


class JobBudget:
    """The stop policy of a run at a provider, too: it stops none, and counts the answers of jobs."""

    def __init__(
        self, spec: RunSpec, recorded: AnswerIndex | None, records: JobJournal, results: CollectedResults
    ) -> None:
        """Recorded are the answers of the journal, which are counted now. Raises like open_budget()."""
        budget = open_budget(spec.limits, recorded, spec.console.note, in_jobs=True)
        self._spec = spec
        self._budget = budget
        self._first_left_out: Item | None = None
        self._left_out = 0  # lines
        self._expenses = JobExpenses(budget, records, results)
        self._expenses.count(recorded)
        self.is_unlimited = budget.is_unlimited
        self.currency = budget.currency

    def expect(self, part: RunPart) -> None:
        """Set the expected cost of a part, which has all its lines. Raises like price_of()."""
        if table := self._budget.prices:
            part.cost = round(price_of(table, part.model, in_job=True).cost(part.expected_usage), 6)

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
        self._expenses.settle()
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
        """Count the answer of a job that this run has created."""
        self._budget.settle(result)
