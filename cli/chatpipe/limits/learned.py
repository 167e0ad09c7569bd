"""The rate of requests that a server admits, learned from its refusals, or as it reports it.

A server with a limit per minute refuses whatever the number in flight. When it has refused everything at
it, the next answer shows the rate: that of the answers since the time before. The rate grows with each
answer, and faster the longer nothing is refused. A server that refuses one in ten whatever the rate has none.
A server that reports how fast its limit refills needs to refuse nothing.
Pure: now is the reading of a monotonic clock.
"""

from __future__ import annotations

import math
from collections import deque

# The most that one refusal takes from the rate, and the least.
_DECREASE = (1 / 3, 0.85)
# Growth of the rate with an answer, and the number of answers that doubles this. After a decrease of
# 15 % it takes some fifty answers to reach the old rate.
_GROWTH = 0.002
_STEADY = 32
# Our rate grows a little beyond that of the server all the time, which is no reason for a pause.
_FAR = 1.25
_UNLIMITED = 1e5  # a second: no client sends as many
# At a limit there are some fifty answers from one decrease to the next. If there are far fewer for so many
# decreases, the refusals do not depend on the rate, and for a while they say nothing about it.
_DECREASES = 5
_FEWEST_ANSWERS = 20 * _DECREASES
_IGNORED_ANSWERS = 2000


class LearnedRate:
    """A rate in requests per second, None until the server has refused everything at once, or reported it."""

    __slots__ = (
        *("_answers", "_between", "_ignored", "_is_refused", "_is_used", "_next", "_since", "_steady"),
        "rate",
    )

    def __init__(self) -> None:
        self.rate: float | None = None
        self._answers = 0  # since the last decrease, which was at _since
        self._between: deque[int] = deque(maxlen=_DECREASES)  # answers before each of the last decreases
        self._ignored = 0  # answers during which refusals say nothing
        self._since = 0.0
        self._is_refused = False
        self._is_used = False  # the last request had to wait for the rate
        self._steady = 0
        self._next = 0.0

    def opens_at(self) -> float:
        """Earliest start of the next request."""
        return self._next if self.rate is not None else 0.0

    def book(self, start: float) -> None:
        if not self._since:
            self._since = start
        if self.rate is not None:
            self._is_used = self._next >= start
            self._next = start + 1 / self.rate

    def gap_s(self, now: float) -> float:
        """Seconds between two requests that the server admits, as far as is known."""
        if self.rate is not None:
            return 1 / self.rate
        return (now - self._since) / self._answers if self._answers else math.inf

    def refuse(self) -> None:
        """Everything at the server is refused: the next answer shows how long that lasted."""
        self._is_refused = not self._ignored

    def forget(self) -> None:
        """Forget the rate, and that everything was refused."""
        self.rate = None
        self._is_refused = False

    def report(self, rate: float, now: float) -> bool:
        """Learn the rate from a server that has less left than is needed. True if ours was far higher."""
        self._steady = 0
        if self.rate is not None and self.rate <= rate:
            return False
        was_far_higher = self.rate is None or self.rate > _FAR * rate
        self.rate = rate
        if was_far_higher:
            self._next = max(self._next, now + 1 / rate)
        return was_far_higher

    def answer(self, now: float) -> None:
        self._ignored -= bool(self._ignored)
        if self._is_refused:
            self._decrease(now)
        elif self.rate is not None and self._is_used:
            self._steady += 1
            self.rate *= 1 + _GROWTH * (1 + self._steady / _STEADY)
            if self.rate > _UNLIMITED:
                self.rate = None
        self._answers += 1

    def _decrease(self, now: float) -> None:
        """Take the rate from the answers before this one, and the time that they and the refusals took."""
        if self._answers and now > self._since:
            measured = self._answers / (now - self._since)
            most, least = _DECREASE
            if self.rate is not None:
                measured = max(self.rate * most, min(self.rate * least, measured))
            self.rate = measured
            self._between.append(self._answers)
            if len(self._between) == _DECREASES and sum(self._between) < _FEWEST_ANSWERS:
                self.rate, self._ignored = None, _IGNORED_ANSWERS
                self._between.clear()
        self._is_refused = False
        self._answers = self._steady = 0
        self._since = now
