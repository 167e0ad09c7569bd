"""Simulated servers that refuse or queue, and a client that keeps the limits of a run; in virtual time."""

from __future__ import annotations

import heapq
import random
from collections import deque
from collections.abc import Callable
from typing import NamedTuple

from chatpipe.limits.rate import RateLimiter
from chatpipe.limits.window import RefusalWindow
from chatpipe.wire.retry import FailedAttempt

REFUSAL_S = 0.002  # how long a refusal takes


class Reply(NamedTuple):
    """after_s: when it comes. retry_after: the delay that a refusal asks for, None for none."""

    ok: bool
    after_s: float
    retry_after: str | None = None


class Slots:
    """So many at a time, and a refusal for one more. late_s: how long a slot stays taken after its answer."""

    def __init__(
        self,
        slots: int | Callable[[float], int],
        service: Callable[[], float],
        retry_after: str | None = None,
        late_s: Callable[[], float] = lambda: 0.0,
    ) -> None:
        self._slots = slots if callable(slots) else lambda now: slots
        self._service, self._retry_after, self._late_s = service, retry_after, late_s
        self._ends: list[float] = []

    def __call__(self, now: float) -> Reply:
        while self._ends and self._ends[0] <= now:
            heapq.heappop(self._ends)
        if len(self._ends) >= self._slots(now):
            return Reply(False, REFUSAL_S, self._retry_after)
        after_s = self._service()
        heapq.heappush(self._ends, now + after_s + self._late_s() - 1e-9)
        return Reply(True, after_s)


class PerSecond:
    """So many a second: from a bucket that holds burst, or in fixed windows of a second with burst None."""

    def __init__(
        self,
        rate: float,
        service: Callable[[], float],
        *,
        burst: float | None,
        refusals_count: bool = False,
        retry_after: str | None = None,
    ) -> None:
        self._rate, self._service, self._burst = rate, service, burst
        self._refusals_count, self._retry_after = refusals_count, retry_after
        self._left = rate if burst is None else burst
        self._at = 0.0

    def __call__(self, now: float) -> Reply:
        if self._burst is None:
            if int(now) > int(self._at):
                self._left = self._rate
        else:
            self._left = min(self._burst, self._left + (now - self._at) * self._rate)
        self._at = now
        ok = self._left >= 1
        if ok or self._refusals_count:
            self._left = max(0.0, self._left - 1)
        return Reply(True, self._service()) if ok else Reply(False, REFUSAL_S, self._retry_after)


class PerWindow:
    """So many in any time of window_s seconds, or in each of the fixed windows of this length."""

    def __init__(
        self, most: int, window_s: float, service: Callable[[], float], *, fixed: bool, refusals_count: bool
    ) -> None:
        self._most, self._window_s, self._service = most, window_s, service
        self._fixed, self._refusals_count = fixed, refusals_count
        self._taken: deque[float] = deque(maxlen=most)

    def __call__(self, now: float) -> Reply:
        begin = now // self._window_s * self._window_s if self._fixed else now - self._window_s
        while self._taken and self._taken[0] < begin:
            self._taken.popleft()
        ok = len(self._taken) < self._most
        if ok or self._refusals_count:
            self._taken.append(now)
        return Reply(True, self._service()) if ok else Reply(False, REFUSAL_S)


class AtRandom:
    """Refuses a share of the requests, whatever comes how fast."""

    def __init__(self, share: float, service: Callable[[], float], retry_after: str | None = None) -> None:
        self._share, self._service, self._retry_after = share, service, retry_after
        self._random = random.Random(1)

    def __call__(self, now: float) -> Reply:
        if self._random.random() < self._share:
            return Reply(False, REFUSAL_S, self._retry_after)
        return Reply(True, self._service())


class Ran(NamedTuple):
    """answered and refused hold the times."""

    answered: list[float]
    refused: list[float]
    seconds: float

    def rate(self) -> float:
        return len(self.answered) / self.seconds

    def refused_per_answer(self, jobs: int) -> float:
        """Refusals beyond the first wave, for each answer."""
        return max(0, len(self.refused) - jobs) / len(self.answered)


def run(
    server: Callable[[float], Reply], jobs: int, seconds: float, *, seed: int = 0, send_s: float = 0.0
) -> Ran:
    """A run of `-j JOBS`, of this length, as limits/run_pacer.py paces it.

    send_s: how long a client takes to send a request, so that the first refusals come before the last of
    the first wave is sent.
    """
    window = RefusalWindow(jobs)
    rate = RateLimiter(random=random.Random(seed).random)
    answered, refused = [], []
    events: list[tuple[float, int, Reply | None]] = []
    now, flying, number, wakes, sent_until = 1e-9, 0, 0, -1.0, 0.0
    while now < seconds:
        while flying < window.limit:
            wait_s = max(0.0, sent_until - now) or rate.try_reserve(0, now, now)
            if wait_s:
                if not now < wakes <= now + wait_s:
                    wakes = now + wait_s
                    heapq.heappush(events, (wakes, number := number + 1, None))
                break
            flying += 1
            sent_until = now + send_s
            sent = server(now)
            heapq.heappush(events, (now + sent.after_s, number := number + 1, sent))
        patience_s = window.patience_s(now) if flying >= window.limit else None
        if patience_s is not None and (not events or now + patience_s < events[0][0]):
            now += patience_s
            window.probe(now)
            continue
        now, _, reply = heapq.heappop(events)
        if reply is None:
            continue
        rate.settle(0, None, now)
        if reply.ok:
            answered.append(now)
            window.answer(flying, reply.after_s, now)
            rate.observe_success(now)
        else:
            refused.append(now)
            headers = {} if reply.retry_after is None else {"retry-after": reply.retry_after}
            others = rate.others_at_refusal(flying - 1, now - reply.after_s)
            asked_s = rate.observe_refusal(FailedAttempt(429, headers), now, 0.0, others)
            window.refuse(others, asked_s, now)
        flying -= 1
    return Ran(answered, refused, seconds)
