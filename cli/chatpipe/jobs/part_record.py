"""The state of a part of an input whose lines become one job, and what keeps it on the disk."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Mapping, Sequence
from functools import cached_property
from itertools import accumulate
from typing import Any, Protocol

from chatpipe.inputs.values import Value

# The types of the fields of events that keep a job from being paid for twice
_TYPES = {"file_id": str, "job_id": str, "at": int | float}
# The beginnings of tokens, for the jobs of a file and for those of a run
OF_FILE, OF_RUN = "file-", "run-"


def is_sound(event: Mapping[str, Value]) -> bool:
    """Return False for an event that was edited and cannot be used."""
    return all(isinstance(event[name], kind) for name, kind in _TYPES.items() if name in event)


class LineRuns:
    """The lines of an input that a part has, in their order. runs are a first line and a count each."""

    def __init__(self, runs: Sequence[Sequence[int]]) -> None:
        self._firsts = [first for first, _ in runs]
        self._starts = list(accumulate((count for _, count in runs), initial=1))

    def number(self, position: int) -> int:
        """The line of the input that a line of the part was, from 1. The position itself if it is unknown."""
        run = bisect_right(self._starts, position) - 1
        is_known = 0 <= run < len(self._firsts)
        return self._firsts[run] + position - self._starts[run] if is_known else position

    def position(self, number: int) -> int | None:
        """The line of the part that a line of the input is, None if it is in another one."""
        run = bisect_right(self._firsts, number) - 1
        if run < 0:
            return None
        position = self._starts[run] + number - self._firsts[run]
        return position if position < self._starts[run + 1] else None


class PartRecord:
    """The state of one part.

    creating_at is the Unix time of a create that is not confirmed, else None. first_creating_at is that of
    the first create, confirmed or not. is_collected: its results are recorded elsewhere. is_lost: the
    provider did not know its job when it was last looked at.
    """

    def __init__(self, token: str, fields: dict[str, Value]) -> None:
        self.token = token
        self.fields = fields
        self.file_id: str | None = None
        self.creating_at: float | None = None
        self.first_creating_at: float | None = None
        self.job_id: str | None = None
        self.is_collected = self.is_lost = False

    @property
    def is_over(self) -> bool:
        """True if no answers are expected of it, unless a lost job turns up again."""
        return self.is_collected or self.is_lost

    @property
    def is_in_flight(self) -> bool:
        """True if its job has answers that are not collected, or may have been created."""
        return not self.is_over and (self.job_id or self.creating_at) is not None

    @property
    def size(self) -> int:
        """The number of its lines, 0 if it is unknown."""
        lines = self.fields.get("lines")
        return lines if isinstance(lines, int) else 0

    @property
    def expected_cost(self) -> float | None:
        """The expected cost of its lines, None without prices."""
        cost = self.fields.get("expected_cost")
        return float(cost) if isinstance(cost, int | float) else None

    @property
    def expected_usage(self) -> Value:
        """The `usage` that its lines were expected to come to, None for a part of an earlier release."""
        return self.fields.get("expected_usage")

    @cached_property
    def lines(self) -> LineRuns:
        """Its lines in the input."""
        return LineRuns(self.fields.get("numbers") or ())

    def take(self, name: str, event: dict[str, Any]) -> None:
        """Take over an event of this name."""
        match name:
            case "uploaded":
                self.file_id = event.get("file_id")
            case "creating":
                self.creating_at = event.get("at")
                self.first_creating_at = self.first_creating_at or self.creating_at
            case "refused":
                self.creating_at = None
            case "created":
                self.job_id, self.creating_at, self.is_lost = event.get("job_id"), None, False
            case "collected":
                self.is_collected = True
            case "lost":
                self.is_lost = True


class JobState(Protocol):
    """The states of all parts. Once a method returns, neither a kill nor a power failure can lose its event.

    records has its parts by their tokens, in their order.
    """

    path: str
    records: dict[str, PartRecord]

    def with_digest(self, digest: str, server: str) -> PartRecord | None:
        """The newest record of a part with these bytes for this server."""

    def plan(self, token: str, **fields: Value) -> PartRecord:
        """Add a part."""

    def note(self, record: PartRecord, event: str, **fields: Value) -> None:
        """Add an event of a part."""
