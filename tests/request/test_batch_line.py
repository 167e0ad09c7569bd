"""What one value of a JSONL stream is taken for."""

from __future__ import annotations

from typing import Any

import pytest

from chatpipe.request.batch_line import LineFormat, RequestLine, parse_line
from parametrize import cases

ASK = {"messages": [{"role": "user", "content": "q"}]}


@cases(
    ("value", "line"),
    {
        "string": ("q", RequestLine(LineFormat.STRING, ASK)),
        "empty string": ("", RequestLine(LineFormat.STRING, {"messages": [{"role": "user", "content": ""}]})),
        "row": ({"prompt": "q"}, RequestLine(LineFormat.ROW, ASK)),
        "row with a system text, an id and a field": (
            {"prompt": "q", "system": "s", "custom_id": "c", "temperature": 0},
            RequestLine(
                LineFormat.ROW,
                {
                    "messages": [{"role": "system", "content": "s"}, {"role": "user", "content": "q"}],
                    "temperature": 0,
                },
                "c",
            ),
        ),
        "row, system null": ({"prompt": "q", "system": None}, RequestLine(LineFormat.ROW, ASK)),
        "row, odd prompt": (
            {"prompt": 5},
            RequestLine(LineFormat.ROW, {"messages": [{"role": "user", "content": 5}]}),
        ),
        "Batch line": (
            {"custom_id": "c", "method": "POST", "url": "/v1/chat/completions", "body": ASK},
            RequestLine(LineFormat.BATCH_LINE, ASK, "c", "/body", "/v1/chat/completions"),
        ),
        "Batch line, odd": ({"body": 5}, RequestLine(LineFormat.BATCH_LINE, 5, None, "/body")),
        "body before prompt": (
            {"body": {}, "prompt": "q"},
            RequestLine(LineFormat.BATCH_LINE, {}, None, "/body"),
        ),
        "body": (ASK, RequestLine(LineFormat.BODY, ASK)),
        "messages before prompt": (
            {**ASK, "prompt": "q"},
            RequestLine(LineFormat.BODY, {**ASK, "prompt": "q"}),
        ),
        "messages before body": ({**ASK, "body": {}}, RequestLine(LineFormat.BODY, {**ASK, "body": {}})),
        "an empty object": ({}, RequestLine(LineFormat.BODY, {})),
        "a body that lacks its messages": ({"model": "m"}, RequestLine(LineFormat.BODY, {"model": "m"})),
    },
)
def test_each_kind_of_line_is_recognised(value: Any, line: RequestLine) -> None:
    assert parse_line(value) == line


@pytest.mark.parametrize("value", [None, True, 5, 1.5, [], [ASK]])
def test_nothing_a_request_could_be_in(value: Any) -> None:
    assert parse_line(value) is None


def test_value_is_left_as_it_was() -> None:
    row = {"prompt": "q", "system": "s", "custom_id": "c", "seed": 1}
    parse_line(row)
    assert row == {"prompt": "q", "system": "s", "custom_id": "c", "seed": 1}


@pytest.mark.parametrize(
    "url",
    [
        None,
        "",
        "/v1/chat/completions",
        "/v1/chat/completions/",
        "/chat/completions",
        "chat/completions",
        "/openai/v1/chat/completions",
        "/openai/deployments/gpt-4o/chat/completions?api-version=2024-10-21",
        "https://api.openai.com/v1/chat/completions",
        "HTTPS://me.openai.azure.com/openai/deployments/d/Chat/Completions?api-version=1#x",
    ],
)
def test_url_of_chat_completions(url: str | None) -> None:
    line = parse_line({"url": url, "body": ASK})
    assert line is not None
    assert not line.is_of_other_endpoint


@pytest.mark.parametrize(
    "url",
    [
        "/v1/responses",
        "/v1/embeddings",
        "/v1/completions",
        "/v1/moderations",
        "/v1/messages",
        "/v1/notchat/completions",
        "/v1/xchat/completions",
        "/v1/chat/completions/abc",
        "/v1/embeddings?then=/chat/completions",
        "https://api.openai.com/v1/responses",
        "/openai/deployments/d/embeddings?api-version=1",
    ],
)
def test_url_of_another_endpoint(url: str) -> None:
    line = parse_line({"url": url, "body": ASK})
    assert line is not None
    assert line.is_of_other_endpoint
