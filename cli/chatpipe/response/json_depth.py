"""Pieces or lines of a JSON text -> the point where its outermost object or array is closed."""

from __future__ import annotations

import re
from functools import cache


@cache
def _signs() -> re.Pattern[str]:
    """The characters that give JSON its structure. Few answers need them, so they are compiled on demand.

    An escape is one sign, so that an escaped quote ends no string. It may be cut at the end of a piece.
    """
    return re.compile(r'\\.|[{}\[\]"]|\\$', re.DOTALL)


class JsonDepth:
    """The nesting depth of a text that arrives in pieces. Each piece is read once.

    is_closed is True once a bracket has closed the outermost one; what follows is not read.
    """

    __slots__ = ("_depth", "_in_escape", "_in_string", "is_closed")

    def __init__(self) -> None:
        self.is_closed = False
        self._depth = 0
        self._in_string = self._in_escape = False

    def feed(self, text: str) -> bool:
        """Read a piece. Returns is_closed."""
        start = 1 if self._in_escape and text else 0
        self._in_escape = self._in_escape and not text
        for found in _signs().finditer(text, start):
            sign = found[0]
            if sign[0] == "\\":
                self._in_escape = len(sign) == 1
            elif sign == '"':
                self._in_string = not self._in_string
            elif not self._in_string:
                self._depth += 1 if sign in "{[" else -1
                self.is_closed = self.is_closed or self._depth <= 0
        return self.is_closed


class DocumentLines:
    """The lines of one JSON text that may take several. size is what they take so far, in bytes."""

    __slots__ = ("_depth", "_lines", "size")

    def __init__(self) -> None:
        self.size = 0
        self._lines: list[bytes] = []
        self._depth = JsonDepth()

    def add(self, line: bytes) -> bool:
        """Add a line without its end. Returns True if it closes the text."""
        self.size += len(line) + 1
        self._lines.append(line)
        return self._depth.feed(line.decode("latin-1") + "\n")

    @property
    def text(self) -> bytes:
        return b"\n".join(self._lines)
