"""What one value of a JSONL stream is taken for."""

from __future__ import annotations

from typing import Any

import pytest

from chatpipe.request.lines import Line, Shape, recognise

ASK = {"messages": [{"role": "user", "content": "q"}]}


@pytest.mark.parametrize(
    ("value", "line"),
    [
        pytest.param("q", Line(Shape.STRING, ASK), id="string"),
        pytest.param(
            "", Line(Shape.STRING, {"messages": [{"role": "user", "content": ""}]}), id="empty string"
        ),
        pytest.param({"prompt": "q"}, Line(Shape.ROW, ASK), id="row"),
        pytest.param(
            {"prompt": "q", "system": "s", "custom_id": "c", "temperature": 0},
            Line(
                Shape.ROW,
                {
                    "messages": [{"role": "system", "content": "s"}, {"role": "user", "content": "q"}],
                    "temperature": 0,
                },
                "c",
            ),
            id="row with a system text, an id and a field",
        ),
        pytest.param({"prompt": "q", "system": None}, Line(Shape.ROW, ASK), id="row, system null"),
        pytest.param(
            {"prompt": 5},
            Line(Shape.ROW, {"messages": [{"role": "user", "content": 5}]}),
            id="row, odd prompt",
        ),
        pytest.param(
            {"custom_id": "c", "method": "POST", "url": "/v1/chat/completions", "body": ASK},
            Line(Shape.BATCH_LINE, ASK, "c", "/body"),
            id="Batch line",
        ),
        pytest.param({"body": 5}, Line(Shape.BATCH_LINE, 5, None, "/body"), id="Batch line, odd"),
        pytest.param(
            {"body": {}, "prompt": "q"}, Line(Shape.BATCH_LINE, {}, None, "/body"), id="body before prompt"
        ),
        pytest.param(ASK, Line(Shape.BODY, ASK), id="body"),
        pytest.param(
            {**ASK, "prompt": "q"}, Line(Shape.BODY, {**ASK, "prompt": "q"}), id="messages before prompt"
        ),
        pytest.param({**ASK, "body": {}}, Line(Shape.BODY, {**ASK, "body": {}}), id="messages before body"),
        pytest.param({}, Line(Shape.BODY, {}), id="an empty object"),
        pytest.param({"model": "m"}, Line(Shape.BODY, {"model": "m"}), id="a body that lacks its messages"),
    ],
)
def test_recognised(value: Any, line: Line) -> None:
    assert recognise(value) == line


@pytest.mark.parametrize("value", [None, True, 5, 1.5, [], [ASK]])
def test_nothing_a_request_could_be_in(value: Any) -> None:
    assert recognise(value) is None


def test_value_is_left_as_it_was() -> None:
    row = {"prompt": "q", "system": "s", "custom_id": "c", "seed": 1}
    recognise(row)
    assert row == {"prompt": "q", "system": "s", "custom_id": "c", "seed": 1}
