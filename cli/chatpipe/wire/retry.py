"""Decide whether and when to retry a failed attempt. Pure: no clock, no sleep.

Source: behaviour of the official Python SDK 3.3.1 (2026-08), section "Errors, retries, limits";
RFC 9110 section 10.2.3 for Retry-After.
"""

from collections.abc import Callable, Collection, Mapping
from enum import Enum
from typing import NamedTuple

from chatpipe.options.server import RetryPolicy
from chatpipe.response.delays import delay_until, parse_number

# Waiting does not help a 429 with one of these in `error.code` or `error.type`: somebody has to act.
# The first two are documented; the others appear in bug reports.
QUOTA_CODES = frozenset(
    {
        "insufficient_quota",
        "credit_balance_exhausted",
        "billing_hard_limit_reached",
        "billing_not_active",
    }
)

# The server is too busy for every client, not for one request. A run pauses as a whole, shares the pause
# through the pace file and counts no attempt; an adaptive concurrency steps down.
BUSY = frozenset({429, 503})
# Codes of an error body or event that mean the same, whatever the HTTP status: of OpenAI, Anthropic, Gemini,
# Bedrock and Moonshot, and the statuses as text. Compared in lower case.
BUSY_CODES = frozenset(
    {
        "429",
        "503",
        "engine_overloaded_error",
        "overloaded",
        "overloaded_error",
        "rate_limit_error",
        "rate_limit_exceeded",
        "rate_limit_reached_error",
        "resource_exhausted",
        "server_overloaded",
        "throttlingexception",
        "too_many_requests",
        "unavailable",
    }
)
# Below 500, these concern one request: a time-out and a conflict.
RETRYABLE = frozenset({408, 409})

FIRST_BACKOFF_S = 0.5
MAX_DOUBLINGS = 4  # limits the backoff to 8 s


class FailedAttempt(NamedTuple):
    """A failed attempt.

    status is None if no complete reply arrived: connection error, time-out, cut stream. headers
    are looked up in lower case: httpx.Headers, or a dict with lower-case keys. codes are the strings
    under `code` and `type` of the error body; see refusals.error_codes().
    """

    status: int | None = None
    headers: Mapping[str, str] | None = None
    codes: Collection[str] = ()


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
    headers = failure.headers or {}
    if not is_retryable(failure):
        return GiveUp(GiveUpReason.NOT_RETRYABLE)
    if attempt > policy.retries:
        return GiveUp(GiveUpReason.NO_ATTEMPTS_LEFT)
    asked_s = requested_delay(headers, now)
    if asked_s is None:
        return RetryAfter(backoff(attempt, random), server_requested=False)
    if asked_s > policy.max_delay_s:
        return GiveUp(GiveUpReason.WAIT_TOO_LONG, asked_s)
    return RetryAfter(asked_s, server_requested=True)


def is_retryable(failure: FailedAttempt) -> bool:
    """True if a retry may help. The quota codes decide first, then x-should-retry, then the status."""
    if not QUOTA_CODES.isdisjoint(failure.codes):
        return False
    should_retry = (failure.headers or {}).get("x-should-retry", "").strip().lower()
    if should_retry in ("true", "false"):
        return should_retry == "true"
    status = failure.status
    return status is None or status in RETRYABLE or status >= 500 or is_busy(failure)


def is_busy(failure: FailedAttempt) -> bool:
    """True if the server has no room at all for now: by its status, or by a code in the body or the event."""
    return failure.status in BUSY or any(code.lower() in BUSY_CODES for code in failure.codes)


def backoff(attempt: int, random: Callable[[], float]) -> float:
    """Exponential backoff in seconds: 0.5 s, doubled per attempt up to 8 s, minus up to a quarter."""
    longest: float = FIRST_BACKOFF_S * 2 ** min(attempt - 1, MAX_DOUBLINGS)
    return longest * (1 - 0.25 * random())


def requested_delay(headers: Mapping[str, str], now: float) -> float | None:
    """The pause in seconds that the headers request, above 0. None if absent or unreadable."""
    milliseconds = parse_number(headers.get("retry-after-ms"))
    if milliseconds is not None:
        seconds: float | None = milliseconds / 1000
    else:
        seconds = delay_until(headers.get("retry-after", ""), now)
    return seconds if seconds is not None and seconds > 0 else None
