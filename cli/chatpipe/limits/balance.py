"""The share of each server in a run over several: the next attempt goes to the least loaded one.

    good answers of a period / seconds in which the server was busy -> capacity -> weight
    next attempt -> the lowest (in flight + 1) / weight

However long its queue is, a full server answers as many a second: its capacity decides its share. One that
is not full answers in proportion to what it gets, and any share is right. A small part of each weight is the
same for all, so that shares neither drift nor end at nothing. Pure: now is the reading of a monotonic clock.
"""

from __future__ import annotations

from collections.abc import Iterable
from operator import attrgetter

# Good answers in a period, for each server: first, and at most.
_PERIOD = (4, 32)
_ROUNDS = 2  # answers in a period for each request in flight, at least
_GAIN = 0.3  # of the latest period in the mean
_EVEN = 0.15  # the part of a weight that all servers have in common
_FORGOTTEN = 0.1  # of the difference to the mean, in each period in which a server got nothing

_order = attrgetter("share", "turn")


class Load:
    """The load of the server with this index.

    rate is the number of its good answers a second while it was busy, None as long as it is unknown. share is
    what it would have in flight with one more, for its weight. turn is the number of its last attempt.
    """

    __slots__ = (
        "_busy_s",
        "_busy_since",
        "_good",
        "in_flight",
        "index",
        "rate",
        "share",
        "turn",
        "weight",
    )

    def __init__(self, index: int) -> None:
        self.index = index
        self.in_flight = 0
        self.rate: float | None = None
        self.weight = 1.0
        self.share = 1.0
        self.turn = 0
        self._good = 0
        self._busy_s = 0.0
        self._busy_since = 0.0

    def start(self, turn: int, now: float) -> None:
        """Count an attempt that begins, the one with this number of the run."""
        if not self.in_flight:
            self._busy_since = now
        self.turn = turn
        self.in_flight += 1
        self.share = (self.in_flight + 1) / self.weight

    def finish(self, *, is_good: bool, now: float) -> None:
        """Count an attempt that has ended."""
        self.share = self.in_flight / self.weight
        self.in_flight -= 1
        self._good += is_good
        if not self.in_flight:
            self._busy_s += now - self._busy_since

    def measure(self, now: float) -> float | None:
        """The good answers a second since the last measurement, None if it had nothing to do."""
        busy_s = self._busy_s
        if self.in_flight:
            busy_s += now - self._busy_since
            self._busy_since = now
        good, self._good, self._busy_s = self._good, 0, 0.0
        return good / busy_s if busy_s > 0 else None

    def weigh(self, weight: float) -> None:
        self.weight = weight
        self.share = (self.in_flight + 1) / weight


class Balance:
    """The loads of all servers of a run, one for each of count."""

    def __init__(self, count: int) -> None:
        self.loads = tuple(map(Load, range(count)))
        self._in_flight = 0
        self._answers = 0
        self._due = _PERIOD[0] * count
        self._turn = 0

    def pick(self, loads: Iterable[Load]) -> Load | None:
        """The one of loads that gets the next attempt, None of none. Of equals, the one idle longest."""
        return min(loads, key=_order, default=None)

    def start(self, load: Load, now: float) -> None:
        """Count an attempt that begins at the server of load."""
        self._turn += 1
        self._in_flight += 1
        load.start(self._turn, now)

    def finish(self, load: Load, *, is_good: bool, now: float) -> None:
        """Count an attempt that has ended. Weights change at the end of a period only."""
        load.finish(is_good=is_good, now=now)
        self._in_flight -= 1
        self._answers += is_good
        # Answers come in bursts: a period has several of everything that is in flight.
        if self._answers >= max(self._due, _ROUNDS * self._in_flight):
            self._measure(now)

    def _measure(self, now: float) -> None:
        self._answers = 0
        self._due = min(2 * self._due, _PERIOD[1] * len(self.loads))
        unused = []
        for load in self.loads:
            measured = load.measure(now)
            if measured is None:
                unused.append(load)
            else:
                load.rate = measured if load.rate is None else load.rate + _GAIN * (measured - load.rate)
        known = [load.rate for load in self.loads if load.rate is not None]
        mean = sum(known) / len(known)
        for load in unused:
            if load.rate is not None:
                load.rate += _FORGOTTEN * (mean - load.rate)
        for load in self.loads:
            rate = mean if load.rate is None else load.rate
            load.weigh(((1 - _EVEN) * rate + _EVEN * mean) or 1.0)
