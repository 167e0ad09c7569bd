"""Times that servers write in headers and error bodies -> seconds. Pure: no clock."""

import math
import re

_UNIT_S = {"d": 86400, "h": 3600, "m": 60, "s": 1, "ms": 1e-3, "us": 1e-6, "µs": 1e-6, "ns": 1e-9}


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


def unix_time(text: str) -> float | None:
    """Unix time of an HTTP-date in any of the three forms of RFC 9110, all in GMT. None if unreadable."""
    import calendar
    from email.utils import parsedate_tz  # rarely needed

    try:
        date = parsedate_tz(text)
        return None if date is None else calendar.timegm(date[:9]) - (date[9] or 0)
    except (ValueError, OverflowError, IndexError, TypeError):
        return None  # parsedate_tz raises although documented not to, and timegm has a limited range
