"""Messages that outlive a call: answers in the form of a request, and those that a transcript stores."""

from collections.abc import Mapping

from chatpipe.errors import UsageFault
from chatpipe.inputs.parts import without_reasoning
from chatpipe.inputs.values import Value
from chatpipe.request.build import HEAD_ROLES, BuiltRequest
from chatpipe.response.completion import first_message, plain_message, usual_calls

# images comes from OpenRouter, for models that draw; without it such an answer would be empty.
_CONTENT_FIELDS = ("content", "refusal", "images")
# A model that calls a tool continues its reasoning from the result, and some servers need the earlier
# reasoning for that: DeepSeek returns 400 without reasoning_content ("Thinking Mode", 2026-08), OpenRouter
# asks for reasoning_details, vLLM accepts reasoning. After a final answer, DeepSeek ignores it, older
# versions reject it, and every later request would pay for it as input, so it is left out.
_REASONING_FIELDS = ("reasoning_content", "reasoning", "reasoning_details")
# extra_content holds Gemini's signature of the call; Gemini returns 400 for a call without it.
_CALL_FIELDS = ("id", "type", "extra_content")
_CALL_BODIES = {"function": ("name", "arguments"), "custom": ("name", "input")}


def history_message(message: Mapping[str, Value]) -> dict[str, Value]:
    """The assistant message in the form that a request accepts, without nulls and answer-only fields.

    A spoken answer is reduced to its audio id, by which the server finds it. An empty answer gets an
    empty text, because a message must have content. Nested values are not copied. Never raises.
    """
    result = {"role": "assistant", **_pick(plain_message(message), _CONTENT_FIELDS)}
    if calls := [_call(call) for call in usual_calls(message)]:
        result["tool_calls"] = calls
    if isinstance(call := message.get("function_call"), dict):
        result["function_call"] = _pick(call, _CALL_BODIES["function"])
    if "tool_calls" in result or "function_call" in result:
        result |= _pick(message, _REASONING_FIELDS)
    elif isinstance(content := result.get("content"), list):
        result["content"] = without_reasoning(content)
    if isinstance(audio := message.get("audio"), dict) and audio.get("id") is not None:
        result["audio"] = {"id": audio["id"]}
    return result if len(result) > 1 else {**result, "content": ""}


def history_answer(completion: Mapping[str, Value] | None) -> dict[str, Value]:
    """The message of the first choice, in the form that a history stores."""
    return history_message(first_message(completion or {}))


def new_messages(built: BuiltRequest, *, is_new_transcript: bool) -> list[Value]:
    """The messages of options and the prompt as they are sent, with content parts and `--set` applied.

    Messages read from files are left out. System and developer messages at the head are included only
    for a new transcript, as its first lines; in later calls they apply to that call alone.
    """
    messages = built.body.get("messages")
    if not isinstance(messages, list):
        return []
    typed = [isinstance(built.origins.get(f"/messages/{index}"), str) for index in range(len(messages))]
    head = next((i for i, message in enumerate(messages) if not _is_head(message)), len(messages))
    after_read = max((index + 1 for index, is_typed in enumerate(typed) if not is_typed), default=0)
    first = [messages[index] for index in range(head) if typed[index]] if is_new_transcript else []
    return first + messages[max(head, after_read) :]


def refuse_unstorable(built: BuiltRequest) -> None:
    """Raise UsageFault for requests that a transcript cannot store: several choices, or all messages set."""
    choices = built.body.get("n")
    if choices is not None and choices != 1:
        raise UsageFault(
            f"a transcript continues with one answer, not {choices}",
            place=built.place("/n"),
            fix="ask for one with -n 1, or leave out --transcript",
        )
    if "/messages" in built.origins:
        raise UsageFault(
            "'messages' as a whole cannot be set beside --transcript",
            place=built.place("/messages"),
            fix="use --messages FILE, or leave out --transcript",
        )


def _call(call: Mapping[str, Value]) -> dict[str, Value]:
    result = _pick(call, _CALL_FIELDS)
    for kind, names in _CALL_BODIES.items():
        if isinstance(body := call.get(kind), dict):
            result.setdefault("type", kind)  # some servers omit it
            result[kind] = _pick(body, names)
    return result


def _pick(value: Mapping[str, Value], names: tuple[str, ...]) -> dict[str, Value]:
    """The members of value that are in names, present and not null."""
    return {name: value[name] for name in names if value.get(name) is not None}


def _is_head(message: Value) -> bool:
    return isinstance(message, dict) and message.get("role") in HEAD_ROLES
