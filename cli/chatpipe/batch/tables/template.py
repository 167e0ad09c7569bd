"""`{{field}}` in a text -> the text of a row. A text is parsed once and filled many times.

    {{name}}         the field with this name
    {{a.b}}          b inside a, unless a field is called `a.b`; {{items.0}} is the first array item
    {{"my.field"}}   a name as a JSON string, which is never split at its dots; also {{a."b.c"}}
    {{{{             two braces. A single brace is literal, and so are closing braces that close nothing

Inserted text is never parsed again, so the values of a row cannot name further fields.
"""

from __future__ import annotations

import json
import re
from collections.abc import Collection, Mapping

from chatpipe.errors import BadInput
from chatpipe.inputs import values
from chatpipe.inputs.values import Value
from chatpipe.named_tuple import NamedTuple

# The first of three braces is literal: `{{{a}}}` is the value in braces.
_OPENING = re.compile(r"\{\{\{\{|\{(?=\{\{)|\{\{")
_STRING = r'"(?:[^"\\]|\\.)*"'
_INSIDE = re.compile(rf'((?:{_STRING}|[^"{{}}]|\}}(?!\}}))*)\}}\}}', re.DOTALL)
_PAST_END = 10**9  # past any array: so many items need more bytes than a row may have
_STEP = re.compile(rf"({_STRING})|[^.\"]+")


class MissingField(Exception):
    """A row has no value for a placeholder. name is the placeholder as it was written."""

    def __init__(self, name: str) -> None:
        self.name = name
        super().__init__(name)


class Placeholder(NamedTuple):
    """A reference to a field.

    name is the text as written, and path has its steps. whole means that name, dots included, may also
    be the name of one field.
    """

    name: str
    path: tuple[str, ...]
    is_plain_name: bool

    def value(self, fields: Mapping[str, Value]) -> Value:
        """The value in a row. Raises MissingField."""
        if self.is_plain_name and self.name in fields:
            return fields[self.name]
        value: Value = fields
        for step in self.path:
            if isinstance(value, Mapping) and step in value:
                value = value[step]
            elif isinstance(value, list) and (index := _index(step)) < len(value):
                value = value[index]
            else:
                raise MissingField(self.name)
        return value

    def column(self, columns: Collection[str]) -> str | None:
        """The name of the column with this value, where all values are texts; None if there is none."""
        if self.is_plain_name and self.name in columns:
            return self.name
        return self.path[0] if len(self.path) == 1 and self.path[0] in columns else None


def _index(step: str) -> int:
    """The array index of a step, or _PAST_END if it is none.

    Ten digits are past any array, too; int() would reject more than 4,300.
    """
    return int(step) if step.isdecimal() and len(step) < 10 else _PAST_END


class TextTemplate:
    """A parsed text with its placeholders."""

    def __init__(self, pieces: tuple[str | Placeholder, ...]) -> None:
        self._pieces = pieces
        self.placeholders = tuple(piece for piece in pieces if isinstance(piece, Placeholder))

    def fill(self, fields: Mapping[str, Value]) -> str:
        """Insert the values of a row: a string as it is, null as nothing, others as JSON.

        Raises MissingField.
        """
        return "".join(
            [piece if isinstance(piece, str) else as_text(piece.value(fields)) for piece in self._pieces]
        )


def as_text(value: Value) -> str:
    """The text of a value for a prompt or a table cell: see TextTemplate.fill()."""
    if isinstance(value, str):
        return value
    return "" if value is None else values.dumps(value).decode()


def parse_template(text: str, place: str) -> TextTemplate:
    """Parse a text. Raises BadInput for unclosed braces and for invalid names."""
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
        pieces.append(parse_placeholder(inside[1].strip(), place))
        at = inside.end()
    pieces.append(text[at:])
    return TextTemplate(tuple(piece for piece in pieces if piece != ""))


def parse_placeholder(name: str, place: str) -> Placeholder:
    """Parse the text between the braces. Raises BadInput."""
    path = _quoted_path(name) if '"' in name else tuple(name.split("."))
    if not name or path is None:
        fix = 'write {{name}}, {{a.b}} or {{"a name"}}'
        raise BadInput(f"'{{{{{name}}}}}' names no field", place=place, fix=fix)
    return Placeholder(name, path, is_plain_name='"' not in name)


def quote_name(name: str, *, is_ascii: bool) -> str:
    """The text between the braces that refers to the field of this name. is_ascii: all else is escaped."""
    is_plain = name == name.strip() and name and not any(character in name for character in '"{}')
    return name if is_plain and not is_ascii else json.dumps(name, ensure_ascii=is_ascii)


def _quoted_path(name: str) -> tuple[str, ...] | None:
    """The steps of a name with quotes; None if it is malformed."""
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
