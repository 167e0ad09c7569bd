"""The window of requests in flight at a server that refuses what it has no room for.

A refusal while other requests are at the server shows how many it has room for: those. The window falls
to that number, and each answer makes room for one request. After some answers one more is tried:

    refused -> window = those at the server -> answers -> one more -> accepted: twice as many more ...
                                                                   -> refused: a rest twice as long

If the server refuses what it had room for before, or everything, the number in flight may not be the
cause: it is a limit per minute, another client, or an outage. The window then falls as well, but soon
grows to almost its former size. If refusals continue between the answers however small the window becomes,
they are a matter of chance, and the window does not heed them: see chance.py. Pure: now is the reading of a
monotonic clock.
"""

from __future__ import annotations

from chatpipe.limits.chance import Chance

# Answers before one more is tried: first, and at most. One refusal in 16 answers is hardly noticed.
_REST = (16, 1024)
# A probe that is refused with a delay costs a pause. Pauses may take this share of the time.
_PAUSE_SHARE = 1 / 20
# Seconds without any answer after which one more is tried, although the window is full: first, and at
# most; and the same in mean latencies. Without this, one request that hangs would hold up a window of 1.
_PATIENCE_S = (2.0, 60.0)
_PATIENCE = 3.0
_LATENCY_WEIGHT = 1 / 8  # of the latest answer in the mean


class RefusalWindow:
    """The number of requests that may be in flight: limit, which is never above ceiling."""

    __slots__ = (
        "_answers",
        "_before",
        "_chance",
        "_changed",
        "_due",
        "_is_tested",
        "_latency_s",
        "_next_probe",
        "_patience_s",
        "_refused",
        "_rest",
        "_room",
        "_stride",
        "ceiling",
        "limit",
    )

    def __init__(self, ceiling: int) -> None:
        self.ceiling = ceiling
        self.limit = ceiling
        self._room = ceiling  # the server is expected to have room for this number
        self._is_tested = False  # a round of answers, or a refusal and an answer after it, confirms _room
        self._refused = 0.0  # time of the last refusal
        self._before: int | None = None  # _room before the refusals in a row
        self._answers = 0  # with the window full, since the limit last changed
        self._rest = _REST[0]
        self._stride = 1
        self._next_probe = 0.0
        self._due: float | None = None  # time of the next probe, once it is decided
        self._latency_s = 0.0  # of answers, in the mean
        self._patience_s = _PATIENCE_S[0]
        self._changed = 0.0  # time of the last answer, refusal or change of the limit
        self._chance = Chance(ceiling)

    def refuse(self, others: int, pause_s: float, now: float) -> None:
        """Learn from a refusal. others are still at the server, which asks for a pause of pause_s."""
        if not pause_s and self._chance.ignores(others):
            self._changed = now
            return
        if others >= self.limit:
            return  # it was sent before the limit fell
        self._refused = now
        is_probe = self.limit > self._room
        if self._before is None:
            self._before = self._room
        if self.limit > self._room:
            self._fail_probe()
        self.limit = max(1, others)
        if not others:
            self._room = max(1, self._before - 1)
        elif self._is_tested:
            self._room = max(others, min(self._room, self._before) - 1)
        else:  # nothing is known but this refusal
            self._room = others
        self._stride = 1
        self._answers = 0
        self._due = None
        self._changed = now
        self._next_probe = max(self._next_probe, now + pause_s / _PAUSE_SHARE)
        if not is_probe and not pause_s and self._chance.explains(self.limit):
            self._room = self._chance.peak

    def _fail_probe(self) -> None:
        if self._stride == 1:
            self._rest = min(2 * self._rest, _REST[1])
        self._patience_s = min(2 * self._patience_s, _PATIENCE_S[1])

    def answer(self, in_flight: int, latency_s: float, now: float) -> None:
        """Learn from an answer. in_flight is the number of requests at the server, with this one."""
        self._chance.answer(self.limit)
        if self.limit >= self.ceiling and self._room >= self.ceiling:
            self._answers += 1
            self._is_tested = self._is_tested or self._answers >= self.ceiling
            return
        if now - latency_s > self._refused:  # an answer to an earlier request says nothing new
            self._before = None
            self._is_tested = True
        self._changed = now
        self._latency_s += (latency_s - self._latency_s) * (_LATENCY_WEIGHT if self._latency_s else 1)
        if in_flight < self.limit:
            return
        self._answers += 1
        if self.limit < self._room:
            self._raise(1, now)
        elif self.limit > self._room:  # a probe: a refusal would come before a round of answers
            if self._answers >= self.limit:
                self._accept_probe(now)
        elif self._answers >= self._rest and now >= self._next_probe and self._due is None:
            # Between two answers: servers that want requests apart refuse the second of two at once.
            self._due = now + self._latency_s / self.limit / 2

    def reopen(self, now: float) -> None:
        """Forget the refusals: the number in flight was not their cause."""
        self._room = self.ceiling
        self._before = None
        self._stride = 1
        self._raise(self.ceiling, now)

    def _accept_probe(self, now: float) -> None:
        self._room = self.limit
        self._rest, self._patience_s = _REST[0], _PATIENCE_S[0]
        self._stride *= 2
        self._raise(self._stride, now)

    def _raise(self, more: int, now: float) -> None:
        self.limit = min(self.limit + more, self.ceiling)
        self._due = None
        self._answers = 0
        self._changed = now

    def patience_s(self, now: float) -> float | None:
        """Seconds until probe() although no answer comes. None if the window is as large as it may be."""
        if self.limit >= self.ceiling:
            return None
        if self._due is not None:
            return max(0.0, self._due - now)
        patience_s = max(self._patience_s, _PATIENCE * self._latency_s)
        return max(0.0, self._changed + patience_s - now, self._next_probe - now)

    def probe(self, now: float) -> None:
        """Try more: enough answers have come since the last refusal, or none has come for long."""
        if self._due is None and self.limit > self._room:  # the server has accepted the one before
            self._room, self._patience_s = self.limit, _PATIENCE_S[0]
        self._raise(self._stride, now)
