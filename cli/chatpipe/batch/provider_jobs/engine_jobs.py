"""The jobs of `--engine batch-api`: a run that creates jobs for its lines, and waits for them."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterable

from chatpipe.batch.budget import Budget
from chatpipe.batch.items import Item, ItemSource
from chatpipe.batch.journal.store import RunStore
from chatpipe.batch.progress import ProgressOptions
from chatpipe.batch.provider_jobs.job_budget import JobBudget
from chatpipe.batch.provider_jobs.job_journal import JobJournal
from chatpipe.batch.provider_jobs.job_lifecycle import JobLifecycle
from chatpipe.batch.provider_jobs.job_parts import NO_PART, JobParts
from chatpipe.batch.provider_jobs.run_jobs import RunJobs
from chatpipe.batch.run_spec import RunSpec
from chatpipe.errors import BadInput, ChatpipeError, NoAccess, Unreachable, UsageFault


class EngineJobs(RunJobs):
    """The jobs of a run that sends all its lines in jobs."""

    is_engine = True

    def __init__(
        self, spec: RunSpec, store: RunStore, records: JobJournal, lifecycle: JobLifecycle, server: str
    ) -> None:
        super().__init__(spec, store, records, lifecycle, server)
        self._jobs = lifecycle  # for a run of this kind it is never None
        self._parts: JobParts | None = None
        self._budget: JobBudget | None = None

    def close(self) -> None:
        if self._parts is not None:
            self._parts.close()

    def prepare(self, run_input: ItemSource, display: ProgressOptions) -> AsyncIterator[Iterable[Item]]:
        """Collect the jobs that have ended, create those that are missing, and wait for all of them.

        Returns blocks of the items that have a result. Raises the fault of a request, and Interrupted.
        """
        try:
            with self._interruptible(self._jobs):
                parts = self._submit(run_input, display)
        except Unreachable as fault:
            if self._records.open_records():  # the server may be gone for good
                fault.fix += ", or give the jobs up with another --journal"
            raise
        except (BadInput, NoAccess):
            self._note_open_jobs(self._jobs)
            raise
        except UsageFault:  # the run is refused, and the next one may be, too
            self.keep_results()
            raise
        return parts.items.read(None if self._jobs.late is None else self._left_out(parts))

    def policy(self, budget: Budget) -> JobBudget | None:
        return self._budget

    def fault(self, fault: ChatpipeError | None) -> ChatpipeError | None:
        """The fault of the run: that of its lines, unless jobs have not ended or lines were left out."""
        late = self._jobs.late
        left_out = None if self._budget is None else self._budget.fault(are_open=late is not None)
        return left_out or late or fault

    def _submit(self, run_input: ItemSource, display: ProgressOptions) -> JobParts:
        """Create the jobs of the lines without an answer, and wait for all jobs."""
        jobs = self._jobs
        jobs.collect_ended()
        budget = JobBudget(self._spec, self._store.files.recorded, self._records, jobs.results)
        self._budget = budget
        parts = JobParts(self._spec, jobs.dialect, self._store, self._records, budget)
        self._parts = parts
        parts.read(run_input.blocks())
        if not self._spec.resume.fresh:
            jobs.open_jobs.refuse_foreign(parts)
        jobs.submit(parts, display)
        parts.lines.close()
        return parts

    def _left_out(self, parts: JobParts) -> Callable[[Item, int], bool]:
        """A function that returns True for the items that the run has waited for in vain."""
        collected, server = self._jobs.results.tokens, self._records.server
        records = [self._records.with_digest(part.digest, server) for part in parts.parts]
        # A part without a record was not created yet.
        are_awaited = [record is None or record.token not in collected for record in records]

        def is_left_out(item: Item, part: int) -> bool:
            return self._is_awaited(item) if part == NO_PART else are_awaited[part]

        return is_left_out

    def _is_awaited(self, item: Item) -> bool:
        """Return True for a line in no part of this run if its job, at this server, has not ended."""
        if item.fault is not None:
            return False
        record = self._records.job_of(item.fingerprint)
        if record is not None:
            is_collected = record.token in self._jobs.results.tokens
            if is_collected or not self._records.is_own(record):
                return False
        return not self._store.lookup.has_answer(item, item.fingerprint)
