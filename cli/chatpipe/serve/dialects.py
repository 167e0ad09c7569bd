"""The headers in which providers report rate limits, by dialect.

The names are those that public clients of the provider read, as of November 2026. A limit for which a
dialect has no name of a minute is not reported in it. wire/rate_limits.py reads them all.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping

from chatpipe.named_tuple import NamedTuple
from chatpipe.response.result_line import timestamp

Headers = tuple[tuple[str, str], ...]


class BucketState(NamedTuple):
    """A limit of a minute. reset_s is the time until all of it is there again."""

    limit: int
    remaining: int
    reset_s: float


def go_duration(seconds: float) -> str:
    """A duration as Go writes it, rounded up to a millisecond: `6m0s`, `1.5s`, `12ms`."""
    milliseconds = math.ceil(seconds * 1000 - 1e-6)
    if milliseconds < 1000:
        return f"{milliseconds}ms"
    minutes, rest = divmod(milliseconds, 60_000)
    text = f"{rest / 1000:.3f}".rstrip("0").rstrip(".")
    return f"{minutes}m{text}s" if minutes else f"{text}s"


def _whole_seconds(seconds: float) -> str:
    return str(math.ceil(seconds - 1e-6))


# The forms of a reset: its seconds, and Unix time now.
_ResetForm = Callable[[float, float], str]


def _go(seconds: float, unix_now: float) -> str:
    return go_duration(seconds)


def _seconds(seconds: float, unix_now: float) -> str:
    return _whole_seconds(seconds)


def _fraction(seconds: float, unix_now: float) -> str:
    return f"{seconds:.3f}"


def _epoch_s(seconds: float, unix_now: float) -> str:
    return str(math.ceil(unix_now + seconds))


def _epoch_ms(seconds: float, unix_now: float) -> str:
    return str(math.ceil((unix_now + seconds) * 1000))


def _rfc_3339(seconds: float, unix_now: float) -> str:
    return timestamp(unix_now + seconds)


class Dialect(NamedTuple):
    """names are the header names by kind (`requests`, `tokens`), `*` for limit, remaining and reset.

    fields are the ones that it has of the three. waits are the headers for the wait of a 429.
    """

    names: Mapping[str, str]
    reset: _ResetForm = _go
    fields: tuple[str, ...] = ("limit", "remaining", "reset")
    waits: tuple[str, ...] = ("retry-after",)
    policy: str | None = None

    def headers(self, kind: str, state: BucketState, unix_now: float) -> Headers:
        name = self.names.get(kind)
        if name is None:
            return ()
        texts = {
            "limit": str(state.limit),
            "remaining": str(state.remaining),
            "reset": self.reset(state.reset_s, unix_now),
        }
        found = tuple((name.replace("*", field), texts[field]) for field in self.fields)
        return found if self.policy is None else (*found, (self.policy, f"{state.limit};w=60"))

    def wait_headers(self, wait_s: float) -> Headers:
        texts = {
            "retry-after": _whole_seconds(wait_s),
            "retry-after-ms": str(math.ceil(wait_s * 1000 - 1e-6)),
        }
        return tuple((name, texts[name]) for name in self.waits)


_SIX = {"requests": "x-ratelimit-*-requests", "tokens": "x-ratelimit-*-tokens"}
_BOTH_WAITS = ("retry-after", "retry-after-ms")
_ONE = {"requests": "x-ratelimit-*"}

DIALECTS: Mapping[str, Dialect] = {
    "openai": Dialect(_SIX, waits=_BOTH_WAITS),
    "azure": Dialect(_SIX, fields=("remaining",), waits=_BOTH_WAITS),
    "groq": Dialect(_SIX),
    "cerebras": Dialect({"tokens": "x-ratelimit-*-tokens-minute"}, _fraction),
    "mistral": Dialect(
        {"requests": "x-ratelimit-*-req-minute", "tokens": "x-ratelimit-*-tokens-minute"},
        fields=("limit", "remaining"),
        waits=(),
    ),
    "together": Dialect({"requests": "x-ratelimit-*", "tokens": "x-tokenlimit-*"}, _seconds),
    "fireworks": Dialect({"requests": "x-ratelimit-*-requests"}, fields=("limit", "remaining")),
    "anthropic": Dialect(
        {"requests": "anthropic-ratelimit-requests-*", "tokens": "anthropic-ratelimit-tokens-*"}, _rfc_3339
    ),
    "openrouter": Dialect(_ONE, _epoch_ms),
    "github": Dialect(_ONE, _epoch_s),
    "digitalocean": Dialect(
        {"requests": "x-ratelimit-*-requests", "tokens": "x-ratelimit-*-tokens-per-minute"}, _epoch_s
    ),
    "ietf": Dialect({"requests": "ratelimit-*"}, _seconds, policy="ratelimit-policy"),
    "none": Dialect({}, waits=()),
}
