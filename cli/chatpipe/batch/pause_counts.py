"""Pauses and repeated requests of a run, as the progress and the reports show them."""

from __future__ import annotations

import math

from chatpipe.inputs.values import Value
from chatpipe.limits.rate import Pauses
from chatpipe.named_tuple import NamedTuple


class PauseCounts(NamedTuple):
    """The pauses so far, their length so far, and the requests that were sent again.

    in_progress is the words of the bar for the current pause, `paused 12 s: 429`, and empty without one.
    """

    pauses: int = 0
    paused_s: float = 0.0
    retries: int = 0
    in_progress: str = ""

    def report(self) -> dict[str, Value]:
        """The `pauses` of reports."""
        return {"count": self.pauses, "seconds": round(self.paused_s, 3)}


def pause_counts(rate: Pauses, now: float) -> PauseCounts:
    """The counts of a rate limiter. now is the reading of a monotonic clock."""
    left_s = rate.pause_left(now)
    in_progress = f"paused {math.ceil(left_s)} s: {rate.pause_reason}" if left_s else ""
    return PauseCounts(rate.pauses, rate.postponed_s(now) - left_s, rate.repeats, in_progress)
