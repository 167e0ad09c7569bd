"""What one value of a JSONL stream is taken for."""

from __future__ import annotations

from typing import Any

import pytest

from chatpipe.request.batch_line import Line, Shape, recognise
from parametrize import cases

ASK = {"messages": [{"role": "user", "content": "q"}]}


@cases(
    ("value", "line"),
    {
        "string": ("q", Line(Shape.STRING, ASK)),
        "empty string": ("", Line(Shape.STRING, {"messages": [{"role": "user", "content": ""}]})),
        "row": ({"prompt": "q"}, Line(Shape.ROW, ASK)),
        "row with a system text, an id and a field": (
            {"prompt": "q", "system": "s", "custom_id": "c", "temperature": 0},
            Line(
                Shape.ROW,
                {
                    "messages": [{"role": "system", "content": "s"}, {"role": "user", "content": "q"}],
                    "temperature": 0,
                },
                "c",
            ),
        ),
        "row, system null": ({"prompt": "q", "system": None}, Line(Shape.ROW, ASK)),
        "row, odd prompt": ({"prompt": 5}, Line(Shape.ROW, {"messages": [{"role": "user", "content": 5}]})),
        "Batch line": (
            {"custom_id": "c", "method": "POST", "url": "/v1/chat/completions", "body": ASK},
            Line(Shape.BATCH_LINE, ASK, "c", "/body"),
        ),
        "Batch line, odd": ({"body": 5}, Line(Shape.BATCH_LINE, 5, None, "/body")),
        "body before prompt": ({"body": {}, "prompt": "q"}, Line(Shape.BATCH_LINE, {}, None, "/body")),
        "body": (ASK, Line(Shape.BODY, ASK)),
        "messages before prompt": ({**ASK, "prompt": "q"}, Line(Shape.BODY, {**ASK, "prompt": "q"})),
        "messages before body": ({**ASK, "body": {}}, Line(Shape.BODY, {**ASK, "body": {}})),
        "an empty object": ({}, Line(Shape.BODY, {})),
        "a body that lacks its messages": ({"model": "m"}, Line(Shape.BODY, {"model": "m"})),
    },
)
def test_each_kind_of_line_is_recognised(value: Any, line: Line) -> None:
    assert recognise(value) == line


@pytest.mark.parametrize("value", [None, True, 5, 1.5, [], [ASK]])
def test_nothing_a_request_could_be_in(value: Any) -> None:
    assert recognise(value) is None


def test_value_is_left_as_it_was() -> None:
    row = {"prompt": "q", "system": "s", "custom_id": "c", "seed": 1}
    recognise(row)
    assert row == {"prompt": "q", "system": "s", "custom_id": "c", "seed": 1}
