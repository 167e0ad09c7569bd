"""The capacity of a server, estimated at the start of a run, while the number in flight doubles.

A server with room for n requests finishes them no faster when more are in flight: the time in flight
for each answer then grows with their number. The rounds measured so far tell how likely each capacity
is, whatever the mean and the spread of the answer times (Bayes' rule):

    round -> likelihood of each capacity -> as many in flight as it can probably use -> round -> ...
                                         -> one capacity is clearly the most likely: the search ends

Even answers need one round a step, uneven ones several. Pure: now is the reading of a monotonic clock.
"""

from __future__ import annotations

import math
from itertools import accumulate

from chatpipe.named_tuple import NamedTuple

_RATIO = 1.12  # of neighbouring capacities that are compared
_PROBABLE = 0.4  # the next round has as many in flight as the capacity is below with this probability
_EXCESS = 1.25  # times the median capacity, to which an excess falls
_MOST_GROWTH = (2.0, 2.5)  # ratio of the next limit to the highest before: of the second limit, of later ones
_MOST_DECLINE = 0.5
_PRECISION = 0.2  # standard deviation of the logarithm of the capacity that ends the search
_MOST_ROUNDS = 40
_UNCHANGED = (3, 32)  # rounds, and answers for a variance of 1, at a limit that stays: the search ends
_MIN_USE = 0.8  # share of the limit: with fewer in flight, a round says nothing
# The relative variance that counts for perfectly even answers: they come in bursts, of which a round
# may hold a part too many.
_LEAST_VARIANCE = 0.2


class _Sample(NamedTuple):
    """A round: the mean number in flight, the good answers, and the seconds in flight of all requests."""

    in_flight: float
    answers: int
    seconds: float


class CapacitySearch:
    """The search from a first limit to at most most requests in flight.

    limit is the number that may be in flight now. capacity is None until the search is over. tried is the
    highest limit of a whole round.
    """

    __slots__ = (
        "_answers",
        "_count",
        "_due",
        "_last",
        "_rounds",
        "_samples",
        "_seconds",
        "_since",
        "_squares",
        "_sum",
        "_values",
        "capacity",
        "limit",
        "most",
        "tried",
    )

    def __init__(self, limit: int, most: int) -> None:
        self.limit = limit
        self.most = most
        self.capacity: float | None = None
        self.tried = 0
        self._values = _capacities(most)
        self._samples: list[_Sample] = []
        self._rounds = 0
        # Of the latencies: the earlier ones count less, because requests may have queued.
        self._count = self._sum = self._squares = 0.0
        self._since: float | None = None  # the begin of the round
        self._last = 0.0
        self._answers = 0
        self._seconds = 0.0
        self._due = limit  # answers that complete the round

    def add(self, latency_s: float, in_flight: int, now: float, *, is_good: bool) -> None:
        """Learn from a reply. in_flight counts its request and all others at the server."""
        if self._since is None:
            self._since = self._last = now - latency_s
        self._seconds += in_flight * (now - self._last)
        self._last = now
        if not is_good:
            return
        self._answers += 1
        self._count += 1
        self._sum += latency_s
        self._squares += latency_s * latency_s
        if self._answers < self._due:
            return
        elapsed_s = now - self._since
        if elapsed_s <= latency_s / 2 or self._seconds < _MIN_USE * self.limit * elapsed_s:
            self._start_round(self.limit)  # the answers of a moment are no rate
        else:
            self._due += self.limit
            self._finish_round(elapsed_s)

    def _finish_round(self, elapsed_s: float) -> None:
        self._rounds += 1
        growth = _MOST_GROWTH[bool(self._samples)]
        self.tried = max(self.tried, self.limit)
        sample = _Sample(self._seconds / elapsed_s, self._answers, self._seconds)
        likely = self._probabilities([*self._samples, sample])
        logs = [math.log(value) for value in self._values]
        mean = sum(each * log for each, log in zip(likely, logs, strict=True))
        variance = sum(each * (log - mean) ** 2 for each, log in zip(likely, logs, strict=True))
        probable = self._quantile(likely, _PROBABLE)
        if (
            (variance <= _PRECISION**2 and mean <= math.log(self.limit))
            or (self.limit >= self.most and probable >= self.most)
            or self._rounds > _MOST_ROUNDS
        ):
            self.capacity = probable
            return
        target = min(int(probable), int(growth * self.tried), self.most)
        if target <= self.limit:
            excess = int(_EXCESS * self._quantile(likely, 0.5))
            target = max(1, min(self.limit, excess), int(_MOST_DECLINE * self.limit))
        if target == self.limit:
            rounds, answers = _UNCHANGED
            if self._answers >= max(rounds * self.limit, answers * self._variance()):
                self.capacity = probable
        else:
            self._samples.append(sample)
            self._start_round(target)

    def _start_round(self, limit: int) -> None:
        if limit > self.limit:
            self._count, self._sum, self._squares = self._count / 2, self._sum / 2, self._squares / 2
        self.limit = self._due = limit
        self._since = self._last
        self._answers = 0
        self._seconds = 0.0

    def _variance(self) -> float:
        """Variance of the latencies, relative to the square of their mean."""
        if self._count < 2 or not self._sum:
            return 1.0
        relative = self._squares * self._count / (self._sum * self._sum) - 1
        return max(_LEAST_VARIANCE, relative * self._count / (self._count - 1))

    def _probabilities(self, samples: list[_Sample]) -> list[float]:
        """The probability of each capacity. Before the first sample all are equally likely.

        Without a queue an answer takes base seconds, otherwise base * in_flight / capacity. The sum of
        many is taken as gamma distributed, with the variance of the latencies. base is unknown and
        integrated out, with the prior 1 / base.
        """
        weight = 1 / self._variance()
        answers = weight * sum(sample.answers for sample in samples)
        logs = []
        for capacity in self._values:
            seconds = log = 0.0
            for sample in samples:
                queued = max(1.0, sample.in_flight / capacity)
                seconds += weight * sample.seconds / queued
                log -= weight * sample.answers * math.log(queued)
            logs.append(log - answers * math.log(seconds))
        highest = max(logs)
        shares = [math.exp(log - highest) for log in logs]
        total = sum(shares)
        return [share / total for share in shares]

    def _quantile(self, likely: list[float], probability: float) -> float:
        pairs = zip(self._values, accumulate(likely), strict=True)
        return next((value for value, below in pairs if below >= probability), self._values[-1])


def _capacities(most: int) -> list[float]:
    """The capacities that are compared: 1, 2, 3 ... 9, 10.08, 11.29 ... most."""
    values = [1.0]
    while (value := max(values[-1] + 1, values[-1] * _RATIO)) < most:
        values.append(value)
    return values if most <= 1 else [*values, float(most)]
