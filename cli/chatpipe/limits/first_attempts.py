"""Refusals of first attempts: a server that refuses each request so many times, and then accepts it.

A server that is full, or that has a limit per minute, accepts first attempts as well as later ones. If it
refuses all attempts up to a number, and accepts all after it, the load is not the cause, and to send less
only makes the run slow:

    first attempts refused, later ones accepted -> refusals say nothing about the load
    a first one accepted, or a later one refused -> they do; after many answers the question is open again

Source: servers of tests, such as `chatpipe serve --fault status=429:times=1`. Pure: no clock.
"""

from __future__ import annotations

import math

# The evidence: so many refusals, and so many answers to attempts after them.
_REFUSALS = 8
_ANSWERS = 4
# Answers after which evidence is looked for again, once there was none, or it was wrong.
_REST = 5000


class FirstAttempts:
    """Decides if a server refuses the first attempts of each request. Attempts of a request count from 1."""

    __slots__ = ("_answers", "_highest_refused", "_lowest_answered", "_refusals", "_rest", "are_refused")

    def __init__(self) -> None:
        self._forget(rest=0)

    def _forget(self, rest: int) -> None:
        self.are_refused = False
        self._rest = rest
        self._refusals = self._answers = self._highest_refused = 0
        self._lowest_answered = math.inf

    def refuse(self, attempt: int) -> None:
        """Count the refusal of an attempt."""
        if not self._rest:
            self._refusals += 1
            self._highest_refused = max(self._highest_refused, attempt)
            self._decide()

    def answer(self, attempt: int) -> None:
        """Count the answer to an attempt."""
        if self._rest:
            self._rest -= 1
            return
        self._answers += 1
        self._lowest_answered = min(self._lowest_answered, attempt)
        self._decide()

    def _decide(self) -> None:
        if self._lowest_answered <= max(self._highest_refused, 1):
            self._forget(rest=_REST)
        else:
            self.are_refused = self._refusals >= _REFUSALS and self._answers >= _ANSWERS
