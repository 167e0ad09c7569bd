"""Lines of files, found by their first bytes: those that are asked for in their order are read together."""

from __future__ import annotations

from collections.abc import Callable

# Most result lines fit into this. A longer one is read again with a larger size.
_ONE_LINE_BYTES = 4096
_MANY_LINES_BYTES = 64 << 10
_GROWTH = 8


class LineWindow:
    """The last bytes that were read. read takes the number of a file, a size and an offset.

    Files may grow, but the bytes that they have stay.
    """

    def __init__(self, read: Callable[[int, int, int], bytes]) -> None:
        self._read = read
        self._file = -1
        self._start = 0
        self._data = b""

    def line(self, file: int, offset: int) -> bytes:
        """The line at offset, without its newline; empty at the end of the file. Raises like read."""
        at = offset - self._start
        is_next = file == self._file and 0 <= at <= len(self._data)
        if is_next and (end := self._data.find(b"\n", at)) >= 0:
            return self._data[at:end]
        size = _MANY_LINES_BYTES if is_next else _ONE_LINE_BYTES
        while (end := (data := self._read(file, size, offset)).find(b"\n")) < 0 and len(data) == size:
            size *= _GROWTH
        self._file, self._start, self._data = file, offset, data
        return data if end < 0 else data[:end]
