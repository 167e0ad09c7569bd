"""Chunks of one streamed answer -> the completion object the server would have sent without streaming.

Deltas merge by the rules of merge.py. Values of an impossible type are ignored: nothing here raises.
"""

from __future__ import annotations

import math

from chatpipe.inputs.parts import json_text, may_be_text, parts_of, scalar_text, split_parts, text_of
from chatpipe.inputs.values import Value
from chatpipe.response import finish_reasons
from chatpipe.response.call_pieces import MAX_CALLS, CallPieces, TooManyCalls, extend_name
from chatpipe.response.chunks import REASONING_FIELDS
from chatpipe.response.merge import EMPTY, MAX_LEVELS, StringPieces, merge, overlay, plain
from chatpipe.response.usage import merge_usage

# A stream may send these several times: what they count grows.
_GROWING = frozenset(
    {"usage", "x_groq", "Usage", "usageMetadata", "usage_metadata", "usage_info", "token_usage"}
)
_OMITTED = frozenset({"choices", "obfuscation"})
# More choices than this, or than were asked for, are those of a server that never ends.
MAX_CHOICES = 128
_TOO_MANY_CHOICES = f"more than {MAX_CHOICES} choices, and more than --n"
TOO_MANY_CALLS = f"more than {MAX_CALLS} tool calls, or a name without an end"


class Assembly:
    """An answer under assembly. add() takes each chunk; completion() may be called at any time.

    excess is the limit that the answer exceeds, once something was dropped for it; it is empty until then.
    """

    __slots__ = ("_choices", "_max_choices", "_top", "excess")

    def __init__(self, max_choices: float = math.inf) -> None:
        self.excess = ""
        self._max_choices = max_choices
        self._top: dict[str, Value] = {}
        self._choices: dict[int, _Choice] = {}

    def add(self, chunk: dict[str, Value]) -> None:
        """Merge one chunk, which is not modified. Never raises, whatever its shape.

        A whole completion sent as an event is accepted too: the message of a choice serves as its delta
        if it has none.
        """
        top = self._top
        for key, value in chunk.items():
            if type(value) is dict and key in _GROWING:
                top[key] = merge_usage(top.get(key), value)
            # Azure's annotation events have "" and 0 in place of the id and the time
            elif value or key not in top or (value not in EMPTY and key != "created"):
                top[key] = value
        choices = chunk.get("choices")
        if type(choices) is not list:
            return
        for position, choice in enumerate(choices):
            if type(choice) is not dict:
                continue
            index = choice.get("index")
            if type(index) is not int:
                index = position
            try:
                known = self._choices[index]
            except KeyError:
                if len(self._choices) >= self._max_choices:
                    self.excess = _TOO_MANY_CHOICES
                    continue
                known = self._choices[index] = _Choice()
            try:
                known.add(choice)
            except TooManyCalls:
                self.excess = TOO_MANY_CALLS

    def has_choices(self) -> bool:
        return bool(self._choices)

    def is_finished(self) -> bool:
        """Return True if there is a choice, and every choice so far has a finish_reason."""
        return bool(self._choices) and all(
            choice.finish_reason is not None for choice in self._choices.values()
        )

    def is_unreadable(self) -> bool:
        """Return True if some content is not text."""
        return any(choice.is_unreadable for choice in self._choices.values())

    def has_second_answer(self) -> bool:
        """Return True if a choice has a second message that says something else. It was left out."""
        return any(choice.is_second for choice in self._choices.values())

    def completion(self) -> dict[str, Value]:
        """The completion so far. Keys that no chunk had are omitted, except object and choices."""
        top = {key: value for key, value in self._top.items() if key not in _OMITTED}
        if top.get("usage") is None:  # `usage: null` means that the usage may follow
            top.pop("usage", None)
        leading: dict[str, Value] = {
            key: top.pop(key) for key in ("id", "object", "created", "model") if key in top
        }
        choices = [choice.build(index) for index, choice in sorted(self._choices.items())]
        return {**leading, "object": "chat.completion", "choices": choices, **top}


class _Choice:
    """A choice under assembly. Its message holds StringPieces and GrowingList until build()."""

    __slots__ = (
        "calls",
        "fields",
        "finish_reason",
        "is_second",
        "is_unreadable",
        "logprobs",
        "message",
        "whole",
    )

    def __init__(self) -> None:
        self.message: dict[str, Value] = {"role": None, "content": None, "refusal": None}
        self.calls = CallPieces()
        self.is_unreadable = False
        self.whole: str | None = None  # the text of a whole message
        self.is_second = False  # a whole message came that says something else
        self.logprobs: dict[str, Value] | None = None
        self.finish_reason: Value = None  # as the server wrote it
        self.fields: dict[str, Value] = {}  # other keys of the choice, such as content_filter_results

    def add(self, choice: dict[str, Value]) -> None:
        for key, value in choice.items():
            if value is None:
                continue
            if key == "delta":
                if type(value) is dict:
                    self._add_delta(value)
                else:
                    self.is_unreadable = True
            elif key == "finish_reason":
                if finish_reasons.has_ended(value):
                    self.finish_reason = value
            elif key == "logprobs":
                self._add_logprobs(value)
            elif key == "message":
                if choice.get("delta") is None and type(value) is dict:  # some servers repeat the delta in it
                    self._add_whole(value)
            elif key == "usage":
                self._add_usage(value)
            elif key != "index":
                self._add_field(key, value)

    def _add_whole(self, message: dict[str, Value]) -> None:
        """Add a whole message. Some servers repeat it, or send the whole answer so far again and again."""
        text = text_of(message.get("content")) or ""
        if self._has_no_content():
            self._add_delta(message)
            self.whole = text
        elif self.whole is None or self.whole.startswith(text):
            return  # it repeats deltas, or itself
        elif text.startswith(self.whole):
            self._add_text(text[len(self.whole) :])
            self.whole = text
        else:
            self.is_second = True

    def _add_delta(self, delta: dict[str, Value]) -> None:
        message = self.message
        for key, value in delta.items():
            grown = message.get(key)
            if type(grown) is StringPieces and type(value) is str:
                grown.append(value)
            elif value is None:
                continue
            elif key == "tool_calls":
                self.calls.add(value)
            elif key == "usage":
                self._add_usage(value)
            elif key == "content":
                self._add_content(value)
            elif key == "function_call":
                extend_name(message, delta)
                merge(message, key, value, MAX_LEVELS)
            elif key == "refusal":
                merge(message, key, json_text(value) or None, MAX_LEVELS)
            elif key in REASONING_FIELDS and type(value) is list:
                found = split_parts(value)
                merge(message, key, found.reasoning + found.text or value, MAX_LEVELS)
            elif key != "role" or type(value) is str:
                merge(message, key, value, MAX_LEVELS)

    def _add_content(self, content: Value) -> None:
        """Add a content that is not the next piece of a string.

        Text and reasoning in parts become the two strings that other servers send, `content` and
        `reasoning_content`. From the first part of another kind on, the content is a list of parts.
        """
        text = scalar_text(content)
        if text is not None:
            self._add_text(text)
            return
        if not may_be_text(content):
            self.is_unreadable = True
        for part in parts_of(content) or [content]:
            found = split_parts([part])
            if found.text:
                self._add_text(found.text)
            if found.reasoning:
                self._add_delta({"reasoning_content": found.reasoning})
            self._add_others(found.others)

    def _add_text(self, text: str) -> None:
        content = self.message["content"]
        if type(content) is not list:
            merge(self.message, "content", text, MAX_LEVELS)
        elif text and content and type(content[-1]) is dict and type(content[-1].get("text")) is StringPieces:
            content[-1]["text"].append(text)
        elif text:
            content.append({"type": "text", "text": StringPieces((text,))})

    def _add_others(self, parts: list[Value]) -> None:
        if parts and type(self.message["content"]) is not list:
            text, self.message["content"] = self.message["content"], []
            self._add_text(plain(text, MAX_LEVELS) or "")
        if parts:
            self.message["content"] += parts

    def _add_usage(self, usage: Value) -> None:
        """Add the usage that a choice, its delta or its message has; it is no part of the message."""
        self.fields["usage"] = merge_usage(self.fields.get("usage"), usage)

    def _add_logprobs(self, logprobs: Value) -> None:
        if type(logprobs) is not dict:
            return
        if self.logprobs is None:
            self.logprobs = {}
        for key, value in logprobs.items():
            if type(value) is list and type(self.logprobs.get(key)) is list:
                self.logprobs[key].extend(value)
            elif type(value) is list:
                self.logprobs[key] = value.copy()
            elif value is not None or key not in self.logprobs:
                self.logprobs[key] = value

    def _add_field(self, key: str, value: Value) -> None:
        """Merge objects (Azure's filter results), extend lists (vLLM's token_ids), replace other values."""
        known = self.fields.get(key)
        if type(value) is list:
            self.fields[key] = known if type(known) is list else []
            self.fields[key].extend(value)
        elif type(value) is dict:
            if type(known) is not dict:
                known = self.fields[key] = {}
            overlay(known, value, MAX_LEVELS)
        else:
            self.fields[key] = value

    def _has_no_content(self) -> bool:
        return not self.calls.ordered and not any(
            value is not None for key, value in self.message.items() if key != "role"
        )

    def build(self, index: int) -> dict[str, Value]:
        message: dict[str, Value] = {key: plain(value, MAX_LEVELS) for key, value in self.message.items()}
        message["role"] = message["role"] or "assistant"
        if self.calls.ordered:
            message["tool_calls"] = self.calls.build()
        audio = message.get("audio")
        if type(audio) is dict and type(audio.get("data")) is str:
            audio["data"] = _join_base64(audio["data"])
        logprobs = self.logprobs and {
            key: value.copy() if type(value) is list else value for key, value in self.logprobs.items()
        }
        fields = {key: plain(value, MAX_LEVELS) for key, value in self.fields.items()}
        finish = {"logprobs": logprobs, "finish_reason": self.finish_reason}
        return {"index": index, "message": message, **finish, **fields}


def within_limits(completion: dict[str, Value], requested: int) -> tuple[dict[str, Value], str]:
    """A completion in one piece without what is beyond the limits of an assembly, and Assembly.excess."""
    choices = completion.get("choices")
    if type(choices) is not list:
        return completion, ""
    excess = ""
    if len(choices) > MAX_CHOICES and len(choices) > requested:
        choices, excess = choices[: max(requested, MAX_CHOICES)], _TOO_MANY_CHOICES
    for at, choice in enumerate(choices):
        message = choice.get("message") if type(choice) is dict else None
        if type(message) is not dict:
            continue
        calls = message.get("tool_calls")
        if type(calls) is list and len(calls) > MAX_CALLS:
            choices = [*choices[:at], {**choice, "message": {**message, "tool_calls": calls[:MAX_CALLS]}}]
            return {**completion, "choices": choices}, TOO_MANY_CALLS
    return ({**completion, "choices": choices} if excess else completion), excess


def _join_base64(data: str) -> str:
    """One base64 text from pieces that were encoded separately, so padding may occur in the middle."""
    if "=" not in data.rstrip("="):
        return data
    import re
    from binascii import a2b_base64, b2a_base64

    texts = re.split("(?<==)(?=[^=])", data)
    try:
        decoded = b"".join(a2b_base64(text, strict_mode=True) for text in texts)
    except ValueError:
        return data
    return b2a_base64(decoded, newline=False).decode()
