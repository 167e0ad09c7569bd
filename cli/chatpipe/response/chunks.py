"""The payload of one event -> one chunk, whatever form the server gave it.

{"choices": [{"delta": {...}}]}     a chunk
{"choices": [{"text": "..."}]}      of the older Completions API: the text stands for a delta
{"choices": [{"delta": "..."}]}     the same, under the name of the object
[{...}, {...}]                      several chunks in an array, as an event or as the whole body
"""

from __future__ import annotations

from collections.abc import Callable

from chatpipe.errors import BrokenAnswer
from chatpipe.inputs import values
from chatpipe.inputs.place import members
from chatpipe.inputs.values import NotJSON, Value
from chatpipe.system.escape import shorten

# Reasoning text: the first field from DeepSeek, llama.cpp and older vLLM, the second from vLLM, Ollama and
# OpenRouter. OpenAI sends none.
REASONING_FIELDS = ("reasoning_content", "reasoning")

# What a choice says; `text` in the older Completions API. The first that is there counts.
_SAID = ("delta", "message", "text")

# The end of a stream.
DONE = "[DONE]"

_EXCERPT = 80  # characters of a broken payload that an error line shows


def parse(payload: bytes, loads: Callable[[bytes], Value] = values.loads_exact) -> dict[str, Value]:
    """The JSON object in one event. Raises BrokenAnswer with the payload as its body.

    With values.loads, integers beyond 64 bits become floats.
    """
    try:
        value = loads(payload)
    except values.NotJSON as error:
        raise _broken(payload, f"is not JSON ({error.what})") from error
    if type(value) is not dict:
        raise _broken(payload, "is not a JSON object")
    return value


def items_of(payload: bytes, fault: BrokenAnswer) -> list[bytes]:
    """The payloads in the array of an event that parse() refuses, as they were sent. Else raises fault.

    An item is an object or `[DONE]`.
    """
    try:
        value = values.loads(payload)
    except NotJSON:
        raise fault from None
    if not has_chunks(value):
        raise fault
    try:
        return payloads_of(payload)
    except NotJSON:
        raise fault from None


def with_deltas(chunk: dict[str, Value]) -> dict[str, Value]:
    """The chunk with a delta for each choice that has a text instead, and its only choice in a list.

    Any other chunk is returned as it is.
    """
    if not is_unusual(chunk):
        return chunk
    choices = chunk["choices"]
    return {**chunk, "choices": [*map(_with_delta, choices if type(choices) is list else [choices])]}


def _with_delta(choice: Value) -> Value:
    text = _text_of(choice)
    if text is None:
        return choice
    rest = {key: value for key, value in choice.items() if key not in _SAID}
    return {**rest, "delta": {"content": text}}


def with_messages(completion: dict[str, Value]) -> dict[str, Value]:
    """The completion with a message for each choice that has a text as its message.

    Any other completion is returned as it is.
    """
    choices = completion.get("choices")
    if type(choices) is not list or not any(map(_has_text_message, choices)):
        return completion
    return {**completion, "choices": [*map(_with_message, choices)]}


def _with_message(choice: Value) -> Value:
    if not _has_text_message(choice):
        return choice
    return {**choice, "message": {"role": "assistant", "content": choice["message"]}}


def _has_text_message(choice: Value) -> bool:
    return type(choice) is dict and type(choice.get("message")) is str and choice.get("delta") is None


def is_unusual(chunk: dict[str, Value]) -> bool:
    """Return True for a chunk or completion whose choices have a text, or are one choice without a list."""
    choices = chunk.get("choices")
    if type(choices) is dict:
        return _text_of(choices) is not None or any(
            type(choices.get(field)) is dict for field in ("delta", "message")
        )
    return type(choices) is list and any(_text_of(choice) is not None for choice in choices)


def has_chunks(value: Value) -> bool:
    """Return True for an array of nothing but objects and `[DONE]`."""
    return type(value) is list and all(type(item) is dict or item == DONE for item in value)


def _text_of(choice: Value) -> str | None:
    """The text of a choice that has one where others have a delta or a message. None for all others."""
    if type(choice) is not dict:
        return None
    said = [choice[field] for field in _SAID if choice.get(field) is not None]
    return said[0] if said and all(type(each) is str for each in said) else None


def payloads_of(array: bytes) -> list[bytes]:
    """The items of a JSON array, each as it was sent; `[DONE]` without its quotes. Raises NotJSON."""
    items = [item for _, item in member_texts(array)]
    return [DONE.encode() if item == f'"{DONE}"'.encode() else item for item in items]


def member_texts(data: bytes) -> list[tuple[str, bytes]]:
    """The name and the text, as it was sent, of each member of a JSON object. An item is named by its index.

    data has been parsed before. Raises NotJSON if it is nested too deeply.
    """
    text = data.decode("utf-8-sig")
    try:
        if values.too_deep_at(text) is None:
            return [(name, text[start:end].encode()) for name, start, end in members(text)]
    except RecursionError:
        pass
    raise NotJSON("nested too deeply", 1, 1)


def _broken(payload: bytes, what: str) -> BrokenAnswer:
    excerpt = shorten(payload[: 4 * _EXCERPT].decode("utf-8", "replace"), _EXCERPT)
    return BrokenAnswer(f"an event of the stream {what}: '{excerpt}'", fix="try again", body=payload)
