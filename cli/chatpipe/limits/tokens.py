"""Token estimates for requests before they are sent, which learn from the `usage` of the answers.

Nothing is tokenised, because that would need the vocabulary of each model. A limit of tokens per
minute only needs estimates that are right on average; the error of each is settled after the answer.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping

from chatpipe.inputs.values import Value, objects_in
from chatpipe.response.usage import Usage

_INITIAL_RATIO = 1 / 4  # tokens per byte of body, for English prose in JSON
_INITIAL_COMPLETION_TOKENS = 256
# Above this many bytes an attachment counts for less than its text in base64. An image has about a thousand
# tokens, whatever its size, because models scale it. A recording or document has at most one for 80 bytes.
# Source: the vision and audio guides of OpenAI, Anthropic and Gemini, as of 2026-11.
LARGE_ATTACHMENT = 4_000
_BYTES_AS_ONE = 20
# Weight of the latest answer in the mean, once there are 32. Until then all count alike.
_LEAST_WEIGHT = 1 / 32
# The parameters that answer_limits() reads. Most requests have none of them.
_LIMITS = frozenset(("max_completion_tokens", "max_tokens", "n"))


class TokenEstimator:
    """Running means of prompt and completion tokens. Sizes of bodies are those of prompt_bytes().

    ratio is prompt tokens per byte of body. completion is the tokens of an answer, None before the
    first answer.
    """

    __slots__ = ("_answers", "_prompts", "completion_tokens", "tokens_per_byte")

    def __init__(self) -> None:
        self.tokens_per_byte = _INITIAL_RATIO
        self.completion_tokens: float | None = None
        self._prompts = 1  # the initial ratio counts as one observation
        self._answers = 0

    def estimate(self, body_bytes: int, max_tokens: int | None, n: int) -> int:
        """Expected tokens of the prompt and all n choices together, at least 1."""
        if self.completion_tokens is None:
            completion: float = _first_guess(max_tokens, n)
        elif max_tokens is None:
            completion = self.completion_tokens
        else:
            completion = min(self.completion_tokens, max_tokens * n)
        return max(1, math.ceil(body_bytes * self.tokens_per_byte + completion))

    def usage(self, body: Mapping[str, Value], body_bytes: int) -> Usage:
        """Expected counts of a request."""
        total = self.estimate(body_bytes, *answer_limits(body))
        prompt = self.estimate(body_bytes, 0, 1)
        return Usage(prompt, 0, max(0, total - prompt), total)

    def estimate_to_reserve(self, body_bytes: int, max_tokens: int | None, n: int) -> int:
        """Like estimate, with the first guess counted as one more answer: to book before sending.

        The short answers come first. An estimate from them alone would be too low, and the server
        would refuse the excess. An estimate that is too high is given back.
        """
        estimate = self.estimate(body_bytes, max_tokens, n)
        if self.completion_tokens is None:
            return estimate
        excess = _first_guess(max_tokens, n) - self.completion_tokens
        return estimate + max(0, math.ceil(excess / (1 + self._answers)))

    def learn(self, body_bytes: int, prompt_tokens: int | None, completion_tokens: int | None) -> None:
        """Learn from the `usage` of an answer with all its choices. None: the server did not report it.

        ratio is the mean of ratios, not the ratio of sums. Otherwise one text of 10 MB would
        dominate the thousand short texts after it.
        """
        if prompt_tokens and prompt_tokens > 0 and body_bytes > 0:
            self._prompts += 1
            weight = max(1 / self._prompts, _LEAST_WEIGHT)
            self.tokens_per_byte += (prompt_tokens / body_bytes - self.tokens_per_byte) * weight
        if completion_tokens is not None and completion_tokens >= 0:
            self._answers += 1
            weight = max(1 / self._answers, _LEAST_WEIGHT)
            before = self.completion_tokens or 0.0
            self.completion_tokens = before + (completion_tokens - before) * weight


def prompt_bytes(body: Mapping[str, Value], size_bytes: int) -> int:
    """The bytes of a body, of this size as JSON, from which the tokens of its prompt are estimated."""
    if size_bytes < LARGE_ATTACHMENT:  # nearly always
        return size_bytes
    return size_bytes - sum(_excess_bytes(body))


def _excess_bytes(body: Mapping[str, Value]) -> Iterator[int]:
    """The bytes of attachments that do not count."""
    for message in objects_in(body.get("messages")):
        for part in objects_in(message.get("content")):
            for name, value in part.items():
                for text in value.values() if isinstance(value, dict) else (value,):
                    if name != "text" and isinstance(text, str) and len(text) > LARGE_ATTACHMENT:
                        counted = LARGE_ATTACHMENT if name == "image_url" else len(text) // _BYTES_AS_ONE
                        yield len(text) - counted


def usage_at_first(bodies_bytes: int, answer_tokens: int) -> Usage:
    """Expected counts of several requests, before the first answer. answer_tokens is the sum of guesses."""
    prompt = TokenEstimator().estimate(bodies_bytes, 0, 1)
    return Usage(prompt, 0, answer_tokens, prompt + answer_tokens)


def guess_answer_tokens(bodies: Iterable[Mapping[str, Value]]) -> int:
    """The first guess of the tokens of all answers to requests."""
    return sum(
        _INITIAL_COMPLETION_TOKENS if _LIMITS.isdisjoint(body) else _first_guess(*answer_limits(body))
        for body in bodies
    )


def _first_guess(max_tokens: int | None, n: int) -> int:
    return n * (_INITIAL_COMPLETION_TOKENS if max_tokens is None else max_tokens)


def answer_limits(body: Mapping[str, Value]) -> tuple[int | None, int]:
    """The bounds of an answer: its token limit, if there is one, and the number of choices."""
    limit = body.get("max_completion_tokens") or body.get("max_tokens")
    choices = body.get("n")
    return limit if isinstance(limit, int) else None, choices if isinstance(choices, int) else 1
