"""The end of a run: its report, its fault and the way to continue, or the complete output."""

from __future__ import annotations

from collections.abc import Callable, Iterable

from chatpipe.batch import remedies
from chatpipe.batch.journal.journal import Journal
from chatpipe.batch.journal.store import RunStore
from chatpipe.batch.journal.unused import UnusedAnswers
from chatpipe.batch.run_spec import RunSpec
from chatpipe.batch.stop import Stop
from chatpipe.batch.tally import Tally
from chatpipe.errors import CannotWrite, ChatpipeError, Halted, NoServerLeft, SomeFailed, Status, quantity
from chatpipe.inputs import values
from chatpipe.output.target import OpenOutput
from chatpipe.system import replace
from chatpipe.system.signals import raise_if_received

# make sets it for the commands of its recipes. Source: the manual of GNU make, section 5.7.2.
_MAKE_VARIABLE = "MAKELEVEL"
_BLOCK_BYTES = 256 << 10


def write_report(spec: RunSpec, tally: Tally, wall_s: float) -> None:
    """Write the file of `--report`."""
    if spec.report.report is not None:
        replace.write_side_file(spec.report.report, values.dumps(tally.report(wall_s)) + b"\n")


def fault_of_run(spec: RunSpec, stop: Stop | None, tally: Tally) -> ChatpipeError | None:
    """The reason why the run stopped, else the failures of its lines. None if all lines are good."""
    if stop is not None:
        fault = stop.fault
        has_no_server = isinstance(fault, NoServerLeft)
        if fault is not None and (has_no_server or fault.status in (Status.BUDGET, Status.TRY_LATER)):
            fault.fix = f"{fault.fix}, {remedies.next_run(spec)}"
        elif isinstance(fault, Halted):
            fault.fix = remedies.remedy(spec, tally, is_whole=False)
        return fault
    if not tally.failed:
        return None
    failures = tally.failures
    why = failures.text(are_all_lines=not tally.good)
    what = f"{tally.failed} of {quantity(tally.finished, 'line')} failed: {why}"
    what = what.removesuffix(f": {failures.kinds.wrong_fix}")  # the remedy says it
    statuses = failures.sent_by_status or failures.by_status
    alike = next(iter(statuses)) if not tally.good and len(statuses) == 1 else Status.SOME_FAILED
    return SomeFailed(what, alike, fix=remedies.remedy(spec, tally))


def interruption_text(spec: RunSpec, finished: int, abandoned: int) -> str:
    """The message after a signal. abandoned is the number of lines that had no answer yet."""
    done = f"interrupted after {quantity(finished, 'line')}"
    if abandoned:
        done += f", {abandoned} more had no answer yet"
    return f"{done}: {remedies.next_run(spec)}"


def note_failed_tools(spec: RunSpec, tally: Tally) -> None:
    """Print how many answers follow the failure of a tool: the model made do, and they count as good."""
    if tally.failed_tools:
        follow = f"{quantity(tally.failed_tools, 'answer')} after the failure of a tool"
        spec.console.note(f"{follow}: {remedies.mend_tools(spec)}")


def print_summary(spec: RunSpec, tally: Tally, wall_s: float, fault: ChatpipeError | None) -> None:
    """Print the closing line of a run, and its failures by reason.

    fault is what the run ends in, None if the output is complete: until then its answers are in the journal.
    It is printed after the closing line, and the number of failures stands in one of the two.
    """
    from chatpipe.batch import summary  # only a terminal has it

    if not spec.reports_failures:  # each of them was printed
        for text in summary.reason_texts(tally, spec.input_name):
            spec.console.note_once(text)  # the first failure was printed at once
    if tally.good:
        destination = spec.output.path if fault is None and spec.to_file else spec.journal_path
        failed = 0 if isinstance(fault, (SomeFailed, Halted)) else tally.failed
        spec.console.note(summary.closing_text(tally, wall_s, destination, failed))


def complete_output(spec: RunSpec, store: RunStore, out: OpenOutput, *, keeps_journal: bool = False) -> None:
    """Put the output in its place, because every line is good, and settle the journal.

    keeps_journal: it has more than answers. A file is written now, in the order of the input. Answers that
    the run did not use are saved first.
    A failure of the journal after that is a note. Raises CannotWrite, and Interrupted at a delayed signal.
    """
    if spec.to_file and spec.run_format.from_result_lines is not None:
        _write_records(store.blocks(), out, spec.run_format.from_result_lines)
    journal, recorded = store.files.journal, store.files.recorded
    if journal is None or recorded is None:
        out.replace()
        return
    unused = UnusedAnswers(recorded, journal) if spec.keeps_leftovers else None
    if unused is not None:
        unused.save()
    out.replace()
    if keeps_journal:
        return
    try:
        _settle_journal(spec, journal, unused)
    except CannotWrite as fault:
        fault.fix = "the output is complete"
        spec.console.note(str(fault))


def _write_records(blocks: Iterable[bytes], out: OpenOutput, convert: Callable[[bytes], bytes]) -> None:
    """Write the output from the journal, which has all of it, so that no part of it is kept."""
    records: list[bytes] = []
    size = 0
    try:
        for block in blocks:
            records.append(convert(block))
            size += len(records[-1])
            if size >= _BLOCK_BYTES:
                raise_if_received()
                out.write(b"".join(records))
                records.clear()
                size = 0
        if records:
            out.write(b"".join(records))
        raise_if_received()
    except BaseException:
        out.discard()
        raise


def _settle_journal(spec: RunSpec, journal: Journal, unused: UnusedAnswers | None) -> None:
    """Remove the journal if OUT has all of it. With any other format it is the only copy, and stays.

    Under make it stays, too: if a later line of the recipe fails, make deletes OUT.
    """
    keep = spec.resume.keep_journal
    if keep is None:
        keep = spec.resume.journal is not None or not spec.run_format.properties.writes_result_lines
        if not keep and spec.environ.get(_MAKE_VARIABLE):
            keep = True
            spec.console.note(
                f"{journal.path}: journal kept, because make removes the output of a recipe that fails"
            )
    if unused is not None:
        if (notice := unused.finish(whole=keep)) is not None:
            spec.console.note(notice)
    elif keep:
        journal.finish()
    else:
        journal.remove()
