"""An answer's message as one of the next request: what is kept, what is left out, and why."""

from __future__ import annotations

import copy
from typing import Any

import pytest

from chatpipe.conversation.history import history_message
from chatpipe.schema.check import check
from support.parametrize import cases

CALL: dict[str, Any] = {"id": "c1", "type": "function", "function": {"name": "w", "arguments": "{}"}}
CUSTOM = {"id": "c2", "type": "custom", "custom": {"name": "sql", "input": "select 1"}}


def said(**members: Any) -> dict[str, Any]:
    return {"role": "assistant", **members}


@cases(
    ("message", "kept"),
    {
        "text": (said(content="Hi"), said(content="Hi")),
        "a role that is missing": ({"content": "Hi"}, said(content="Hi")),
        "another server's role": ({"role": "model", "content": "Hi"}, said(content="Hi")),
        "nulls": (said(content="Hi", refusal=None, tool_calls=None), said(content="Hi")),
        "what only answers have": (
            said(content="Hi", annotations=[{"type": "url_citation"}], context={}, provider="x"),
            said(content="Hi"),
        ),
        "a refusal": (said(content=None, refusal="No"), said(refusal="No")),
        "content in parts": (
            said(content=[{"type": "text", "text": "Hi"}]),
            said(content=[{"type": "text", "text": "Hi"}]),
        ),
        "parts without the reasoning": (
            said(content=[{"type": "thinking", "thinking": "Hm"}, {"type": "text", "text": "Hi"}]),
            said(content=[{"type": "text", "text": "Hi"}]),
        ),
        "no calls": (said(content="Hi", tool_calls=[]), said(content="Hi")),
        "a call": (said(content=None, tool_calls=[CALL]), said(tool_calls=[CALL])),
        "calls of both types, with text": (
            said(content="So:", tool_calls=[CALL, CUSTOM]),
            said(content="So:", tool_calls=[CALL, CUSTOM]),
        ),
        "of a call what makes it one": (
            said(tool_calls=[{**CALL, "index": 0, "function": {**CALL["function"], "parsed_arguments": {}}}]),
            said(tool_calls=[CALL]),
        ),
        "a call without a type": (
            said(tool_calls=[{"id": "c1", "function": {"name": "w", "arguments": "{}"}}]),
            said(tool_calls=[CALL]),
        ),
        "Gemini's signature of a call": (
            said(tool_calls=[{**CALL, "extra_content": {"google": {"thought_signature": "EjQ"}}}]),
            said(tool_calls=[{**CALL, "extra_content": {"google": {"thought_signature": "EjQ"}}}]),
        ),
        "a call of a legacy function": (
            said(content=None, function_call={"name": "w", "arguments": "{}", "index": 0}),
            said(function_call={"name": "w", "arguments": "{}"}),
        ),
        "of sound its id": (
            said(content=None, audio={"id": "a1", "expires_at": 5, "data": "AAAA", "transcript": "Hi"}),
            said(audio={"id": "a1"}),
        ),
        "sound without an id": (said(content="Hi", audio={"data": "AAAA"}), said(content="Hi")),
        "images that a model drew": (
            said(
                content="", images=[{"type": "image_url", "image_url": {"url": "data:image/png;base64,AA"}}]
            ),
            said(
                content="", images=[{"type": "image_url", "image_url": {"url": "data:image/png;base64,AA"}}]
            ),
        ),
        "an empty text": (said(content=""), said(content="")),
        "nothing: a message has content": (said(content=None), said(content="")),
        "not even a role": ({}, said(content="")),
    },
)
def test_a_stored_answer_keeps_what_a_server_takes_back(
    message: dict[str, Any], kept: dict[str, Any]
) -> None:
    before = copy.deepcopy(message)
    assert history_message(message) == kept
    assert message == before


@pytest.mark.parametrize("name", ["reasoning_content", "reasoning", "reasoning_details"])
def test_thoughts_go_back_with_calls_and_not_behind_a_final_answer(name: str) -> None:
    assert history_message(said(tool_calls=[CALL], **{name: "hm"})) == said(tool_calls=[CALL], **{name: "hm"})
    call = {"name": "w", "arguments": "{}"}
    assert history_message(said(function_call=call, **{name: "hm"})) == said(
        function_call=call, **{name: "hm"}
    )
    assert history_message(said(content="Hi", **{name: "hm"})) == said(content="Hi")
    assert history_message(said(content="Hi", tool_calls=[], **{name: "hm"})) == said(content="Hi")


@cases(
    "message",
    {
        "calls that are no list": said(tool_calls=5),
        "calls that are no objects": said(tool_calls=["x", None]),
        "a function call that is none": said(function_call="x"),
        "sound that is none": said(audio="x"),
    },
)
def test_odd_shapes_count_as_nothing(message: dict[str, Any]) -> None:
    assert history_message(message) == said(content="")


def test_call_without_a_body_stays_for_the_check() -> None:
    assert history_message(said(tool_calls=[{"id": "c1", "function": "x"}])) == said(
        tool_calls=[{"id": "c1"}]
    )


@cases(
    "message",
    {
        "text": said(content="Hi"),
        "nothing": said(content=None),
        "refusal": said(content=None, refusal="No"),
        "audio": said(content=None, audio={"id": "a1", "data": "AA"}),
        "function": said(content=None, function_call={"name": "w", "arguments": "{}"}),
    },
)
def test_result_passes_the_check(message: dict[str, Any]) -> None:
    body = {"model": "m", "messages": [{"role": "user", "content": "q"}, history_message(message)]}
    assert [problem for problem in check(body, strict=False) if problem.severity == "error"] == []
