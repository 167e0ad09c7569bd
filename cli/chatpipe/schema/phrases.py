"""Words for problems: quoted values, and the names of types."""

from __future__ import annotations

_MAX_LENGTH = 60
# JSON types with their articles. `any` is a type of draft 3 only.
ARTICLES = {
    "null": "null",
    "boolean": "a boolean",
    "integer": "an integer",
    "number": "a number",
    "string": "a string",
    "array": "an array",
    "object": "an object",
    "any": "any value",
}


def quote(text: str) -> str:
    """Quote text on one line, cut at 60 characters."""
    return repr(text if len(text) <= _MAX_LENGTH else text[: _MAX_LENGTH - 3] + "...")
