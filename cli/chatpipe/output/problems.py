"""Problems found by a check -> lines: text for people, or JSONL for programs."""

from __future__ import annotations

from chatpipe.inputs import values
from chatpipe.schema.documents import LocatedProblem
from chatpipe.schema.refuse import describe
from chatpipe.system import escape


def format_problem(format: str, located: LocatedProblem) -> bytes:
    """The line of one problem, with its newline."""
    problem = located.problem
    if format == "problems":
        record = {
            "file": located.file,
            "line": located.line,
            "column": located.column,
            "pointer": problem.pointer,
            "keyword": problem.keyword,
            "message": problem.message,
            "hint": problem.hint,
            "severity": problem.severity,
        }
        return values.dumps(record) + b"\n"
    place = f"{located.file}:{located.line}"
    severity = "warning" if problem.severity == "warning" else ""
    parts = (place, severity, describe(problem), problem.hint)
    return (
        escape.one_line(": ".join(part for part in parts if part)).encode("utf-8", "backslashreplace") + b"\n"
    )
