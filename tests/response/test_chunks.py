"""One payload -> one chunk, and every shape of error that servers send."""

from __future__ import annotations

import json
from typing import Any

import pytest

from chatpipe.errors import BrokenAnswer, Status
from chatpipe.response import chunks
from chatpipe.response.chunks import StreamError
from response.streams import SHARED, needs_shared


@pytest.mark.parametrize(
    ("payload", "value"),
    [
        pytest.param(b'{"choices":[]}', {"choices": []}, id="chunk"),
        pytest.param(b" {} ", {}, id="white space around"),
        pytest.param(b'{"choices":\n[]}', {"choices": []}, id="data lines joined"),
        pytest.param(b'{"a":"\\ud83d"}', {"a": "\ud83d"}, id="lone surrogate"),
        pytest.param(b'{"a":9007199254740993}', {"a": 9007199254740993}, id="an integer beyond doubles"),
    ],
)
def test_payload_is_parsed(payload: bytes, value: dict[str, Any]) -> None:
    assert chunks.parse(payload) == value


@pytest.mark.parametrize(
    ("payload", "what"),
    [
        pytest.param(b"[1]", "an event of the stream is not a JSON object: '[1]'", id="list"),
        pytest.param(b"null", "an event of the stream is not a JSON object: 'null'", id="null"),
        pytest.param(
            b"<html> oops\n</html>",
            "an event of the stream is not JSON (expecting value): '<html> oops </html>'",
            id="html",
        ),
        pytest.param(
            b"{\xff}",
            "an event of the stream is not JSON (byte 0xff is not UTF-8): '{\ufffd}'",
            id="not UTF-8",
        ),
        pytest.param(
            b"x" * 1000,
            "an event of the stream is not JSON (expecting value): '" + "x" * 77 + "...'",
            id="long",
        ),
    ],
)
def test_payload_that_is_no_object_is_a_broken_answer(payload: bytes, what: str) -> None:
    with pytest.raises(BrokenAnswer) as caught:
        chunks.parse(payload)
    assert caught.value.what == what
    assert caught.value.body == payload
    assert caught.value.status is Status.BROKEN_ANSWER


@pytest.mark.parametrize(
    ("value", "error"),
    [
        pytest.param(
            {"error": {"message": "m", "type": "t", "param": "p", "code": "c"}},
            StreamError("m", "t", "c", "p"),
            id="openai",
        ),
        pytest.param(
            {"error": {"message": "m", "type": "server_error", "param": None, "code": None}},
            StreamError("m", "server_error", None, None),
            id="nulls",
        ),
        pytest.param(
            {"error": {"code": 500, "message": "m", "type": "server_error"}},
            StreamError("m", "server_error", 500),
            id="llama.cpp",
        ),
        pytest.param(
            {
                "id": "g",
                "error": {"code": 429, "message": "m", "metadata": {"error_type": "slow"}},
                "choices": [{}],
            },
            StreamError("m", "slow", 429),
            id="openrouter, with choices",
        ),
        pytest.param(
            {"error": {"code": "429", "message": "m"}}, StreamError("m", None, "429"), id="code a string"
        ),
        pytest.param(
            [{"error": {"code": 400, "message": "m", "status": "INVALID_ARGUMENT"}}],
            StreamError("m", "INVALID_ARGUMENT", 400),
            id="gemini, in a list",
        ),
        pytest.param({"error": "m"}, StreamError("m"), id="bare string"),
        pytest.param({"error": "m", "choices": []}, StreamError("m"), id="bare string, with choices"),
        pytest.param({"detail": "m"}, StreamError("m"), id="detail"),
        pytest.param(
            {"detail": [{"loc": ["body", "messages", 0], "msg": "too short"}, {"msg": "bad"}]},
            StreamError("body.messages.0: too short; bad"),
            id="detail, a list",
        ),
        pytest.param({"error": {"detail": "m"}}, StreamError("m"), id="detail inside"),
        pytest.param(
            {"object": "error", "message": "m", "type": "BadRequestError", "param": None, "code": 400},
            StreamError("m", "BadRequestError", 400),
            id="no wrapper",
        ),
        pytest.param({"message": "no route"}, StreamError("no route"), id="gateway"),
        pytest.param({"error": {"reason": "x"}}, StreamError('{"reason":"x"}'), id="no message: all of it"),
        pytest.param({"error": {"message": {"en": "x"}}}, StreamError('{"en":"x"}'), id="message an object"),
        pytest.param({"error": True}, StreamError("true"), id="true"),
        pytest.param({"error": 503}, StreamError("503"), id="a number"),
        pytest.param({"error": [1, "x"]}, StreamError('[1,"x"]'), id="a list"),
        pytest.param(
            {"error": {"message": "m", "type": 3, "code": True, "param": ["p"], "metadata": "x"}},
            StreamError("m"),
            id="impossible types",
        ),
    ],
)
def test_error_is_found(value: Any, error: StreamError) -> None:
    assert chunks.error_of(value) == error


@pytest.mark.parametrize(
    "value",
    [
        pytest.param({"choices": []}, id="chunk"),
        pytest.param({"choices": [], "error": None}, id="null"),
        pytest.param({"choices": [], "error": {}}, id="empty object"),
        pytest.param({"choices": [], "error": ""}, id="empty string"),
        pytest.param({"choices": [], "detail": "x", "message": "y"}, id="other fields of a chunk"),
        pytest.param({"prompt_progress": {"total": 3}}, id="no choices"),
        pytest.param({"message": {"role": "assistant"}}, id="a message, not words"),
        pytest.param({"message": ""}, id="empty message"),
        pytest.param({}, id="empty"),
        pytest.param([{"error": "m"}, {}], id="list of several"),
        pytest.param([], id="empty list"),
        pytest.param("error", id="string"),
        pytest.param(None, id="nothing"),
    ],
)
def test_no_error_is_found(value: Any) -> None:
    assert chunks.error_of(value) is None


def test_error_too_deep_to_show_is_still_an_error() -> None:
    deep: Any = "x"
    for _ in range(5000):
        deep = [deep]
    assert chunks.error_of({"error": deep}) == StreamError("an error nested too deeply to show")


@pytest.mark.parametrize(
    ("text", "short"),
    [
        ("a\n b\t\tc ", "a b c"),
        ("x" * 500, "x" * 500),
        ("x" * 501, "x" * 497 + "..."),
        (" " * 2000 + "y", "y"),
        ("", ""),
    ],
)
def test_words_of_the_server_are_shortened(text: str, short: str) -> None:
    assert chunks.shorten(text) == short


@needs_shared
@pytest.mark.parametrize(
    ("name", "error"),
    [
        ("error-402-openrouter", StreamError("Insufficient credits", None, 402)),
        (
            "error-429-quota",
            StreamError(
                "You exceeded your current quota, please check your plan and billing details.",
                "insufficient_quota",
                "insufficient_quota",
            ),
        ),
        (
            "error-503",
            StreamError("The engine is currently overloaded, please try again later", "server_error"),
        ),
    ],
)
def test_error_body_of_the_api_notes(name: str, error: StreamError) -> None:
    reply = json.loads((SHARED / f"{name}.http.json").read_text())
    assert chunks.error_of(reply["body"]) == error
