"""The result files of jobs: spools whose lines are found by 8 bytes."""

from __future__ import annotations

from collections.abc import Iterator

from chatpipe.jobs.merged_results import lines_of
from chatpipe.system.line_window import LineWindow
from chatpipe.system.spool import Spool

_OFFSET_BITS = 47
_OFFSET = (1 << _OFFSET_BITS) - 1


class ResultFiles:
    """The files. A location is the number of a file and a byte of it, in 62 bits."""

    def __init__(self) -> None:
        self._spools: list[Spool] = []
        self._window = LineWindow(lambda file, size, offset: self._spools[file].read(offset, size))

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
        return self._window.line(location >> _OFFSET_BITS, location & _OFFSET)

    def close(self) -> None:
        for spool in self._spools:
            spool.close()
