"""Problems of a check -> lines: for people, or JSONL for programs."""

from __future__ import annotations

from chatpipe.inputs import values
from chatpipe.output import escape
from chatpipe.schema.documents import Located
from chatpipe.schema.refuse import described


def written(shape: str, located: Located) -> bytes:
    """One line, with its end."""
    problem = located.problem
    if shape == "problems":
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
    parts = (place, severity, described(problem), problem.hint)
    return escape.line(": ".join(part for part in parts if part)).encode("utf-8", "backslashreplace") + b"\n"
