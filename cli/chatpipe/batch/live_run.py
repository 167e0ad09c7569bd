"""A run that sends requests, in contrast to dry_run.py: everything around its event loop."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator
from contextlib import ExitStack, suppress

from chatpipe.batch import end
from chatpipe.batch.emit import open_emitter
from chatpipe.batch.items import Item
from chatpipe.batch.journal.store import open_store
from chatpipe.batch.progress import Progress, ProgressOptions
from chatpipe.batch.run_resources import RunResources, open_resources
from chatpipe.batch.run_servers import Servers, open_run_servers
from chatpipe.batch.run_spec import RunSpec
from chatpipe.batch.session import Session
from chatpipe.batch.stop import Stop
from chatpipe.batch.tally import Tally
from chatpipe.errors import CannotWrite, ChatpipeError, Interrupted, Status
from chatpipe.output.target import OpenOutput, with_part
from chatpipe.system.signals import delay_signals, raise_if_received, run_loop


def answer_items(spec: RunSpec, items: AsyncIterator[Item], out: OpenOutput, display: ProgressOptions) -> int:
    """Answer all items of the input, and complete the output if all answers are good.

    Returns the status. Raises the ChatpipeError that the run ends in, and Interrupted. A signal takes
    effect between two steps.
    """
    with open_run_servers(spec) as servers:
        tally = Tally(spec.defaults.get("model"))
        try:
            with delay_signals():
                fault = _run(spec, servers, items, out, tally, display)
        except Interrupted:
            if (tally.finished or tally.abandoned) and not out.is_complete:
                spec.console.note(end.interruption_text(spec, tally))
            raise
        if fault is not None:
            raise with_part(out, fault)
    return Status.OK


def _run(
    spec: RunSpec,
    servers: Servers,
    items: AsyncIterator[Item],
    out: OpenOutput,
    tally: Tally,
    display: ProgressOptions,
) -> ChatpipeError | None:
    """Answer all items. Returns the fault of the run, None if the output is complete."""
    started = time.monotonic()
    progress = Progress(display, tally, started, spec.console.note)
    with ExitStack() as stack:
        store = stack.enter_context(open_store(spec))
        tally.send_reasons = store.send_reasons
        emitter = stack.enter_context(open_emitter(spec, out, tally, progress))
        resources = open_resources(spec, servers, store, stack)
        jobs = resources.jobs
        session = Session(spec, resources, emitter, progress)
        raise_if_received()
        if jobs is not None:
            items = jobs.prepare(items, display)
            tally.open_jobs = jobs.open_counts()
        try:
            stop = run_loop(session.run(items))
        except BaseException:
            with suppress(CannotWrite):  # the fault of the run matters more
                end.write_report(spec, tally, time.monotonic() - started)
            raise
        end.write_report(spec, tally, time.monotonic() - started)
        if stop is not None and stop.signal is not None:
            tally.abandoned = stop.abandoned
            raise Interrupted(stop.signal)
        raise_if_received()
        wall_s = time.monotonic() - started
        fault = _conclude(spec, resources, stop, out, tally)
        end.note_failed_tools(spec, tally)
        if display.has_summary:
            end.print_summary(spec, tally, wall_s, fault)
    return fault


def _conclude(
    spec: RunSpec, resources: RunResources, stop: Stop | None, out: OpenOutput, tally: Tally
) -> ChatpipeError | None:
    """Complete the output if every line is good. Returns the fault of the run otherwise."""
    jobs = resources.jobs
    if stop is None and tally.looked_up_in_vain and (text := resources.store.reused_in_vain_text()):
        spec.console.note(text)
    fault = end.fault_of_run(spec, stop, tally)
    if jobs is not None and stop is None:
        fault = jobs.finish(fault)
    if stop is None and fault is None:
        end.complete_output(spec, resources.store, out, keeps_journal=jobs is not None and jobs.needs_journal)
    return fault
