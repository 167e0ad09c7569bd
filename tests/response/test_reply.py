"""An answer's message as one of the next request: what is kept, what is left out, and why."""

from __future__ import annotations

import copy
from typing import Any

import pytest

from chatpipe.response.reply import as_message
from chatpipe.schema.check import check

CALL = {"id": "c1", "type": "function", "function": {"name": "w", "arguments": "{}"}}
CUSTOM = {"id": "c2", "type": "custom", "custom": {"name": "sql", "input": "select 1"}}


def said(**members: Any) -> dict[str, Any]:
    return {"role": "assistant", **members}


@pytest.mark.parametrize(
    ("message", "kept"),
    [
        pytest.param(said(content="Hi"), said(content="Hi"), id="text"),
        pytest.param({"content": "Hi"}, said(content="Hi"), id="a role that is missing"),
        pytest.param({"role": "model", "content": "Hi"}, said(content="Hi"), id="another server's role"),
        pytest.param(said(content="Hi", refusal=None, tool_calls=None), said(content="Hi"), id="nulls"),
        pytest.param(
            said(content="Hi", annotations=[{"type": "url_citation"}], context={}, provider="x"),
            said(content="Hi"),
            id="what only answers have",
        ),
        pytest.param(said(content=None, refusal="No"), said(refusal="No"), id="a refusal"),
        pytest.param(
            said(content=[{"type": "text", "text": "Hi"}]),
            said(content=[{"type": "text", "text": "Hi"}]),
            id="content in parts",
        ),
        pytest.param(said(content=None, tool_calls=[CALL]), said(tool_calls=[CALL]), id="a call"),
        pytest.param(
            said(content="So:", tool_calls=[CALL, CUSTOM]),
            said(content="So:", tool_calls=[CALL, CUSTOM]),
            id="calls of both types, with text",
        ),
        pytest.param(
            said(tool_calls=[{**CALL, "index": 0, "function": {**CALL["function"], "parsed_arguments": {}}}]),  # type: ignore[dict-item]
            said(tool_calls=[CALL]),
            id="of a call what makes it one",
        ),
        pytest.param(
            said(tool_calls=[{"id": "c1", "function": {"name": "w", "arguments": "{}"}}]),
            said(tool_calls=[CALL]),
            id="a call without a type",
        ),
        pytest.param(
            said(tool_calls=[{**CALL, "extra_content": {"google": {"thought_signature": "EjQ"}}}]),
            said(tool_calls=[{**CALL, "extra_content": {"google": {"thought_signature": "EjQ"}}}]),
            id="Gemini's signature of a call",
        ),
        pytest.param(
            said(content=None, function_call={"name": "w", "arguments": "{}", "index": 0}),
            said(function_call={"name": "w", "arguments": "{}"}),
            id="a call of a legacy function",
        ),
        pytest.param(
            said(content=None, audio={"id": "a1", "expires_at": 5, "data": "AAAA", "transcript": "Hi"}),
            said(audio={"id": "a1"}),
            id="of sound its id",
        ),
        pytest.param(
            said(content="Hi", audio={"data": "AAAA"}), said(content="Hi"), id="sound without an id"
        ),
        pytest.param(
            said(
                content="", images=[{"type": "image_url", "image_url": {"url": "data:image/png;base64,AA"}}]
            ),
            said(
                content="", images=[{"type": "image_url", "image_url": {"url": "data:image/png;base64,AA"}}]
            ),
            id="images that a model drew",
        ),
        pytest.param(said(content=""), said(content=""), id="an empty text"),
        pytest.param(said(content=None), said(content=""), id="nothing: a message has content"),
        pytest.param({}, said(content=""), id="not even a role"),
    ],
)
def test_what_is_kept(message: dict[str, Any], kept: dict[str, Any]) -> None:
    before = copy.deepcopy(message)
    assert as_message(message) == kept
    assert message == before


@pytest.mark.parametrize("name", ["reasoning_content", "reasoning", "reasoning_details"])
def test_thoughts_go_back_with_calls_and_not_behind_a_final_answer(name: str) -> None:
    assert as_message(said(tool_calls=[CALL], **{name: "hm"})) == said(tool_calls=[CALL], **{name: "hm"})
    call = {"name": "w", "arguments": "{}"}
    assert as_message(said(function_call=call, **{name: "hm"})) == said(function_call=call, **{name: "hm"})
    assert as_message(said(content="Hi", **{name: "hm"})) == said(content="Hi")
    assert as_message(said(content="Hi", tool_calls=[], **{name: "hm"})) == said(content="Hi")


@pytest.mark.parametrize(
    "message",
    [
        pytest.param(said(tool_calls=5), id="calls that are no list"),
        pytest.param(said(tool_calls=["x", None]), id="calls that are no objects"),
        pytest.param(said(function_call="x"), id="a function call that is none"),
        pytest.param(said(audio="x"), id="sound that is none"),
    ],
)
def test_odd_shapes_count_as_nothing(message: dict[str, Any]) -> None:
    assert as_message(message) == said(content="")


def test_call_without_a_body_stays_for_the_check() -> None:
    assert as_message(said(tool_calls=[{"id": "c1", "function": "x"}])) == said(tool_calls=[{"id": "c1"}])


@pytest.mark.parametrize(
    "message",
    [
        said(content="Hi"),
        said(content=None),
        said(content=None, refusal="No"),
        said(content=None, audio={"id": "a1", "data": "AA"}),
        said(content=None, function_call={"name": "w", "arguments": "{}"}),
    ],
    ids=["text", "nothing", "refusal", "audio", "function"],
)
def test_result_passes_the_check(message: dict[str, Any]) -> None:
    body = {"model": "m", "messages": [{"role": "user", "content": "q"}, as_message(message)]}
    assert [problem for problem in check(body, strict=False) if problem.severity == "error"] == []
