"""Every shape of error that servers send."""

from __future__ import annotations

import json
from typing import Any

import pytest

from chatpipe.response.server_error import ServerError, error_of
from parametrize import cases
from response.streams import SHARED, needs_shared


@cases(
    ("value", "error"),
    {
        "openai": (
            {"error": {"message": "m", "type": "t", "param": "p", "code": "c"}},
            ServerError("m", "t", "c", "p"),
        ),
        "nulls": (
            {"error": {"message": "m", "type": "server_error", "param": None, "code": None}},
            ServerError("m", "server_error", None, None),
        ),
        "llama.cpp": (
            {"error": {"code": 500, "message": "m", "type": "server_error"}},
            ServerError("m", "server_error", 500),
        ),
        "openrouter, with choices": (
            {
                "id": "g",
                "error": {"code": 429, "message": "m", "metadata": {"error_type": "slow"}},
                "choices": [{}],
            },
            ServerError("m", "slow", 429),
        ),
        "code a string": ({"error": {"code": "429", "message": "m"}}, ServerError("m", None, "429")),
        "gemini, in a list": (
            [{"error": {"code": 400, "message": "m", "status": "INVALID_ARGUMENT"}}],
            ServerError("m", "INVALID_ARGUMENT", 400),
        ),
        "bare string": ({"error": "m"}, ServerError("m")),
        "bare string, with choices": ({"error": "m", "choices": []}, ServerError("m")),
        "detail": ({"detail": "m"}, ServerError("m")),
        "detail, a list": (
            {"detail": [{"loc": ["body", "messages", 0], "msg": "too short"}, {"msg": "bad"}]},
            ServerError("body.messages.0: too short; bad"),
        ),
        "detail inside": ({"error": {"detail": "m"}}, ServerError("m")),
        "no wrapper": (
            {"object": "error", "message": "m", "type": "BadRequestError", "param": None, "code": 400},
            ServerError("m", "BadRequestError", 400),
        ),
        "gateway": ({"message": "no route"}, ServerError("no route")),
        "no message: all of it": ({"error": {"reason": "x"}}, ServerError('{"reason":"x"}')),
        "message an object": ({"error": {"message": {"en": "x"}}}, ServerError('{"en":"x"}')),
        "true": ({"error": True}, ServerError("true")),
        "a number": ({"error": 503}, ServerError("503")),
        "a list": ({"error": [1, "x"]}, ServerError('[1,"x"]')),
        "impossible types": (
            {"error": {"message": "m", "type": 3, "code": True, "param": ["p"], "metadata": "x"}},
            ServerError("m"),
        ),
    },
)
def test_error_is_found(value: Any, error: ServerError) -> None:
    assert error_of(value) == error


@cases(
    "value",
    {
        "chunk": {"choices": []},
        "null": {"choices": [], "error": None},
        "empty object": {"choices": [], "error": {}},
        "empty string": {"choices": [], "error": ""},
        "other fields of a chunk": {"choices": [], "detail": "x", "message": "y"},
        "no choices": {"prompt_progress": {"total": 3}},
        "a message, not words": {"message": {"role": "assistant"}},
        "empty message": {"message": ""},
        "empty": {},
        "list of several": [{"error": "m"}, {}],
        "empty list": [],
        "string": "error",
        "nothing": None,
    },
)
def test_no_error_is_found(value: Any) -> None:
    assert error_of(value) is None


def test_error_too_deep_to_show_is_still_an_error() -> None:
    deep: Any = "x"
    for _ in range(5000):
        deep = [deep]
    assert error_of({"error": deep}) == ServerError("an error nested too deeply to show")


@needs_shared
@pytest.mark.parametrize(
    ("name", "error"),
    [
        ("error-402-openrouter", ServerError("Insufficient credits", None, 402)),
        (
            "error-429-quota",
            ServerError(
                "You exceeded your current quota, please check your plan and billing details.",
                "insufficient_quota",
                "insufficient_quota",
            ),
        ),
        (
            "error-503",
            ServerError("The engine is currently overloaded, please try again later", "server_error"),
        ),
    ],
)
def test_error_body_of_the_api_notes(name: str, error: ServerError) -> None:
    reply = json.loads((SHARED / f"{name}.http.json").read_text())
    assert error_of(reply["body"]) == error
