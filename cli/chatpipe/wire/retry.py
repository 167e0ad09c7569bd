"""Decide whether and when to retry a failed attempt. Pure: no clock, no sleep.

Source: behaviour of the official Python SDK 3.3.1 (2026-08), section "Errors, retries, limits";
RFC 9110 section 10.2.3 for Retry-After.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from enum import Enum

from chatpipe.named_tuple import NamedTuple
from chatpipe.options.server import RetryPolicy

# The server is too busy for every client, not for one request. A run pauses as a whole, shares the pause
# through the pace file and counts no attempt; an adaptive concurrency steps down. 498 is Groq's, 529 that of
# Anthropic and others, 520 to 527 are Cloudflare's for a server behind it. Its 524 is none: like 504, it says
# that one request took longer than the proxy waits. That was paid for, and is likely to happen again.
BUSY = frozenset({429, 498, 503, *range(520, 530)}) - {524}
# Below 500, these concern one request: a time-out, a conflict, a replay of TLS early data.
RETRYABLE = frozenset({408, 409, 425})
# The header of a reply that comes from a recording. It causes no wait.
REPLAYED = "x-chatpipe-replayed"
# Somebody has to pay first.
_OUT_OF_CREDIT = 402

FIRST_BACKOFF_S = 0.5
_MAX_DOUBLINGS = 4  # limits the backoff to 8 s


class FailedAttempt(NamedTuple):
    """A failed attempt.

    status is the one that the failure counts as, see refusals.py: that of the reply, or one that its
    body names. It is None if no complete reply arrived (connection error, time-out, cut stream), and
    for an error inside 200 without a known code. headers are looked up in lower case: httpx.Headers, or
    a dict with lower-case keys. codes are the words by which the error body can be told apart. delay_s is
    the delay in seconds that the body asks for. is_unreached: no connection to the server came about.
    has_lost_kept: a connection kept from an earlier request was closed as this one arrived.
    """

    status: int | None = None
    headers: Mapping[str, str] | None = None
    codes: Collection[str] = ()
    delay_s: float | None = None
    is_unreached: bool = False
    has_lost_kept: bool = False


class GiveUpReason(Enum):
    NOT_RETRYABLE = "the same request would fail again"
    NO_ATTEMPTS_LEFT = "all tries are used up"
    WAIT_TOO_LONG = "the server asks for too long a wait"


class RetryAfter(NamedTuple):
    """The pause before the next attempt, in seconds.

    server_requested is false for our own backoff. If uncounted is true, the attempt does not count
    against RetryPolicy.retries, because the whole run waits.
    """

    seconds: float
    server_requested: bool
    uncounted: bool = False

    @property
    def notice(self) -> str:
        """The pause for people: `trying again in 2.0 s`."""
        text = f"{self.seconds:.1f}"
        return "trying again at once" if text == "0.0" else f"trying again in {text} s"


class GiveUp(NamedTuple):
    """The decision not to retry. requested_s is the pause that the server requested, for WAIT_TOO_LONG."""

    reason: GiveUpReason
    requested_s: float | None = None


def decide(
    attempt: int, failure: FailedAttempt, policy: RetryPolicy, *, now: float, random: Callable[[], float]
) -> RetryAfter | GiveUp:
    """The next step after a failed attempt.

    attempt counts from 1. now is Unix time, used for the date form of Retry-After only. random
    returns 0 <= x < 1. Never raises.
    """
    if not is_retryable(failure):
        return GiveUp(GiveUpReason.NOT_RETRYABLE)
    asked_s = delay_asked_for(failure, now)
    if asked_s is not None and asked_s > policy.max_delay_s:
        return GiveUp(GiveUpReason.WAIT_TOO_LONG, asked_s)
    if attempt > policy.retries:
        return GiveUp(GiveUpReason.NO_ATTEMPTS_LEFT)
    if failure.has_lost_kept:
        return RetryAfter(0.0, server_requested=False)
    if asked_s is None:
        return RetryAfter(backoff(attempt, random), server_requested=False)
    return RetryAfter(asked_s, server_requested=True)


def is_retryable(failure: FailedAttempt) -> bool:
    """True if a retry may help. Exhausted credit decides first, then x-should-retry, then the status."""
    if failure.status == _OUT_OF_CREDIT:
        return False
    should_retry = (failure.headers or {}).get("x-should-retry", "").strip().lower()
    if should_retry in ("true", "false"):
        return should_retry == "true"
    status = failure.status
    return status is None or status in RETRYABLE or status >= 500 or is_busy(failure)


def is_busy(failure: FailedAttempt) -> bool:
    """True if the server has no room at all for now, wherever it says so: see FailedAttempt.status."""
    return failure.status in BUSY


def is_replayed(failure: FailedAttempt) -> bool:
    """True if the failure is a recorded reply: the server that had no room is not asked."""
    return REPLAYED in (failure.headers or {})


def statuses_text(statuses: Collection[int]) -> str:
    """The statuses for people, with runs of them as one: `429, 498, 503, 520-523`."""
    runs: list[list[int]] = []
    for status in sorted(statuses):
        if runs and status == runs[-1][-1] + 1:
            runs[-1].append(status)
        else:
            runs.append([status])
    texts = (f"{run[0]}-{run[-1]}" if len(run) > 2 else ", ".join(map(str, run)) for run in runs)
    return ", ".join(texts)


def backoff(attempt: int, random: Callable[[], float]) -> float:
    """Exponential backoff in seconds: 0.5 s, doubled per attempt up to 8 s, minus up to a quarter."""
    longest: float = FIRST_BACKOFF_S * 2 ** min(attempt - 1, _MAX_DOUBLINGS)
    return longest * (1 - 0.25 * random())


def delay_asked_for(failure: FailedAttempt, now: float) -> float | None:
    """The pause in seconds that the server requests, above 0; None if it requests none.

    If a busy server names no delay, the pause lasts until the limits of which nothing is left are full
    again. now is Unix time.
    """
    named_s = named_delay(failure, now)
    if named_s or not is_busy(failure):
        return named_s
    from chatpipe.wire.rate_limits import reported_limits

    limits = reported_limits(failure.headers or {}, now)
    return max((limit.reset_s or 0.0 for limit in limits if limit.remaining <= 0), default=0.0) or None


def named_delay(failure: FailedAttempt, now: float) -> float | None:
    """The pause in seconds that Retry-After names, else the error body. None if neither does."""
    return requested_delay(failure.headers or {}, now) or failure.delay_s


def requested_delay(headers: Mapping[str, str], now: float) -> float | None:
    """The pause in seconds that the headers request, above 0. None if absent or unreadable."""
    from chatpipe.response.delays import delay_until, parse_number  # after a failure only

    milliseconds = parse_number(headers.get("retry-after-ms"))
    if milliseconds is not None:
        seconds: float | None = milliseconds / 1000
    else:
        seconds = delay_until(headers.get("retry-after", ""), now)
    return seconds if seconds is not None and seconds > 0 else None
