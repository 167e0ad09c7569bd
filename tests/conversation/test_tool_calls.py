"""The calls of a message, and the answers to the model: shapes and words."""

from __future__ import annotations

from typing import Any

from chatpipe.conversation import tool_calls
from chatpipe.conversation.tool_calls import ToolCall
from chatpipe.schema.check import check
from support.parametrize import cases


def calling(*calls: Any) -> dict[str, Any]:
    return {"role": "assistant", "content": None, "tool_calls": list(calls)}


def function(arguments: Any, **more: Any) -> dict[str, Any]:
    called = {"id": "1", "type": "function", "function": {"name": "f", "arguments": arguments}}
    return {**called, **more}


@cases(
    "message, calls",
    {
        "none": ({"role": "assistant", "content": "hi"}, []),
        "empty list": (calling(), []),
        "nulls": ({"tool_calls": None, "function_call": None}, []),
        "no shape at all": ({"tool_calls": "x", "function_call": "y"}, []),
        "no objects": (calling(5, "x", None), []),
        "function": (calling(function('{"a":1}')), [ToolCall("1", "f", b'{"a":1}')]),
        "arguments as they came": (
            calling(function('{ "a" : 1.0,\n"b":12345678901234567890 }')),
            [ToolCall("1", "f", b'{ "a" : 1.0,\n"b":12345678901234567890 }')],
        ),
        "no arguments": (calling(function("")), [ToolCall("1", "f", b"{}")]),
        "blank arguments": (calling(function(" \n")), [ToolCall("1", "f", b"{}")]),
        "arguments null in text": (calling(function("null")), [ToolCall("1", "f", b"{}")]),
        "arguments null": (calling(function(None)), [ToolCall("1", "f", b"{}")]),
        "an object": (calling(function({"a": "ä"})), [ToolCall("1", "f", '{"a":"ä"}'.encode())]),
        "no type, no arguments": (
            calling({"id": "1", "function": {"name": "f"}}),
            [ToolCall("1", "f", b"{}")],
        ),
        "no id": (
            calling(function("{}", id=None), function("{}", id=""), function("{}")),
            [ToolCall("call_0", "f", b"{}"), ToolCall("call_1", "f", b"{}"), ToolCall("1", "f", b"{}")],
        ),
        "one id for two calls": (
            calling(function("{}"), function("{}"), function("{}", id="call_0"), function("{}", id=[])),
            [ToolCall(id, "f", b"{}") for id in ("1", "call_1", "call_0", "call_2")],
        ),
        "no name": (calling({"id": "1"}), [ToolCall("1", "", b"{}")]),
        "custom: text as it came": (
            calling({"id": "1", "type": "custom", "custom": {"name": "c", "input": "5\n"}}),
            [ToolCall("1", "c", b"5\n", "custom")],
        ),
        "custom without input": (
            calling({"id": "1", "custom": {"name": "c", "input": None}}),
            [ToolCall("1", "c", b"", "custom")],
        ),
        "custom with half an emoji": (
            calling({"id": "1", "custom": {"name": "c", "input": "a\ud83db"}}),
            [ToolCall("1", "c", b"a?b", "custom")],
        ),
        "function_call": (
            {"function_call": {"name": "f", "arguments": '{"a":1}'}},
            [ToolCall("", "f", b'{"a":1}', "legacy")],
        ),
        "several, in order": (
            calling(function("{}"), "x", function("{}", id="2")),
            [ToolCall("1", "f", b"{}"), ToolCall("2", "f", b"{}")],
        ),
    },
)
def test_calls_of_a_message(message: dict[str, Any], calls: list[ToolCall]) -> None:
    assert tool_calls.calls_of(message) == calls


@cases(
    "arguments, problem, quoted",
    {
        "cut": ('{"a": ', "not JSON: expecting value (line 1, column 7)", '{"a":'),
        "array": ("[1,\n 2]", "not an object", "[1, 2]"),
        "array as it is": ([1], "not an object", "[1]"),
        "twice encoded": ('"{}"', "not an object", '"{}"'),
        "half an emoji": (
            '{"a":"\ud83d"}',
            "not JSON: byte 0xed is not UTF-8 (line 1, column 7)",
            '{"a":"?"}',
        ),
    },
)
def test_arguments_that_are_not_good_are_reported_and_not_run(
    arguments: Any, problem: str, quoted: str
) -> None:
    said = f"error: the arguments are {problem}: call the tool again with one JSON object, not '{quoted}'"
    assert tool_calls.calls_of(calling(function(arguments))) == [ToolCall("1", "f", b"{}", "function", said)]


def test_long_arguments_are_not_repeated_whole() -> None:
    (call,) = tool_calls.calls_of(calling(function("x" * 10_000_000)))
    assert call.problem is not None
    assert len(call.problem) < 400


@cases(
    "call, message",
    {
        "function": (ToolCall("1", "f", b""), {"role": "tool", "tool_call_id": "1", "content": "ok"}),
        "custom": (ToolCall("1", "c", b"", "custom"), {"role": "tool", "tool_call_id": "1", "content": "ok"}),
        "legacy": (ToolCall("", "f", b"", "legacy"), {"role": "function", "name": "f", "content": "ok"}),
    },
)
def test_a_call_is_answered_by_the_message_of_its_kind(call: ToolCall, message: dict[str, Any]) -> None:
    assert tool_calls.tool_message(call, "ok") == message


@cases(
    "message, mended",
    {
        "good stays": (calling(function('{"a":1}')), calling(function('{"a":1}'))),
        "id": (calling(function("{}", id=None)), calling(function("{}", id="call_0"))),
        "object becomes text": (calling(function({"a": 1})), calling(function('{"a":1}'))),
        "no JSON": (calling(function('{"a')), calling(function("{}"))),
        "nothing": (calling(function("")), calling(function("{}"))),
        "custom": (
            calling({"type": "custom", "custom": {"name": "c", "input": "x"}}),
            calling({"id": "call_0", "type": "custom", "custom": {"name": "c", "input": "x"}}),
        ),
        "function_call": (
            {"role": "assistant", "function_call": {"name": "f", "arguments": "x"}},
            {"role": "assistant", "function_call": {"name": "f", "arguments": "{}"}},
        ),
        "nothing to mend": ({"role": "assistant", "content": "hi"}, {"role": "assistant", "content": "hi"}),
    },
)
def test_arguments_that_are_no_json_are_repaired_in_a_copy(
    message: dict[str, Any], mended: dict[str, Any]
) -> None:
    before = repr(message)
    assert tool_calls.repaired_message(message) == mended
    assert repr(message) == before


def test_a_mended_message_and_its_answers_pass_the_check() -> None:
    message = calling(function("{}", id=None), function("{", id=""), function("{}"))
    answers = [tool_calls.tool_message(call, "ok") for call in tool_calls.calls_of(message)]
    asked = {"role": "user", "content": "?"}
    body = {"model": "m", "messages": [asked, tool_calls.repaired_message(message), *answers]}
    assert check(body) == []


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
    assert tool_calls.tool_names(body) == {"f", "c", "old"}
    assert tool_calls.tool_names({"tools": None, "functions": "x"}) == frozenset()


def test_what_the_model_is_told() -> None:
    assert tool_calls.no_such_tool("wether", {"time", "weather"}) == (
        "error: there is no tool 'wether': the tools are 'time', 'weather'"
    )
    assert tool_calls.failure_text("ended with status 3", "half", "no city\n") == (
        "error: the tool ended with status 3\nstdout:\nhalf\nstderr:\nno city\n"
    )
    assert tool_calls.failure_text("took longer than 60 s", "", "") == "error: the tool took longer than 60 s"
