"""Rate-limit headers of a reply -> the limits that they report. Pure: no clock."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import NamedTuple

from chatpipe.response.delays import parse_duration

# A reset above this many seconds (30 years) is Unix time, which some gateways send, not a duration.
_UNIX_TIME = 1e9
_COUNT = re.compile(r"-?[0-9]{1,15}(?:\.[0-9]*)?")
_KINDS = ("requests", "tokens", "project-tokens")
_NAMES = tuple(
    tuple(f"x-ratelimit-{what}-{kind}" for what in ("remaining", "reset", "limit")) for kind in _KINDS
)


class ReportedLimit(NamedTuple):
    """One limit as a server reports it.

    remaining is what is left now, limit is all of it; they count requests, or tokens if of_tokens is
    true. reset_s is the time until all of it is there again. limit and reset_s are None if not reported.
    """

    of_tokens: bool
    remaining: float
    limit: float | None
    reset_s: float | None


def reported_limits(headers: Mapping[str, str], unix_now: float) -> Iterator[ReportedLimit]:
    """The limits in the headers of a reply, whose names are lower case. Never raises."""
    for remaining_name, reset_name, limit_name in _NAMES:
        remaining = _count(headers.get(remaining_name))
        if remaining is None:
            continue
        reset_s = parse_duration(headers.get(reset_name, ""))
        if reset_s is not None and reset_s > _UNIX_TIME:
            reset_s = max(0.0, reset_s - unix_now)
        yield ReportedLimit(
            remaining_name.endswith("tokens"), remaining, _count(headers.get(limit_name)), reset_s
        )


def _count(text: str | None) -> float | None:
    """The number in a rate limit header, or None. Some proxies send negative ones, which count as 0."""
    if text is None or not _COUNT.fullmatch(text.strip()):
        return None
    return max(0.0, float(text))
