"""What one value of a JSONL stream is taken for."""

from __future__ import annotations

from typing import Any

import pytest

from chatpipe.request.batch_line import RequestLine, parse_line
from support.parametrize import cases

ASK = {"messages": [{"role": "user", "content": "q"}]}


@cases(
    ("value", "line"),
    {
        "string": ("q", RequestLine("string", ASK)),
        "empty string": ("", RequestLine("string", {"messages": [{"role": "user", "content": ""}]})),
        "row": ({"prompt": "q"}, RequestLine("row", ASK)),
        "row with a system text, an id and a field": (
            {"prompt": "q", "system": "s", "custom_id": "c", "temperature": 0},
            RequestLine(
                "row",
                {
                    "messages": [{"role": "system", "content": "s"}, {"role": "user", "content": "q"}],
                    "temperature": 0,
                },
                "c",
            ),
        ),
        "row, system null": ({"prompt": "q", "system": None}, RequestLine("row", ASK)),
        "row, odd prompt": (
            {"prompt": 5},
            RequestLine("row", {"messages": [{"role": "user", "content": 5}]}),
        ),
        "Batch line": (
            {"custom_id": "c", "method": "POST", "url": "/v1/chat/completions", "body": ASK},
            RequestLine("Batch line", ASK, "c", "/body", "/v1/chat/completions"),
        ),
        "Batch line, odd": ({"body": 5}, RequestLine("Batch line", 5, None, "/body")),
        "body before prompt": (
            {"body": {}, "prompt": "q"},
            RequestLine("Batch line", {}, None, "/body"),
        ),
        "body": (ASK, RequestLine("body", ASK)),
        "messages before prompt": (
            {**ASK, "prompt": "q"},
            RequestLine("body", {**ASK, "prompt": "q"}),
        ),
        "messages before body": ({**ASK, "body": {}}, RequestLine("body", {**ASK, "body": {}})),
        "an empty object": ({}, RequestLine("body", {})),
        "a body that lacks its messages": ({"model": "m"}, RequestLine("body", {"model": "m"})),
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
