"""The message of an answer -> a message of the next request."""

from collections.abc import Mapping

from chatpipe.inputs.values import Value

# Of the answer's text. images: OpenRouter, for models that draw; without them nothing would be left.
_KEPT = ("content", "refusal", "images")
# A model that calls a tool goes on thinking when it has the result, and some servers want its thoughts
# back for that: DeepSeek answers 400 without reasoning_content ("Thinking Mode", 2026-08), OpenRouter
# asks for reasoning_details, vLLM takes reasoning. Behind a final answer DeepSeek ignores them, older
# versions refuse them, and they would be paid for as input with every later question: left out.
_THOUGHTS = ("reasoning_content", "reasoning", "reasoning_details")
# extra_content: Gemini signs its calls there, and answers 400 to a call whose signature is lost.
_OF_CALL = ("id", "type", "extra_content")
_BODIES = {"function": ("name", "arguments"), "custom": ("name", "input")}


def as_message(message: Mapping[str, Value]) -> dict[str, Value]:
    """What a request takes of an assistant's message: nulls and what only answers have are left out.

    Of a spoken answer that is its id, by which the server still knows it; of an answer without
    anything it is an empty text, as a message has to have content. The parts are not copied.
    Never raises.
    """
    kept = {"role": "assistant", **_some(message, _KEPT)}
    if calls := [_call(call) for call in _items(message.get("tool_calls")) if isinstance(call, dict)]:
        kept["tool_calls"] = calls
    if isinstance(call := message.get("function_call"), dict):
        kept["function_call"] = _some(call, _BODIES["function"])
    if "tool_calls" in kept or "function_call" in kept:
        kept |= _some(message, _THOUGHTS)
    if isinstance(audio := message.get("audio"), dict) and audio.get("id") is not None:
        kept["audio"] = {"id": audio["id"]}
    return kept if len(kept) > 1 else {**kept, "content": ""}


def _call(call: Mapping[str, Value]) -> dict[str, Value]:
    kept = _some(call, _OF_CALL)
    for kind, names in _BODIES.items():
        if isinstance(body := call.get(kind), dict):
            kept.setdefault("type", kind)  # which some servers leave out
            kept[kind] = _some(body, names)
    return kept


def _some(value: Mapping[str, Value], names: tuple[str, ...]) -> dict[str, Value]:
    """Of these members those that are there and not null."""
    return {name: value[name] for name in names if value.get(name) is not None}


def _items(value: Value) -> list[Value]:
    return value if isinstance(value, list) else []
