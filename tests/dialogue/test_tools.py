"""What a message calls, and what the model is told: shapes and words."""

from __future__ import annotations

from typing import Any

import pytest

from chatpipe.dialogue import tools
from chatpipe.dialogue.tools import Call
from chatpipe.schema.rules import broken


def calling(*calls: Any) -> dict[str, Any]:
    return {"role": "assistant", "content": None, "tool_calls": list(calls)}


def function(arguments: Any, **more: Any) -> dict[str, Any]:
    called = {"id": "1", "type": "function", "function": {"name": "f", "arguments": arguments}}
    return {**called, **more}


@pytest.mark.parametrize(
    ("message", "calls"),
    [
        pytest.param({"role": "assistant", "content": "hi"}, [], id="none"),
        pytest.param(calling(), [], id="empty list"),
        pytest.param({"tool_calls": None, "function_call": None}, [], id="nulls"),
        pytest.param({"tool_calls": "x", "function_call": "y"}, [], id="no shape at all"),
        pytest.param(calling(5, "x", None), [], id="no objects"),
        pytest.param(calling(function('{"a":1}')), [Call("1", "f", b'{"a":1}')], id="function"),
        pytest.param(
            calling(function('{ "a" : 1.0,\n"b":12345678901234567890 }')),
            [Call("1", "f", b'{ "a" : 1.0,\n"b":12345678901234567890 }')],
            id="arguments as they came",
        ),
        pytest.param(calling(function("")), [Call("1", "f", b"{}")], id="no arguments"),
        pytest.param(calling(function(" \n")), [Call("1", "f", b"{}")], id="blank arguments"),
        pytest.param(calling(function("null")), [Call("1", "f", b"{}")], id="arguments null in text"),
        pytest.param(calling(function(None)), [Call("1", "f", b"{}")], id="arguments null"),
        pytest.param(calling(function({"a": "ä"})), [Call("1", "f", '{"a":"ä"}'.encode())], id="an object"),
        pytest.param(
            calling({"id": "1", "function": {"name": "f"}}),
            [Call("1", "f", b"{}")],
            id="no type, no arguments",
        ),
        pytest.param(
            calling(function("{}", id=None), function("{}", id=""), function("{}")),
            [Call("call_0", "f", b"{}"), Call("call_1", "f", b"{}"), Call("1", "f", b"{}")],
            id="no id",
        ),
        pytest.param(calling({"id": "1"}), [Call("1", "", b"{}")], id="no name"),
        pytest.param(
            calling({"id": "1", "type": "custom", "custom": {"name": "c", "input": "5\n"}}),
            [Call("1", "c", b"5\n", "custom")],
            id="custom: text as it came",
        ),
        pytest.param(
            calling({"id": "1", "custom": {"name": "c", "input": None}}),
            [Call("1", "c", b"", "custom")],
            id="custom without input",
        ),
        pytest.param(
            calling({"id": "1", "custom": {"name": "c", "input": "a\ud83db"}}),
            [Call("1", "c", b"a?b", "custom")],
            id="custom with half an emoji",
        ),
        pytest.param(
            {"function_call": {"name": "f", "arguments": '{"a":1}'}},
            [Call("", "f", b'{"a":1}', "legacy")],
            id="function_call",
        ),
        pytest.param(
            calling(function("{}"), "x", function("{}", id="2")),
            [Call("1", "f", b"{}"), Call("2", "f", b"{}")],
            id="several, in order",
        ),
    ],
)
def test_calls(message: dict[str, Any], calls: list[Call]) -> None:
    assert tools.calls(message) == calls


@pytest.mark.parametrize(
    ("arguments", "problem"),
    [
        pytest.param(
            '{"a": ',
            "error: the arguments are not JSON: expecting value (line 1, column 7): "
            "call the tool again with one JSON object, not '{\"a\":'",
            id="cut",
        ),
        pytest.param(
            "[1,\n 2]",
            "error: the arguments are not an object: call the tool again with one JSON object, not '[1, 2]'",
            id="array",
        ),
        pytest.param(
            [1],
            "error: the arguments are not an object: call the tool again with one JSON object, not '[1]'",
            id="array as it is",
        ),
        pytest.param(
            '"{}"',
            "error: the arguments are not an object: call the tool again with one JSON object, not '\"{}\"'",
            id="twice encoded",
        ),
        pytest.param(
            '{"a":"\ud83d"}',
            "error: the arguments are not JSON: byte 0xed is not UTF-8 (line 1, column 7): "
            'call the tool again with one JSON object, not \'{"a":"?"}\'',
            id="half an emoji",
        ),
    ],
)
def test_arguments_that_are_not_good_are_told_and_not_run(arguments: Any, problem: str) -> None:
    assert tools.calls(calling(function(arguments))) == [Call("1", "f", b"{}", "function", problem)]


def test_long_arguments_are_not_repeated_whole() -> None:
    (call,) = tools.calls(calling(function("x" * 10_000_000)))
    assert call.problem is not None
    assert len(call.problem) < 400


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (Call("1", "f", b""), {"role": "tool", "tool_call_id": "1", "content": "ok"}),
        (Call("1", "c", b"", "custom"), {"role": "tool", "tool_call_id": "1", "content": "ok"}),
        (Call("", "f", b"", "legacy"), {"role": "function", "name": "f", "content": "ok"}),
    ],
    ids=["function", "custom", "legacy"],
)
def test_answer(call: Call, message: dict[str, Any]) -> None:
    assert tools.answer_message(call, "ok") == message


@pytest.mark.parametrize(
    ("message", "mended"),
    [
        pytest.param(calling(function('{"a":1}')), calling(function('{"a":1}')), id="good stays"),
        pytest.param(calling(function("{}", id=None)), calling(function("{}", id="call_0")), id="id"),
        pytest.param(calling(function({"a": 1})), calling(function('{"a":1}')), id="object becomes text"),
        pytest.param(calling(function('{"a')), calling(function("{}")), id="no JSON"),
        pytest.param(calling(function("")), calling(function("{}")), id="nothing"),
        pytest.param(
            calling({"type": "custom", "custom": {"name": "c", "input": "x"}}),
            calling({"id": "call_0", "type": "custom", "custom": {"name": "c", "input": "x"}}),
            id="custom",
        ),
        pytest.param(
            {"role": "assistant", "function_call": {"name": "f", "arguments": "x"}},
            {"role": "assistant", "function_call": {"name": "f", "arguments": "{}"}},
            id="function_call",
        ),
        pytest.param(
            {"role": "assistant", "content": "hi"},
            {"role": "assistant", "content": "hi"},
            id="nothing to mend",
        ),
    ],
)
def test_mended(message: dict[str, Any], mended: dict[str, Any]) -> None:
    before = repr(message)
    assert tools.mended(message) == mended
    assert repr(message) == before


def test_a_mended_message_and_its_answers_pass_the_check() -> None:
    message = calling(function("{}", id=None), function("{", id=""), function("{}"))
    answers = [tools.answer_message(call, "ok") for call in tools.calls(message)]
    asked = {"role": "user", "content": "?"}
    body = {"model": "m", "messages": [asked, tools.mended(message), *answers]}
    assert list(broken(body, strict=False)) == []


def test_names_of_a_request() -> None:
    body = {
        "tools": [
            {"type": "function", "function": {"name": "f"}},
            {"type": "custom", "custom": {"name": "c"}},
            {"type": "function", "function": {"name": 5}},
            {"type": "web_search"},
            "x",
        ],
        "functions": [{"name": "old"}, 5],
    }
    assert tools.names(body) == {"f", "c", "old"}
    assert tools.names({"tools": None, "functions": "x"}) == frozenset()


def test_what_the_model_is_told() -> None:
    assert tools.no_such_tool("wether", {"time", "weather"}) == (
        "error: there is no tool 'wether': the tools are 'time', 'weather'"
    )
    assert tools.failure("ended with status 3", "half", "no city\n") == (
        "error: the tool ended with status 3\nstdout:\nhalf\nstderr:\nno city\n"
    )
    assert tools.failure("took longer than 60 s", "", "") == "error: the tool took longer than 60 s"
