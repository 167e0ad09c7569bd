"""Limits a minute, as providers have them: a bucket for requests, one for tokens. Pure: time is passed in.

A bucket holds what a minute brings and refills all the time. A request that finds too little is refused, and
the wait that it is told is the one after which the same request passes, if no other comes before it.
"""

from __future__ import annotations

import math

from chatpipe.named_tuple import NamedTuple
from chatpipe.serve.dialects import DIALECTS, BucketState, go_duration

_MINUTE_S = 60.0
# Seconds that a sum of refills may be short by, because it is computed in binary fractions.
_ROUNDING = 1e-6

Headers = tuple[tuple[str, str], ...]


class QuotaRefusal(NamedTuple):
    """The message and the type of a 429. headers say how long to wait, as far as the dialect does."""

    message: str
    type: str
    headers: Headers


class _MinuteLimit:
    """kind is `requests` or `tokens`."""

    def __init__(self, kind: str, per_minute: float) -> None:
        self.kind = kind
        self.per_minute = per_minute
        self._level = max(1.0, per_minute)
        self._capacity = self._level
        self._since: float | None = None

    def refill(self, now: float) -> None:
        if self._since is not None:
            refilled = self._level + (now - self._since) * self.per_minute / _MINUTE_S
            self._level = min(self._capacity, refilled)
        self._since = now

    def wait_s(self, amount: float) -> float:
        """Seconds until amount is there; infinity if it never is."""
        if amount > self._capacity:
            return math.inf
        missing = amount - self._level
        return 0.0 if missing <= _ROUNDING else missing * _MINUTE_S / self.per_minute

    def take(self, amount: float) -> None:
        self._level -= amount

    def state(self) -> BucketState:
        full_s = (self._capacity - self._level) * _MINUTE_S / self.per_minute
        return BucketState(int(self._capacity), max(0, int(self._level + _ROUNDING)), max(0.0, full_s))


class Quota:
    """rpm and tpm are requests and tokens a minute, None for no limit. dialect is a key of DIALECTS."""

    def __init__(self, rpm: float | None, tpm: float | None, dialect: str) -> None:
        limits = (("requests", rpm), ("tokens", tpm))
        self._buckets = [_MinuteLimit(kind, limit) for kind, limit in limits if limit is not None]
        self._dialect = DIALECTS[dialect]
        self.has_limits = bool(self._buckets)

    def take(self, tokens: int, now: float) -> QuotaRefusal | None:
        """Take a request and its tokens. If a limit is reached, take nothing, and return the refusal."""
        refused: tuple[float, _MinuteLimit, int] | None = None
        amounts = {"requests": 1, "tokens": tokens}
        for bucket in self._buckets:
            bucket.refill(now)
            wait_s = bucket.wait_s(amounts[bucket.kind])
            if wait_s and (refused is None or wait_s > refused[0]):
                refused = (wait_s, bucket, amounts[bucket.kind])
        if refused is not None:
            return self._refusal(*refused)
        for bucket in self._buckets:
            bucket.take(amounts[bucket.kind])
        return None

    def headers(self, unix_now: float) -> Headers:
        """The state of the limits after the last request, in the dialect."""
        return tuple(
            header
            for bucket in self._buckets
            for header in self._dialect.headers(bucket.kind, bucket.state(), unix_now)
        )

    def _refusal(self, wait_s: float, bucket: _MinuteLimit, amount: int) -> QuotaRefusal:
        unit = {"requests": "requests per min (RPM)", "tokens": "tokens per min (TPM)"}[bucket.kind]
        limit = int(bucket.per_minute)
        if math.isinf(wait_s):
            message = (
                f"Request too large on {unit}: Limit {limit}, Requested {amount}."
                " The input or output tokens must be reduced in order to run successfully."
            )
            return QuotaRefusal(message, bucket.kind, (("x-should-retry", "false"),))
        used = limit - bucket.state().remaining
        message = (
            f"Rate limit reached on {unit}: Limit {limit}, Used {used}, Requested {amount}."
            f" Please try again in {go_duration(wait_s)}."
        )
        return QuotaRefusal(message, bucket.kind, self._dialect.wait_headers(wait_s))
