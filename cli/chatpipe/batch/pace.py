"""How fast a run may go: its own limits a minute, and what the server says of its limits.

    reserve -> wait -> send -> hear (the head of the reply) -> settle (its usage)

once for every try, retries too: the server counts those as well. Pure: now is the time of a clock
that never goes back, in seconds; unix_now is needed for dates in headers only.
"""

from __future__ import annotations

import random
import re
from collections import deque
from collections.abc import Awaitable, Callable, Mapping
from typing import Protocol

from chatpipe.wire.retry import FIRST_BACKOFF_S, asked_wait, parse_duration

# Providers say that a limit of 60,000 a minute may be enforced as 1,000 a second. A burst of a whole
# second on top of the steady rate would be twice that in the first second; a tenth makes up for
# timers and event loops that come late, and stays under what any server tells apart.
BURST_S = 0.1
# Limits are counted by the minute: to knock less often than once in one gains nothing.
LONGEST_BACKOFF_S = 60.0
_PAUSING = (429, 503)
# A reset of more seconds than this (30 years) is not a duration but Unix time, as some gateways send it.
_UNIX_TIME = 1e9
_COUNT = re.compile(r"-?[0-9]{1,15}(?:\.[0-9]*)?")
_REQUESTS = tuple(f"x-ratelimit-{what}-requests" for what in ("remaining", "reset", "limit"))
_TOKENS = tuple(f"x-ratelimit-{what}-tokens" for what in ("remaining", "reset", "limit"))
_PROJECT = tuple(f"x-ratelimit-{what}-project-tokens" for what in ("remaining", "reset", "limit"))


class Bucket:
    """One limit a minute, kept as a timetable instead of a level: when all that was booked is paid off.

    That time is worked out each time from the count since `anchor`: no rounding adds up, however
    long the run. What is booked may be larger than the burst (a request of many tokens): it starts
    when everything before it is paid off. In any 60 s at most `per_minute` are started, and the
    burst beyond it, and the one cost that was still begun: 60 requests at 60 a minute, 6,009 at 6,000.
    """

    __slots__ = ("_early_s", "anchor", "booked", "per_minute")

    def __init__(self, per_minute: float, anchor: float = 0.0, booked: float = 0) -> None:
        self.per_minute = per_minute
        self.anchor = anchor
        self.booked = booked
        self._early_s = max(0.0, BURST_S - 60 / per_minute)  # a burst of at least 1 is no head start

    def paid_off(self) -> float:
        return self.anchor + self.booked * 60 / self.per_minute

    def opens(self) -> float:
        """When the next one may start, however much it costs; a time that is over means at once."""
        return self.anchor + self.booked * 60 / self.per_minute - self._early_s

    def book(self, cost: float, start: float) -> None:
        """Put cost into the timetable at start, which is not before `opens`."""
        if self.paid_off() <= start:
            self.anchor = start
            self.booked = cost
        else:
            self.booked += cost

    def correct(self, more: float, now: float) -> None:
        """What was booked came out as so much more, or less. A full bucket is not filled further."""
        if more > 0 and self.paid_off() <= now:
            self.anchor = now
            self.booked = more
        else:
            self.booked += more

    def postpone(self, seconds: float) -> None:
        self.anchor += seconds


class Pace:
    """The pace of one run against one server. rpm, tpm: requests and tokens a minute, None or 0 for no limit.

    A pause is a time in which nothing starts, told by the server. It puts off everything that is
    booked by its length: those who slept through it do not all start together at its end. See `turn`.

    paused_since is when the first of the pauses in a row began, None when a success came after the
    last. paused_s is their length together, the rest of the present one included, so that a run
    that may pause for 600 s ends at once when the server asks for an hour.
    """

    __slots__ = (
        "_began",
        "_in_flight",
        "_pauses",
        "_postponed_s",
        "_random",
        "_requests",
        "_reserved",
        "_tokens",
        "_until",
        "_waiting",
        "is_unlimited",
        "paused_s",
        "paused_since",
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
        self._in_flight = 0  # reserved and not settled, of which these are still to start:
        self._waiting: deque[float] = deque()  # the time of each, less the pauses before its booking
        self._reserved = 0  # tokens of all of them
        self._until = 0.0  # the end of the present pause, or of the last
        self._began = 0.0
        self._pauses = 0  # that we chose the length of, in a row
        self._postponed_s = 0.0
        self.paused_since: float | None = None
        self.paused_s = 0.0

    def reserve(self, tokens: int, now: float) -> float:
        """Seconds until this request may start, 0 for now. It is booked: the next one waits behind it."""
        self._in_flight += 1
        self._reserved += tokens
        start = self._opens(now)
        self._book(tokens, start)
        if start <= now:
            return 0.0
        self._forget_started(now)
        self._waiting.append(start - self._postponed_s)
        return start - now

    def take(self, tokens: int, now: float, due: float) -> float:
        """As reserve, but booked only if it may start now: else the seconds until it might be.

        due is when it was to start, when it asks again: a timer that comes late costs no time of
        the next one. A time that has moved to an earlier one since then counts from now.
        """
        start = self._opens(min(due, now))
        if start > now:
            return start - now
        self._in_flight += 1
        self._reserved += tokens
        self._book(tokens, start)
        return 0.0

    def _opens(self, start: float) -> float:
        """When one that asks for `start` may start."""
        start = max(start, self._until)
        if self._requests is not None:
            start = max(start, self._requests.opens())
        return start if self._tokens is None else max(start, self._tokens.opens())

    def _book(self, tokens: int, start: float) -> None:
        # Both are booked for the later of the two times: a place in one timetable that is used when
        # the other opens would let the requests that piled up start all at once.
        if self._tokens is not None:
            self._tokens.book(tokens, start)
        if self._requests is not None:
            self._requests.book(1, start)

    def settle(self, reserved: int, used: int | None, now: float) -> None:
        """The request is over, or was never sent. used None: nobody knows, the estimate stands."""
        self._in_flight -= 1
        self._reserved -= reserved
        if self._tokens is not None and used is not None and used != reserved:
            self._tokens.correct(used - reserved, now)

    def postponed_s(self, now: float) -> float:
        """The length of all pauses: by how much it grew while a request waited, so much longer it waits."""
        return self._postponed_s

    def pause_left(self, now: float) -> float:
        """Seconds in which nothing may start."""
        return max(0.0, self._until - now)

    def hear(
        self,
        headers: Mapping[str, str],
        status: int,
        now: float,
        unix_now: float,
        *,
        started: float | None = None,
    ) -> None:
        """Take in the head of a reply; the request itself is settled later. Headers are named in lower case.

        status is 0 when no reply came. When less is left than is in flight, nothing starts for a
        while; 408 and faults of the server (500, 502) are one request's bad luck, and pause nothing.

        started is when the request was sent. A wave of 256 refusals is then known as one event,
        and a success from before a pause is not taken for its end; without it, only what comes
        during a pause is taken as older than it.
        """
        old = now < self._until if started is None else started < self._began
        if 200 <= status < 400 and not old:
            self._pauses = 0
            self.paused_since = None
            self.paused_s = 0.0
        wait_s = asked_wait(headers, unix_now) if status in _PAUSING else None
        if wait_s is None:
            wait_s = self._refill_s(headers, now, unix_now)
            if status in _PAUSING and not wait_s and not old:
                wait_s = self._backoff()
        if wait_s:
            self.pause(now + wait_s, now)

    def pause(self, until: float, now: float) -> None:
        """Nothing starts before `until`; a pause that is longer already stays as it is."""
        begin = max(now, self._until)
        if until <= begin:
            return
        longer_s = until - begin
        if begin == now:
            self._began = now
        if self.paused_since is None:
            self.paused_since = now
        self._until = until
        self.paused_s += longer_s
        self._postponed_s += longer_s
        for bucket in (self._requests, self._tokens):
            if bucket is not None:
                bucket.postpone(longer_s)

    def _backoff(self) -> float:
        """0.5 s doubled with each pause in a row, 60 s at most, less up to a quarter of it."""
        longest: float = min(LONGEST_BACKOFF_S, FIRST_BACKOFF_S * 2 ** min(self._pauses, 30))
        self._pauses += 1
        return longest * (1 - 0.25 * self._random())

    def _refill_s(self, headers: Mapping[str, str], now: float, unix_now: float) -> float:
        """Seconds until the server has enough left for what is in flight; 0 when it has, or is silent."""
        wait_s = 0.0
        for names in (_REQUESTS, _TOKENS, _PROJECT):
            remaining = _count(headers.get(names[0]))
            if remaining is None:
                continue
            started = self._started(now)
            share = started / self._in_flight if self._in_flight else 0.0
            need = started if names is _REQUESTS else self._reserved * share
            if 0 < remaining >= need:
                continue
            reset_s = parse_duration(headers.get(names[1], "")) or 0.0
            if reset_s > _UNIX_TIME:
                reset_s = max(0.0, reset_s - unix_now)
            wait_s = max(wait_s, reset_s * _missing(remaining, need, _count(headers.get(names[2]))))
        return wait_s

    def _started(self, now: float) -> int:
        """Requests under way; the one whose reply is heard is among them, for the next to take its place."""
        self._forget_started(now)
        return max(0, self._in_flight - len(self._waiting))

    def _forget_started(self, now: float) -> None:
        waiting = self._waiting
        while waiting and waiting[0] + self._postponed_s <= now:
            waiting.popleft()


def _missing(remaining: float, need: float, limit: float | None) -> float:
    """The part of the reset to wait for. All of it when nothing is left, or the limit is not told.

    The reset is when the limit is full again, which for one counted by the day is a day (Groq): it
    must not stop a run for that long because 15 are left and 16 in flight. One to spare is waited
    for, too: what remains is told in whole numbers.
    """
    if remaining <= 0 or limit is None or limit <= remaining:
        return 1.0
    return min(1.0, (need + 1 - remaining) / (limit - remaining))


def _count(text: str | None) -> float | None:
    """A number as the remaining-headers have it; less than nothing, as some proxies say, is nothing."""
    if text is None or not _COUNT.fullmatch(text.strip()):
        return None
    return max(0.0, float(text))


class Timetable(Protocol):
    """A Pace, or one origin of a pace file."""

    def reserve(self, tokens: int, now: float) -> float: ...

    def settle(self, reserved: int, used: int | None, now: float) -> None: ...

    def postponed_s(self, now: float) -> float: ...


async def turn(
    timetable: Timetable, tokens: int, clock: Callable[[], float], sleep: Callable[[float], Awaitable[None]]
) -> None:
    """Reserve, and sleep until it is this request's turn, put off by every pause that begins meanwhile."""
    now = clock()
    wait_s = timetable.reserve(tokens, now)
    if not wait_s:
        return
    start = now + wait_s - timetable.postponed_s(now)
    while (left_s := start + timetable.postponed_s(now) - now) > 0:
        await sleep(left_s)
        now = clock()
