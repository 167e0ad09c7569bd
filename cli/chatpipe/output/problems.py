"""Problems found by a check -> lines: text for people, or JSONL for programs."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from chatpipe.errors import BadInput, MissingInput, Status
from chatpipe.inputs import values
from chatpipe.inputs.line_decoder import InputForm
from chatpipe.inputs.sources import process_sources, stdin_owner
from chatpipe.inputs.stdin import STDIN, STDIN_NAME, is_stdin
from chatpipe.options.output import ConsoleOptions, OutputOptions
from chatpipe.output.target import open_target, refuse_closed_stdout
from chatpipe.schema.documents import Checker, LocatedProblem
from chatpipe.schema.refuse import describe
from chatpipe.system import escape
from chatpipe.system.console import Console


def report_problems(
    files: Sequence[str],
    format: str,
    console_options: ConsoleOptions,
    *,
    strict: bool,
    before_fault: Callable[[], None],
) -> Status:
    """Write the problems of files to stdout. No file means stdin. The exit status.

    A file that cannot be read is reported, and the others are still checked. before_fault is called before
    each such report.
    """
    console = Console(console_options)
    stdin_owner(("FILE", file) for file in files)
    sources = process_sources(console.note, console.note_wait)
    status = Status.OK
    with open_target(OutputOptions(), (), escape=True, may_be_empty=True) as out:
        for file in files or (STDIN,):
            checker = Checker(strict=strict)
            try:
                name = STDIN_NAME if is_stdin(file) else file
                lines = sources.lines(file, "FILE", InputForm.DOCUMENTS)
                for located in checker.check_lines(name, lines):
                    if located.problem.severity == "error":
                        status = Status.BAD_INPUT
                    elif console_options.quiet:
                        continue
                    refuse_closed_stdout()
                    out.write(format_problem(format, located))
            except MissingInput as fault:
                before_fault()
                console.error(fault)
                status = status or Status.NO_INPUT
            except BadInput as fault:  # it is no requests at all, or ends early
                before_fault()
                console.error(fault)
                status = Status.BAD_INPUT
        out.replace()
    return status


def format_problem(format: str, located: LocatedProblem) -> bytes:
    """The line of one problem, with its newline. format is one of PROBLEM_FORMATS."""
    return _LINES[format](located) + b"\n"


def _record(located: LocatedProblem) -> bytes:
    problem = located.problem
    return values.dumps(
        {
            "file": located.file,
            "line": located.line,
            "column": located.column,
            "pointer": problem.pointer,
            "keyword": problem.keyword,
            "message": problem.message,
            "hint": problem.hint,
            "severity": problem.severity,
        }
    )


def _text(located: LocatedProblem) -> bytes:
    problem = located.problem
    place = f"{located.file}:{located.line}"
    severity = "warning" if problem.severity == "warning" else ""
    parts = (place, severity, describe(problem), problem.hint)
    return escape.one_line(": ".join(part for part in parts if part)).encode("utf-8", "backslashreplace")


_LINES: Mapping[str, Callable[[LocatedProblem], bytes]] = {"text": _text, "problems": _record}
