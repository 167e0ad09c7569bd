"""Rate limits of a run: its own limits per minute, and those that the server reports.

    reserve -> wait -> send -> observe (its headers, its refusal, its success) -> settle (its usage)

Every attempt goes through this, because the server counts retries too. Pure: now is the reading of
a monotonic clock, in seconds; unix_now is needed only for dates in headers.
"""

from __future__ import annotations

import random
from collections import deque
from collections.abc import Awaitable, Callable, Mapping
from typing import Protocol

from chatpipe.errors import PausedTooLong
from chatpipe.limits.bucket import Bucket
from chatpipe.limits.learned import LearnedRate
from chatpipe.system.lock import FileLocked
from chatpipe.wire.rate_limits import ReportedLimit, reported_limits
from chatpipe.wire.retry import FIRST_BACKOFF_S, FailedAttempt, named_delay

# Limits are counted per minute, so trying less than once a minute gains nothing.
_MAX_BACKOFF_S = 60.0
_MIN_BACKOFF_S = 0.1
_USED_WEIGHT = 1 / 8  # of the latest request in the mean of the tokens that one takes


class Pauses(Protocol):
    """The pauses of a run: those of a RateLimiter, or of several."""

    @property
    def pauses(self) -> int: ...

    @property
    def repeats(self) -> int: ...

    @property
    def pause_reason(self) -> str: ...

    def pause_left(self, now: float) -> float: ...

    def postponed_s(self, now: float) -> float: ...

    def pause_fault(self, max_pause_s: float) -> PausedTooLong | None: ...


class RateLimiter:
    """Rate limiter of one run against one server.

    rpm and tpm are requests and tokens per minute; None or 0 means no limit.

    During a pause, which the server asks for, nothing starts. A pause postpones everything booked
    by its length, so requests that slept through it do not all start at its end. See wait_for_start().

    paused_s is the total length of the pauses since the last success, including what is left of the
    current one. A run that may pause for 600 s therefore ends at once if the server asks for an hour.
    pause_reason is the reason for the latest pause: `429`, `no requests left`. pauses counts all pauses,
    repeats the requests that were sent again, for whatever reason.
    """

    __slots__ = (
        "_in_flight",
        "_learned",
        "_pause_end",
        "_postponed_s",
        "_random",
        "_refusals",
        "_requests",
        "_reserved",
        "_succeeded",
        "_tokens",
        "_used",
        "_waiting",
        "is_unlimited",
        "pause_reason",
        "paused_s",
        "pauses",
        "repeats",
    )

    def __init__(
        self,
        rpm: float | None = None,
        tpm: float | None = None,
        *,
        random: Callable[[], float] = random.random,
    ) -> None:
        self._requests = Bucket(rpm) if rpm else None
        self._tokens = Bucket(tpm) if tpm else None
        self.is_unlimited = not rpm and not tpm
        self._random = random
        self._in_flight = 0  # requests reserved and not settled
        # Start times of those that have not started, less the pauses before they were booked.
        self._waiting: deque[float] = deque()
        self._reserved = 0  # tokens of all requests in flight
        self._used = 0.0  # tokens of a request, in the mean; 0 until an answer has reported them
        self._learned = LearnedRate()
        self._pause_end = 0.0  # of the current or last pause
        self._refusals = 0  # of everything at the server, since the last success
        self._succeeded = 0.0  # time of the last success
        self._postponed_s = 0.0
        self.pause_reason = ""
        self.pauses = 0
        self.repeats = 0
        self.paused_s = 0.0

    def reserve(self, tokens: int, now: float) -> float:
        """Book a request. Returns the seconds until it may start, 0 for now."""
        self._in_flight += 1
        self._reserved += tokens
        start = self._opens(now)
        self._book(tokens, start)
        if start <= now:
            return 0.0
        self._forget_started(now)
        self._waiting.append(start - self._postponed_s)
        return start - now

    def try_reserve(self, tokens: int, now: float, due: float) -> float:
        """Book a request if it may start now, and return 0. Otherwise return the seconds to wait.

        due is the expected start of a request that asks again, so that a late timer does not delay
        the requests after it. If due is in the future, because the schedule has moved forward, now
        counts instead.
        """
        start = self._opens(min(due, now))
        if start > now:
            return start - now
        self._in_flight += 1
        self._reserved += tokens
        self._book(tokens, start)
        return 0.0

    def opens_in_s(self, now: float) -> float:
        """Seconds until a request may start, 0 for now."""
        return max(0.0, self._opens(now) - now)

    def _opens(self, start: float) -> float:
        """Earliest time, not before start, at which a request may start."""
        start = max(start, self._pause_end)
        start = max(start, self._learned.opens_at())
        if self._requests is not None:
            start = max(start, self._requests.opens_at())
        return start if self._tokens is None else max(start, self._tokens.opens_at())

    def _book(self, tokens: int, start: float) -> None:
        # Both are booked for the later of their two times. If the bucket that opens first were booked
        # for its own time, the requests that pile up behind the other would start all at once.
        self._learned.book(start)
        if self._tokens is not None:
            self._tokens.book(tokens, start)
        if self._requests is not None:
            self._requests.book(1, start)

    def settle(self, reserved: int, used: int | None, now: float) -> None:
        """End a request that is over or was never sent.

        used is the number of tokens it took. If it is None, the estimate stands.
        """
        self._in_flight -= 1
        self._reserved -= reserved
        if used:
            self._used += (used - self._used) * (_USED_WEIGHT if self._used else 1)
        if self._tokens is not None and used is not None and used != reserved:
            self._tokens.adjust(used - reserved, now)

    def postponed_s(self, now: float) -> float:
        """Total length of all pauses. A waiting request waits longer by the amount that this grows."""
        return self._postponed_s

    def pause_left(self, now: float) -> float:
        """Seconds until the current pause ends, 0 if there is none."""
        return max(0.0, self._pause_end - now)

    def observe_headers(self, headers: Mapping[str, str], now: float, unix_now: float) -> None:
        """Slow down if a reply leaves less of a limit than is in flight. Header names are lower case.

        From a limit that refills all the time, requests start as fast as it refills from now on: there is a
        pause only if nothing is left, and only of the time that one request needs. Any other limit is
        waited for.
        """
        wait_s, lacks = self._refill(headers, now, unix_now, is_refused=False)
        if wait_s:
            self.pause(now + wait_s, now, lacks)

    def observe_success(self, now: float) -> None:
        """End the row of pauses: the server has room, whenever the request was sent."""
        if self.paused_s:
            self.paused_s = self.pause_left(now)
        self._refusals = 0
        self._succeeded = now
        self._learned.answer(now)

    def others_at_refusal(self, others: int, sent: float) -> int:
        """The least number of others at the server when it refused a request that was sent then.

        others are there still. If there are none, one that has succeeded since was there: replies of a
        first wave may be read in any order, and then not everything at the server was refused.
        """
        return others or int(self._succeeded > sent)

    def observe_refusal(self, failure: FailedAttempt, now: float, unix_now: float, others: int) -> float:
        """Pause after a refusal by a busy server, if it asks for that or refuses everything.

        others is the number of requests that are still at the server. Returns the seconds of the pause
        that the server asks for, 0 if none. Without one, a refusal pauses nothing while others are
        there: their answers tell when there is room. If there are none, the backoff is ours.
        """
        headers = failure.headers or {}
        asked_s = wait_s = named_delay(failure, unix_now) or 0.0
        if not asked_s:
            asked_s = wait_s = self._refill(headers, now, unix_now, is_refused=True)[0]
        if not others:
            self._learned.refuse()
            self._refusals += 1
            wait_s = asked_s or self._backoff(now)
        if wait_s:
            self.pause(now + wait_s, now, str(failure.status))
        return asked_s

    def forget_learned(self) -> None:
        """Forget the rate that refusals have taught: it was not their cause."""
        self._learned.forget()

    def pause_fault(self, max_pause_s: float) -> PausedTooLong | None:
        """The fault of a run that may pause for max_pause_s in a row, once its pauses are longer."""
        if self.paused_s <= max_pause_s:
            return None
        what = f"the pauses of this run add up to {max(1.0, self.paused_s):.0f} s: {self.pause_reason}"
        return PausedTooLong(what, fix="wait, or raise --max-pause")

    def pause(self, until: float, now: float, reason: str) -> None:
        """Start nothing before until. A pause that already lasts longer stays as it is."""
        begin = max(now, self._pause_end)
        if until <= begin:
            return
        longer_s = until - begin
        self.pauses += begin == now
        self.pause_reason = reason
        self._pause_end = until
        self.paused_s += longer_s
        self._postponed_s += longer_s
        for bucket in (self._requests, self._tokens):
            if bucket is not None:
                bucket.postpone(longer_s)

    def _backoff(self, now: float) -> float:
        """0.5 s, doubled with each consecutive pause up to 60 s, less a random part of up to a quarter.

        The first is shorter if the server is known to admit a request in a shorter time.
        """
        first_s = min(FIRST_BACKOFF_S, max(_MIN_BACKOFF_S, self._learned.gap_s(now)))
        longest: float = min(_MAX_BACKOFF_S, first_s * 2 ** min(self._refusals - 1, 30))
        return longest * (1 - 0.25 * self._random())

    def _refill(
        self, headers: Mapping[str, str], now: float, unix_now: float, *, is_refused: bool
    ) -> tuple[float, str]:
        """Seconds until the server has enough left for what is in flight, and what it lacks.

        0 if it has enough now, or does not say. If a server refuses although it has said how its limit
        refills, that no longer counts: the wait is the whole reset.
        """
        wait_s, lacks = 0.0, ""
        for limit in reported_limits(headers, unix_now):
            started = self._started(now)
            share = started / self._in_flight if self._in_flight else 0.0
            need = self._reserved * share if limit.of_tokens else started
            refills_s = None if is_refused or not limit.refills else self._refills_in_s(limit)
            if refills_s is not None and limit.of_tokens:
                need = max(need, started * self._used)
            if limit.reset_s is None or 0 < limit.remaining >= need:
                continue
            if refills_s is None:
                seconds = limit.reset_s * _missing(limit.remaining, need, limit.limit)
            else:
                is_slower = self._learned.report(1 / refills_s, now)
                seconds = refills_s if is_slower and limit.remaining <= 0 else 0.0
            if seconds > wait_s:
                unit = "tokens" if limit.of_tokens else "requests"
                few = f"only {limit.remaining:.0f}" if limit.remaining > 0 else "no"
                wait_s, lacks = seconds, f"{few} {unit} left"
        return wait_s, lacks

    def _refills_in_s(self, limit: ReportedLimit) -> float | None:
        """Seconds in which a limit that refills all the time has what one request takes. None if unknown."""
        each = self._used if limit.of_tokens else 1.0
        if not each or not limit.reset_s or limit.limit is None or limit.limit <= limit.remaining:
            return None
        return each * limit.reset_s / (limit.limit - limit.remaining)

    def _started(self, now: float) -> int:
        """Number of requests that were sent, including the one whose reply is being read.

        That one counts because the next request takes its place.
        """
        self._forget_started(now)
        return max(0, self._in_flight - len(self._waiting))

    def _forget_started(self, now: float) -> None:
        waiting = self._waiting
        while waiting and waiting[0] + self._postponed_s <= now:
            waiting.popleft()


def _missing(remaining: float, need: float, limit: float | None) -> float:
    """Share of the reset time to wait: all of it if nothing is left, or if the limit is unknown.

    The reset time is the time until the limit is full again. For a daily limit that is a day
    (Groq), and a run must not stop for a day because 15 are left and 16 are in flight. The wait
    covers one more than needed, because the server rounds what remains to whole numbers.
    """
    if remaining <= 0 or limit is None or limit <= remaining:
        return 1.0
    return min(1.0, (need + 1 - remaining) / (limit - remaining))


class Schedule(Protocol):
    """Schedule of request starts: a RateLimiter, or the SharedPace of a pace file."""

    def reserve(self, tokens: int, now: float) -> float: ...

    def settle(self, reserved: int, used: int | None, now: float) -> None: ...

    def postponed_s(self, now: float) -> float: ...


async def wait_for_start(
    schedule: Schedule, tokens: int, clock: Callable[[], float], sleep: Callable[[float], Awaitable[None]]
) -> None:
    """Reserve a start and sleep until then. Each pause that begins meanwhile postpones it.

    While another process has the pace file locked, this waits, too.
    """
    now, wait_s = await when_unlocked(lambda now: schedule.reserve(tokens, now), clock, sleep)
    if not wait_s:
        return
    start = now + wait_s
    now, postponed_s = await when_unlocked(schedule.postponed_s, clock, sleep)
    start -= postponed_s
    while (left_s := start + postponed_s - now) > 0:
        await sleep(left_s)
        now, postponed_s = await when_unlocked(schedule.postponed_s, clock, sleep)


async def when_unlocked(
    query: Callable[[float], float], clock: Callable[[], float], sleep: Callable[[float], Awaitable[None]]
) -> tuple[float, float]:
    """The result of a query as soon as it has one, and the time that the query was given."""
    while True:
        now = clock()
        try:
            return now, query(now)
        except FileLocked as locked:
            await sleep(locked.wait_s)
