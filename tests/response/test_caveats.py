"""Warnings about answers that are good all the same."""

from __future__ import annotations

from typing import Any

from chatpipe.response.caveats import caveats
from support.parametrize import cases

CHART = {"type": "chart"}
NO_CHART = "a part of the answer is left out, because it is not text (type 'chart')"


@cases(
    ("choice", "warnings"),
    {
        "good": ({"finish_reason": "stop", "message": {"content": "a"}}, []),
        "a new word": (
            {"finish_reason": "x" * 100},
            [f"unknown finish_reason '{'x' * 77}...': the answer is taken as complete"],
        ),
        "no object": (None, []),
        "parts that are text": ({"message": {"content": ["a", {"type": "text", "text": 1}]}}, []),
        "reasoning": ({"message": {"content": [{"type": "thinking", "thinking": "h"}]}}, []),
        "a refusal, which is printed": ({"message": {"content": [{"type": "refusal", "refusal": "n"}]}}, []),
        "a part of another type": ({"message": {"content": [CHART]}}, [NO_CHART]),
        "a part without a type": (
            {"message": {"content": ["a", {}, 1]}},
            [
                "a part of the answer is left out, because it is not text (an object)",
                "a part of the answer is left out, because it is not text (a number)",
            ],
        ),
        "images": (
            {"message": {"images": [1]}},
            ["images of the answer are left out, because they are not text"],
        ),
    },
)
def test_an_answer_has_caveats(choice: Any, warnings: list[str]) -> None:
    assert list(caveats({"choices": [choice]}, only_text=True)) == warnings


def test_nothing_is_left_out_where_the_output_is_not_text_alone() -> None:
    answer = {"choices": [{"message": {"content": [CHART], "images": [1]}}]}
    assert list(caveats(answer, only_text=False)) == []


@cases(
    "number, only_first, warned",
    {
        "two, and one is written": (2, True, 1),
        "two, and both are written": (2, False, 0),
        "one": (1, True, 0),
        "none": (0, True, 0),
    },
)
def test_choices_that_are_left_out_are_named(number: int, only_first: bool, warned: int) -> None:
    answer = {"choices": [{"finish_reason": "stop"}] * number}
    assert len(list(caveats(answer, only_text=True, only_first=only_first))) == warned
