"""Pieces of tool calls -> the tool calls of one choice."""

from __future__ import annotations

from contextlib import suppress

from chatpipe.inputs import values
from chatpipe.inputs.values import Value
from chatpipe.response.merge import MAX_LEVELS, merge, plain


class CallPieces:
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
                        merge(call, key, value, MAX_LEVELS)

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
    made = {key: plain(value, MAX_LEVELS) for key, value in call.items() if value is not None}
    for kind, text in (("function", "arguments"), ("custom", "input")):
        body = made.get(kind)
        if type(body) is dict:
            made.setdefault("type", kind)
            if type(body.setdefault(text, "")) is not str:  # some servers send an object instead of a string
                with suppress(RecursionError):
                    body[text] = values.dumps(body[text]).decode()
    return made
