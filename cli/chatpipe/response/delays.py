"""Times that servers write in headers and error bodies -> seconds. Pure: no clock."""

import math
import re
from functools import lru_cache

_UNIT_S = {"d": 86400, "h": 3600, "m": 60, "s": 1, "ms": 1e-3, "us": 1e-6, "µs": 1e-6, "ns": 1e-9}
# No time that a server writes is longer.
_MAX_CHARS = 64
# Numbers above these are Unix time, in seconds or in milliseconds: as durations, they are 30 years and more.
_UNIX_TIME = 1e9
_UNIX_TIME_MS = 1e12

_RFC_3339 = (
    r"(\d{4})-(\d\d)-(\d\d)[Tt ](\d\d):(\d\d):(\d\d)(\.\d{1,9})?\d*"
    r"(?:[Zz]|(?P<sign>[+-])(?P<hours>\d\d):?(?P<minutes>\d\d))?"
)

# A delay in a message: "Please try again in 6m0s" (OpenAI, Groq), "Please retry in 34.07s" (Gemini),
# "Please retry after 6 seconds" (Azure), "Please wait 60 seconds before retrying" (GitHub).
_UNIT = r"(?:ms|milliseconds?|us|µs|ns|s|secs?|seconds?|m|mins?|minutes?|h|hrs?|hours?|d|days?)"
_DELAY_IN_WORDS = (
    r"\b(?:try(?:ing)? again|retry(?:ing)?|wait)\s{1,4}(?:(?:in|after|for|at least|about)\s{1,4}){0,2}"
    rf"((?:\d{{1,9}}(?:\.\d{{1,12}})?\s?{_UNIT}(?![a-z])(?:,?\s|(?=\d)|)){{1,6}})"
)
_DELAY_STEP = r"(\d+(?:\.\d+)?)\s?(ms|milli|us|µs|ns|[smhd])"


def delay_until(text: str, unix_now: float) -> float | None:
    """Seconds from unix_now until the time in a header, at least 0. None if it is unreadable.

    Servers write a Go duration ("6m0s", "12ms"), seconds ("59", "0.5"), Unix time in seconds or
    milliseconds, an RFC 3339 date ("2026-11-28T12:00:00Z") or an HTTP-date. If a proxy has joined
    two headers of one name, the first counts. Never raises.
    """
    text = text.strip()
    if len(text) > _MAX_CHARS:
        return None
    seconds = parse_duration(text)
    if seconds is not None:
        if seconds >= _UNIX_TIME:
            seconds = (seconds / 1000 if seconds >= _UNIX_TIME_MS else seconds) - unix_now
        return max(0.0, seconds)
    date = _rfc_3339_time(text) or _http_date(text)
    if date is not None:
        return max(0.0, date - unix_now)
    first, comma, _ = text.partition(",")
    return parse_duration(first) if comma else None


def delay_in_words(message: str) -> float | None:
    """The delay in seconds that an error message asks for, as in "Please try again in 1.5s"; None if none."""
    found = re.search(_DELAY_IN_WORDS, message, re.IGNORECASE)
    if found is None:
        return None
    steps = re.findall(_DELAY_STEP, found[1].lower())
    return math.fsum(float(count) * _UNIT_S["ms" if unit == "milli" else unit] for count, unit in steps)


@lru_cache(maxsize=256)  # a busy run reads the same few times again and again
def parse_duration(text: str) -> float | None:
    """Seconds in an `x-ratelimit-reset-*` value: "6m0s", "12ms", "1h2m3s", "2m59.56s".

    A bare number means seconds; Azure sends it. None for anything else.
    """
    text = text.strip()
    number = parse_number(text)
    if number is not None:
        return number if number >= 0 else None
    if not re.fullmatch(r"(?:\d+(?:\.\d+)?(?:d|h|ms|m|us|µs|ns|s))+", text, re.ASCII):
        return None
    pieces = re.findall(r"([\d.]+)([a-zµ]+)", text)
    return math.fsum(float(count) * _UNIT_S[unit] for count, unit in pieces)


def parse_number(text: str | None) -> float | None:
    """A finite decimal number, or None. float() alone also accepts '1_0', 'nan' and digits of any script."""
    text = (text or "").strip()
    if not re.fullmatch(r"[+-]?(?:\d{1,15}(?:\.\d*)?|\.\d+)", text, re.ASCII):
        return None
    return float(text)


def _rfc_3339_time(text: str) -> float | None:
    """Unix time of an RFC 3339 date. One without an offset is in UTC."""
    import calendar

    found = re.fullmatch(_RFC_3339, text, re.ASCII)
    if found is None:
        return None
    offset_s = int(found["hours"] or 0) * 3600 + int(found["minutes"] or 0) * 60
    try:
        seconds = calendar.timegm(tuple(int(part) for part in found.groups()[:6]))
    except ValueError:  # the thirteenth month
        return None
    return seconds + float(found[7] or 0) - (-offset_s if found["sign"] == "-" else offset_s)


def _http_date(text: str) -> float | None:
    """Unix time of an HTTP-date in any of the three forms of RFC 9110, all in GMT. None if unreadable."""
    import calendar
    from email.utils import parsedate_tz  # rarely needed

    try:
        date = parsedate_tz(text)
        return None if date is None else calendar.timegm(date[:9]) - (date[9] or 0)
    except (ValueError, OverflowError, IndexError, TypeError):
        return None  # parsedate_tz raises although documented not to, and timegm has a limited range
