"""What failed -> how long to wait before the next try, or why there is none. Pure: no clock, no sleep.

Source of the rules: the official Python SDK 3.3.1 (2026-08), section "Errors, retries, limits" of
its behaviour; RFC 9110 section 10.2.3 for Retry-After.
"""

import math
import re
from collections.abc import Callable, Collection, Mapping
from enum import Enum
from typing import NamedTuple

# A 429 with one of these in `error.code` or `error.type` needs a person, not patience. The first
# two are documented, the others are seen in bug reports.
QUOTA_CODES = frozenset(
    {
        "insufficient_quota",
        "credit_balance_exhausted",
        "billing_hard_limit_reached",
        "billing_not_active",
    }
)

_UNIT_S = {"d": 86400, "h": 3600, "m": 60, "s": 1, "ms": 1e-3, "us": 1e-6, "µs": 1e-6, "ns": 1e-9}

FIRST_BACKOFF_S = 0.5
DOUBLINGS = 4  # so that the longest backoff is 8 s


class Policy(NamedTuple):
    """retries is the number of tries after the first; a server may ask for longest_wait_s at most."""

    retries: int = 4
    longest_wait_s: float = 120.0


class Failure(NamedTuple):
    """One try that failed.

    status is None when no whole reply came: connection error, time-out, cut stream. headers are
    looked up in lower case: httpx.Headers, or a dict with lower-case keys. codes are the strings
    under `code` and `type` of the error body, see faults.error_codes().
    """

    status: int | None = None
    headers: Mapping[str, str] | None = None
    codes: Collection[str] = ()


class Reason(Enum):
    NOT_RETRYABLE = "the same request would fail again"
    TRIES_USED_UP = "all tries are used up"
    WAIT_TOO_LONG = "the server asks for too long a wait"


class Wait(NamedTuple):
    """Try again after so many seconds. asked: the server named the time, it is not our backoff.

    free: it uses up no try, as the whole run waits.
    """

    seconds: float
    asked: bool
    free: bool = False


class GiveUp(NamedTuple):
    """asked_s is what the server asked for, with WAIT_TOO_LONG only."""

    reason: Reason
    asked_s: float | None = None


def decide(
    tries: int, failure: Failure, policy: Policy, *, now: float, random: Callable[[], float]
) -> Wait | GiveUp:
    """What comes after try number `tries` (from 1) has failed.

    now is Unix time, for the date form of Retry-After only; random gives 0 <= x < 1. Never raises.
    """
    headers = failure.headers or {}
    if not is_retryable(failure):
        return GiveUp(Reason.NOT_RETRYABLE)
    if tries > policy.retries:
        return GiveUp(Reason.TRIES_USED_UP)
    asked_s = asked_wait(headers, now)
    if asked_s is None:
        return Wait(backoff(tries, random), asked=False)
    if asked_s > policy.longest_wait_s:
        return GiveUp(Reason.WAIT_TOO_LONG, asked_s)
    return Wait(asked_s, asked=True)


def is_retryable(failure: Failure) -> bool:
    """Whether another try makes sense at all: quota, then x-should-retry, then the status."""
    if not QUOTA_CODES.isdisjoint(failure.codes):
        return False
    should = (failure.headers or {}).get("x-should-retry", "").strip().lower()
    if should in ("true", "false"):
        return should == "true"
    return failure.status is None or failure.status in (408, 409, 429) or failure.status >= 500


def backoff(tries: int, random: Callable[[], float]) -> float:
    """0.5 s doubled with each try, 8 s at most, less up to a quarter of it."""
    longest: float = FIRST_BACKOFF_S * 2 ** min(tries - 1, DOUBLINGS)
    return longest * (1 - 0.25 * random())


def asked_wait(headers: Mapping[str, str], now: float) -> float | None:
    """The seconds the server asks us to wait, above 0; None when it does not, or not legibly."""
    milliseconds = _number(headers.get("retry-after-ms"))
    if milliseconds is not None:
        seconds: float | None = milliseconds / 1000
    else:
        value = headers.get("retry-after")
        seconds = _number(value)
        if seconds is None and value is not None:
            date = _unix_time(value)
            seconds = None if date is None else date - now
    return seconds if seconds is not None and seconds > 0 else None


def parse_duration(text: str) -> float | None:
    """Seconds in a value of `x-ratelimit-reset-*`: "6m0s", "12ms", "1h2m3s", "2m59.56s".

    A bare number is seconds, as Azure sends it. None for anything else.
    """
    text = text.strip()
    number = _number(text)
    if number is not None:
        return number if number >= 0 else None
    if not re.fullmatch(r"(?:\d+(?:\.\d+)?(?:d|h|ms|m|us|µs|ns|s))+", text, re.ASCII):
        return None
    pieces = re.findall(r"([\d.]+)([a-zµ]+)", text)
    return math.fsum(float(count) * _UNIT_S[unit] for count, unit in pieces)


def _number(text: str | None) -> float | None:
    """A finite number in plain digits. float() alone would take '1_0', 'nan' and digits of any script."""
    text = (text or "").strip()
    if not re.fullmatch(r"[+-]?(?:\d{1,15}(?:\.\d*)?|\.\d+)", text, re.ASCII):
        return None
    return float(text)


def _unix_time(text: str) -> float | None:
    """Unix time of an HTTP-date in any of the three forms of RFC 9110; all of them are in GMT."""
    import calendar
    from email.utils import parsedate_tz  # rarely needed

    try:
        date = parsedate_tz(text)
        return None if date is None else calendar.timegm(date[:9]) - (date[9] or 0)
    except (ValueError, OverflowError, IndexError, TypeError):
        return None  # parsedate_tz is not as forgiving as it says, and timegm has its limits
