"""What a run does while it runs: the engine with its pace, transport, memory and output put around it."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable

import httpx

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
from chatpipe.batch.tally import Tally, spent_in
from chatpipe.conversation.rules import TurnRules
from chatpipe.limits import prices
from chatpipe.limits.concurrency import AdaptiveLimit, ConcurrencyLimit
from chatpipe.limits.rate import RateLimiter, Schedule
from chatpipe.limits.shared import PaceFile, SharedRateLimiter
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
        job = self._job
        pacing = job.limits
        capacity = (
            AdaptiveLimit(pacing.jobs.limit) if pacing.jobs.auto else ConcurrencyLimit(pacing.jobs.limit)
        )
        raise_descriptor_limit(pacing.jobs.limit)
        pace = RateLimiter(pacing.rpm, pacing.tpm)
        estimator = TokenEstimator()
        maker = ResultBuilder(job.allow, calls_are_final=job.run_format.calls_are_final, rules=self._rules)
        budget = self._budget(estimator)
        transport = open_transport(server, job.environ, pacing.jobs.limit)
        file = PaceFile(pacing.pace_file) if pacing.pace_file is not None else None
        sender = self._sender(server, transport, pace, file, capacity, estimator, budget)
        driver = Driver(
            AsyncEngine(sender, capacity),
            self._store,
            StopRules(pace, pacing.max_pause_s, pacing.halt, budget),
            maker,
            self._emit,
            DriverOptions(self._window(), job.input.dedupe, job.resume.no_send, pacing.grace_s),
        )
        self._progress.open()
        ticking = asyncio.create_task(self._progress.tick())
        try:
            await driver.run(self._progress.count_items(items))
        finally:
            ticking.cancel()
            self._progress.close()
            await transport.aclose()
            if file is not None:
                file.close()
        return driver.stop

    def _budget(self, estimator: TokenEstimator) -> Budget:
        pacing = self._job.limits
        table = prices.load_prices(pacing.prices) if pacing.prices is not None else {}
        budget = Budget(pacing.max_total_tokens, pacing.max_cost, table, estimator)
        if self._recorded is not None and (
            pacing.max_total_tokens is not None or pacing.max_cost is not None
        ):
            for record in self._recorded.paid_records():
                response = record.get("response")
                body = response.get("body") if isinstance(response, dict) else None
                budget.spend(spent_in(record), body.get("model") if isinstance(body, dict) else None)
        return budget

    def _sender(
        self,
        server: Server,
        transport: httpx.AsyncBaseTransport,
        pace: RateLimiter,
        file: PaceFile | None,
        capacity: ConcurrencyLimit,
        estimator: TokenEstimator,
        budget: Budget,
    ) -> Sender:
        job, pacing = self._job, self._job.limits
        timetables: tuple[tuple[Schedule, Callable[[], float]], ...] = ((pace, time.monotonic),)
        share_pause = places = None
        if file is not None:
            place = server.origin
            timetables += ((SharedRateLimiter(file, place, pacing.rpm, pacing.tpm), time.time),)

            def share_pause(seconds: float) -> None:
                now = time.time()
                file.pause_until(place, now + seconds, now)

            if pacing.pace_jobs is not None:
                places = _Places(file, place, pacing.pace_jobs)

        return Sender(
            server=server,
            transport=transport,
            detail=job.console.detail if job.console.options.verbose else None,
            policy=job.policy,
            pace=pace,
            timetables=timetables,
            capacity=capacity,
            estimator=estimator,
            max_pause_s=pacing.max_pause_s,
            share_pause=share_pause,
            places=places,
            rules=self._rules,
            may_go_on=budget.reserve_turn,
        )

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


class _Places:
    """The places at one server that a pace file has for all processes."""

    def __init__(self, file: PaceFile, origin: str, jobs: int) -> None:
        self._file = file
        self._origin = origin
        self._jobs = jobs

    def enter(self) -> float:
        return self._file.acquire_slot(self._origin, self._jobs, time.time())

    def leave(self) -> None:
        self._file.release_slot(self._origin, time.time())
