"""A run and its jobs at a provider: whether it has any, what its driver gets of them, how it ends."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable

from chatpipe.batch.driver import StopPolicy
from chatpipe.batch.engine import Engine
from chatpipe.batch.items import Item
from chatpipe.batch.job import Job
from chatpipe.batch.journal.store import RunStore
from chatpipe.batch.progress import ProgressOptions
from chatpipe.batch.provider_jobs.collected_engine import CollectedEngine, NoStops
from chatpipe.batch.provider_jobs.collected_store import CollectedStore
from chatpipe.batch.provider_jobs.job_phase import JobPhase
from chatpipe.batch.provider_jobs.job_records import JobRecords
from chatpipe.batch.provider_jobs.part_terms import part_terms
from chatpipe.batch.result import ResultBuilder
from chatpipe.errors import ChatpipeError, Interrupted
from chatpipe.system.signals import interruptible


class RunJobs:
    """The jobs of one run. phase is None if the server of the run has no Batch API."""

    def __init__(self, job: Job, store: RunStore, records: JobRecords, phase: JobPhase | None) -> None:
        self._job = job
        self._store = store
        self.records = records
        self.phase = phase
        self.has_unused = False
        self.answers = CollectedStore(store, None if phase is None else phase.results)

    @property
    def is_engine(self) -> bool:
        """True if nothing is sent in another way."""
        return self._job.options.engine.is_jobs and not self._job.resume.no_send

    def prepare(self, first_pass: Callable[[], AsyncIterator[Item]], watch: ProgressOptions) -> None:
        """Collect what has ended, and with the engine create what is missing and wait for it.

        Raises the fault of a request, and Interrupted.
        """
        if self.phase is None or self._job.resume.no_send:
            return
        try:
            with interruptible():
                if self.is_engine:
                    self.phase.collect_ended()
                    terms = part_terms(
                        self._job, self._store, self.records, self.phase.results, self.phase.dialect
                    )
                    self.phase.submit(first_pass, terms, watch)
                else:
                    self._collect_if_possible(self.phase)
        except Interrupted:
            if text := self.phase.interrupted_text():
                self._job.console.note(text)
            raise

    def _collect_if_possible(self, phase: JobPhase) -> None:
        """Collect what has ended. A run that sends its requests itself does without, if it has to."""
        try:
            phase.collect_ended()
        except ChatpipeError as fault:
            self._job.console.warning(f"{fault}: the lines of its jobs wait")

    def engine_and_policy(self, engine: Engine, policy: StopPolicy) -> tuple[Engine, StopPolicy]:
        """The engine and the stop policy of the run. What is paid for already stops no run."""
        if self.phase is None and self.is_engine:
            return engine, policy
        results = None if self.phase is None else self.phase.results
        sender = None if self.is_engine else engine
        return CollectedEngine(results, self.records, sender), NoStops() if self.is_engine else policy

    async def visible(self, items: AsyncIterator[Item]) -> AsyncIterator[Item]:
        """The items that have a result in this run. With the engine, a line that it waits for has none."""
        answers = self.answers
        async for item in items:
            if not self.is_engine or item.fault is not None:
                yield item
                continue
            fingerprint = answers.fingerprint(item)
            is_known = (
                (self.phase is not None and self.phase.results.holds(fingerprint))
                or answers.has_answer(item, fingerprint)
                or self._lies_elsewhere(fingerprint)
            )
            yield item if is_known else item._replace(is_ours=False)

    def _lies_elsewhere(self, fingerprint: str) -> bool:
        """Return True for a line in a job of another server, which this run does not wait for."""
        record = self.records.job_of(fingerprint)
        return record is not None and not self.records.is_own(record)

    def finish(self, fault: ChatpipeError | None) -> ChatpipeError | None:
        """Take note that the results are recorded. Raises CannotWrite.

        Returns the fault of the run: that of its lines, unless jobs have not ended or lines were left out.
        """
        if self.phase is None:
            return fault
        self._keep_unused(self.phase)
        self.phase.finish()
        if fault is not None and not self.is_engine and (ids := self.phase.waiting_ids()):
            fault.fix += f", --engine batch-api waits for {ids}, chatpipe jobs cancel {ids} gives it up"
        return self.phase.budget_fault or self.phase.late or fault

    def _keep_unused(self, phase: JobPhase) -> None:
        """Record the answers to lines that the input has no more: they are paid for."""
        names, properties = self._job.server_names, self._job.run_format.properties
        builder = ResultBuilder(frozenset(), properties, server=names[0])
        for fingerprint, found in phase.results.unused():
            if found.answer.fault is None:
                item = Item(0, fingerprint, None)
                self._store.keep(builder.of_answer(item, fingerprint, found.answer, found.latency_s))
                self.has_unused = True

    @property
    def needs_journal(self) -> bool:
        """True if the journal has more than the output: jobs, or answers to lines that are not there."""
        return self.has_unused or bool(self.records.open_records() or self.records.unconfirmed())
