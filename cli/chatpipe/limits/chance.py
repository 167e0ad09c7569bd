"""Refusals by chance: a server that refuses a share of the requests, however many are in flight.

A server with a number of slots, or with a limit per minute, refuses less when fewer are in flight. If there
are still refusals between the answers when the window has fallen to a quarter, the number in flight is not
the cause, and to send less only makes the run slow. They are not heeded then, until they become more:

    refusal, answers, refusal, answers ... -> the window has fallen to a quarter -> chance
    chance -> far more refusals for an answer than before -> heeded again, and no chance for a while

Source: providers that are short of capacity answer 429 or 503 to some requests of everybody. Pure: no clock.
"""

from __future__ import annotations

# The window has fallen to this part, by so many refusals at least, ...
_FALL = 4
_LEAST_REFUSALS = 6
# ... with as many answers as this part of them in between. A server that is full refuses again and again
# while it makes one answer.
_LEAST_ANSWERS = 0.5
# Refusals for each answer, those to come included, that are more than chance: as a multiple of those while
# the window fell, and so many more, which are luck. Of more replies than these, the older ones count half.
_MORE = 1.5
_LUCK = 6
_REPLIES = 256
# Answers until refusals may be chance again, once they were more than that: first, and at most.
_REST = (500, 8000)


class Chance:
    """Decides if the refusals of a server are a matter of chance. peak is the window before it fell."""

    __slots__ = ("_answers", "_is_chance", "_most", "_refusals", "_rest", "_rest_left", "peak")

    def __init__(self, ceiling: int) -> None:
        self.peak = ceiling
        self._answers = 0.0  # since the window began to fall, or lately while refusals are chance
        self._refusals = 0.0
        self._is_chance = False
        self._most = 0.0  # refusals for each answer
        self._rest = _REST[0]
        self._rest_left = 0

    def ignores(self, others: int) -> bool:
        """Count a refusal while others are at the server. True if it is one of those by chance."""
        if not self._is_chance:
            return False
        self._refusals += 1
        if self._refusals > _LUCK + self._most * (self._answers + others):
            self._is_chance = False
            self._answers = self._refusals = 0.0
            self._rest_left = self._rest
            self._rest = min(2 * self._rest, _REST[1])
        return self._is_chance

    def explains(self, window: int) -> bool:
        """Count a refusal that has lowered the window to this size. True if it was by chance."""
        self._refusals += 1
        has_fallen = _FALL * window <= self.peak and self._refusals >= _LEAST_REFUSALS
        if has_fallen and not self._rest_left and self._answers >= _LEAST_ANSWERS * self._refusals:
            self._is_chance = True
            self._most = _MORE * self._refusals / self._answers
            self._answers = self._refusals = 0.0
        return self._is_chance

    def answer(self, window: int) -> None:
        """Count an answer while the window has this size."""
        self._rest_left -= bool(self._rest_left)
        self._answers += 1
        if self._is_chance:
            if self._answers + self._refusals > _REPLIES:
                self._answers /= 2
                self._refusals /= 2
        elif window >= self.peak:
            self.peak = window
            self._answers = self._refusals = 0.0
