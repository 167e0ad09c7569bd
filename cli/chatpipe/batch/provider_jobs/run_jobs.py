"""The jobs of a run at a provider: what the driver gets from them, and how the run ends."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterable, Iterator
from contextlib import contextmanager

from chatpipe.batch.budget import Budget
from chatpipe.batch.expenses import Expenses
from chatpipe.batch.items import Item, ItemSource
from chatpipe.batch.journal.store import RunStore
from chatpipe.batch.progress import ProgressOptions
from chatpipe.batch.provider_jobs.job_answer_store import JobAnswerStore
from chatpipe.batch.provider_jobs.job_budget import JobBudget, count_jobs
from chatpipe.batch.provider_jobs.job_journal import JobJournal
from chatpipe.batch.provider_jobs.job_lifecycle import JobLifecycle
from chatpipe.batch.provider_jobs.kept_results import keep_unused
from chatpipe.batch.run_spec import RunSpec
from chatpipe.batch.tally import OpenCounts
from chatpipe.errors import ChatpipeError, Interrupted
from chatpipe.system.signals import interruptible


class RunJobs:
    """The jobs of a run that creates none: earlier runs have created them. EngineJobs are those of any other.

    The run sends its requests itself, or with `--no-send` sends none. lifecycle is None if the server of the
    jobs has no Batch API. server names it in records.
    """

    is_engine = False

    def __init__(
        self,
        spec: RunSpec,
        store: RunStore,
        records: JobJournal,
        lifecycle: JobLifecycle | None,
        server: str,
    ) -> None:
        self.server = server
        self._spec = spec
        self._store = store
        self._records = records
        self._lifecycle = lifecycle
        self._is_in_reach = True

    def close(self) -> None:
        """Give up the temporary files."""

    def prepare(self, run_input: ItemSource, display: ProgressOptions) -> AsyncIterator[Iterable[Item]]:
        """Collect the jobs that have ended. Returns blocks of the items that have a result.

        Raises Interrupted. A run does without its jobs if it has to.
        """
        if self._lifecycle is not None and not self._spec.resume.no_send:
            with self._interruptible(self._lifecycle):
                try:
                    self._lifecycle.collect_ended()
                    if self._lifecycle.doubt is not None:
                        raise self._lifecycle.doubt
                except ChatpipeError as fault:
                    self._is_in_reach = False
                    self._spec.console.warning(f"{fault}: the lines of its jobs wait")
        return run_input.blocks()

    def open_counts(self) -> OpenCounts | None:
        """The counts of the jobs that this run has not collected, None without any."""
        return None if self._lifecycle is None else self._lifecycle.open_jobs.counts()

    def policy(self, budget: Budget) -> JobBudget | None:
        """The stop policy of a run that creates jobs. Any other has None, and the budget counts its jobs."""
        results = None if self._lifecycle is None else self._lifecycle.results
        count_jobs(budget, self._store.files.recorded, self._records, results)
        return None

    @property
    def answers(self) -> JobAnswerStore:
        """The store of the driver."""
        results = None if self._lifecycle is None else self._lifecycle.results
        by_id = self._spec.resume.match == "id"
        return JobAnswerStore(
            self._store,
            results,
            self._records,
            by_id=by_id,
            answers_all=self.is_engine,
            has_asked=not self._spec.resume.no_send,
        )

    def keep_results(self, spent: Expenses | None = None) -> None:
        """Record and count the answers to lines without a result in this run, which has ended or is refused.

        No later run downloads them again. Raises CannotWrite and BrokenAnswer.
        """
        if self._lifecycle is not None:
            results = self._lifecycle.results
            keep_unused(results, self._spec, self._store, self._records, self.server, spent)
            self._lifecycle.finish()

    def fault(self, fault: ChatpipeError | None) -> ChatpipeError | None:
        """The fault of the run, whose lines have ended in this one, or in none."""
        if fault is not None and not self._spec.resume.no_send:
            self.add_ways_out(fault)
        return fault

    def add_ways_out(self, fault: ChatpipeError) -> None:
        """Add the ways out of the wait for open jobs to the fault of a run with another engine."""
        if self._lifecycle is None:
            return
        ways = self._lifecycle.open_jobs.ways_out(in_reach=self._is_in_reach)
        fault.fix += f", {ways}" if ways else ""

    @property
    def needs_journal(self) -> bool:
        """True if the journal has more than answers: jobs that have not been collected."""
        return bool(self._records.open_records() or self._records.unconfirmed())

    @contextmanager
    def _interruptible(self, lifecycle: JobLifecycle) -> Iterator[None]:
        """Let a signal interrupt the context, and print what goes on at the provider."""
        try:
            with interruptible():
                yield
        except Interrupted:
            self._note_open_jobs(lifecycle)
            raise

    def _note_open_jobs(self, lifecycle: JobLifecycle) -> None:
        """Print that jobs go on although the run ends, and what to do then."""
        if text := lifecycle.open_jobs.interrupted_text():
            self._spec.console.note(text)
