"""A run that sends requests, in contrast to dry_run.py: everything around its event loop."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator, Iterable
from contextlib import ExitStack, suppress

from chatpipe.batch import end
from chatpipe.batch.emit import open_emitter
from chatpipe.batch.items import Item, ItemSource
from chatpipe.batch.journal.store import open_store
from chatpipe.batch.progress import Progress, ProgressOptions
from chatpipe.batch.run_resources import RunResources, open_resources
from chatpipe.batch.run_servers import Servers, open_run_servers
from chatpipe.batch.run_spec import RunSpec
from chatpipe.batch.session import Session
from chatpipe.batch.stop import Stop
from chatpipe.batch.tally import Tally
from chatpipe.errors import BudgetReached, CannotWrite, ChatpipeError, Interrupted, Status
from chatpipe.output.target import OpenOutput
from chatpipe.system.signals import delay_signals, raise_if_received, run_loop


def answer_items(spec: RunSpec, run_input: ItemSource, out: OpenOutput, display: ProgressOptions) -> int:
    """Answer all items of the input, and complete the output if all answers are good.

    Returns the status. Raises the ChatpipeError that the run ends in, and Interrupted. A signal takes
    effect between two steps.
    """
    with open_run_servers(spec) as servers:
        run = _LiveRun(spec, out, display)
        try:
            with delay_signals():
                fault = run.answer(servers, run_input)
        except Interrupted:
            run.note_interruption()
            raise
        if fault is not None:
            raise fault
    return Status.OK


class _LiveRun:
    """A run in progress. Its emitter fills the tally, its display shows it, and its end is worded from it."""

    def __init__(self, spec: RunSpec, out: OpenOutput, display: ProgressOptions) -> None:
        self._spec = spec
        self._out = out
        self._display = display
        self._tally = Tally(spec.defaults.get("model"))
        self._started = time.monotonic()
        self._abandoned = 0  # lines that had no answer when a signal ended the run

    def answer(self, servers: Servers, run_input: ItemSource) -> ChatpipeError | None:
        """Answer all items. Returns the fault of the run, None if the output is complete."""
        spec, tally = self._spec, self._tally
        progress = Progress(self._display, tally, self._started, spec.console.note)
        with ExitStack() as stack:
            store = stack.enter_context(open_store(spec))
            tally.sent.reasons = store.lookup.send_reasons
            emitter = stack.enter_context(open_emitter(spec, self._out, tally, progress))
            resources = open_resources(spec, servers, store, stack)
            session = Session(spec, resources, emitter, progress)
            raise_if_received()
            stop = self._drive(session, self._after_jobs(resources, run_input), resources)
            wall_s = time.monotonic() - self._started
            fault = self._conclude(resources, stop)
            end.note_failed_tools(spec, tally)
            if self._display.has_summary:
                end.print_summary(spec, tally, wall_s, fault)
        return fault

    def note_interruption(self) -> None:
        """Print what a signal has interrupted, unless nothing was done yet or the output is complete."""
        finished = self._tally.finished
        if (finished or self._abandoned) and not self._out.is_complete:
            self._spec.console.note(end.interruption_text(self._spec, finished, self._abandoned))

    def _after_jobs(self, resources: RunResources, run_input: ItemSource) -> AsyncIterator[Iterable[Item]]:
        """The blocks of items that have a result in this run, after the wait for the jobs that make them."""
        jobs = resources.jobs
        if jobs is None:
            return run_input.blocks()
        blocks = jobs.prepare(run_input, self._display)
        self._tally.open_jobs = jobs.open_counts()
        return blocks

    def _drive(
        self, session: Session, blocks: AsyncIterator[Iterable[Item]], resources: RunResources
    ) -> Stop | None:
        """Run the event loop, and write the report whatever ends it. Raises Interrupted for a signal."""
        try:
            stop = run_loop(session.run(blocks))
            if resources.jobs is not None and (stop is None or stop.signal is None):
                resources.jobs.keep_results(self._tally.spent)
        except BaseException:
            with suppress(CannotWrite):  # the fault of the run matters more
                self._write_report()
            raise
        self._write_report()
        if stop is not None and stop.signal is not None:
            self._abandoned = stop.abandoned
            raise Interrupted(stop.signal)
        raise_if_received()
        return stop

    def _write_report(self) -> None:
        end.write_report(self._spec, self._tally, time.monotonic() - self._started)

    def _conclude(self, resources: RunResources, stop: Stop | None) -> ChatpipeError | None:
        """Complete the output if every line is good. Returns the fault of the run otherwise."""
        spec, tally, jobs = self._spec, self._tally, resources.jobs
        if (
            stop is None
            and tally.looked_up_in_vain
            and (text := resources.store.lookup.reused_in_vain_text())
        ):
            spec.console.note(text)
        fault = end.fault_of_run(spec, stop, tally)
        if jobs is not None and stop is None:
            fault = jobs.fault(fault)
        elif jobs is not None and isinstance(fault, BudgetReached):  # a part of it is reserved for open jobs
            jobs.add_ways_out(fault)
        if stop is None and fault is None:
            keeps_journal = jobs is not None and jobs.needs_journal
            end.complete_output(spec, resources.store, self._out, keeps_journal=keeps_journal)
        return fault
