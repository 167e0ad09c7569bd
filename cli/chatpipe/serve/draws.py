"""Random numbers that are the same for the same seed and body, in whatever order requests arrive."""

from __future__ import annotations

import math
from hashlib import blake2b

from chatpipe.options.serve import Latency
from chatpipe.response.delays import parse_duration, parse_number

_LOGNORMAL = "lognormal"


def parse_latency(text: str) -> Latency | None:
    """`50ms`, or `lognormal:50ms:0.5` with the median and the sigma of its logarithm; None for other text."""
    kind, *values = text.split(":")
    if not values:
        median_s, sigma = parse_duration(kind), 0.0
    elif kind == _LOGNORMAL and len(values) == 2:
        median_s, sigma = parse_duration(values[0]), parse_number(values[1]) or -1.0
    else:
        return None
    return Latency(median_s, sigma) if median_s is not None and 0 <= sigma <= 10 else None


def draw(*words: object) -> float:
    """A number above 0 and below 1, the same for the same words."""
    text = "\0".join(str(word) for word in words)
    number = int.from_bytes(blake2b(text.encode("utf-8", "surrogatepass"), digest_size=6).digest(), "big")
    return (number + 0.5) / (1 << 48)


def latency_s(latency: Latency, number: float) -> float:
    """The seconds of a latency for a draw."""
    if not latency.sigma:
        return latency.median_s
    from statistics import NormalDist  # few servers are asked for it

    return latency.median_s * math.exp(latency.sigma * NormalDist().inv_cdf(number))
