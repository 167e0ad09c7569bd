"""Rate-limit headers of a reply -> the limits that they report. Pure: no clock.

Dialects differ in the order of a name (kind first or last), in kinds, in windows and in times:

    x-ratelimit-remaining-requests        OpenAI, Azure, Groq, Fireworks
    x-ratelimit-remaining-requests-day    Cerebras; -tokens-minute, -req-minute: Mistral
    x-ratelimit-remaining                 Together, OpenRouter, GitHub: requests
    x-ratelimitbysize-remaining-minute    Mistral of old: tokens
    x-tokenlimit-remaining                Together
    anthropic-ratelimit-tokens-remaining  Anthropic
    ratelimit-remaining, ratelimit-policy drafts of the IETF (draft-ietf-httpapi-ratelimit-headers)
    ratelimit: "default";r=50;t=30        the same since its draft 8

A name with another prefix is the copy that a proxy keeps of its own upstream, and is not read.

A reset has two meanings. In most dialects all of the limit is there again at that time, and nothing before.
OpenAI, Azure, Groq and Anthropic refill a bucket all the time, and the reset is when it is full:

    5000 of requests, 4999 left, reset in 12ms     OpenAI, November 2026: 60 s / 5000 for the one that is gone
    "Limit 15000, Used 11972, Requested 4351.      Groq, February 2025: 1323 tokens are lacking, of 15000
     Please try again in 5.289s."                  in 60 s

Only these write Go durations (`6m0s`), or a header of Anthropic's name.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from functools import lru_cache

from chatpipe.named_tuple import NamedTuple
from chatpipe.response.delays import delay_until

_FIELDS = "limit|remaining|reset"
_NAME = (
    r"(?P<prefix>(?:x-|anthropic-)?rate-?limit(?:bysize)?|x-tokenlimit)"
    rf"-(?:(?P<field>{_FIELDS})(?:-(?P<last>.+))?|(?P<first>.+)-(?P<field_last>{_FIELDS}))"
)
_REQUESTS = frozenset({"", "requests", "request", "req", "project-requests"})
_TOKENS = frozenset({"tokens", "token", "project-tokens"})
# Limits of a part of the tokens. The size of that part is not known before the answer.
_PART_OF_TOKENS = frozenset(
    {
        *("input-tokens", "output-tokens", "prompt-tokens", "completion-tokens", "tokens-input"),
        *("tokens-output", "tokens-prompt", "tokens-generated", "tokens-cache-adjusted-prompt"),
    }
)
_WINDOW_S = {
    "second": 1,
    "minute": 60,
    "min": 60,
    "hour": 3600,
    "day": 86400,
    "week": 604800,
    "month": 2592000,
    "1s": 1,
    "1m": 60,
    "1h": 3600,
    "24h": 86400,
    "1d": 86400,
}
_MINUTE_S = 60
# A limit that takes longer to be full again is not one of a minute, even if its name has no window (Groq's
# requests are per day).
_LONGEST_RESET_S = 3600
_COUNT = r"\s*(-?[0-9]{1,15}(?:\.[0-9]*)?)\s*(?:[,;]|$)"


class ReportedLimit(NamedTuple):
    """One limit as a server reports it.

    remaining is what is left now, limit is all of it; they count requests, or tokens if of_tokens is
    true. reset_s is the time until all of it is there again. limit and reset_s are None if not reported.
    If refills is true, a part of it is there earlier, in proportion.
    """

    of_tokens: bool
    remaining: float
    limit: float | None
    reset_s: float | None
    refills: bool = False


class _Name(NamedTuple):
    """The parts of a header name. group is the same for the fields of one limit."""

    group: str
    field: str
    of_tokens: bool
    is_part: bool
    window_s: int | None


def reported_limits(headers: Mapping[str, str], unix_now: float) -> Iterator[ReportedLimit]:
    """The limits that may hold up the next minute. Header names are lower case. Never raises.

    A limit of an hour, a day or a month, or of a part of the tokens, is reported only if nothing is
    left of it: a run must not stretch 100 requests over the rest of the day. For the same reason such a
    limit does not refill.
    """
    found: dict[str, dict[str, str]] = {}
    names: dict[str, _Name] = {}
    for header in headers:
        if "limit" in header and (name := _parse_name(header)) is not None:
            found.setdefault(name.group, {})[name.field] = headers[header]
            names[name.group] = name
    for group, fields in found.items():
        name, limit = names[group], _count(fields.get("limit"))
        window_s = name.window_s
        if window_s is None and group in ("ratelimit-", "x-ratelimit-"):
            window_s = _policy_window_s(headers.get(f"{group}policy", ""), limit)
        each = _limit(name.of_tokens, fields, unix_now)
        if each is None:
            continue
        is_long = _is_long(window_s, each)
        if each.remaining <= 0 or not (name.is_part or is_long):
            refills = not is_long and (group.startswith("anthropic") or _is_go_duration(fields.get("reset")))
            yield each._replace(refills=refills)
    if "ratelimit" in headers:
        yield from _draft_limits(headers["ratelimit"], headers.get("ratelimit-policy", ""), unix_now)


@lru_cache(maxsize=256)  # the names repeat with every reply
def _parse_name(header: str) -> _Name | None:
    """The parts of a header name, or None if it reports nothing that is known here."""
    match = re.fullmatch(_NAME, header)
    if match is None:
        return None
    words = [word for word in (match["last"] or match["first"] or "").split("-") if word != "per"]
    windows = [_WINDOW_S[word] for word in words if word in _WINDOW_S]
    kind = "-".join(word for word in words if word not in _WINDOW_S)
    counts_tokens = match["prefix"] == "x-tokenlimit" or match["prefix"].endswith("bysize")
    if kind not in _REQUESTS | _TOKENS | _PART_OF_TOKENS:
        return None
    return _Name(
        f"{match['prefix']}-{'-'.join(words)}",
        match["field"] or match["field_last"],
        counts_tokens or kind not in _REQUESTS,
        kind in _PART_OF_TOKENS,
        windows[0] if windows else None,
    )


def _limit(of_tokens: bool, fields: Mapping[str, str], unix_now: float) -> ReportedLimit | None:
    remaining = _count(fields.get("remaining"))
    if remaining is None:
        return None
    reset_s = delay_until(fields.get("reset", ""), unix_now)
    return ReportedLimit(of_tokens, remaining, _count(fields.get("limit")), reset_s)


def _is_go_duration(text: str | None) -> bool:
    """True for `6m0s` and `12ms`, False for a number or a date."""
    return text is not None and text[:1].isdigit() and text[-1:] in ("s", "m", "h")


def _is_long(window_s: int | None, limit: ReportedLimit) -> bool:
    if window_s is not None:
        return window_s > _MINUTE_S
    return limit.reset_s is not None and limit.reset_s > _LONGEST_RESET_S


def _draft_limits(text: str, policy: str, unix_now: float) -> Iterator[ReportedLimit]:
    """The limits in a `RateLimit` field: `"a";r=50;t=30`, or `limit=100, remaining=50, reset=30` before."""
    for item in text.split(",") if re.search(r";\s*r=", text) else [text]:
        pairs = re.findall(r"\b(limit|remaining|reset|r|t)=(\d{1,15})\b", item)
        fields = {{"r": "remaining", "t": "reset"}.get(key, key): number for key, number in pairs}
        limit = _limit(False, fields, unix_now)
        window_s = _policy_window_s(policy, None)
        if limit is not None and (limit.remaining <= 0 or not _is_long(window_s, limit)):
            yield limit


def _policy_window_s(policy: str, limit: float | None) -> int | None:
    """The window in a `RateLimit-Policy` field, `100;w=60` or `"a";q=100;w=60`; None if there is none.

    It is the one of this limit, else the shortest.
    """
    windows = [
        (int(quota), int(window))
        for quota, window in re.findall(r"(?:^|,|q=)\s*(\d{1,15})[^,]{0,80}?;\s*w=(\d{1,9})", policy)
    ]
    fitting = [window for quota, window in windows if quota == limit] or [window for _, window in windows]
    return min(fitting, default=None)


def _count(text: str | None) -> float | None:
    """The number in a rate limit header, the first if there are several; None if there is none.

    Some proxies send negative ones, which count as 0.
    """
    if text is None:
        return None
    if len(text) <= 15 and text.isascii() and text.isdigit():
        return float(text)
    match = re.match(_COUNT, text)
    return None if match is None else max(0.0, float(match[1]))
