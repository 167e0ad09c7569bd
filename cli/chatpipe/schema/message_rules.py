"""Rules about the messages of a conversation: calls and their results, refusals, and empty messages."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator

from chatpipe.inputs.values import NotJSON, as_object, loads_strict
from chatpipe.schema.phrases import quote
from chatpipe.schema.rule import OTHER_SERVER, Breach, Object, Rule, objects, string_or_none, word_set

# The role that has such a key.
_ROLE_OF_KEY = {
    "tool_calls": "assistant",
    "function_call": "assistant",
    "audio": "assistant",
    "refusal": "assistant",
    "tool_call_id": "tool",
}
_CONTENT_KEYS = word_set(
    "tool_calls function_call audio refusal reasoning reasoning_content reasoning_details"
)


def _tool_message_without_call(body: Object) -> Iterator[Breach]:
    call_ids: set[object] = set()
    for index, message in objects(body.get("messages")):
        if message.get("role") == "assistant":
            # any tool message may answer a call without an id
            call_ids.update(string_or_none(call.get("id")) for _, call in objects(message.get("tool_calls")))
        call_id = string_or_none(message.get("tool_call_id"))
        if message.get("role") == "tool" and call_id is not None and call_ids.isdisjoint((call_id, None)):
            yield Breach(
                f"/messages/{index}/tool_call_id", f"is {quote(call_id)}, which answers no earlier tool call"
            )


def _function_message_without_call(body: Object) -> Iterator[Breach]:
    called: set[str | None] = set()
    for index, message in objects(body.get("messages")):
        if message.get("role") == "assistant":
            called.add(string_or_none(as_object(message.get("function_call")).get("name")))
        name = string_or_none(message.get("name"))
        if message.get("role") == "function" and name is not None and name not in called:
            yield Breach(
                f"/messages/{index}/name", f"is {quote(name)}, which answers no earlier function call"
            )


def _second_result(body: Object) -> Iterator[Breach]:
    """An id may stand for a call in each turn, and each of these calls has a result."""
    open_calls: Counter[str] = Counter()
    for index, message in objects(body.get("messages")):
        if message.get("role") == "assistant":
            open_calls.update(call_id for _, call_id in _call_ids(message))
        call_id = string_or_none(message.get("tool_call_id")) or ""
        if message.get("role") == "tool" and call_id in open_calls:
            open_calls[call_id] -= 1
            if open_calls[call_id] < 0:
                yield Breach(
                    f"/messages/{index}/tool_call_id", f"is {quote(call_id)}, whose result is there already"
                )


def _id_of_two_calls(body: Object) -> Iterator[Breach]:
    for index, message in objects(body.get("messages")):
        seen: set[str] = set()
        for at, call_id in _call_ids(message):
            if call_id in seen:
                place = f"/messages/{index}/tool_calls/{at}/id"
                yield Breach(place, f"is {quote(call_id)}, which an earlier one has, too")
            seen.add(call_id)


def _call_ids(message: Object) -> Iterator[tuple[int, str]]:
    """(index, id) of each call of a message that has an id."""
    for at, call in objects(message.get("tool_calls")):
        if call_id := string_or_none(call.get("id")):
            yield at, call_id


def _bad_arguments(body: Object) -> Iterator[Breach]:
    """OpenAI takes arguments as the model wrote them, and Ollama those alone that are a JSON object.

    Servers themselves leave them empty for a tool without parameters.
    """
    for index, message in objects(body.get("messages")):
        calls = objects(message.get("tool_calls"))
        functions = [(f"tool_calls/{at}/function", call.get("function")) for at, call in calls]
        for place, function in [*functions, ("function_call", message.get("function_call"))]:
            arguments = string_or_none(as_object(function).get("arguments"))
            if arguments and not _is_json_object(arguments):
                yield Breach(
                    f"/messages/{index}/{place}/arguments",
                    "is not a JSON object, and not every server takes that",
                )


def _is_json_object(text: str) -> bool:
    try:
        return isinstance(loads_strict(text.encode("utf-8", "surrogatepass")), dict)
    except NotJSON:
        return False


def _tool_call_without_answer(body: Object) -> Iterator[Breach]:
    open_calls: dict[str, str] = {}
    for index, message in objects(body.get("messages")):
        if message.get("role") == "tool":
            open_calls.pop(string_or_none(message.get("tool_call_id")) or "", None)
            continue
        yield from _unanswered(open_calls)
        open_calls = {}
        if message.get("role") == "assistant":
            for call_index, call in objects(message.get("tool_calls")):
                open_calls[string_or_none(call.get("id")) or ""] = (
                    f"/messages/{index}/tool_calls/{call_index}"
                )
    yield from _unanswered(open_calls)


def _unanswered(open_calls: dict[str, str]) -> Iterator[Breach]:
    for call_id, pointer in open_calls.items():
        if call_id:
            yield Breach(pointer, "is not answered by a tool message before the next turn")


def _tool_call_without_id(body: Object) -> Iterator[Breach]:
    for index, message in objects(body.get("messages")):
        for at, call in objects(message.get("tool_calls")):
            for key in ("id", "type"):
                if call.get(key) is None:
                    yield Breach(
                        f"/messages/{index}/tool_calls/{at}", f"has no '{key}', which the API asks for"
                    )


def _key_of_another_role(body: Object) -> Iterator[Breach]:
    for index, message in objects(body.get("messages")):
        for key in _ROLE_OF_KEY.keys() & message.keys():
            role = _ROLE_OF_KEY[key]
            if message[key] is not None and message.get("role") != role:
                yield Breach(
                    f"/messages/{index}/{key}", f"is a key that OpenAI takes in {role} messages only"
                )


def _refusal_beside_parts(body: Object) -> Iterator[Breach]:
    for index, message in objects(body.get("messages")):
        parts = objects(message.get("content"))
        refusals = [at for at, part in parts if part.get("type") == "refusal"]
        if refusals and len(parts) > 1:
            yield Breach(
                f"/messages/{index}/content/{refusals[0]}",
                "is a refusal beside other parts, and OpenAI accepts it only alone",
            )


def _empty_assistant_message(body: Object) -> Iterator[Breach]:
    for index, message in objects(body.get("messages")):
        empty = message.get("content") is None and not any(map(message.get, _CONTENT_KEYS))
        if empty and message.get("role") == "assistant":
            yield Breach(f"/messages/{index}", "has neither content nor calls")


MESSAGE_RULES = (
    Rule("tool-message-without-call", "error", ("tool_call_id",), _tool_message_without_call,
         "put the assistant message with that call before it"),
    Rule("function-message-without-call", "warning", ("function",), _function_message_without_call,
         "put the assistant message with that call before it"),
    Rule("second-result", "warning", ("tool_call_id",), _second_result, "keep one of them"),
    Rule("id-of-two-calls", "warning", ("tool_calls",), _id_of_two_calls, "give each its own id"),
    Rule("bad-arguments", "warning", ("tool_calls", "function_call"), _bad_arguments, OTHER_SERVER),
    Rule("key-of-another-role", "warning", tuple(_ROLE_OF_KEY), _key_of_another_role, OTHER_SERVER),
    Rule("refusal-beside-parts", "warning", ("refusal",), _refusal_beside_parts, OTHER_SERVER),
    Rule("tool-call-without-answer", "warning", ("tool_calls",), _tool_call_without_answer,
         "add a tool message with its id as tool_call_id"),
    Rule("tool-call-without-id", "warning", ("tool_calls",), _tool_call_without_id, OTHER_SERVER),
    Rule("empty-assistant-message", "warning", ("assistant",), _empty_assistant_message, "leave it out"),
)  # fmt: skip
