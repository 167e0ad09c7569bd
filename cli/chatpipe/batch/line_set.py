"""A set of line numbers, in a bit for each line up to the largest."""

from __future__ import annotations

_STEP = 4096  # bytes


class LineSet:
    """The set. Numbers count from 0 or 1."""

    def __init__(self) -> None:
        self._bits = bytearray()

    def add(self, line: int) -> None:
        at = line >> 3
        if at >= len(self._bits):
            self._bits.extend(bytes(at + _STEP - len(self._bits)))
        self._bits[at] |= 1 << (line & 7)

    def __contains__(self, line: int) -> bool:
        at = line >> 3
        return at < len(self._bits) and bool(self._bits[at] & 1 << (line & 7))
