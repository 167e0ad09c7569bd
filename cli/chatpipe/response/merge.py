"""Rules by which the pieces of a streamed value become one value.

As in the OpenAI SDK, strings concatenate, numbers add, objects merge, and lists merge by `index` or
grow, except for fields that other servers repeat in every delta. Strings are collected as lists of
pieces and joined once, by plain(). A field of text takes any value, in its JSON form. In other fields,
values of an impossible type are ignored: nothing here raises.
"""

from __future__ import annotations

from contextlib import suppress

from chatpipe.inputs import values
from chatpipe.inputs.parts import scalar_text
from chatpipe.inputs.values import Value

EMPTY: tuple[Value, ...] = (None, "", [], {})
# These are names, not text: a server sends them once, or repeats the whole name in every delta. Some
# servers invent a new id for the later deltas of a call, so the first value is kept.
_KEEP_FIRST = frozenset({"id", "name", "role", "format"})
# Text that a model wrote: a number is a piece of it, and nothing to be added up.
_TEXT = frozenset(
    {"content", "refusal", "reasoning_content", "reasoning", "text", "transcript", "arguments", "input"}
)
# JSON text, which some servers send as the value that it stands for.
_JSON_TEXT = frozenset({"arguments", "input"})
_KEEP_LAST = frozenset({"index", "type", "expires_at"})
# Far deeper than any answer, and far below the recursion limit. Deeper values are not merged: the
# last one is kept.
MAX_LEVELS = 64


class StringPieces(list[str]):
    """The pieces of a string that is still growing."""


class GrowingList(list[Value]):
    """A list that is still growing. by_index maps an `index` to the item that carries it."""

    def __init__(self) -> None:
        super().__init__()
        self.by_index: dict[int, dict[str, Value]] = {}


def merge(into: dict[str, Value], key: str, value: Value, levels: int) -> None:
    """Merge one value of a delta, by the rules of the SDK and our exceptions to them."""
    known = into.get(key)
    if value is None:
        return
    if type(known) is StringPieces and type(value) is str:
        if value:
            known.append(value)
    elif key in _TEXT and (known is None or type(known) is StringPieces or type(value) is str):
        _merge_text(into, key, value, levels)
    elif type(known) is StringPieces:
        return
    elif key in _KEEP_FIRST or key in _KEEP_LAST:
        if known in EMPTY or (key in _KEEP_LAST and value != ""):
            into[key] = value
    elif known is None:
        into[key] = _mergeable(value, levels)
    elif type(known) is dict and type(value) is dict and levels:
        for inner, new in value.items():
            merge(known, inner, new, levels - 1)
    elif type(known) is GrowingList and type(value) is list and levels:
        _grow(known, value, levels - 1)
    elif type(known) in (int, float) and type(value) in (int, float):
        with suppress(OverflowError):  # an integer that is too large for a float
            into[key] = known + value
    elif type(known) is type(value):
        into[key] = value


def _merge_text(into: dict[str, Value], key: str, value: Value, levels: int) -> None:
    """Merge a value of a field of text that is no string, or of another type than those before it."""
    known, text = into.get(key), scalar_text(value)
    if known is None or (type(known) is StringPieces and text is None and not any(known)):
        into[key] = _mergeable(value, levels) if text is None else StringPieces((text,))
        return
    if text is None and key in _JSON_TEXT:
        text = _json(value)
    if type(known) is not StringPieces and key in _JSON_TEXT:
        into[key] = known = StringPieces((_json(plain(known, levels)),) if known else ())
    if type(known) is StringPieces and text is not None:
        known.append(text)


def _json(value: Value) -> str:
    with suppress(RecursionError):
        return values.dumps(value).decode("utf-8", "replace")
    return ""


def _grow(items: GrowingList, more: list[Value], levels: int) -> None:
    for item in more:
        index = item.get("index") if type(item) is dict else None
        if type(index) is not int:
            items.append(item)
        elif index not in items.by_index:
            items.by_index[index] = _mergeable(item, levels)
            items.append(items.by_index[index])
        elif levels:
            for key, value in item.items():
                merge(items.by_index[index], key, value, levels - 1)


def _mergeable(value: Value, levels: int) -> Value:
    """A mergeable copy of a delta's value. It shares nothing with the chunk that a merge would change."""
    if type(value) is str:
        return StringPieces((value,))
    if type(value) is dict and levels:
        copy: dict[str, Value] = {}
        for key, inner in value.items():
            merge(copy, key, inner, levels - 1)
        return copy
    if type(value) is list and levels:
        items = GrowingList()
        _grow(items, value, levels - 1)
        return items
    return value


def plain(value: Value, levels: int) -> Value:
    """The plain JSON value of a mergeable copy."""
    if type(value) is StringPieces:
        return "".join(value)
    if type(value) is dict and levels:
        return {key: plain(inner, levels - 1) for key, inner in value.items()}
    if isinstance(value, list) and levels:
        return [plain(inner, levels - 1) for inner in value]
    return value


def overlay(known: dict[str, Value], value: dict[str, Value], levels: int) -> None:
    """Put the keys of value into known, object by object to the last level. On a conflict, value wins.

    known is changed, because a copy for each of many chunks is quadratic. value is not.
    """
    for key, new in value.items():
        if type(new) is dict and levels:
            inner = known.get(key)
            if type(inner) is not dict:
                inner = known[key] = {}
            overlay(inner, new, levels - 1)
        else:
            known[key] = new
