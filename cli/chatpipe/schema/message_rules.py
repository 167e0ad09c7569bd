"""Rules about the messages of a conversation: calls and their results, and empty messages."""

from __future__ import annotations

from collections.abc import Iterator

from chatpipe.schema.phrases import quote
from chatpipe.schema.rule import OTHER_SERVER, Breach, Object, Rule, objects, string_or_none, word_set

_MESSAGES = ("messages",)
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


def _empty_assistant_message(body: Object) -> Iterator[Breach]:
    for index, message in objects(body.get("messages")):
        empty = message.get("content") is None and not any(map(message.get, _CONTENT_KEYS))
        if empty and message.get("role") == "assistant":
            yield Breach(f"/messages/{index}", "has neither content nor calls")


MESSAGE_RULES = (
    Rule("tool-message-without-call", "error", _MESSAGES, _tool_message_without_call,
         "put the assistant message with that call before it"),
    Rule("tool-call-without-answer", "warning", _MESSAGES, _tool_call_without_answer,
         "add a tool message with its id as tool_call_id"),
    Rule("tool-call-without-id", "warning", _MESSAGES, _tool_call_without_id, OTHER_SERVER),
    Rule("empty-assistant-message", "warning", _MESSAGES, _empty_assistant_message, "leave it out"),
)  # fmt: skip
