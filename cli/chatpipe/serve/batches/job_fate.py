"""The faults of one batch, as the options ask for them: its fate. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from chatpipe.named_tuple import NamedTuple
from chatpipe.options.serve import FaultRule

# The codes with which a batch fails as a whole, and their messages.
FAILURES: Mapping[str, str] = {
    "token_limit_exceeded": "Enqueued token limit reached for echo in organization org-chatpipe. Limit:"
    " 90,000 enqueued tokens. Please try again once some in_progress batches have been completed.",
    "invalid_json_line": "This line is not parseable as valid JSON.",
    "duplicate_custom_id": "The custom_id of this line is that of another line, too.",
    "url_mismatch": "The URL of this line does not match the endpoint of the batch.",
    "model_mismatch": "The model of this line is not that of the first line: a batch has one model.",
    "empty_file": "The input file has no requests.",
    "too_many_tasks": "The input file has too many requests.",
}
OF_LINES = ("invalid_json_line", "duplicate_custom_id", "url_mismatch", "model_mismatch")
_ENDS = {"batch-expire": "expired", "batch-cancel": "cancelled"}


class OddLines(NamedTuple):
    """Numbers of lines that go wrong: in neither file, twice in one, and with no request."""

    lost: int = 0
    doubled: int = 0
    foreign: int = 0


class JobFate(NamedTuple):
    """The faults of a batch. failure is a code of FAILURES.

    end is `expired` or `cancelled`, after done lines, None for half of them. no_id is the form of the id of
    a file that does not exist: `null`, `empty` or `missing`.
    """

    failure: str | None = None
    end: str | None = None
    done: int | None = None
    no_id: str = "null"
    odd: OddLines = OddLines()


def fate_of(faults: Sequence[FaultRule]) -> JobFate:
    """The fate of a batch that is created with these faults."""
    found = {fault.kind: fault.value for fault in faults}

    def lines(kind: str) -> int:
        value = found.get(kind, 0)
        return value if isinstance(value, int) else 1

    end = next((kind for kind in _ENDS if kind in found), None)
    done = found[end] if end else None
    failure, no_id = found.get("batch-fail"), found.get("batch-no-id")
    return JobFate(
        failure if isinstance(failure, str) else None,
        _ENDS[end] if end else None,
        done if isinstance(done, int) else None,
        no_id if isinstance(no_id, str) else "null",
        OddLines(lines("batch-lose"), lines("batch-double"), lines("batch-foreign")),
    )
