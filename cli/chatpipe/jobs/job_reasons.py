"""The reasons why a job failed as a whole, in any form that a provider gives them. Pure.

Source: the batch guides of OpenAI and Azure, the SDK of Together, errors that users report; November 2026.
"""

from __future__ import annotations

from collections.abc import Mapping

from chatpipe.inputs.values import Value
from chatpipe.named_tuple import NamedTuple

# The codes of a job that has too many lines, or of whose tokens too many would be in the queue.
TOO_MANY = "too_many_tasks"
NO_ROOM = "token_limit_exceeded"
TOO_LARGE = (TOO_MANY, NO_ROOM)
# The codes of a file that will be refused again.
_LASTING = frozenset(
    {
        "invalid_json_line",
        "duplicate_custom_id",
        "url_mismatch",
        "model_mismatch",
        "model_not_found",
        "empty_file",
        "empty_batch",
        "invalid_request",
    }
)


class JobReason(NamedTuple):
    """One reason. code and message may be empty. line is its number in the job's file, from 1, or None."""

    code: str
    message: str
    line: int | None = None

    @property
    def text(self) -> str:
        return ": ".join(filter(None, (self.code, self.message)))

    @property
    def is_lasting(self) -> bool:
        """True if the same file will be refused for it again."""
        return self.code not in TOO_LARGE and (self.line is not None or self.code in _LASTING)


def reasons_in(job: Mapping[str, Value]) -> list[JobReason]:
    """The reasons in the object of a job."""
    for name in ("errors", "error"):  # Together has a text in `error`
        if isinstance(text := job.get(name), str) and text:
            return [JobReason("", text)]
    errors = job.get("errors")
    data = errors.get("data") if isinstance(errors, dict) else errors
    return [_reason(each) for each in data if isinstance(each, dict)] if isinstance(data, list) else []


def _reason(error: Mapping[str, Value]) -> JobReason:
    code, message, line = error.get("code"), error.get("message"), error.get("line")
    is_line = isinstance(line, int) and not isinstance(line, bool)
    return JobReason(str(code or ""), str(message or ""), line if is_line else None)
