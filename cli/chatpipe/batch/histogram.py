"""Histogram of the latencies of a run."""

from __future__ import annotations

import math
from collections import defaultdict

from chatpipe.inputs.values import Value

# Each bucket is 2 % wide, so that its middle is within 1 % of everything in it.
_GROWTH = math.log(1.02)
_LEAST_S = 1e-4
_QUANTILES = {"p50": 0.5, "p95": 0.95, "p99": 0.99}


class Histogram:
    """A histogram of the logarithms of latencies: quantiles within 1 %, in a few kB for any number."""

    def __init__(self) -> None:
        self._buckets: defaultdict[int, int] = defaultdict(int)
        self._last_s, self._last_bucket = 0.0, 0

    def add(self, seconds: float, count: int = 1) -> None:
        if seconds != self._last_s:  # all lines of a job have the same
            self._last_s = seconds
            self._last_bucket = int(math.log(seconds / _LEAST_S) / _GROWTH) if seconds > _LEAST_S else 0
        self._buckets[self._last_bucket] += count

    def quantile(self, share: float) -> float | None:
        """The latency that this share of all did not exceed; None if there are no latencies."""
        left = math.ceil(share * sum(self._buckets.values()))
        for bucket in sorted(self._buckets):
            left -= self._buckets[bucket]
            if left <= 0:
                return _LEAST_S * math.exp((bucket + 0.5) * _GROWTH)
        return None

    def report(self) -> dict[str, Value]:
        """The `latency_s` of reports: three quantiles, each None if there are no latencies."""
        quantiles = {name: self.quantile(share) for name, share in _QUANTILES.items()}
        return {name: None if value is None else round(value, 4) for name, value in quantiles.items()}
