"""The event loop of a live run: a driver, its engine, and the progress display beside them."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterable

from chatpipe.batch.budget import Budget
from chatpipe.batch.driver import AnswerStore, Driver, DriverOptions, StopPolicy
from chatpipe.batch.emit import ResultEmitter
from chatpipe.batch.engine import Engine
from chatpipe.batch.failures import FailureNotice
from chatpipe.batch.first_lines import FirstLines
from chatpipe.batch.items import Item
from chatpipe.batch.outbound import Outbound, open_outbound
from chatpipe.batch.progress import Progress
from chatpipe.batch.result import ResultBuilder
from chatpipe.batch.run_resources import RunResources
from chatpipe.batch.run_spec import RunSpec
from chatpipe.batch.stop import Stop, StopRules
from chatpipe.options.engines import CLUSTER_ENGINE

_WINDOW_PER_JOB = 4
# A run that ends earlier needs no notice of its first failure.
_NOTICE_AFTER_S = 0.5


class Session:
    """The event loop of one live run."""

    def __init__(
        self,
        spec: RunSpec,
        resources: RunResources,
        emitter: ResultEmitter,
        progress: Progress,
    ) -> None:
        self._spec = spec
        self._resources = resources
        self._emitter = emitter
        self._progress = progress
        self._notice = FailureNotice(spec.console, spec.input_name, tries_only=spec.reports_failures)

    async def run(self, blocks: AsyncIterator[Iterable[Item]]) -> Stop | None:
        """Answer the items of all blocks. Returns the reason for an early end, or None."""
        resources, notice = self._resources, self._notice
        recorded = resources.store.files.recorded
        async with open_outbound(
            self._spec, resources.servers, resources.rules, recorded, notice
        ) as outbound:
            self._emit_head(outbound)
            driver = self._driver(outbound)
            self._emitter.use_prices(outbound.budget.prices)
            self._progress.open(outbound.pauses, outbound.states)
            ticker = asyncio.create_task(self._progress.tick())
            release = asyncio.get_running_loop().call_later(_NOTICE_AFTER_S, notice.release)
            try:
                await driver.run(self._progress.count_items(blocks))
            finally:
                ticker.cancel()
                self._progress.close()
                release.cancel()
                if driver.stop is None and self._progress.has_summary:
                    notice.discard()  # the summary has it
                notice.close(names_reason=driver.stop is None or driver.stop.is_of_a_line)
        return driver.stop

    def _emit_head(self, outbound: Outbound) -> None:
        """Write the head of a table. Raises BadConfiguration if its requests have no price."""
        head = self._spec.run_format.head()
        if head:
            outbound.budget.check_model(self._spec.defaults.get("model"))
        self._emitter.emit_head(head)

    def _driver(self, outbound: Outbound) -> Driver:
        limits = self._spec.limits
        first = self._first_lines(outbound.capacity.limit)
        engine = Engine(outbound.sender, outbound.capacity)
        policy: StopPolicy = StopRules(outbound.pauses, limits, outbound.budget, first, self._notice)
        store: AnswerStore = self._resources.store
        if (jobs := self._resources.jobs) is not None:
            policy, store = jobs.policy(outbound.budget) or policy, jobs.answers
        return Driver(
            engine,
            store,
            policy,
            self._result_builder(outbound.budget),
            self._emitter.emit,
            self._driver_options(),
        )

    def _driver_options(self) -> DriverOptions:
        spec = self._spec
        return DriverOptions(
            self._window(),
            spec.input.dedupe,
            spec.resume.no_send,
            spec.limits.grace_s,
            spec.console.note,
            self._emitter.emit_missing if spec.run_format.missing else None,
        )

    def _result_builder(self, budget: Budget) -> ResultBuilder:
        spec, names, jobs = self._spec, self._spec.server_names, self._resources.jobs
        server = names[0] if len(names) == 1 else None
        if jobs is not None:  # an answer of theirs names none, each of several servers its own
            server = jobs.server
        engine = CLUSTER_ENGINE if spec.options.engine.is_cluster else None
        return ResultBuilder(
            spec.allow,
            spec.run_format.properties,
            self._resources.rules,
            server=server,
            engine=engine,
            lost=budget.lost,
        )

    def _first_lines(self, slots: int) -> FirstLines:
        """The rules for the first lines. slots is the number in flight at the beginning."""
        limits, window = self._spec.limits, self._window()
        in_flight = min(slots, limits.shared.pace_jobs or slots, window or slots)
        stops_early = limits.halt is None or not limits.halt.never
        return FirstLines(in_flight, self._spec.input_name, stops_early=stops_early)

    def _window(self) -> int | None:
        """The window for results in input order: for --keep-order, and for records that are bare values.

        A file that is written at the end, from the journal, needs none.
        """
        spec = self._spec
        if spec.writes_at_the_end or not (spec.report.keep_order or spec.run_format.properties.needs_order):
            return None
        return spec.report.window or _WINDOW_PER_JOB * spec.limits.jobs.limit
