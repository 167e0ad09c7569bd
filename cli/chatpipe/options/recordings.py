"""Options of recorded exchanges."""

from __future__ import annotations

from typing import Literal

from chatpipe.named_tuple import NamedTuple
from chatpipe.options.files import FileUse, optional_uses

MatchRule = Literal["exact", "loose"]


class RecordingOptions(NamedTuple):
    """The file that exchanges are recorded in, the one that answers requests, and how these are compared."""

    record: str | None = None
    replay: str | None = None
    match: MatchRule = "exact"

    @property
    def are_used(self) -> bool:
        return self.record is not None or self.replay is not None

    @property
    def is_offline(self) -> bool:
        """True if nothing may be sent."""
        return self.replay is not None and self.record is None

    @property
    def uses(self) -> list[FileUse]:
        return optional_uses(("--record", self.record, "records"), ("--replay", self.replay, "replays"))
