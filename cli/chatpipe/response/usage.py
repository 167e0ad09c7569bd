"""Usage of completions: token counts for budgets and reports, and sums of whole usage objects.

Every answer of a conversation is paid for, so the usage of a result is that of its last answer plus
that of the earlier ones.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

from chatpipe.inputs.values import Value


class Usage(NamedTuple):
    """Token counts. A count that the server does not state is 0."""

    prompt: int = 0
    cached: int = 0
    completion: int = 0
    total: int = 0

    def plus(self, other: Usage) -> Usage:
        return Usage(*(one + more for one, more in zip(self, other, strict=True)))


def usage_of(completion: Mapping[str, Value] | None) -> Usage:
    """The counts in a completion. Never raises: a value that is not a count becomes 0."""
    return parse_usage((completion or {}).get("usage"))


def parse_usage(usage: Value) -> Usage:
    """The counts in a `usage` object. Never raises: a value that is not a count becomes 0."""
    if not isinstance(usage, dict):
        return Usage()
    details = usage.get("prompt_tokens_details")
    prompt, completion = _count(usage.get("prompt_tokens")), _count(usage.get("completion_tokens"))
    return Usage(
        prompt,
        _count(details.get("cached_tokens")) if isinstance(details, dict) else 0,
        completion,
        _count(usage.get("total_tokens")) or prompt + completion,
    )


def spent_usage(completion: Mapping[str, Value] | None, earlier: Iterable[Value]) -> Usage:
    """The counts of all turns. earlier holds the `usage` values of the turns before the completion."""
    total = usage_of(completion)
    for usage in earlier:
        total = total.plus(parse_usage(usage))
    return total


def total_usage(last: Value, earlier: Sequence[Value]) -> Value:
    """The `usage` value of all turns: the sum of all counts, nested ones included.

    Any value that is not a count comes from the last turn that has it.
    """
    total = last
    for usage in reversed(earlier):
        total = _sum(usage, total)
    return total


def _sum(one: Value, other: Value) -> Value:
    if isinstance(one, dict) and isinstance(other, dict):
        total = {key: _sum(one.get(key), value) for key, value in other.items()}
        return {**total, **{key: value for key, value in one.items() if key not in total}}
    if _is_number(one) and _is_number(other):
        return one + other
    return one if other is None else other


def _is_number(value: Value) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _count(value: Any) -> int:
    return value if isinstance(value, int) and value > 0 else 0
