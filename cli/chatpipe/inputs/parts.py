"""Content in any form -> its text. Content in parts -> also its reasoning, and the parts that are neither.

Text is a string, or a number or boolean, which stands for its JSON form. Servers that send parts
(Mistral and Databricks for reasoning models, gateways for others) agree on neither the names nor the
nesting. A part is text, or an object whose `type` says what it is, or an object with nothing but a known
field. Some send the only part without a list.

Source: Mistral's and Databricks' references and the types of the mistralai SDK 3.7.0.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from chatpipe.inputs import values
from chatpipe.inputs.values import Value
from chatpipe.named_tuple import NamedTuple

_REASONING_TYPES = frozenset(
    {"thinking", "reasoning", "thought", "reasoning_text", "reasoning_content", "summary_text"}
)
# Fields of a reasoning part that hold its text. The first that is there counts: `summary` is a shorter
# form of the others. A part of any type that has one of _REASONING_FIELDS is a reasoning part.
_REASONING_FIELDS = ("thinking", "reasoning", "reasoning_content", "reasoning_text")
_REASONING_TEXTS = (*_REASONING_FIELDS, "text", "content", "summary", "value")
_TEXT_TYPES = frozenset({"text", "output_text"})
_TEXTS = ("text", "output_text", "content", "value")
# Far deeper than any answer, and far below the recursion limit.
_MAX_LEVELS = 16


class ContentParts(NamedTuple):
    """The parts of a content by what they are. others holds the objects that are neither."""

    text: str
    reasoning: str
    others: list[Value]


def parts_of(content: Value) -> list[Value] | None:
    """The parts of a content: those of a list, or the only one, which needs no list. None if it has none.

    An object is a part if nobody can take it for another answer, such as the parsed JSON of one: its type
    is known, or the name of one of its fields, or all that it has is a text. Gemini's own API puts `parts`
    into an object.
    """
    if isinstance(content, list):
        return content
    if not isinstance(content, dict):
        return None
    kind = content.get("type")
    if isinstance(kind, str):
        is_part = kind.lower() in _TEXT_TYPES or kind.lower() in _REASONING_TYPES or kind in content
        return [content] if is_part else None
    if isinstance(parts := content.get("parts"), list) and content.keys() <= {"parts", "role"}:
        return parts
    return [content] if content.keys() == {"text"} and isinstance(content["text"], str) else None


def text_of(content: Value) -> str | None:
    """The text of a content: a string, number, boolean, part or list of parts. None for anything else."""
    if isinstance(content, str):
        return content
    parts = parts_of(content)
    return scalar_text(content) if parts is None else split_parts(parts).text


def scalar_text(value: Value) -> str | None:
    """The text of a string, number or boolean; None for anything else."""
    if isinstance(value, str):
        return value
    if not isinstance(value, int | float):
        return None
    text = values.dumps(value).decode()
    return str(value) if text == "null" else text  # a number that is too large for a float


def json_text(value: Value) -> str:
    """The text of a value that must not vanish: JSON if it is no text. Empty values and false have none."""
    try:
        return (text_of(value) or values.dumps(value).decode("utf-8", "replace")) if value else ""
    except RecursionError:
        return "(nested too deeply to show)"


def may_be_text(content: Value) -> bool:
    """Return True unless a content is an object that is no part, or a list of things that are none."""
    parts = parts_of(content)
    if parts is None:
        return not isinstance(content, dict)
    return not parts or any(isinstance(part, dict | str) for part in _flat(parts, _MAX_LEVELS))


def split_parts(parts: list[Value]) -> ContentParts:
    """Sort parts by what they are, each kind in its order. Inner lists hold parts too. Never raises."""
    texts: list[str] = []
    thoughts: list[str] = []
    others: list[Value] = []
    for part in _flat(parts, _MAX_LEVELS):
        is_reasoning = _is_reasoning(part)
        text = _reasoning_text(part) if is_reasoning else _content_text(part)
        if text is not None:
            (thoughts if is_reasoning else texts).append(text)
        elif part is not None:
            others.append(part)
    return ContentParts("".join(texts), "".join(thoughts), others)


def _flat(parts: list[Value], levels: int) -> Iterator[Value]:
    for part in parts:
        if isinstance(part, list) and levels:
            yield from _flat(part, levels - 1)
        else:
            yield part


def without_reasoning(parts: list[Value]) -> list[Value]:
    """The parts that are not reasoning, as they are."""
    return [part for part in parts if not _is_reasoning(part)]


def _is_reasoning(part: Value) -> bool:
    if not isinstance(part, dict):
        return False
    kind = part.get("type")
    if isinstance(kind, str) and kind.lower() in _REASONING_TYPES:
        return True
    # Gemini marks a part as a thought and leaves its type as it is.
    return part.get("thought") is True or any(part.get(field) for field in _REASONING_FIELDS)


def _reasoning_text(part: dict[str, Value]) -> str | None:
    return _first_text(part, _REASONING_TEXTS, _MAX_LEVELS)


def _content_text(part: Value) -> str | None:
    """The text of a part that is no reasoning; None if it is another kind of part.

    A part of an unknown type counts as text only by its field `text`.
    """
    if not isinstance(part, dict):
        return part if isinstance(part, str) else None  # the API knows no part that is a number
    kind = part.get("type")
    is_text = kind is None or (isinstance(kind, str) and kind.lower() in _TEXT_TYPES)
    return _first_text(part, _TEXTS if is_text else _TEXTS[:1], _MAX_LEVELS)


def _first_text(part: Mapping[str, Value], fields: tuple[str, ...], levels: int) -> str | None:
    """The first text of these fields that is not empty, however it is nested; None if there is no text."""
    first: str | None = None
    for field in fields:
        text = _nested_text(part.get(field), fields, levels)
        if text:
            return text
        first = text if first is None else first
    return first


def _nested_text(value: Value, fields: tuple[str, ...], levels: int) -> str | None:
    if isinstance(value, dict) and levels:
        return _first_text(value, fields, levels - 1)
    if isinstance(value, list) and levels:
        texts = [_nested_text(each, fields, levels - 1) for each in value]
        found = [text for text in texts if text is not None]
        return "".join(found) if found else None
    return scalar_text(value)
