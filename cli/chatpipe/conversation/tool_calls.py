"""Tool calls of a message, and the messages that answer them. Nothing is run here.

Servers are less strict than the API's description. Arguments arrive as an object, or as nothing or
`null` for a tool that takes none, and ids are missing. Such calls are answered, too.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Literal

from chatpipe.inputs import values
from chatpipe.inputs.values import NotJSON, Value, as_object, objects_in
from chatpipe.named_tuple import NamedTuple
from chatpipe.response.completion import usual_calls
from chatpipe.system.escape import shorten

ToolCallKind = Literal["function", "custom", "legacy"]

_NO_ARGUMENTS = ("", "null")
_SHOWN = 200  # characters of arguments that are quoted to the model


class ToolCall(NamedTuple):
    """A tool call to answer.

    input is the stdin of its command: a JSON object, or a custom tool's text. id is generated if the
    server gave none. It is empty for the older function_call (kind legacy), which only has a name.
    problem is the answer to a call that cannot be run; None if nothing is known to be wrong.
    """

    id: str
    name: str
    input: bytes
    kind: ToolCallKind = "function"
    problem: str | None = None


def calls_of(message: Mapping[str, Value]) -> list[ToolCall]:
    """The calls of an assistant's message, in order. An entry that is no object is skipped. Never raises."""
    found = [_call(call) for call in usual_calls(message)]
    if isinstance(legacy := message.get("function_call"), dict):
        found.append(_function("", legacy, "legacy"))
    return found


def repaired_message(message: Mapping[str, Value]) -> dict[str, Value]:
    """The message in a form the next request can contain: each call has an id and JSON arguments.

    The ids are those of calls_of(). Arguments that are no object become `{}`, because vLLM and Ollama
    parse the arguments of earlier turns and answer 400. The answer to the call quotes what the model
    wrote. The given message is not modified. Never raises.
    """
    result = dict(message)
    if isinstance(message.get("tool_calls"), list | dict):
        result["tool_calls"] = [_repaired(call) for call in usual_calls(message)]
    if isinstance(legacy := message.get("function_call"), dict):
        result["function_call"] = {**legacy, "arguments": _arguments(legacy)[0].decode()}
    return result


def tool_message(call: ToolCall, text: str) -> dict[str, Value]:
    """The message that answers call with text."""
    if call.kind == "legacy":
        return {"role": "function", "name": call.name, "content": text}
    return {"role": "tool", "tool_call_id": call.id, "content": text}


def tool_names(body: Mapping[str, Value]) -> frozenset[str]:
    """The names of the tools and functions that a request offers."""
    tools = [tool.get(kind) for tool in objects_in(body.get("tools")) for kind in ("function", "custom")]
    named = [each.get("name") for each in (*objects_in(tools), *objects_in(body.get("functions")))]
    return frozenset(name for name in named if isinstance(name, str))


def no_such_tool(name: str, known: Iterable[str]) -> str:
    """The answer to a call of a tool that was not offered. known are the tools to list."""
    offered = ", ".join(f"'{each}'" for each in sorted(known))
    return f"error: there is no tool '{shorten(name, _SHOWN)}': the tools are {offered}"


def failure_text(what: str, stdout: str, stderr: str) -> str:
    """The answer to a call whose command failed. what is a phrase that completes `the tool ...`."""
    parts = [f"error: the tool {what}"]
    parts += [f"{name}:\n{text}" for name, text in (("stdout", stdout), ("stderr", stderr)) if text]
    return "\n".join(parts)


def _call(call: Mapping[str, Value]) -> ToolCall:
    call_id = str(call["id"])
    if call.get("type") != "custom" and "custom" not in call:
        return _function(call_id, as_object(call.get("function")), "function")
    custom = as_object(call.get("custom"))
    text = custom.get("input")
    if not isinstance(text, str):
        text = "" if text is None else values.dumps(text).decode()
    # A lone surrogate, half an emoji, has no UTF-8 encoding.
    return ToolCall(call_id, _name(custom), text.encode("utf-8", "replace"), "custom")


def _function(call_id: str, function: Mapping[str, Value], kind: ToolCallKind) -> ToolCall:
    data, problem = _arguments(function)
    return ToolCall(call_id, _name(function), data, kind, problem)


def _name(called: Mapping[str, Value]) -> str:
    name = called.get("name")
    return name if isinstance(name, str) else ""


def _arguments(function: Mapping[str, Value]) -> tuple[bytes, str | None]:
    """The arguments' JSON text as received, and None; or `{}`, and the error for the model."""
    received = function.get("arguments")
    if isinstance(received, dict):
        return values.dumps(received), None
    if received is None or (isinstance(received, str) and received.strip() in _NO_ARGUMENTS):
        return b"{}", None
    if not isinstance(received, str):
        received = values.dumps(received).decode()
    data = received.encode("utf-8", "surrogatepass")
    try:
        what = "" if isinstance(values.loads_strict(data), dict) else "not an object"
    except NotJSON as error:
        what = f"not JSON: {error}"
    if not what:
        return data, None
    shown = shorten(received.encode("utf-8", "replace").decode(), _SHOWN)
    return b"{}", f"error: the arguments are {what}: call the tool again with one JSON object, not '{shown}'"


def _repaired(call: Mapping[str, Value]) -> dict[str, Value]:
    result = dict(call)
    if isinstance(function := call.get("function"), dict):
        result["function"] = {**function, "arguments": _arguments(function)[0].decode()}
    return result
