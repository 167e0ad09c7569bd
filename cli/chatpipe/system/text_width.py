"""The width of a text on a terminal, in columns."""

from __future__ import annotations

import unicodedata


def columns_of(text: str) -> int:
    """The columns of a line of text."""
    return len(text) if text.isascii() else sum(map(_columns, text))


def cut(text: str, columns: int) -> str:
    """The start of a text that fits into so many columns."""
    if text.isascii():
        return text[:columns]
    used = 0
    for at, character in enumerate(text):
        used += _columns(character)
        if used > columns:
            return text[:at]
    return text


def _columns(character: str) -> int:
    """The columns of a character: 0 to 2.

    Source: UAX #11 for wide characters; marks and format characters take none, as in wcwidth().
    """
    if character.isascii():
        return 1
    if unicodedata.category(character) in ("Mn", "Me", "Cf"):
        return 0
    return 2 if unicodedata.east_asian_width(character) in ("W", "F") else 1
