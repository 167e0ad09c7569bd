"""Readers of a completion: its choices, messages, text, reasoning, audio and tool calls."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from itertools import count
from typing import Any

from chatpipe.inputs import values
from chatpipe.inputs.messages import without_empty_calls
from chatpipe.inputs.parts import json_text, parts_of, split_parts, text_of
from chatpipe.inputs.values import NotJSON, Value, as_list, as_object
from chatpipe.response.chunks import REASONING_FIELDS
from chatpipe.response.server_error import may_have_error

NOT_TEXT = "the answer has content that is not text"


def is_plain_text(completion: Mapping[str, Value]) -> bool:
    """Return True for one text that ended well, as nearly all completions are.

    It is a good answer for whoever asked for text, and has no caveats. Never raises.
    """
    try:
        (choice,) = completion["choices"]
        message = choice["message"]
        content = message["content"]
        return (
            choice["finish_reason"] == "stop"
            and type(content) is str
            and content != ""
            and not message.get("refusal")
            and not message.get("tool_calls")
            and not message.get("function_call")
            and "images" not in message
            and not may_have_error(completion)
        )
    except (LookupError, TypeError, ValueError, AttributeError):
        return False  # another form


def messages(completion: Mapping[str, Value]) -> Iterator[dict[str, Value]]:
    """The message of each choice, in the order of indexes. A choice without a message yields an empty one."""
    for choice in sorted_by_index(choices(completion)):
        yield as_object(as_object(choice).get("message"))


def first_message(completion: Mapping[str, Value]) -> dict[str, Value]:
    """The message of the first choice; empty if there is none."""
    in_order = sorted_by_index(choices(completion))
    return as_object(as_object(in_order[0]).get("message")) if in_order else {}


def choices(value: Mapping[str, Value]) -> list[Value]:
    """The choices of a completion or chunk; empty if the server sent something else there."""
    return as_list(value.get("choices"))


def sorted_by_index(choices: list[Value]) -> list[Value]:
    """Choices sorted by index, or as received if one has none. A server may send them as they get ready."""
    if len(choices) < 2 or not all(
        isinstance(each, dict) and type(each.get("index")) is int for each in choices
    ):
        return choices
    return sorted(choices, key=lambda choice: int(choice["index"]))


def reasoning_of(message: Mapping[str, Value]) -> str:
    """The reasoning text of a message or delta, under any of the names that servers use."""
    for field in REASONING_FIELDS:
        if value := message.get(field):
            return _all_text(value)
    parts = None if isinstance(content := message.get("content"), str) else parts_of(content)
    return split_parts(parts).reasoning if parts else ""


def _all_text(value: Value) -> str:
    """The text of a field that is reasoning throughout, as text or in parts of any type."""
    if not isinstance(value, list):
        return json_text(value)
    found = split_parts(value)
    return found.reasoning + found.text or json_text(value)


def refusal_of(message: Mapping[str, Value]) -> str:
    """The text of a refusal, in its field or among the parts of the content; empty if there is none."""
    if refusal := message.get("refusal"):
        return json_text(refusal)
    content = message.get("content")
    if isinstance(content, str) or not (parts := parts_of(content)):
        return ""
    return "".join(json_text(part.get("refusal")) for part in split_parts(parts).others if is_refusal(part))


def is_refusal(part: Value) -> bool:
    """Return True for a content part that holds a refusal."""
    return isinstance(part, dict) and part.get("type") == "refusal"


def plain_message(message: Mapping[str, Value]) -> dict[str, Value]:
    """The message as a request accepts it: a number or boolean as its text, no empty list of calls.

    The only part of a content, or call, is put into a list, and each call has an id of its own.
    """
    plain = dict(message)
    content = message.get("content")
    if plain.get("tool_calls"):
        plain["tool_calls"] = usual_calls(message)
    if (parts := parts_of(content)) is not None:
        plain["content"] = parts
    elif content is not None and not isinstance(content, dict):
        plain["content"] = text_of(content)
    return dict(without_empty_calls(plain))


def content_of(message: Mapping[str, Value]) -> str | None:
    """The text of a message or delta; if there is none, the transcript of its audio.

    Some servers answer in content parts like those of a request. The texts of these are joined, without
    the reasoning among them.
    """
    content = message.get("content")
    text = content if isinstance(content, str) else text_of(content)
    if not text and isinstance(audio := message.get("audio"), dict):
        transcript = audio.get("transcript")
        return transcript if isinstance(transcript, str) else text
    return text


def audio_of(message: Mapping[str, Value]) -> str:
    """The audio of a message or delta in base64; empty if there is none."""
    audio = message.get("audio")
    data = audio.get("data") if isinstance(audio, dict) else None
    return data if isinstance(data, str) else ""


def usual_calls(message: Mapping[str, Value]) -> list[dict[str, Value]]:
    """The tool calls of a message, each in the form of the API and with an id of its own.

    Some servers send the only one without a list, or name and arguments in the call itself, where
    Anthropic calls them input. Some send no id, or one id for several calls. The result of a call names
    its id, so such a call gets one that is unique in the message. Calls of earlier messages are not open.
    """
    calls = message.get("tool_calls")
    each = [calls] if isinstance(calls, dict) and calls else as_list(calls)
    return list(_with_own_ids([_usual_call(call) for call in each if isinstance(call, dict)]))


def _with_own_ids(calls: list[dict[str, Value]]) -> Iterator[dict[str, Value]]:
    received = {id_ for call in calls if isinstance(id_ := call.get("id"), str)}
    unused = (name for name in map("call_{}".format, count()) if name not in received)
    taken: set[Value] = {""}
    for call in calls:
        id_ = call.get("id")
        if not isinstance(id_, str) or id_ in taken:
            id_ = next(unused)
        taken.add(id_)
        yield {"id": id_, **{key: value for key, value in call.items() if key != "id"}}


def _usual_call(call: dict[str, Value]) -> dict[str, Value]:
    if "function" in call or "custom" in call or not isinstance(call.get("name"), str):
        return call
    function = {"name": call["name"], "arguments": call.get("arguments", call.get("input"))}
    rest = {key: value for key, value in call.items() if key not in ("name", "arguments", "input")}
    return {**rest, "type": "function", "function": function}


def call_records(message: Mapping[str, Any]) -> Iterator[dict[str, Value]]:
    """One record a call: `{"id","name","arguments"}`, with `raw` instead for arguments that are no JSON."""
    for call in usual_calls(message):
        if call.get("type") == "custom" or "custom" in call:
            # A custom tool's input is free text. It is never parsed: `5` must not become a number.
            custom = as_object(call.get("custom"))
            yield {"id": call.get("id"), "name": custom.get("name"), "raw": custom.get("input")}
        else:
            yield _call(call.get("id"), as_object(call.get("function")))
    if isinstance(legacy := message.get("function_call"), dict):
        yield _call(None, legacy)


def _call(call_id: Value, function: Mapping[str, Any]) -> dict[str, Value]:
    """The record of one call: parsed arguments, or the text under `raw` if it is no JSON.

    Servers may send no arguments at all for a tool without parameters.
    """
    text = function.get("arguments")
    record: dict[str, Value] = {"id": call_id, "name": function.get("name")}
    if isinstance(text, dict):  # some servers send the object itself
        return {**record, "arguments": text}
    try:
        return {**record, "arguments": values.loads_strict((text or "{}").encode("utf-8", "surrogatepass"))}
    except (NotJSON, AttributeError):
        return {**record, "raw": text}
