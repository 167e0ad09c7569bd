"""Chunks of one streamed answer -> the completion object the server would have sent without streaming.

Strings grow as lists of pieces, joined once at the end. Deltas are merged as the OpenAI SDK does
(strings concatenate, numbers add, objects merge, lists merge by `index` or grow), but for what
other servers repeat in every delta. Values of an impossible type are ignored: nothing here raises.
"""

from __future__ import annotations

from contextlib import suppress

from chatpipe.inputs import values
from chatpipe.inputs.values import Value

_EMPTY: tuple[Value, ...] = (None, "", [], {})
# Names, not text: they are sent once, or repeated whole with every delta. Some servers make up
# another id for the later deltas of a call, so the first one stays.
_FIRST_STAYS = frozenset({"id", "name", "role", "format"})
_LAST_STAYS = frozenset({"index", "type", "expires_at"})
# Far deeper than any answer, far from the recursion limit. What lies deeper is kept as it came last.
_LEVELS = 64
_DROPPED = frozenset({"choices", "obfuscation"})


class _Pieces(list[str]):
    """A string that still grows."""


class _Items(list[Value]):
    """A list that still grows; at finds the items that carry an `index` of their own."""

    def __init__(self) -> None:
        super().__init__()
        self.at: dict[int, dict[str, Value]] = {}


class Assembly:
    """One answer in the making: add() each chunk, then completion(), which may be asked at any time."""

    __slots__ = ("_choices", "_top")

    def __init__(self) -> None:
        self._top: dict[str, Value] = {}
        self._choices: dict[int, _Choice] = {}

    def add(self, chunk: dict[str, Value]) -> None:
        """Take in one chunk, which is not changed. Never raises, whatever its shape.

        A whole completion sent as an event is taken as well: a choice's message counts as its delta
        when it has none.
        """
        top = self._top
        for key, value in chunk.items():
            # Azure's annotation events have "" and 0 where the real ones have an id and a time
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

    def finished(self) -> bool:
        """Whether every choice seen, and at least one, has a finish_reason."""
        return bool(self._choices) and all(choice.finish_reason for choice in self._choices.values())

    def completion(self) -> dict[str, Value]:
        """The completion so far. Keys that no chunk had are left out, but for object and choices."""
        top = {key: value for key, value in self._top.items() if key not in _DROPPED}
        if top.get("usage") is None:  # `usage: null` means that it may still come
            top.pop("usage", None)
        first: dict[str, Value] = {
            key: top.pop(key) for key in ("id", "object", "created", "model") if key in top
        }
        choices = [choice.close(index) for index, choice in sorted(self._choices.items())]
        return {**first, "object": "chat.completion", "choices": choices, **top}


class _Choice:
    """One choice in the making. Its message holds _Pieces and _Items until close()."""

    __slots__ = ("calls", "fields", "finish_reason", "logprobs", "message")

    def __init__(self) -> None:
        self.message: dict[str, Value] = {"role": None, "content": None, "refusal": None}
        self.calls = _Calls()
        self.logprobs: dict[str, Value] | None = None
        self.finish_reason: str | None = None
        self.fields: dict[str, Value] = {}  # what a choice has besides, such as content_filter_results

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
                # Some servers repeat the delta, or all of the answer so far, as a message
                if choice.get("delta") is None and self._untouched() and type(value) is dict:
                    self._add_delta(value)
            elif key != "index":
                self._add_field(key, value)

    def _add_delta(self, delta: dict[str, Value]) -> None:
        message = self.message
        for key, value in delta.items():
            grown = message.get(key)
            if type(grown) is _Pieces and type(value) is str:
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
                    message[key] = {"name": _Pieces(), "arguments": _Pieces()}  # here a name has pieces
                _merge(message, key, value, _LEVELS)

    def _add_parts(self, parts: list[Value]) -> None:
        """Mistral's reasoning models send parts: text, and thinking, which is itself a list of text.

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
        """Azure's filter results merge, vLLM's token_ids grow, of anything else the last stays."""
        known = self.fields.get(key)
        if type(value) is list:
            self.fields[key] = known if type(known) is list else []
            self.fields[key].extend(value)
        elif type(value) is dict:
            self.fields[key] = _overlaid(known, value, _LEVELS)
        else:
            self.fields[key] = value

    def _untouched(self) -> bool:
        return not self.calls.ordered and not any(
            value is not None for key, value in self.message.items() if key != "role"
        )

    def close(self, index: int) -> dict[str, Value]:
        message: dict[str, Value] = {key: _closed(value, _LEVELS) for key, value in self.message.items()}
        message["role"] = message["role"] or "assistant"
        if self.calls.ordered:
            message["tool_calls"] = self.calls.close()
        audio = message.get("audio")
        if type(audio) is dict and type(audio.get("data")) is str:
            audio["data"] = _one_base64(audio["data"])
        logprobs = self.logprobs and {
            key: value.copy() if type(value) is list else value for key, value in self.logprobs.items()
        }
        fields = {key: _closed(value, _LEVELS) for key, value in self.fields.items()}
        finish = {"logprobs": logprobs, "finish_reason": self.finish_reason}
        return {"index": index, "message": message, **finish, **fields}


class _Calls:
    """The tool calls of one choice in the making."""

    __slots__ = ("_by_id", "_by_index", "_next", "ordered")

    def __init__(self) -> None:
        self.ordered: list[tuple[int, dict[str, Value]]] = []  # (index, call), as they began
        self._by_index: dict[int, dict[str, Value]] = {}
        self._by_id: dict[str, dict[str, Value]] = {}
        self._next = 0

    def add(self, deltas: Value) -> None:
        for position, delta in enumerate(deltas if type(deltas) is list else [deltas]):
            if type(delta) is dict and delta:
                call = self._call_of(delta, position)
                for key, value in delta.items():
                    if key != "index":
                        _merge(call, key, value, _LEVELS)

    def _call_of(self, delta: dict[str, Value], position: int) -> dict[str, Value]:
        """The call that a delta goes on with, a new one if it begins one.

        Without an index a new id begins a call, and a delta without an id belongs to the last one,
        unless its name says otherwise. position is the delta's place among those of its chunk.
        """
        index, id_ = delta.get("index"), delta.get("id")
        if type(index) is int:
            call = self._by_index.get(index)
            return self._begin(index, id_) if call is None or _is_another(call, delta) else call
        if type(id_) is str and id_:
            return self._by_id.get(id_) or self._begin(self._next, id_)
        if not self.ordered:
            return self._begin(self._next, id_)
        last = self.ordered[-1][1]
        name = _name(delta)
        return self._begin(self._next, id_) if name and (position or name != _name(last)) else last

    def _begin(self, index: int, id_: Value) -> dict[str, Value]:
        # the keys of a call in the order in which servers send them
        call: dict[str, Value] = {"id": None, "type": None}
        self.ordered.append((index, call))
        self._by_index[index] = call
        if type(id_) is str:
            self._by_id[id_] = call
        self._next = max(self._next, index + 1)
        return call

    def close(self) -> list[Value]:
        return [_closed_call(call) for _, call in sorted(self.ordered, key=lambda pair: pair[0])]


def _is_another(call: dict[str, Value], delta: dict[str, Value]) -> bool:
    """Whether a delta begins a call of its own though its index is taken.

    Some servers number all calls of an answer 0. Others make up a new id for each delta of one call,
    but only a call's first delta has a name.
    """
    return bool(delta.get("id") and call["id"] and delta["id"] != call["id"] and _name(delta))


def _name(call: dict[str, Value]) -> Value:
    for kind in ("function", "custom"):
        body = call.get(kind)
        if type(body) is dict and body.get("name"):
            return body["name"]
    return None


def _closed_call(call: dict[str, Value]) -> dict[str, Value]:
    """A call as a completion has it: arguments always a string of JSON, type always there."""
    closed = {key: _closed(value, _LEVELS) for key, value in call.items() if value is not None}
    for kind, text in (("function", "arguments"), ("custom", "input")):
        body = closed.get(kind)
        if type(body) is dict:
            closed.setdefault("type", kind)
            if type(body.setdefault(text, "")) is not str:  # an object where a string belongs
                with suppress(RecursionError):
                    body[text] = values.dumps(body[text]).decode()
    return closed


def _merge(into: dict[str, Value], key: str, value: Value, levels: int) -> None:
    """Merge one value of a delta, by the SDK's rules and our exceptions to them."""
    known = into.get(key)
    if value is None:
        return
    if type(known) is _Pieces:
        if type(value) is str:
            known.append(value)
    elif key in _FIRST_STAYS or key in _LAST_STAYS:
        if known in _EMPTY or (key in _LAST_STAYS and value != ""):
            into[key] = value
    elif known is None:
        into[key] = _opened(value, levels)
    elif type(known) is dict and type(value) is dict and levels:
        for inner, new in value.items():
            _merge(known, inner, new, levels - 1)
    elif type(known) is _Items and type(value) is list and levels:
        _grow(known, value, levels - 1)
    elif type(known) in (int, float) and type(value) in (int, float):
        with suppress(OverflowError):  # an integer beyond what a float can hold
            into[key] = known + value
    elif type(known) is type(value):
        into[key] = value


def _grow(items: _Items, more: list[Value], levels: int) -> None:
    for item in more:
        index = item.get("index") if type(item) is dict else None
        if type(index) is not int:
            items.append(item)
        elif index not in items.at:
            items.at[index] = _opened(item, levels)
            items.append(items.at[index])
        elif levels:
            for key, value in item.items():
                _merge(items.at[index], key, value, levels - 1)


def _opened(value: Value, levels: int) -> Value:
    """A value of a delta, ready to be merged into, sharing nothing with the chunk that would change."""
    if type(value) is str:
        return _Pieces((value,))
    if type(value) is dict and levels:
        opened: dict[str, Value] = {}
        for key, inner in value.items():
            _merge(opened, key, inner, levels - 1)
        return opened
    if type(value) is list and levels:
        items = _Items()
        _grow(items, value, levels - 1)
        return items
    return value


def _closed(value: Value, levels: int) -> Value:
    """The plain JSON of an opened value."""
    if type(value) is _Pieces:
        return "".join(value)
    if type(value) is dict and levels:
        return {key: _closed(inner, levels - 1) for key, inner in value.items()}
    if isinstance(value, list) and levels:
        return [_closed(inner, levels - 1) for inner in value]
    return value


def _overlaid(known: Value, value: dict[str, Value], levels: int) -> dict[str, Value]:
    """A new object with the keys of both, down to the last level; where both have one, value's stays."""
    both = dict(known) if type(known) is dict else {}
    for key, new in value.items():
        both[key] = _overlaid(both.get(key), new, levels - 1) if type(new) is dict and levels else new
    return both


def _one_base64(data: str) -> str:
    """One base64 text for pieces that were each encoded alone: padding may stand inside."""
    if "=" not in data.rstrip("="):
        return data
    import re
    from binascii import a2b_base64, b2a_base64

    texts = re.split("(?<==)(?=[^=])", data)
    try:
        sound = b"".join(a2b_base64(text, strict_mode=True) for text in texts)
    except ValueError:
        return data
    return b2a_base64(sound, newline=False).decode()
