"""The state of a part of an input whose lines become one job, and what keeps it on the disk."""

from __future__ import annotations

from typing import Any, Protocol

from chatpipe.inputs.values import Value


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

    def number(self, position: int) -> int:
        """The line of the input that a line of the part was, from 1. The position itself if nobody knows."""
        left = position
        for first, count in self.fields.get("numbers") or ():
            if left <= count:
                return int(first) + left - 1
            left -= count
        return position

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

    records are those of its parts by their tokens, in their order.
    """

    path: str
    records: dict[str, PartRecord]

    def with_digest(self, digest: str, server: str) -> PartRecord | None:
        """The newest record of a part with these bytes for this server."""

    def plan(self, token: str, **fields: Value) -> PartRecord:
        """Add a part."""

    def note(self, record: PartRecord, event: str, **fields: Value) -> None:
        """Add an event of a part."""
