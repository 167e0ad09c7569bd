"""Pieces of tool calls -> the tool calls of one choice."""

from __future__ import annotations

from contextlib import suppress

from chatpipe.inputs import values
from chatpipe.inputs.values import Value
from chatpipe.response.json_depth import JsonDepth
from chatpipe.response.merge import MAX_LEVELS, StringPieces, merge, plain

# An answer has a few. Each takes far more memory than the bytes that begin it.
MAX_CALLS = 1000
_MAX_NAME = 10_000  # characters; a name grows by copies


class TooManyCalls(Exception):
    """A call beyond MAX_CALLS, or a name without an end. The calls so far are as they were."""


class _PartialCall:
    """A tool call under assembly. value holds what came of it, without the index."""

    __slots__ = ("_depth", "_length", "_scanned", "index", "is_doubtful", "is_whole", "value")

    def __init__(self, index: int) -> None:
        self.index = index
        # The keys are in the order in which servers send them.
        self.value: dict[str, Value] = {"id": None, "type": None}
        self.is_whole = False
        self.is_doubtful = False  # no call if no arguments follow: only a name came again, after a whole call
        self._scanned = 0  # pieces of the arguments
        self._length = 0  # characters in them
        self._depth = JsonDepth()

    def scan(self) -> None:
        """Set is_whole if the arguments so far are a whole JSON object. Each piece is read once."""
        arguments = _arguments(self.value)
        if not isinstance(arguments, StringPieces):
            self.is_whole = arguments is not None
            return
        while self._scanned < len(arguments) and not self.is_whole:
            self.is_whole = self._depth.feed(arguments[self._scanned])
            self._length += len(arguments[self._scanned])
            self._scanned += 1

    def has_arguments(self, arguments: Value) -> bool:
        """Return True if a whole call has these arguments. The text is joined only if the lengths agree."""
        known = _arguments(self.value)
        if isinstance(known, StringPieces):
            return type(arguments) is str and len(arguments) == self._length and "".join(known) == arguments
        return bool(plain(known, MAX_LEVELS) == arguments)


class CallPieces:
    """The tool calls of one choice under assembly.

    Servers disagree on what tells calls apart. Some number all calls 0 or not at all, some count pieces
    in the index, some invent an id for each piece, some repeat id and name in each. A piece begins a call
    only if it has what a call begins with: a name, or else an index after a call that is whole.
    """

    __slots__ = ("_by_id", "_by_index", "_next", "ordered")

    def __init__(self) -> None:
        self.ordered: list[_PartialCall] = []  # in order of arrival
        self._by_index: dict[int, _PartialCall] = {}
        self._by_id: dict[str, _PartialCall] = {}
        self._next = 0

    def add(self, deltas: Value) -> None:
        for position, delta in enumerate(deltas if type(deltas) is list else [deltas]):
            if type(delta) is dict and delta:
                self._add(delta, position)

    def _add(self, delta: dict[str, Value], position: int) -> None:
        call = self._find(delta)
        if call is not None and _repeats(call, delta):
            return
        if call is None or _begins_another(call, delta, position):
            known, call = call, self._begin(delta)
            call.is_doubtful = known is not None and not position and _is_name_alone(known.value, delta)
        elif _name(delta):
            extend_name(call.value, delta)
        if (id_ := delta.get("id")) and type(id_) is str:
            self._by_id.setdefault(id_, call)
        for key, value in delta.items():
            if key != "index":
                merge(call.value, key, value, MAX_LEVELS)

    def _find(self, delta: dict[str, Value]) -> _PartialCall | None:
        """The call that a delta belongs to unless it begins another; None if it certainly begins one."""
        index, id_ = delta.get("index"), delta.get("id")
        if type(index) is int and index in self._by_index:
            return self._by_index[index]
        if type(id_) is str and id_ in self._by_id:
            return self._by_id[id_]
        if not self.ordered or (_name(delta) and (type(index) is int or id_)):
            return None
        last = self.ordered[-1]
        if type(index) is int or id_:
            last.scan()
            return None if last.is_whole or not _name(last.value) else last
        return last

    def _begin(self, delta: dict[str, Value]) -> _PartialCall:
        if len(self.ordered) >= MAX_CALLS:
            raise TooManyCalls
        index = delta.get("index")
        call = _PartialCall(index if type(index) is int else self._next)
        self.ordered.append(call)
        self._by_index[call.index] = call
        self._next = max(self._next, call.index + 1)
        return call

    def build(self) -> list[Value]:
        calls = [call for call in self.ordered if not call.is_doubtful or _arguments(call.value)]
        return [_plain_call(call.value) for call in sorted(calls, key=lambda call: call.index)]


def _begins_another(call: _PartialCall, delta: dict[str, Value], position: int) -> bool:
    """Return True if a delta begins a call although its index or id is that of a known one.

    position is the position of the delta in its chunk.
    """
    name, known = _name(delta), _name(call.value)
    if not name or not known:
        return False
    id_, known_id = delta.get("id"), call.value["id"]
    is_same_id = bool(id_ and id_ == known_id)
    has_other_index = type(delta.get("index")) is int and delta["index"] != call.index
    call.scan()
    if call.is_whole:
        return name != known or not is_same_id or has_other_index or bool(_arguments(delta))
    if is_same_id:
        return False
    has_begun = bool(_arguments(call.value))
    if name != known:  # a piece of the name has no id, or that of the call
        return has_begun or bool(id_) or not known_id
    return not has_begun and bool(position or (id_ and known_id))


def _repeats(call: _PartialCall, delta: dict[str, Value]) -> bool:
    """Return True if a delta sends a whole call once more, under the same id."""
    if not delta.get("id") or delta["id"] != call.value["id"] or _name(delta) != _name(call.value):
        return False
    call.scan()
    return call.is_whole and call.has_arguments(_arguments(delta))


def _is_name_alone(call: dict[str, Value], delta: dict[str, Value]) -> bool:
    """Return True if a delta has the name of a call, no id of its own, and no arguments."""
    return _name(delta) == _name(call) and delta.get("id") in (None, "", call["id"]) and not _arguments(delta)


def extend_name(call: dict[str, Value], delta: dict[str, Value]) -> None:
    """Extend the name of a call by a piece, or replace it by a longer form of itself. Raises TooManyCalls."""
    for kind in ("function", "custom", "function_call"):
        body, piece = call.get(kind), delta.get(kind)
        if type(body) is dict and type(piece) is dict:
            known, name = body.get("name"), piece.get("name")
            if type(known) is type(name) is str and known and name and name != known:
                if len(known) > _MAX_NAME:
                    raise TooManyCalls
                body["name"] = name if name.startswith(known) else known + name


def _arguments(call: dict[str, Value]) -> Value:
    """The arguments of a call or delta, None if there are none or the empty text."""
    for kind, text in (("function", "arguments"), ("custom", "input")):
        body = call.get(kind)
        if type(body) is dict and body.get(text):
            return body[text] if not isinstance(body[text], StringPieces) or any(body[text]) else None
    return None


def _name(call: dict[str, Value]) -> Value:
    for kind in ("function", "custom"):
        body = call.get(kind)
        if type(body) is dict and body.get("name"):
            return body["name"]
    return None


def _plain_call(call: dict[str, Value]) -> dict[str, Value]:
    """A call as it stands in a completion: arguments is always a JSON string, type is always present."""
    made = {key: plain(value, MAX_LEVELS) for key, value in call.items() if value is not None}
    for kind, text in (("function", "arguments"), ("custom", "input")):
        body = made.get(kind)
        if type(body) is dict:
            made.setdefault("type", kind)
            if type(body.setdefault(text, "")) is not str:  # some servers send an object instead of a string
                with suppress(RecursionError):
                    body[text] = values.dumps(body[text]).decode()
    return made
