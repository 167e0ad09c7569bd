"""What a run does while it runs: the engine with its pace, transport, memory and output put around it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable

from chatpipe.batch.async_engine import AsyncEngine
from chatpipe.batch.budget import Budget
from chatpipe.batch.driver import Driver, DriverOptions
from chatpipe.batch.failures import FailureReporter
from chatpipe.batch.items import Item
from chatpipe.batch.job import Job
from chatpipe.batch.journal.answers import AnswerIndex
from chatpipe.batch.journal.store import RunStore
from chatpipe.batch.progress import Progress, ProgressOptions
from chatpipe.batch.result import Result, ResultBuilder
from chatpipe.batch.sender import Sender
from chatpipe.batch.stop import Stop, StopRules
from chatpipe.batch.tally import Tally
from chatpipe.conversation.turns import TurnRules
from chatpipe.exchange import ExchangeContext
from chatpipe.limits import prices
from chatpipe.limits.queue import RunPacer, RunWaits
from chatpipe.limits.shared import open_shared
from chatpipe.limits.tokens import TokenEstimator
from chatpipe.output.target import OpenOutput
from chatpipe.server.server import Server
from chatpipe.system.descriptor import raise_descriptor_limit
from chatpipe.wire.transports import open_transport

_WINDOW_PER_JOB = 4


class Session:
    """One run of a job. errors takes the result lines of failures, teller tells them."""

    def __init__(
        self,
        job: Job,
        store: RunStore,
        tally: Tally,
        out: OpenOutput,
        *,
        errors: Callable[[bytes], None] | None,
        teller: FailureReporter | None,
        recorded: AnswerIndex | None,
        started: float,
        watch: ProgressOptions,
        rules: TurnRules | None,
    ) -> None:
        self._job = job
        self._rules = rules
        self._store = store
        self._tally = tally
        self._out = out
        self._errors = errors
        self._teller = teller
        self._recorded = recorded
        self._progress = Progress(watch, tally, started)

    async def go(self, items: AsyncIterator[Item], server: Server) -> Stop | None:
        """To the end; why it stopped before that, if it did."""
        job, limits = self._job, self._job.limits
        raise_descriptor_limit(limits.jobs.limit)
        estimator = TokenEstimator()
        budget = self._budget(estimator)
        transport = open_transport(server, job.environ, limits.jobs.limit)
        with open_shared(limits.shared, server.origin) as shared:
            waits = RunWaits()
            detail = job.console.detail if job.console.options.verbose else None
            context = ExchangeContext(transport, waits.sleep, _no_note, detail)
            pacer = RunPacer(context, waits, limits, shared, estimator)
            sender = Sender(server, job.policy, pacer, self._rules, budget.reserve_turn)
            driver = self._driver(sender, pacer, budget)
            self._progress.open()
            ticking = asyncio.create_task(self._progress.tick())
            try:
                await driver.run(self._progress.count_items(items))
            finally:
                ticking.cancel()
                self._progress.close()
                await transport.aclose()
        return driver.stop

    def _driver(self, sender: Sender, pacer: RunPacer, budget: Budget) -> Driver:
        job, limits = self._job, self._job.limits
        return Driver(
            AsyncEngine(sender, pacer.concurrency),
            self._store,
            StopRules(pacer.rate, limits.max_pause_s, limits.halt, budget),
            ResultBuilder(job.allow, calls_are_final=job.run_format.calls_are_final, rules=self._rules),
            self._emit,
            DriverOptions(self._window(), job.input.dedupe, job.resume.no_send, limits.grace_s),
        )

    def _budget(self, estimator: TokenEstimator) -> Budget:
        pacing = self._job.limits
        table = prices.load_prices(pacing.prices) if pacing.prices is not None else {}
        budget = Budget(pacing.max_total_tokens, pacing.max_cost, table, estimator)
        if self._recorded is not None and (
            pacing.max_total_tokens is not None or pacing.max_cost is not None
        ):
            for line in self._recorded.paid_lines():
                budget.spend(line.spent_usage(), line.model)
        return budget

    def _window(self) -> int | None:
        """In order where it was asked for, and in every form of which one record is a bare value.

        What is put in order at the end, from the journal, need not wait for the slowest.
        """
        job = self._job
        if job.writes_at_the_end or not (job.report.keep_order or job.run_format.needs_order):
            return None
        return job.report.window or _WINDOW_PER_JOB * job.limits.jobs.limit

    def _emit(self, result: Result) -> None:
        """Write a result that the store has recorded, then count it."""
        job = self._job
        self._progress.make_room()
        if not result.is_good:
            if self._errors is not None:
                self._errors(result.line + b"\n")
            if self._teller is not None:
                self._teller.report(result)
        if not job.writes_at_the_end:
            self._out.write(job.run_format.row(result))
        self._tally.add(result)


def _no_note(text: str) -> None:
    """A run prints no note for each attempt: the report counts them."""
