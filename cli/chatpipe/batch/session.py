"""The event loop of a live run: a driver, its engine, and the progress display beside them."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

from chatpipe.batch.async_engine import AsyncEngine
from chatpipe.batch.driver import Driver, DriverOptions
from chatpipe.batch.emit import ResultEmitter
from chatpipe.batch.items import Item
from chatpipe.batch.job import Job
from chatpipe.batch.journal.store import RunStore
from chatpipe.batch.outbound import Outbound, open_outbound
from chatpipe.batch.progress import Progress
from chatpipe.batch.result import ResultBuilder
from chatpipe.batch.stop import Stop, StopRules
from chatpipe.conversation.turns import TurnRules
from chatpipe.server.server import Server

_WINDOW_PER_JOB = 4


class Session:
    """The event loop of one live run."""

    def __init__(
        self,
        job: Job,
        server: Server,
        store: RunStore,
        emitter: ResultEmitter,
        progress: Progress,
        rules: TurnRules | None,
    ) -> None:
        self._job = job
        self._server = server
        self._store = store
        self._emitter = emitter
        self._progress = progress
        self._rules = rules

    async def run(self, items: AsyncIterator[Item]) -> Stop | None:
        """Answer all items. Returns the reason for an early end, or None."""
        recorded = self._store.files.recorded
        async with open_outbound(self._job, self._server, self._rules, recorded) as outbound:
            driver = self._driver(outbound)
            self._progress.open(outbound.pacer.rate)
            ticking = asyncio.create_task(self._progress.tick())
            try:
                await driver.run(self._progress.count_items(items))
            finally:
                ticking.cancel()
                self._progress.close()
        return driver.stop

    def _driver(self, outbound: Outbound) -> Driver:
        job, limits, pacer = self._job, self._job.limits, outbound.pacer
        return Driver(
            AsyncEngine(outbound.sender, pacer.concurrency),
            self._store,
            StopRules(pacer.rate, limits.max_pause_s, limits.halt, outbound.budget),
            ResultBuilder(job.allow, calls_are_final=job.run_format.calls_are_final, rules=self._rules),
            self._emitter.emit,
            DriverOptions(self._window(), job.input.dedupe, job.resume.no_send, limits.grace_s),
        )

    def _window(self) -> int | None:
        """The window for results in input order: for --keep-order, and for records that are bare values.

        A file that is written at the end, from the journal, needs none.
        """
        job = self._job
        if job.writes_at_the_end or not (job.report.keep_order or job.run_format.needs_order):
            return None
        return job.report.window or _WINDOW_PER_JOB * job.limits.jobs.limit
