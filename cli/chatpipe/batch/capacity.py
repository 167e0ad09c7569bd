"""How many requests may be in flight: a number, or as many as make the server faster.

A server that is full refuses (429), resets connections, or queues, and then only its throughput
tells: with more in flight everything takes longer and no more gets done. So throughput is compared
between neighbouring levels, one round of requests each:

    round at the base -> round at a probe, up or down -> keep the probe or go back -> ...

and when neither way is better, the base is kept for a while. Throughput is taken as the number in
flight over the mean latency (Little's law): unlike a count of answers a second it is not misled by
answers that come in step. Pure: now is the time of a clock that never goes back.
"""

from __future__ import annotations

import math

START = 4
MAXIMUM = 256
STEP = 1.25  # from level to level: a choice that is one level wrong is still within 70 % to 150 %
GROWTH = 1.05  # what a step must gain
_LONGEST_STRIDE = 3  # levels in one probe, about double, as long as it goes well
_SAMPLES = 64  # answers in a round when their latencies
_SPREAD = 0.1  # vary by no more than that, squared: 32 %, which becomes 4 % in the mean
_MOST = 384
_PATIENCE = 8  # rounds without a probe, at most
_CEILING = (8, 64)  # rounds that a level which was refused is left alone, first and at most
_CHANGED = 0.15  # in the logarithm of the throughput: another server than the one that was measured
_FORGOTTEN = 0.2  # likewise of a gain: what was learned before is out of date
_MEMORY = 4  # measurements of one gain that are averaged
_LOST = (5, 1 / 6)  # tries in a round, and their share: a step too far loses a fifth, bad luck hardly so many
_STARVED = 0.5  # of the limit: with fewer than that in flight, it is not the limit that decides


class Capacity:
    """`-j N`: limit is how many may be in flight now, and stays."""

    __slots__ = ("limit",)

    def __init__(self, limit: int) -> None:
        self.limit = limit

    def finished(self, ok: bool, overloaded: bool, latency_s: float, now: float) -> None:
        """A request is over. overloaded: a 429, a 503 or a time-out; a fault of the request is neither."""

    def lost(self, latency_s: float, now: float) -> None:
        """A try of a request ended without a whole reply: its connection was refused, reset or cut."""


def levels(maximum: int) -> tuple[int, ...]:
    """The numbers that are tried: 1, 2, 3, 4, 5, 6, 8, 10, 12, 15, 19 ... maximum."""
    found = [1]
    while found[-1] < maximum:
        found.append(min(maximum, max(found[-1] + 1, round(found[-1] * STEP))))
    return tuple(found)


class _Round:
    """Answers to requests that were all sent at one level: after since, when it was set."""

    __slots__ = (
        "_all_s",
        "_begin",
        "_lost",
        "_needed",
        "_ok",
        "_ok_s",
        "_skip",
        "_squares",
        "_tries",
        "limit",
        "since",
    )

    def __init__(self, limit: int, since: float, begin: float, skip: int, needed: int) -> None:
        self.limit = limit
        self.since = since
        self._begin = begin
        self._skip = skip  # answers until the queue of the server is that of this level
        self._needed = needed
        self._ok = 0
        self._ok_s = 0.0
        self._squares = 0.0
        self._all_s = 0.0
        self._tries = 0
        self._lost = 0

    def add(self, ok: bool, latency_s: float, now: float) -> bool:
        """Whether the round is complete. What was sent before it does not belong to it."""
        if now - latency_s < self.since:
            return False
        self._tries += 1
        if self._skip > 0:
            self._skip -= 1
            self._begin = now
            return False
        self._all_s += latency_s
        if ok:
            self._ok += 1
            self._ok_s += latency_s
            self._squares += latency_s * latency_s
        return self._ok >= self._needed

    def loses(self, latency_s: float, now: float) -> bool:
        """One more connection broke. Whether they are too many for bad luck."""
        if now - latency_s < self.since:
            return False
        self._tries += 1
        self._lost += 1
        least, share = _LOST
        return self._lost >= least and self._lost >= share * self._tries

    def throughput(self, now: float) -> float | None:
        """The logarithm of answers a second; None when there were fewer requests than the limit."""
        elapsed_s = now - self._begin
        if self._ok_s <= 0 or self._all_s < _STARVED * self.limit * elapsed_s:
            return None
        return math.log(self.limit * self._ok / self._ok_s)

    def spread(self) -> float:
        """The variance of the latencies, in parts of the square of their mean."""
        return max(0.0, self._squares * self._ok / (self._ok_s * self._ok_s) - 1) if self._ok_s else 0.0


class _Gains:
    """The gain in throughput from one level to another: the mean of the last few comparisons."""

    __slots__ = ("_levels", "_means")

    def __init__(self, levels: tuple[int, ...]) -> None:
        self._levels = levels
        self._means: dict[tuple[int, int], tuple[float, int]] = {}

    def is_worth(self, low: int, high: int, gain: float) -> bool:
        """Take in a gain, and say whether high is to be preferred: 5 % for each 25 % more in flight."""
        mean, count = self._means.get((low, high), (gain, 0))
        if abs(gain - mean) > _FORGOTTEN:
            mean, count = gain, 0
        count = min(count + 1, _MEMORY)
        mean += (gain - mean) / count
        self._means[low, high] = mean, count
        steps = math.log(self._levels[high] / self._levels[low], STEP)
        return mean >= steps * math.log(GROWTH)


class Auto(Capacity):
    """`-j auto`: looks for the lowest level from which one step more gains less than 5 %."""

    __slots__ = (
        "_at",
        "_base",
        "_ceiling",
        "_ceiling_rest",
        "_ceiling_rounds",
        "_clean",
        "_direction",
        "_failures",
        "_from",
        "_gains",
        "_levels",
        "_patience",
        "_rest",
        "_round",
        "_spread",
        "_stride",
    )

    def __init__(self, maximum: int = MAXIMUM) -> None:
        self._levels = levels(maximum)
        self._at = min(START, len(self._levels)) - 1
        super().__init__(self._levels[self._at])
        self._spread = 0.0  # of the latencies in the last round
        self._gains = _Gains(self._levels)
        self._from: int | None = None  # the base, during a probe
        self._base: float | None = None  # its throughput
        self._direction = 1
        self._stride = _LONGEST_STRIDE
        self._failures = 0  # directions in a row that led nowhere
        self._patience = 1
        self._rest = 0  # rounds before the next probe
        self._ceiling = len(self._levels)  # the level that was refused: not to be tried
        self._ceiling_rounds = _CEILING[0]
        self._ceiling_rest = 0
        self._clean = True  # a round was completed since the last refusal
        self._round = _Round(self.limit, 0.0, 0.0, 0, self._needed())

    def finished(self, ok: bool, overloaded: bool, latency_s: float, now: float) -> None:
        if overloaded:
            if now - latency_s >= self._round.since:  # else it was sent at a level left already
                self._refused(now)
        elif self._round.add(ok, latency_s, now):
            self._measured(self._round.throughput(now), now)

    def lost(self, latency_s: float, now: float) -> None:
        """Some servers do not say 429: what they have no room for they reset."""
        if self._round.loses(latency_s, now):
            self._refused(now)

    def _refused(self, now: float) -> None:
        """Back to the base that was good, or two levels (a third) down from one that is good no more.

        The level is a ceiling for a while, twice as long each time it is found again. Where not one
        round went well since the last refusal it is not the level, nor is it at 1: a server that
        refuses everything for a while must not leave us down there.
        """
        if self._clean and self._at > 0:
            again = self._at >= self._ceiling
            self._ceiling_rounds = min(2 * self._ceiling_rounds, _CEILING[1]) if again else _CEILING[0]
            self._ceiling, self._ceiling_rest = self._at, self._ceiling_rounds
        else:
            self._ceiling, self._ceiling_rest = len(self._levels), 0
        base = self._from
        below = base if base is not None and base < self._at else max(0, self._at - 2)
        self._stride = self._direction = 1
        self._failures = self._rest = 0
        self._base = self._from = None
        self._clean = False
        self._go(below, now)

    def _measured(self, throughput: float | None, now: float) -> None:
        self._lower_guard()
        self._spread = self._round.spread()
        if throughput is None:
            self._base = None
            self._go(self._at if self._from is None else self._from, now)
            self._from = None
        elif self._from is None:
            self._hold(throughput, now)
        else:
            self._compare(self._from, throughput, now)

    def _lower_guard(self) -> None:
        """One more round without a refusal."""
        self._clean = True
        if self._ceiling_rest:
            self._ceiling_rest -= 1
        elif self._at >= self._ceiling:
            self._ceiling, self._ceiling_rounds = len(self._levels), _CEILING[0]

    def _hold(self, throughput: float, now: float) -> None:
        """A round at the base is over: rest, or probe."""
        if self._base is not None and abs(throughput - self._base) > _CHANGED:
            self._rest, self._patience = 0, 1
        self._base = throughput
        if self._rest:
            self._rest -= 1
            self._go(self._at, now)
        else:
            self._probe(now)

    def _compare(self, base: int, throughput: float, now: float) -> None:
        """A round at a probe is over: stay there and go on, or go back."""
        assert self._base is not None
        low, high = sorted((base, self._at))
        gain = throughput - self._base if self._at == high else self._base - throughput
        self._from = None
        if self._gains.is_worth(low, high, gain) == (self._at == high):
            self._base = throughput
            self._stride = min(self._stride + 1, _LONGEST_STRIDE)
            self._failures, self._patience = 0, 1
            self._probe(now)
            return
        if self._stride > 1:
            self._stride = 1
        else:
            self._turn_round()
        self._go(base, now)

    def _turn_round(self) -> None:
        self._direction = -self._direction
        self._failures += 1
        if self._failures >= 2:
            self._failures = 0
            self._rest = self._patience
            self._patience = min(2 * self._patience, _PATIENCE)

    def _probe(self, now: float) -> None:
        """Set out for another level; where there is none in this direction, that is a probe that failed."""
        top = len(self._levels) - 1
        if self._ceiling_rest:
            top = min(top, self._ceiling - 1)
        target = min(max(0, self._at + self._direction * self._stride), max(top, self._at))
        if target == self._at:
            self._stride = 1
            self._turn_round()
            self._go(self._at, now)
            return
        self._from = self._at
        self._go(target, now)

    def _go(self, level: int, now: float) -> None:
        """The next round. At the same level it goes on from the last one, at another it begins anew."""
        since, skip = self._round.since, 0
        if level != self._at:
            self._at = level
            self.limit = skip = self._levels[level]
            since = now
        self._round = _Round(self.limit, since, now, skip, self._needed())

    def _needed(self) -> int:
        """Answers in a round: few where a doubling is to be seen, more the more uneven they are."""
        share = 4 if self._stride > 1 else 1
        needed = min(max(_SAMPLES, _SAMPLES * self._spread / _SPREAD), _MOST) / share
        return max(int(needed), 2 * self.limit)
