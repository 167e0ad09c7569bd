"""Chunks of one streamed answer -> the completion object the server would have sent without streaming.

Strings are collected as lists of pieces and joined once at the end. Deltas merge as in the OpenAI SDK
(strings concatenate, numbers add, objects merge, lists merge by `index` or grow), except for fields
that other servers repeat in every delta. Values of an impossible type are ignored: nothing here raises.
"""

from __future__ import annotations

from contextlib import suppress

from chatpipe.inputs import values
from chatpipe.inputs.values import Value

_EMPTY: tuple[Value, ...] = (None, "", [], {})
# These are names, not text: a server sends them once, or repeats the whole name in every delta. Some
# servers invent a new id for the later deltas of a call, so the first value is kept.
_KEEP_FIRST = frozenset({"id", "name", "role", "format"})
_KEEP_LAST = frozenset({"index", "type", "expires_at"})
# Far deeper than any answer, and far below the recursion limit. Deeper values are not merged: the
# last one is kept.
_MAX_LEVELS = 64
_OMITTED = frozenset({"choices", "obfuscation"})


class _StringPieces(list[str]):
    """The pieces of a string that is still growing."""


class _GrowingList(list[Value]):
    """A list that is still growing. by_index maps an `index` to the item that carries it."""

    def __init__(self) -> None:
        super().__init__()
        self.by_index: dict[int, dict[str, Value]] = {}


class Assembly:
    """An answer under assembly. add() takes each chunk; completion() may be called at any time."""

    __slots__ = ("_choices", "_top")

    def __init__(self) -> None:
        self._top: dict[str, Value] = {}
        self._choices: dict[int, _Choice] = {}

    def add(self, chunk: dict[str, Value]) -> None:
        """Merge one chunk, which is not modified. Never raises, whatever its shape.

        A whole completion sent as an event is accepted too: the message of a choice serves as its delta
        if it has none.
        """
        top = self._top
        for key, value in chunk.items():
            # Azure's annotation events have "" and 0 in place of the id and the time
            if value or key not in top or (value not in _EMPTY and key != "created"):
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
                known = self._choices[index] = _Choice()
            known.add(choice)

    def is_finished(self) -> bool:
        """Return True if there is a choice, and every choice so far has a finish_reason."""
        return bool(self._choices) and all(choice.finish_reason for choice in self._choices.values())

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
    """A choice under assembly. Its message holds _StringPieces and _GrowingList until build()."""

    __slots__ = ("calls", "fields", "finish_reason", "logprobs", "message")

    def __init__(self) -> None:
        self.message: dict[str, Value] = {"role": None, "content": None, "refusal": None}
        self.calls = _Calls()
        self.logprobs: dict[str, Value] | None = None
        self.finish_reason: str | None = None
        self.fields: dict[str, Value] = {}  # other keys of the choice, such as content_filter_results

    def add(self, choice: dict[str, Value]) -> None:
        for key, value in choice.items():
            if value is None:
                continue
            if key == "delta":
                if type(value) is dict:
                    self._add_delta(value)
            elif key == "finish_reason":
                if type(value) is str and value:
                    self.finish_reason = value
            elif key == "logprobs":
                self._add_logprobs(value)
            elif key == "message":
                # Some servers repeat the delta, or the whole answer so far, as a message
                if choice.get("delta") is None and self._has_no_content() and type(value) is dict:
                    self._add_delta(value)
            elif key != "index":
                self._add_field(key, value)

    def _add_delta(self, delta: dict[str, Value]) -> None:
        message = self.message
        for key, value in delta.items():
            grown = message.get(key)
            if type(grown) is _StringPieces and type(value) is str:
                grown.append(value)
            elif value is None:
                continue
            elif key == "tool_calls":
                self.calls.add(value)
            elif key == "content" and type(value) is list:
                self._add_parts(value)
            elif key in {"content", "refusal", "role"} and type(value) is not str:
                continue
            else:
                if key == "function_call" and grown is None and type(value) is dict:
                    # unlike that of a tool call, this name comes in pieces
                    message[key] = {"name": _StringPieces(), "arguments": _StringPieces()}
                _merge(message, key, value, _MAX_LEVELS)

    def _add_parts(self, parts: list[Value]) -> None:
        """Add the parts that Mistral's reasoning models send: text, and thinking, a list of texts.

        They become the two strings that other servers send, `content` and `reasoning_content`.
        """
        for part in parts:
            if type(part) is not dict:
                continue
            if type(part.get("text")) is str:
                self._add_delta({"content": part["text"]})
            if type(part.get("thinking")) is list:
                texts = [inner.get("text") for inner in part["thinking"] if type(inner) is dict]
                thought = "".join(text for text in texts if type(text) is str)
                self._add_delta({"reasoning_content": thought})

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
            self.fields[key] = _overlay(known, value, _MAX_LEVELS)
        else:
            self.fields[key] = value

    def _has_no_content(self) -> bool:
        return not self.calls.ordered and not any(
            value is not None for key, value in self.message.items() if key != "role"
        )

    def build(self, index: int) -> dict[str, Value]:
        message: dict[str, Value] = {key: _plain(value, _MAX_LEVELS) for key, value in self.message.items()}
        message["role"] = message["role"] or "assistant"
        if self.calls.ordered:
            message["tool_calls"] = self.calls.build()
        audio = message.get("audio")
        if type(audio) is dict and type(audio.get("data")) is str:
            audio["data"] = _join_base64(audio["data"])
        logprobs = self.logprobs and {
            key: value.copy() if type(value) is list else value for key, value in self.logprobs.items()
        }
        fields = {key: _plain(value, _MAX_LEVELS) for key, value in self.fields.items()}
        finish = {"logprobs": logprobs, "finish_reason": self.finish_reason}
        return {"index": index, "message": message, **finish, **fields}


class _Calls:
    """The tool calls of one choice under assembly."""

    __slots__ = ("_by_id", "_by_index", "_next", "ordered")

    def __init__(self) -> None:
        self.ordered: list[tuple[int, dict[str, Value]]] = []  # (index, call), in order of arrival
        self._by_index: dict[int, dict[str, Value]] = {}
        self._by_id: dict[str, dict[str, Value]] = {}
        self._next = 0

    def add(self, deltas: Value) -> None:
        for position, delta in enumerate(deltas if type(deltas) is list else [deltas]):
            if type(delta) is dict and delta:
                call = self._find_call(delta, position)
                for key, value in delta.items():
                    if key != "index":
                        _merge(call, key, value, _MAX_LEVELS)

    def _find_call(self, delta: dict[str, Value], position: int) -> dict[str, Value]:
        """The call that a delta belongs to, a new one if the delta begins one.

        Without an index, a new id begins a call, and a delta without an id belongs to the last call
        unless it has a different name. position is the position of the delta in its chunk.
        """
        index, id_ = delta.get("index"), delta.get("id")
        if type(index) is int:
            call = self._by_index.get(index)
            return self._begin(index, id_) if call is None or _begins_new_call(call, delta) else call
        if type(id_) is str and id_:
            return self._by_id.get(id_) or self._begin(self._next, id_)
        if not self.ordered:
            return self._begin(self._next, id_)
        last = self.ordered[-1][1]
        name = _name(delta)
        return self._begin(self._next, id_) if name and (position or name != _name(last)) else last

    def _begin(self, index: int, id_: Value) -> dict[str, Value]:
        # The keys are in the order in which servers send them.
        call: dict[str, Value] = {"id": None, "type": None}
        self.ordered.append((index, call))
        self._by_index[index] = call
        if type(id_) is str:
            self._by_id[id_] = call
        self._next = max(self._next, index + 1)
        return call

    def build(self) -> list[Value]:
        return [_plain_call(call) for _, call in sorted(self.ordered, key=lambda pair: pair[0])]


def _begins_new_call(call: dict[str, Value], delta: dict[str, Value]) -> bool:
    """Return True if a delta begins a new call although its index is taken.

    Some servers number all calls of an answer 0. Others invent a new id for each delta of one call,
    but only the first delta of a call has a name.
    """
    return bool(delta.get("id") and call["id"] and delta["id"] != call["id"] and _name(delta))


def _name(call: dict[str, Value]) -> Value:
    for kind in ("function", "custom"):
        body = call.get(kind)
        if type(body) is dict and body.get("name"):
            return body["name"]
    return None


def _plain_call(call: dict[str, Value]) -> dict[str, Value]:
    """A call as it stands in a completion: arguments is always a JSON string, type is always present."""
    plain = {key: _plain(value, _MAX_LEVELS) for key, value in call.items() if value is not None}
    for kind, text in (("function", "arguments"), ("custom", "input")):
        body = plain.get(kind)
        if type(body) is dict:
            plain.setdefault("type", kind)
            if type(body.setdefault(text, "")) is not str:  # some servers send an object instead of a string
                with suppress(RecursionError):
                    body[text] = values.dumps(body[text]).decode()
    return plain


def _merge(into: dict[str, Value], key: str, value: Value, levels: int) -> None:
    """Merge one value of a delta, by the rules of the SDK and our exceptions to them."""
    known = into.get(key)
    if value is None:
        return
    if type(known) is _StringPieces:
        if type(value) is str:
            known.append(value)
    elif key in _KEEP_FIRST or key in _KEEP_LAST:
        if known in _EMPTY or (key in _KEEP_LAST and value != ""):
            into[key] = value
    elif known is None:
        into[key] = _mergeable(value, levels)
    elif type(known) is dict and type(value) is dict and levels:
        for inner, new in value.items():
            _merge(known, inner, new, levels - 1)
    elif type(known) is _GrowingList and type(value) is list and levels:
        _grow(known, value, levels - 1)
    elif type(known) in (int, float) and type(value) in (int, float):
        with suppress(OverflowError):  # an integer that is too large for a float
            into[key] = known + value
    elif type(known) is type(value):
        into[key] = value


def _grow(items: _GrowingList, more: list[Value], levels: int) -> None:
    for item in more:
        index = item.get("index") if type(item) is dict else None
        if type(index) is not int:
            items.append(item)
        elif index not in items.by_index:
            items.by_index[index] = _mergeable(item, levels)
            items.append(items.by_index[index])
        elif levels:
            for key, value in item.items():
                _merge(items.by_index[index], key, value, levels - 1)


def _mergeable(value: Value, levels: int) -> Value:
    """A mergeable copy of a delta's value. It shares nothing with the chunk that a merge would change."""
    if type(value) is str:
        return _StringPieces((value,))
    if type(value) is dict and levels:
        copy: dict[str, Value] = {}
        for key, inner in value.items():
            _merge(copy, key, inner, levels - 1)
        return copy
    if type(value) is list and levels:
        items = _GrowingList()
        _grow(items, value, levels - 1)
        return items
    return value


def _plain(value: Value, levels: int) -> Value:
    """The plain JSON value of a mergeable copy."""
    if type(value) is _StringPieces:
        return "".join(value)
    if type(value) is dict and levels:
        return {key: _plain(inner, levels - 1) for key, inner in value.items()}
    if isinstance(value, list) and levels:
        return [_plain(inner, levels - 1) for inner in value]
    return value


def _overlay(known: Value, value: dict[str, Value], levels: int) -> dict[str, Value]:
    """A new object with the keys of both, merged to the last level. On a conflict, value wins."""
    both = dict(known) if type(known) is dict else {}
    for key, new in value.items():
        both[key] = _overlay(both.get(key), new, levels - 1) if type(new) is dict and levels else new
    return both


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
