"""The result files of jobs: spools whose lines are found by 8 bytes."""

from __future__ import annotations

from collections.abc import Iterator

from chatpipe.jobs.merged_results import lines_of
from chatpipe.system.spool import Spool

_OFFSET_BITS = 47
_OFFSET = (1 << _OFFSET_BITS) - 1
_WINDOW_BYTES = 32 << 10


class ResultFiles:
    """The files. A location is the number of a file and a byte of it, in 62 bits."""

    def __init__(self) -> None:
        self._spools: list[Spool] = []
        # The last bytes that were read: results are often in the order of the input.
        self._window = b""
        self._window_at = 0  # the location of its first byte

    def add(self, spool: Spool) -> Iterator[tuple[int, bytes]]:
        """Take over a file. Yields its lines with their locations."""
        first = len(self._spools) << _OFFSET_BITS
        self._spools.append(spool)
        for start, line in lines_of(spool):
            yield first | start, line

    def number(self, location: int) -> int:
        """The number of a file, from 0, in the order in which they were added."""
        return location >> _OFFSET_BITS

    def line(self, location: int) -> bytes:
        """The line at a location, without its newline."""
        at = location - self._window_at
        if 0 <= at < len(self._window) and (end := self._window.find(b"\n", at)) >= 0:
            return self._window[at:end]
        spool, start = self._spools[self.number(location)], location & _OFFSET
        size = _WINDOW_BYTES
        while (end := (data := spool.read(start, size)).find(b"\n")) < 0 and len(data) == size:
            size *= 4
        self._window, self._window_at = data, location
        return data if end < 0 else data[:end]

    def close(self) -> None:
        for spool in self._spools:
            spool.close()
