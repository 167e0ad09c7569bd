"""`{{field}}` in a text -> the text of a row. Parsed once, filled many times.

    {{name}}         the field so called
    {{a.b}}          b inside a, where no field is called `a.b`; {{items.0}} the first of an array
    {{"my.field"}}   a name as a JSON string, which is never cut at its dots; also {{a."b.c"}}
    {{{{             two braces. One brace is itself, and so are two that close nothing

What is put in is never read again: a row cannot name the fields of another.
"""

import json
import re
from collections.abc import Mapping
from typing import NamedTuple

from chatpipe.errors import BadInput
from chatpipe.inputs import values
from chatpipe.inputs.values import Value

# Of three braces the first is itself: `{{{a}}}` is the value in braces.
_OPENING = re.compile(r"\{\{\{\{|\{(?=\{\{)|\{\{")
_STRING = r'"(?:[^"\\]|\\.)*"'
_INSIDE = re.compile(rf'((?:{_STRING}|[^"{{}}]|\}}(?!\}}))*)\}}\}}', re.DOTALL)
_BEHIND_ALL = 10**9  # the index of no item: an array of so many takes more bytes than a row may have
_STEP = re.compile(rf"({_STRING})|[^.\"]+")


class Missing(Exception):
    """A row has no such field. name is the placeholder as it was written."""

    def __init__(self, name: str) -> None:
        self.name = name
        super().__init__(name)


class Placeholder(NamedTuple):
    """name as written, path its steps; whole: it may be one field's name with its dots."""

    name: str
    path: tuple[str, ...]
    whole: bool

    def value(self, fields: Mapping[str, Value]) -> Value:
        """What a row has there. Raises Missing."""
        if self.whole and self.name in fields:
            return fields[self.name]
        value: Value = fields
        for step in self.path:
            if isinstance(value, Mapping) and step in value:
                value = value[step]
            elif isinstance(value, list) and (index := _index(step)) < len(value):
                value = value[index]
            else:
                raise Missing(self.name)
        return value

    def is_in(self, columns: frozenset[str]) -> bool:
        """Whether rows with these fields, all of them text, have it."""
        return (self.whole and self.name in columns) or (len(self.path) == 1 and self.path[0] in columns)


def _index(step: str) -> int:
    """The place in an array, or one behind the end of any: int() takes no more than some thousand digits."""
    return int(step) if step.isdecimal() and len(step) < 10 else _BEHIND_ALL


class Text:
    """A text with its placeholders."""

    def __init__(self, pieces: tuple[str | Placeholder, ...]) -> None:
        self._pieces = pieces
        self.placeholders = tuple(piece for piece in pieces if isinstance(piece, Placeholder))

    def fill(self, fields: Mapping[str, Value]) -> str:
        """Strings as they are, null as nothing, all else as JSON. Raises Missing."""
        return "".join(
            [piece if isinstance(piece, str) else as_text(piece.value(fields)) for piece in self._pieces]
        )


def as_text(value: Value) -> str:
    """A value as a text or a cell has it."""
    if isinstance(value, str):
        return value
    return "" if value is None else values.dumps(value).decode()


def parse(text: str, place: str) -> Text:
    """Raises BadInput for braces that are opened and not closed, and for what no name is."""
    pieces: list[str | Placeholder] = []
    at = 0
    while (opening := _OPENING.search(text, at)) is not None:
        pieces.append(text[at : opening.start()])
        at = opening.end()
        if opening[0] != "{{":
            pieces.append(opening[0][: (len(opening[0]) + 1) // 2])
            continue
        inside = _INSIDE.match(text, at)
        if inside is None:
            what = f"'{{{{{text[at : at + 20]}' is never closed"
            raise BadInput(what, place=place, fix="close it with }}, or write {{{{ for two braces")
        pieces.append(named(inside[1].strip(), place))
        at = inside.end()
    pieces.append(text[at:])
    return Text(tuple(piece for piece in pieces if piece != ""))


def named(name: str, place: str) -> Placeholder:
    """What stands between the braces. Raises BadInput."""
    path = _quoted_path(name) if '"' in name else tuple(name.split("."))
    if not name or path is None:
        fix = 'write {{name}}, {{a.b}} or {{"a name"}}'
        raise BadInput(f"'{{{{{name}}}}}' names no field", place=place, fix=fix)
    return Placeholder(name, path, whole='"' not in name)


def written(name: str) -> str:
    """What stands between the braces for the field of this name."""
    is_plain = name == name.strip() and name and not any(character in name for character in '"{}')
    return name if is_plain else json.dumps(name, ensure_ascii=False)


def _quoted_path(name: str) -> tuple[str, ...] | None:
    """The steps of a name that has quotes, None where they make no sense."""
    path: list[str] = []
    at = 0
    while (step := _STEP.match(name, at)) is not None:
        try:
            path.append(json.loads(step[1]) if step[1] else step[0])
        except ValueError:
            return None
        at = step.end() + 1
        if at > len(name):
            return tuple(path)
        if name[at - 1] != ".":
            return None
    return None
