"""The limits per minute of a run over several servers."""

from __future__ import annotations

from collections.abc import Mapping

from chatpipe.inputs import values
from chatpipe.inputs.values import Value
from chatpipe.limits.rate import RateLimiter
from chatpipe.limits.tokens import TokenEstimator, answer_limits, prompt_bytes
from chatpipe.options.run import SharedLimits
from chatpipe.response.usage import usage_of
from chatpipe.wire.answer import Answer


class RunRate:
    """The `--rpm` and `--tpm` of a run, whichever servers its attempts go to."""

    def __init__(self, limits: SharedLimits, estimator: TokenEstimator) -> None:
        self._rate = RateLimiter(limits.rpm, limits.tpm)
        self._has_tokens = bool(limits.tpm)
        self._estimator = estimator

    def reserve(self, body: Mapping[str, Value], now: float, due: float | None) -> tuple[int, float]:
        """Reserve an attempt. Returns its tokens, and 0 if it may start now, else the seconds to wait.

        due is the expected start of one that asks again. See RateLimiter.try_reserve().
        """
        if self._rate.is_unlimited:
            return 0, 0.0
        tokens = 0
        if self._has_tokens:
            size_bytes = prompt_bytes(body, len(values.dumps(body)))
            tokens = self._estimator.estimate_to_reserve(size_bytes, *answer_limits(body))
        return tokens, self._rate.try_reserve(tokens, now, now if due is None else due)

    def settle(self, reserved: int, answer: Answer | None, now: float) -> None:
        """End an attempt. answer is None for one that was not answered."""
        if self._rate.is_unlimited:
            return
        completion = None if answer is None else answer.completion
        used = 0 if completion is None else usage_of(completion).total or None
        self._rate.settle(reserved, used, now)
