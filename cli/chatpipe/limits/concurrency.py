"""Concurrency limits: a fixed number of requests in flight, or one that adapts to the server.

A full server refuses requests (429), resets connections, or queues. Only the throughput reveals a
queue: with more requests in flight each one takes longer and no more get done. The adaptive limit
first searches the capacity (limits/capacity.py), up to the first refusal. Then it compares the
throughput of neighbouring levels, until the difference is clear:

    round at the base -> round at a probe, up or down -> keep the probe or go back -> ...

When neither direction is better, it keeps the base for a while. Throughput is the number in flight
divided by the mean latency (Little's law). Unlike a count of answers per second, this is not
distorted by answers that arrive in bursts. Pure: now is the reading of a monotonic clock.
"""

from __future__ import annotations

import math
from bisect import bisect_left, bisect_right

from chatpipe.limits.capacity import CapacitySearch
from chatpipe.named_tuple import NamedTuple

START = 4
_MAXIMUM = 256
_STEP = 1.25  # ratio of neighbouring levels: a choice one level off is within 70 % to 150 % of the best
_GROWTH = 1.05  # throughput ratio that makes a step worthwhile
_MAX_STRIDE = 2  # levels per probe while probes succeed: half as many again
_LINEAR = 0.75  # share of the ratio of two levels that throughput must gain for a longer stride
# Good answers in a round: for a variance of 1 relative to the square of the mean, at least, and at most.
# With so many at two neighbouring levels, a step that is worthwhile shows by twice the standard error.
_SAMPLES = 300
_LEAST_SAMPLES = 16
_MAX_SAMPLES = 512
# The standard errors between a gain and the threshold that decide a probe, and the number of probes
# without such evidence that are repeated.
_EVIDENCE = 2.0
_MOST_UNDECIDED = 3
_MAX_REST = 8  # rounds without a probe
_FIRST_REST = 4  # the same after the search of the capacity
# The level after the search is this much above the capacity: a queue that is short costs nothing.
_MARGIN = 1.2
_REFUSED_ROUNDS = (8, 64)  # rounds for which a refused level is not tried again: first, and at most
_SERVER_CHANGED = 0.15  # change of the base's log throughput that invalidates its measurements
_FALL = 0.5  # fall of the base's log throughput after which the capacity is searched again
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

    def record_finished(self, latency_s: float, in_flight: int, now: float, *, is_good: bool) -> None:
        """Record a reply. in_flight counts its request and all others at the server.

        is_good: it is an answer, in contrast to a fault of the request itself.
        """

    def record_overload(self, latency_s: float, now: float) -> None:
        """Record an attempt that the server had no room or no time for: a 429, a 503 or a time-out."""

    def record_lost(self, latency_s: float, now: float) -> None:
        """Record an attempt without a complete reply: its connection was refused, reset or cut."""


def levels(maximum: int) -> tuple[int, ...]:
    """The limits that an adaptive run may try: 1, 2, 3, 4, 5, 6, 8, 10, 12, 15, 19 ... maximum."""
    limits = [1]
    while limits[-1] < maximum:
        limits.append(min(maximum, max(limits[-1] + 1, round(limits[-1] * _STEP))))
    return tuple(limits)


class _Measured(NamedTuple):
    """A logarithm of answers per second, and the variance of this estimate."""

    throughput: float
    variance: float

    def combined(self, other: _Measured) -> _Measured:
        """The mean of two estimates, the better one with more weight, as if of _MAX_SAMPLES at most."""
        total = self.variance + other.variance
        if not total:
            return self
        mean = (self.throughput * other.variance + other.throughput * self.variance) / total
        return _Measured(mean, max(self.variance * other.variance / total, self.variance / 4))


class _Round:
    """Statistics of the answers to requests sent at one level, which was set at since."""

    __slots__ = (
        "_all_s",
        "_attempts",
        "_begin",
        "_good",
        "_good_s",
        "_lost",
        "_skip",
        "_squares",
        "limit",
        "since",
    )

    def __init__(self, limit: int, since: float, begin: float, skip: int) -> None:
        self.limit = limit
        self.since = since
        self._begin = begin
        self._skip = skip  # answers until the server's queue reflects this level
        self._good = 0
        self._good_s = 0.0
        self._squares = 0.0
        self._all_s = 0.0
        self._attempts = 0
        self._lost = 0

    def add(self, latency_s: float, now: float, *, is_good: bool) -> bool:
        """Add a reply; return True if it is an answer that counts. Requests sent before since do not."""
        if now - latency_s < self.since:
            return False
        self._attempts += 1
        if self._skip > 0:
            self._skip -= 1
            self._begin = now
            return False
        self._all_s += latency_s
        if is_good:
            self._good += 1
            self._good_s += latency_s
            self._squares += latency_s * latency_s
        return is_good

    def add_lost(self, latency_s: float, now: float) -> bool:
        """Add a broken connection; return True if there are too many of them to be bad luck."""
        if now - latency_s < self.since:
            return False
        self._attempts += 1
        self._lost += 1
        least, share = _LOSS_LIMIT
        return self._lost >= least and self._lost >= share * self._attempts

    def is_in_use(self, now: float) -> bool:
        """True if enough requests were in flight for the limit to determine the throughput."""
        return self._good_s > 0 and self._all_s >= _MIN_USE * self.limit * (now - self._begin)

    def variance(self) -> float:
        """Variance of the latencies, relative to the square of their mean."""
        return (
            max(0.0, self._squares * self._good / (self._good_s * self._good_s) - 1) if self._good_s else 0.0
        )

    def is_enough(self, samples: int) -> bool:
        """True after this number of good answers, and one for each request in flight."""
        return self._good >= max(samples, self.limit)

    def measured(self) -> _Measured:
        """The mean as far as it is known: the round need not be complete."""
        return _Measured(math.log(self.limit * self._good / self._good_s), self.variance() / self._good)


class _Gains:
    """Gains in log throughput between pairs of levels, each the mean of the last few comparisons."""

    __slots__ = ("_means",)

    def __init__(self) -> None:
        self._means: dict[tuple[int, int], tuple[float, int]] = {}

    def add(self, low: int, high: int, gain: float) -> float:
        """Add a measured gain; return the mean."""
        mean, count = self._means.get((low, high), (gain, 0))
        if abs(gain - mean) > _GAIN_CHANGED:
            mean, count = gain, 0
        count = min(count + 1, _MAX_GAIN_WEIGHT)
        mean += (gain - mean) / count
        self._means[low, high] = mean, count
        return mean


class _RefusedLevel:
    """The level that the server refused last. For a number of rounds, it and those above are not tried.

    The number is twice as high each time it is refused again. No level is refused at first.
    """

    __slots__ = ("_level", "_rest", "_rounds")

    def __init__(self) -> None:
        self._level: int | None = None
        self._rounds = _REFUSED_ROUNDS[0]
        self._rest = 0  # rounds left

    def refuse(self, level: int) -> None:
        first, most = _REFUSED_ROUNDS
        is_again = self._level is not None and level >= self._level
        self._rounds = min(2 * self._rounds, most) if is_again else first
        self._level, self._rest = level, self._rounds

    def forget(self) -> None:
        self._level, self._rest = None, 0

    def age(self, level: int) -> None:
        """Count a round without a refusal. One at the level or above, after the rest, forgets it."""
        if self._rest:
            self._rest -= 1
        elif self._level is not None and level >= self._level:
            self._level, self._rounds = None, _REFUSED_ROUNDS[0]

    def top(self, level: int) -> int:
        """Return the highest level up to this one that may be tried."""
        return min(level, self._level - 1) if self._level is not None and self._rest else level


class AdaptiveLimit(ConcurrencyLimit):
    """The adaptive limit of `-j auto`: the lowest level from which one more step gains less than 5 %."""

    __slots__ = (
        "_at",
        "_base",
        "_base_measured",
        "_direction",
        "_failures",
        "_gains",
        "_has_evidence",
        "_is_clean",
        "_levels",
        "_most",
        "_next_rest",
        "_refused",
        "_rest",
        "_round",
        "_search",
        "_stride",
        "_undecided",
    )

    def __init__(self, maximum: int = _MAXIMUM) -> None:
        self._levels = levels(maximum)
        self._at = min(START, len(self._levels)) - 1
        super().__init__(self._levels[self._at])
        self._search: CapacitySearch | None = CapacitySearch(self.limit, maximum)  # at the start
        self._most = maximum  # the bound from outside
        self._gains = _Gains()
        self._base: int | None = None  # the level to return to, during a probe
        self._base_measured: _Measured | None = None
        self._direction = 1
        self._stride = _MAX_STRIDE
        self._failures = 0  # consecutive directions without a gain
        self._next_rest = 1  # rounds to rest once both directions have failed
        self._has_evidence = False  # the probe is better or worse beyond doubt
        self._undecided = 0  # probes in a row without evidence
        self._rest = 0  # rounds left before the next probe
        self._refused = _RefusedLevel()
        self._is_clean = True  # a round was completed since the last refusal
        self._round = _Round(self.limit, 0.0, 0.0, 0)

    def record_finished(self, latency_s: float, in_flight: int, now: float, *, is_good: bool) -> None:
        counts = self._round.add(latency_s, now, is_good=is_good)
        if self._search is not None:
            self._search.add(latency_s, in_flight, now, is_good=is_good)
            self._follow_search(self._search, now)
        elif counts and self._is_decided():
            self._finish_round(self._round.measured() if self._round.is_in_use(now) else None, now)

    def record_overload(self, latency_s: float, now: float) -> None:
        if now - latency_s >= self._round.since:  # else it was sent at an earlier level
            self._step_down(now)

    def _follow_search(self, search: CapacitySearch, now: float) -> None:
        self.limit = search.limit
        if search.capacity is not None:
            self._search = None
            self._stride, self._direction, self._next_rest = 1, -1, _FIRST_REST
            level = bisect_left(self._levels, _MARGIN * search.capacity)
            self._start_round(min(level, self._top()), now)

    def record_lost(self, latency_s: float, now: float) -> None:
        """Some servers never send 429: they reset the connections that they have no room for."""
        if self._round.add_lost(latency_s, now):
            self._step_down(now)

    def bound(self, most: int | None, now: float) -> None:
        """Keep the limit at most this from now on, None for MAX only.

        It lowers the limit at once, and never raises it: only the throughput does.
        """
        self._most = self._levels[-1] if most is None else max(1, min(most, self._levels[-1]))
        top = self._top()
        if self._search is not None:
            self._search.most = self._most
            if self.limit <= self._most:
                return
            self._search = None
            self._start_round(top, now)
            return
        base = self._at if self._base is None else self._base
        if max(self._at, base) > top:
            self._base = self._base_measured = None
            self._start_round(min(base, top), now)
        elif self.limit > self._most:
            self._start_round(self._at, now)

    def _top(self) -> int:
        """The highest level that the bound permits. It may be cut to the bound."""
        return bisect_left(self._levels, self._most)

    def _step_down(self, now: float) -> None:
        """Return to a lower base after a refusal, or drop two levels (a third) from a refused base.

        The refused level is then not tried for a while, with two exceptions: no round was completed since
        the last refusal, or it is the lowest level. Then the level is not the cause, and a server that
        refuses everything for a while must not keep the limit down.
        """
        if self._search is not None:
            self._at = bisect_left(self._levels, self.limit)
            if tried := self._search.tried:
                self._base = bisect_right(self._levels, min(tried, self.limit - 1)) - 1
            self._search = None
        if self._is_clean and self._at > 0:
            self._refused.refuse(self._at)
        else:
            self._refused.forget()
        base = self._base
        below = base if base is not None and base < self._at else max(0, self._at - 2)
        self._stride = self._direction = 1
        self._failures = self._rest = 0
        self._base_measured = self._base = None
        self._is_clean = False
        self._start_round(below, now)

    def _is_decided(self) -> bool:
        """True once the round has enough answers.

        A probe goes on until its gain differs from the one that makes it worthwhile by twice the
        standard error: soon for even answers and long strides, late for uneven ones.
        """
        current, base = self._round, self._base
        if base is None or self._base_measured is None:
            samples = _SAMPLES * current.variance() / self._stride**2
            return current.is_enough(int(min(max(_LEAST_SAMPLES, samples), _MAX_SAMPLES)))
        if not current.is_enough(_LEAST_SAMPLES):
            return False
        measured, before = current.measured(), self._base_measured
        low, high = sorted((base, self._at))
        gain = measured.throughput - before.throughput
        distance = (gain if self._at == high else -gain) - self._worthwhile(low, high)
        self._has_evidence = abs(distance) >= _EVIDENCE * math.sqrt(measured.variance + before.variance)
        # Without evidence, more answers help at the level of which less is known.
        return (
            self._has_evidence or measured.variance < before.variance / 2 or current.is_enough(_MAX_SAMPLES)
        )

    def _finish_round(self, measured: _Measured | None, now: float) -> None:
        self._is_clean = True
        self._refused.age(self._at)
        if measured is None:
            self._base_measured = None
            self._start_round(self._at if self._base is None else self._base, now)
            self._base = None
        elif self._base is None:
            self._finish_base(measured, now)
        else:
            self._finish_probe(self._base, measured, now)

    def _finish_base(self, measured: _Measured, now: float) -> None:
        """Rest or probe after a round at the base."""
        before = self._base_measured
        self._base_measured = measured
        if before is not None:
            change = measured.throughput - before.throughput
            doubt = 2 * _EVIDENCE * math.sqrt(measured.variance + before.variance)
            if change < -max(_FALL, doubt):
                self._search_again(self.limit * math.exp(change), now)
                return
            if abs(change) > max(_SERVER_CHANGED, doubt):
                self._rest, self._next_rest = 0, 1
                self._direction = 1 if change > 0 else -1
                self._stride = _MAX_STRIDE
            else:
                self._base_measured = measured.combined(before)
        if self._rest:
            self._rest -= 1
            self._start_round(self._at, now)
        else:
            self._probe(now)

    def _search_again(self, limit: float, now: float) -> None:
        self._start_round(bisect_left(self._levels, limit), now)
        self._base_measured = None
        self._search = CapacitySearch(self.limit, self._most)

    def _finish_probe(self, base: int, measured: _Measured, now: float) -> None:
        """Keep the probed level and probe further, or go back to the base."""
        assert self._base_measured is not None
        if not self._has_evidence and self._undecided < _MOST_UNDECIDED:
            self._undecided += 1
            self._base = None
            self._start_round(base, now)
            return
        self._undecided = 0
        low, high = sorted((base, self._at))
        difference = measured.throughput - self._base_measured.throughput
        gain = difference if self._at == high else -difference
        self._base = None
        if (self._gains.add(low, high, gain) >= self._worthwhile(low, high)) == (self._at == high):
            self._base_measured = measured
            # A gain far below the ratio of the levels means that requests have begun to queue.
            is_linear = gain >= _LINEAR * self._log_ratio(low, high)
            self._stride = min(self._stride + 1, _MAX_STRIDE) if is_linear else 1
            self._failures, self._next_rest = 0, 1
            self._probe(now)
            return
        if self._stride > 1:
            self._stride -= 1
        else:
            self._reverse()
        self._start_round(base, now)

    def _worthwhile(self, low: int, high: int) -> float:
        """The least gain in log throughput that makes high better: 5 % for each 25 % more in flight."""
        return self._log_ratio(low, high) / math.log(_STEP) * math.log(_GROWTH)

    def _log_ratio(self, low: int, high: int) -> float:
        return math.log(min(self._levels[high], self._most) / self._levels[low])

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
        top = self._refused.top(self._top())
        target = min(max(0, self._at + self._direction * self._stride), max(top, self._at))
        if target == self._at:
            self._stride = 1
            self._reverse()
            self._start_round(self._at, now)
            return
        self._base = self._at
        self._start_round(target, now)

    def _start_round(self, level: int, now: float) -> None:
        """Start the next round. Only another limit resets since and skips answers."""
        since, skip = self._round.since, 0
        self._at = level
        limit = min(self._levels[level], self._most)
        if limit != self.limit:
            self.limit = skip = limit
            since = now
        self._round = _Round(self.limit, since, now, skip)
