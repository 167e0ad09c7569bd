"""One payload -> one chunk."""

from __future__ import annotations

from typing import Any

import pytest

from chatpipe.errors import BrokenAnswer, Status
from chatpipe.response import chunks
from support.parametrize import cases


@cases(
    ("payload", "value"),
    {
        "chunk": (b'{"choices":[]}', {"choices": []}),
        "white space around": (b" {} ", {}),
        "data lines joined": (b'{"choices":\n[]}', {"choices": []}),
        "lone surrogate": (b'{"a":"\\ud83d"}', {"a": "\ud83d"}),
        "an integer beyond doubles": (b'{"a":9007199254740993}', {"a": 9007199254740993}),
    },
)
def test_payload_is_parsed(payload: bytes, value: dict[str, Any]) -> None:
    assert chunks.parse(payload) == value


@cases(
    ("payload", "what"),
    {
        "list": (b"[1]", "an event of the stream is not a JSON object: '[1]'"),
        "null": (b"null", "an event of the stream is not a JSON object: 'null'"),
        "html": (
            b"<html> oops\n</html>",
            "an event of the stream is not JSON (expecting value): '<html> oops </html>'",
        ),
        "not UTF-8": (b"{\xff}", "an event of the stream is not JSON (byte 0xff is not UTF-8): '{\ufffd}'"),
        "long": (b"x" * 1000, "an event of the stream is not JSON (expecting value): '" + "x" * 77 + "...'"),
    },
)
def test_payload_that_is_no_object_is_a_broken_answer(payload: bytes, what: str) -> None:
    with pytest.raises(BrokenAnswer) as caught:
        chunks.parse(payload)
    assert caught.value.what == what
    assert caught.value.body == payload
    assert caught.value.status is Status.BROKEN_ANSWER


@cases(
    ("choice", "made"),
    {
        "a text": ({"index": 1, "text": "a"}, {"index": 1, "delta": {"content": "a"}}),
        "beside nulls": ({"text": "a", "message": None, "delta": None}, {"delta": {"content": "a"}}),
        "beside a delta": ({"text": "", "delta": {"content": "a"}}, {"text": "", "delta": {"content": "a"}}),
        "beside a message": ({"text": "a", "message": {}}, {"text": "a", "message": {}}),
        "no text": ({"text": ["a"]}, {"text": ["a"]}),
        "as delta": ({"index": 1, "delta": "a"}, {"index": 1, "delta": {"content": "a"}}),
        "as message": (
            {"message": "a", "finish_reason": "stop"},
            {"finish_reason": "stop", "delta": {"content": "a"}},
        ),
        "empty": ({"delta": ""}, {"delta": {"content": ""}}),
        "as delta, and its message": ({"delta": "a", "message": "ab"}, {"delta": {"content": "a"}}),
        "as delta beside a message": ({"delta": "a", "message": {}}, {"delta": "a", "message": {}}),
        "nothing": (5, 5),
    },
)
def test_a_text_stands_for_a_delta(choice: Any, made: Any) -> None:
    assert chunks.with_deltas({"id": "x", "choices": [choice]}) == {"id": "x", "choices": [made]}


@cases(
    ("choice", "made"),
    {
        "a text": ({"message": "a"}, {"message": {"role": "assistant", "content": "a"}}),
        "empty": ({"message": ""}, {"message": {"role": "assistant", "content": ""}}),
        "an object": ({"message": {}}, {"message": {}}),
        "beside a delta": ({"message": "a", "delta": {}}, {"message": "a", "delta": {}}),
        "null": ({"message": None}, {"message": None}),
        "nothing": (5, 5),
    },
)
def test_a_text_stands_for_a_message(choice: Any, made: Any) -> None:
    assert chunks.with_messages({"id": "x", "choices": [choice]}) == {"id": "x", "choices": [made]}
