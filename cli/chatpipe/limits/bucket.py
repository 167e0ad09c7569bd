"""A limit per minute, as a schedule of starts. Pure: times are passed in."""

from __future__ import annotations

# Providers say that they may enforce a limit of 60,000 a minute as 1,000 a second. A burst of one
# second on top of the steady rate would double that in the first second. A tenth of a second is too
# short for any server to notice, and makes up for late timers and event loops.
_BURST_S = 0.1


class Bucket:
    """One limit per minute, kept as a schedule: the time at which everything booked is paid off.

    That time is always computed from the amount booked since anchor, so rounding errors do not add
    up however long the run. A cost may exceed the burst (a request of many tokens): it starts when
    everything before it is paid off. In any 60 s at most per_minute start, plus the burst, plus the
    one cost that was begun last: 60 requests at 60 per minute, 6,009 at 6,000.
    """

    __slots__ = ("_early_s", "anchor", "booked", "per_minute")

    def __init__(self, per_minute: float, anchor: float = 0.0, booked: float = 0) -> None:
        self.per_minute = per_minute
        self.anchor = anchor
        self.booked = booked
        # The burst includes the one request that may start anyway.
        self._early_s = max(0.0, _BURST_S - 60 / per_minute)

    def paid_off_at(self) -> float:
        return self.anchor + self.booked * 60 / self.per_minute

    def opens_at(self) -> float:
        """Earliest start of the next request, whatever it costs. A time in the past means now."""
        return self.anchor + self.booked * 60 / self.per_minute - self._early_s

    def book(self, cost: float, start: float) -> None:
        """Add cost to the schedule at start, which must not be before opens_at()."""
        if self.paid_off_at() <= start:
            self.anchor = start
            self.booked = cost
        else:
            self.booked += cost

    def adjust(self, more: float, now: float) -> None:
        """Add more, which may be negative, to the booked amount. Idle time before now is not credited."""
        if more > 0 and self.paid_off_at() <= now:
            self.anchor = now
            self.booked = more
        else:
            self.booked += more

    def postpone(self, seconds: float) -> None:
        self.anchor += seconds
