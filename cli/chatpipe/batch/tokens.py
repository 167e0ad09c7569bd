"""How many tokens a request will take, before anybody has counted them: a guess that learns from `usage`.

Nothing is tokenised: that would need each model's own vocabulary. A limit of tokens per minute only
asks that the guesses are right on average, and what was wrong in each is settled after the answer.
"""

from __future__ import annotations

import math

FIRST_RATIO = 1 / 4  # tokens a byte of body: English prose, the braces of JSON included
FIRST_COMPLETION = 256
# The weight of one more answer, once 31 are in. Until then each counts as much as those before it.
_LEAST_WEIGHT = 1 / 32


class Estimator:
    """ratio is tokens of prompt a byte of body; completion the tokens of an answer, None before the first."""

    __slots__ = ("_answers", "_prompts", "completion", "ratio")

    def __init__(self) -> None:
        self.ratio = FIRST_RATIO
        self.completion: float | None = None
        self._prompts = 1  # the ratio to start with counts as one that was seen
        self._answers = 0

    def estimate(self, body_bytes: int, max_tokens: int | None, n: int) -> int:
        """Tokens of prompt and of all n choices together, at least 1."""
        if self.completion is None:
            completion: float = n * (FIRST_COMPLETION if max_tokens is None else max_tokens)
        elif max_tokens is None:
            completion = self.completion
        else:
            completion = min(self.completion, max_tokens * n)
        return max(1, math.ceil(body_bytes * self.ratio + completion))

    def booking(self, body_bytes: int, max_tokens: int | None, n: int) -> int:
        """As estimate, but the first guess counts as one of the answers: to book before sending.

        The first answers are the short ones. Too little that is booked by them lets go what the
        server has to refuse; too much comes back.
        """
        estimate = self.estimate(body_bytes, max_tokens, n)
        if self.completion is None:
            return estimate
        guess = n * (FIRST_COMPLETION if max_tokens is None else max_tokens)
        return estimate + max(0, math.ceil((guess - self.completion) / (1 + self._answers)))

    def learn(self, body_bytes: int, prompt_tokens: int | None, completion_tokens: int | None) -> None:
        """Take in the `usage` of an answer, all its choices together; what the server left out is None.

        The mean of ratios, not the ratio of sums: one picture of 10 MB would otherwise decide
        for the thousand short texts behind it.
        """
        if prompt_tokens and prompt_tokens > 0 and body_bytes > 0:
            self._prompts += 1
            weight = max(1 / self._prompts, _LEAST_WEIGHT)
            self.ratio += (prompt_tokens / body_bytes - self.ratio) * weight
        if completion_tokens is not None and completion_tokens >= 0:
            self._answers += 1
            weight = max(1 / self._answers, _LEAST_WEIGHT)
            before = self.completion or 0.0
            self.completion = before + (completion_tokens - before) * weight
