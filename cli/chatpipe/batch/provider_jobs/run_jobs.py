"""The jobs of a run at a provider: what the driver gets from them, and how the run ends."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable

from chatpipe.batch.budget import Budget
from chatpipe.batch.items import Item, ItemSource
from chatpipe.batch.journal.store import RunStore
from chatpipe.batch.progress import ProgressOptions
from chatpipe.batch.provider_jobs.job_answer_store import JobAnswerStore
from chatpipe.batch.provider_jobs.job_budget import JobBudget, count_jobs
from chatpipe.batch.provider_jobs.job_journal import JobJournal
from chatpipe.batch.provider_jobs.job_lifecycle import JobLifecycle
from chatpipe.batch.provider_jobs.job_parts import NO_PART, JobParts
from chatpipe.batch.provider_jobs.kept_results import keep_unused
from chatpipe.batch.run_spec import RunSpec
from chatpipe.batch.tally import OpenCounts, Tally
from chatpipe.errors import ChatpipeError, Interrupted, Unreachable, UsageFault
from chatpipe.system.signals import interruptible


class RunJobs:
    """The jobs of one run. lifecycle is None if their server has no Batch API. server names it in records."""

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
        self.records = records
        self.lifecycle = lifecycle
        self._parts: JobParts | None = None
        self._budget: JobBudget | None = None
        self._is_in_reach = True

    def close(self) -> None:
        """Give up the temporary files."""
        if self._parts is not None:
            self._parts.close()

    @property
    def is_engine(self) -> bool:
        """True if nothing is sent in another way."""
        return self._spec.options.engine.is_jobs and not self._spec.resume.no_send

    def prepare(self, run_input: ItemSource, display: ProgressOptions) -> AsyncIterator[Item]:
        """Collect what has ended, and with the engine create what is missing and wait for it.

        Returns the items that have a result in this run. Raises the fault of a request, and Interrupted.
        """
        lifecycle = self.lifecycle
        if lifecycle is None or self._spec.resume.no_send:
            return run_input.items()
        try:
            with interruptible():
                if not self.is_engine:
                    self._collect_if_possible(lifecycle)
                    return run_input.items()
                lifecycle.collect_ended()
                budget = JobBudget(self._spec, self._store.files.recorded, self.records, lifecycle.results)
                self._budget = budget
                parts = JobParts(self._spec, lifecycle.dialect, self._store, self.records, budget)
                self._parts = parts
                parts.read(run_input.blocks())
                if not self._spec.resume.fresh:
                    lifecycle.open_jobs.refuse_foreign(parts)
                lifecycle.submit(parts, display)
                parts.lines.close()
        except Interrupted:
            if text := lifecycle.open_jobs.interrupted_text():
                self._spec.console.note(text)
            raise
        except Unreachable as fault:
            if self.records.open_records():  # the server may be gone for good
                fault.fix += ", or give the jobs up with another --journal"
            raise
        except UsageFault:  # the run is refused, and the next one may be, too
            self.keep_results()
            raise
        return parts.items.read(None if lifecycle.late is None else self._left_out(parts, lifecycle))

    def _collect_if_possible(self, lifecycle: JobLifecycle) -> None:
        """Collect what has ended. A run that sends its requests itself does without, if it has to."""
        try:
            lifecycle.collect_ended()
        except ChatpipeError as fault:
            self._is_in_reach = False
            self._spec.console.warning(f"{fault}: the lines of its jobs wait")

    def open_counts(self) -> OpenCounts | None:
        """The counts of the jobs that this run has not collected, None without any."""
        return None if self.lifecycle is None else self.lifecycle.open_jobs.counts()

    def policy(self, budget: Budget) -> JobBudget | None:
        """The stop policy of a run that sends in jobs. None for any other, whose budget counts the jobs."""
        if self._budget is None:
            results = None if self.lifecycle is None else self.lifecycle.results
            count_jobs(budget, self._store.files.recorded, self.records, results)
        return self._budget

    @property
    def answers(self) -> JobAnswerStore:
        """The store of the driver."""
        results = None if self.lifecycle is None else self.lifecycle.results
        by_id = self._spec.resume.match == "id"
        return JobAnswerStore(
            self._store,
            results,
            self.records,
            by_id=by_id,
            answers_all=self.is_engine,
            has_asked=not self._spec.resume.no_send,
        )

    def _left_out(self, parts: JobParts, lifecycle: JobLifecycle) -> Callable[[Item, int], bool]:
        """A function that returns True for the items that the run has waited for in vain."""
        collected, server = lifecycle.results.tokens, self.records.server
        records = [self.records.with_digest(part.digest, server) for part in parts.parts]
        # A part without a record was not created yet.
        are_awaited = [record is None or record.token not in collected for record in records]

        def is_left_out(item: Item, part: int) -> bool:
            return self._is_awaited(item, lifecycle) if part == NO_PART else are_awaited[part]

        return is_left_out

    def _is_awaited(self, item: Item, lifecycle: JobLifecycle) -> bool:
        """Return True for a line in no part of this run if its job, at this server, has not ended."""
        if item.fault is not None:
            return False
        record = self.records.job_of(item.fingerprint)
        if record is not None:
            is_collected = record.token in lifecycle.results.tokens
            if is_collected or not self.records.is_own(record):
                return False
        return not self._store.lookup.has_answer(item, item.fingerprint)

    def keep_results(self, tally: Tally | None = None) -> None:
        """Record and count the answers to lines without a result in this run, which has ended or is refused.

        No later run downloads them again. Raises CannotWrite and BrokenAnswer.
        """
        if self.lifecycle is not None:
            keep_unused(self.lifecycle.results, self._spec, self._store, self.records, self.server, tally)
            self.lifecycle.finish()

    def fault(self, fault: ChatpipeError | None) -> ChatpipeError | None:
        """The fault of the run: that of its lines, unless jobs have not ended or lines were left out."""
        if self.lifecycle is None:
            return fault
        if fault is not None and not self.is_engine and not self._spec.resume.no_send:
            self.add_ways_out(fault)
        if self._budget is not None:
            are_open = self.lifecycle.late is not None
            left_out = self._budget.fault(are_open=are_open)
            fault = left_out or self.lifecycle.late or fault
        return fault

    def add_ways_out(self, fault: ChatpipeError) -> None:
        """Add the ways out of the wait for open jobs to the fault of a run with another engine."""
        ways = "" if self.lifecycle is None else self.lifecycle.open_jobs.ways_out(in_reach=self._is_in_reach)
        fault.fix += f", {ways}" if ways else ""

    @property
    def needs_journal(self) -> bool:
        """True if the journal has more than answers: jobs that have not been collected."""
        return bool(self.records.open_records() or self.records.unconfirmed())
