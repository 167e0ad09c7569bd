"""Tables of usage objects: their counts, and their sums over the turns of a conversation."""

from __future__ import annotations

from typing import Any

from chatpipe.response.usage import Usage, spent_usage, total_usage, usage_of
from parametrize import cases


@cases(
    "completion, expected",
    {
        "no completion": (None, (0, 0, 0, 0)),
        "no usage": ({}, (0, 0, 0, 0)),
        "null": ({"usage": None}, (0, 0, 0, 0)),
        "no object": ({"usage": [1]}, (0, 0, 0, 0)),
        "all": ({"usage": {"prompt_tokens": 5, "completion_tokens": 2, "total_tokens": 7}}, (5, 0, 2, 7)),
        "a sum that is not told": ({"usage": {"prompt_tokens": 5, "completion_tokens": 2}}, (5, 0, 2, 7)),
        "prompt only, as for an empty answer": ({"usage": {"prompt_tokens": 5}}, (5, 0, 0, 5)),
        "cached": (
            {"usage": {"prompt_tokens": 5, "prompt_tokens_details": {"cached_tokens": 4}}},
            (5, 4, 0, 5),
        ),
        "no details": ({"usage": {"prompt_tokens": 5, "prompt_tokens_details": None}}, (5, 0, 0, 5)),
        "no counts": (
            {"usage": {"prompt_tokens": "5", "completion_tokens": -2, "total_tokens": None}},
            (0, 0, 0, 0),
        ),
    },
)
def test_usage_of_a_completion(
    completion: dict[str, Any] | None, expected: tuple[int, int, int, int]
) -> None:
    assert usage_of(completion) == expected


def test_spent_usage_counts_every_turn() -> None:
    turn = {"prompt_tokens": 3, "completion_tokens": 1}
    assert spent_usage({"usage": turn}, [turn, None, {"total_tokens": 5}]) == Usage(6, 0, 2, 13)
    assert spent_usage(None, [turn]) == Usage(3, 0, 1, 4)


@cases(
    "last, earlier, total",
    {
        "one turn": ({"a": 1}, [], {"a": 1}),
        "counts": ({"a": 1}, [{"a": 2}, {"a": 3}], {"a": 6}),
        "details": ({"d": {"c": 1}}, [{"d": {"c": 2, "x": 5}}], {"d": {"c": 3, "x": 5}}),
        "the last is silent": (None, [{"a": 2}], {"a": 2}),
        "an earlier one is silent": ({"a": 2}, [None], {"a": 2}),
        "no counts": ({"cost": 0.5, "ok": True}, [{"cost": 0.25, "ok": True}], {"cost": 0.75, "ok": True}),
    },
)
def test_usage_of_all_turns(last: Any, earlier: list[Any], total: Any) -> None:
    assert total_usage(last, earlier) == total
