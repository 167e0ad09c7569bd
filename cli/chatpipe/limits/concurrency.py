"""Concurrency limits: a fixed number of requests in flight, or one that adapts to the server.

A full server refuses requests (429), resets connections, or queues. Only the throughput reveals a
queue: with more requests in flight each one takes longer and no more get done. The adaptive limit
therefore compares the throughput of neighbouring levels, one round of requests each:

    round at the base -> round at a probe, up or down -> keep the probe or go back -> ...

When neither direction is better, it keeps the base for a while. Throughput is the number in flight
divided by the mean latency (Little's law). Unlike a count of answers per second, this is not
distorted by answers that arrive in bursts. Pure: now is the reading of a monotonic clock.
"""

from __future__ import annotations

import math

START = 4
MAXIMUM = 256
STEP = 1.25  # ratio of neighbouring levels: a choice one level off is within 70 % to 150 % of the best
GROWTH = 1.05  # throughput ratio that makes a step worthwhile
_MAX_STRIDE = 3  # levels per probe while probes succeed: about a doubling
# Answers in a round while the relative variance of their latencies is at most _MAX_VARIANCE: a
# deviation of 32 %, so 4 % in the mean. A larger variance needs more answers, up to _MAX_SAMPLES.
_SAMPLES = 64
_MAX_SAMPLES = 384
_MAX_VARIANCE = 0.1
_MAX_REST = 8  # rounds without a probe
_CEILING_ROUNDS = (8, 64)  # rounds for which a refused level is not tried again: first, and at most
_SERVER_CHANGED = 0.15  # change of the base's log throughput that invalidates its measurements
_GAIN_CHANGED = 0.2  # deviation of a gain from its mean that makes the mean out of date
_MAX_GAIN_WEIGHT = 4  # comparisons averaged into one gain
# Lost attempts in a round, and their share, that count as a refusal: a level that is too high loses
# a fifth of its attempts, bad luck rarely that many.
_LOSS_LIMIT = (5, 1 / 6)
_MIN_USE = 0.5  # share of the limit: with fewer in flight, the limit does not determine the throughput


class ConcurrencyLimit:
    """The fixed limit of `-j N`: limit is the number of requests that may be in flight now."""

    __slots__ = ("limit",)

    def __init__(self, limit: int) -> None:
        self.limit = limit

    def record_finished(self, ok: bool, overloaded: bool, latency_s: float, now: float) -> None:
        """Record the end of a request.

        overloaded is for a 429, a 503 or a time-out. For a fault of the request itself both ok and
        overloaded are False.
        """

    def record_lost(self, latency_s: float, now: float) -> None:
        """Record an attempt without a complete reply: its connection was refused, reset or cut."""


def levels(maximum: int) -> tuple[int, ...]:
    """The limits that an adaptive run may try: 1, 2, 3, 4, 5, 6, 8, 10, 12, 15, 19 ... maximum."""
    limits = [1]
    while limits[-1] < maximum:
        limits.append(min(maximum, max(limits[-1] + 1, round(limits[-1] * STEP))))
    return tuple(limits)


class _Round:
    """Statistics of the answers to requests sent at one level, which was set at since."""

    __slots__ = (
        "_all_s",
        "_attempts",
        "_begin",
        "_lost",
        "_needed",
        "_ok",
        "_ok_s",
        "_skip",
        "_squares",
        "limit",
        "since",
    )

    def __init__(self, limit: int, since: float, begin: float, skip: int, needed: int) -> None:
        self.limit = limit
        self.since = since
        self._begin = begin
        self._skip = skip  # answers until the server's queue reflects this level
        self._needed = needed
        self._ok = 0
        self._ok_s = 0.0
        self._squares = 0.0
        self._all_s = 0.0
        self._attempts = 0
        self._lost = 0

    def add(self, ok: bool, latency_s: float, now: float) -> bool:
        """Add an answer; return True if the round is complete. Requests sent before since do not count."""
        if now - latency_s < self.since:
            return False
        self._attempts += 1
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

    def add_lost(self, latency_s: float, now: float) -> bool:
        """Add a broken connection; return True if there are too many of them to be bad luck."""
        if now - latency_s < self.since:
            return False
        self._attempts += 1
        self._lost += 1
        least, share = _LOSS_LIMIT
        return self._lost >= least and self._lost >= share * self._attempts

    def throughput(self, now: float) -> float | None:
        """Logarithm of the answers per second, or None if too few requests were in flight to tell."""
        elapsed_s = now - self._begin
        if self._ok_s <= 0 or self._all_s < _MIN_USE * self.limit * elapsed_s:
            return None
        return math.log(self.limit * self._ok / self._ok_s)

    def variance(self) -> float:
        """Variance of the latencies, relative to the square of their mean."""
        return max(0.0, self._squares * self._ok / (self._ok_s * self._ok_s) - 1) if self._ok_s else 0.0


class _Gains:
    """Gains in log throughput between pairs of levels, each the mean of the last few comparisons."""

    __slots__ = ("_levels", "_means")

    def __init__(self, levels: tuple[int, ...]) -> None:
        self._levels = levels
        self._means: dict[tuple[int, int], tuple[float, int]] = {}

    def add(self, low: int, high: int, gain: float) -> bool:
        """Add a measured gain; return True if high is better than low.

        It is when it gains 5 % for each 25 % more in flight.
        """
        mean, count = self._means.get((low, high), (gain, 0))
        if abs(gain - mean) > _GAIN_CHANGED:
            mean, count = gain, 0
        count = min(count + 1, _MAX_GAIN_WEIGHT)
        mean += (gain - mean) / count
        self._means[low, high] = mean, count
        steps = math.log(self._levels[high] / self._levels[low], STEP)
        return mean >= steps * math.log(GROWTH)


class AdaptiveLimit(ConcurrencyLimit):
    """The adaptive limit of `-j auto`: the lowest level from which one more step gains less than 5 %."""

    __slots__ = (
        "_at",
        "_base",
        "_base_throughput",
        "_ceiling",
        "_ceiling_rest",
        "_ceiling_rounds",
        "_direction",
        "_failures",
        "_gains",
        "_is_clean",
        "_levels",
        "_next_rest",
        "_rest",
        "_round",
        "_stride",
        "_variance",
    )

    def __init__(self, maximum: int = MAXIMUM) -> None:
        self._levels = levels(maximum)
        self._at = min(START, len(self._levels)) - 1
        super().__init__(self._levels[self._at])
        self._variance = 0.0  # of the latencies in the last round
        self._gains = _Gains(self._levels)
        self._base: int | None = None  # the level to return to, during a probe
        self._base_throughput: float | None = None
        self._direction = 1
        self._stride = _MAX_STRIDE
        self._failures = 0  # consecutive directions without a gain
        self._next_rest = 1  # rounds to rest once both directions have failed
        self._rest = 0  # rounds left before the next probe
        self._ceiling = len(self._levels)  # the level that the server refused
        self._ceiling_rounds = _CEILING_ROUNDS[0]
        self._ceiling_rest = 0  # rounds left in which levels from the ceiling up are not tried
        self._is_clean = True  # a round was completed since the last refusal
        self._round = _Round(self.limit, 0.0, 0.0, 0, self._needed())

    def record_finished(self, ok: bool, overloaded: bool, latency_s: float, now: float) -> None:
        if overloaded:
            if now - latency_s >= self._round.since:  # else it was sent at an earlier level
                self._step_down(now)
        elif self._round.add(ok, latency_s, now):
            self._finish_round(self._round.throughput(now), now)

    def record_lost(self, latency_s: float, now: float) -> None:
        """Some servers never send 429: they reset the connections that they have no room for."""
        if self._round.add_lost(latency_s, now):
            self._step_down(now)

    def _step_down(self, now: float) -> None:
        """Return to a lower base after a refusal, or drop two levels (a third) from a refused base.

        The refused level becomes a ceiling for a while, twice as long each time it is refused again.
        It does not if no round was completed since the last refusal, or if the level is 1: then the
        level is not the cause, and a server that refuses everything for a while must not keep the
        limit down.
        """
        if self._is_clean and self._at > 0:
            again = self._at >= self._ceiling
            self._ceiling_rounds = (
                min(2 * self._ceiling_rounds, _CEILING_ROUNDS[1]) if again else _CEILING_ROUNDS[0]
            )
            self._ceiling, self._ceiling_rest = self._at, self._ceiling_rounds
        else:
            self._ceiling, self._ceiling_rest = len(self._levels), 0
        base = self._base
        below = base if base is not None and base < self._at else max(0, self._at - 2)
        self._stride = self._direction = 1
        self._failures = self._rest = 0
        self._base_throughput = self._base = None
        self._is_clean = False
        self._start_round(below, now)

    def _finish_round(self, throughput: float | None, now: float) -> None:
        self._age_ceiling()
        self._variance = self._round.variance()
        if throughput is None:
            self._base_throughput = None
            self._start_round(self._at if self._base is None else self._base, now)
            self._base = None
        elif self._base is None:
            self._finish_base(throughput, now)
        else:
            self._finish_probe(self._base, throughput, now)

    def _age_ceiling(self) -> None:
        """Count a round without a refusal; a level at the ceiling that passes one removes it."""
        self._is_clean = True
        if self._ceiling_rest:
            self._ceiling_rest -= 1
        elif self._at >= self._ceiling:
            self._ceiling, self._ceiling_rounds = len(self._levels), _CEILING_ROUNDS[0]

    def _finish_base(self, throughput: float, now: float) -> None:
        """Rest or probe after a round at the base."""
        if self._base_throughput is not None and abs(throughput - self._base_throughput) > _SERVER_CHANGED:
            self._rest, self._next_rest = 0, 1
        self._base_throughput = throughput
        if self._rest:
            self._rest -= 1
            self._start_round(self._at, now)
        else:
            self._probe(now)

    def _finish_probe(self, base: int, throughput: float, now: float) -> None:
        """Keep the probed level and probe further, or go back to the base."""
        assert self._base_throughput is not None
        low, high = sorted((base, self._at))
        before = self._base_throughput
        gain = throughput - before if self._at == high else before - throughput
        self._base = None
        if self._gains.add(low, high, gain) == (self._at == high):
            self._base_throughput = throughput
            self._stride = min(self._stride + 1, _MAX_STRIDE)
            self._failures, self._next_rest = 0, 1
            self._probe(now)
            return
        if self._stride > 1:
            self._stride = 1
        else:
            self._reverse()
        self._start_round(base, now)

    def _reverse(self) -> None:
        """Probe in the other direction; rest once both have failed."""
        self._direction = -self._direction
        self._failures += 1
        if self._failures >= 2:
            self._failures = 0
            self._rest = self._next_rest
            self._next_rest = min(2 * self._next_rest, _MAX_REST)

    def _probe(self, now: float) -> None:
        """Start a round at another level. A direction without another level counts as a failed probe."""
        top = len(self._levels) - 1
        if self._ceiling_rest:
            top = min(top, self._ceiling - 1)
        target = min(max(0, self._at + self._direction * self._stride), max(top, self._at))
        if target == self._at:
            self._stride = 1
            self._reverse()
            self._start_round(self._at, now)
            return
        self._base = self._at
        self._start_round(target, now)

    def _start_round(self, level: int, now: float) -> None:
        """Start the next round. Only another level resets since and skips answers."""
        since, skip = self._round.since, 0
        if level != self._at:
            self._at = level
            self.limit = skip = self._levels[level]
            since = now
        self._round = _Round(self.limit, since, now, skip, self._needed())

    def _needed(self) -> int:
        """Good answers that complete a round.

        Few are enough to see the effect of a long stride. Uneven latencies need more.
        """
        divisor = 4 if self._stride > 1 else 1
        samples = min(max(_SAMPLES, _SAMPLES * self._variance / _MAX_VARIANCE), _MAX_SAMPLES)
        return max(int(samples / divisor), 2 * self.limit)
