"""Problems found by a check -> lines: text for people, or JSONL for programs."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from chatpipe.inputs import values
from chatpipe.schema.documents import LocatedProblem
from chatpipe.schema.refuse import describe
from chatpipe.system import escape


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
