"""The files that hold the records of a run: those of --reuse, OUT and the journal. Their lines stay there.

A location is the place of a line in one of them, in 8 bytes: see line_index.py.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence

from chatpipe.batch.journal.journal import Journal
from chatpipe.errors import MissingInput, reason
from chatpipe.inputs.text_decoder import BOM
from chatpipe.system.line_index import LineFiles, unpack_location
from chatpipe.system.regular_file import open_own, open_regular

_BLOCK_LINES = 64  # of OUT, which are read together


class RecordedFiles:
    """The open files of a run. out and journal are the numbers of these two, None without one.

    Each method that opens a file returns its number, and False if the same file was opened before.
    """

    def __init__(self) -> None:
        self.lines = LineFiles()
        self.out: int | None = None
        self.journal: int | None = None
        # By file, the offset of the last header, and of the last one that follows unused answers.
        self._last_header: dict[int, int] = {}
        self._header_after_unused: dict[int, int] = {}

    def open_reused(self, path: str) -> tuple[int, bool]:
        """Open a file of --reuse. Raises MissingInput."""
        try:
            fd = open_regular(path)
        except (OSError, ValueError) as error:
            raise MissingInput(f"cannot read '{path}': {reason(error)}", place="--reuse") from error
        if fd is None:
            raise MissingInput(f"cannot read '{path}': not a regular file", place="--reuse")
        return self.lines.add(fd, path)

    def open_own(self, path: str) -> tuple[int, bool] | None:
        """Open OUT, or a journal that no run writes. None if it does not exist or is not a regular file."""
        try:
            fd = open_own(path)
        except FileNotFoundError:
            return None
        except (OSError, ValueError) as error:
            raise MissingInput(f"cannot read '{path}': {reason(error)}") from error
        return None if fd is None else self.lines.add(fd, path)

    def open_journal(self, journal: Journal) -> tuple[int, bool]:
        """Open the journal that this run writes. Raises MissingInput."""
        try:
            fd = os.dup(journal.fileno())
        except OSError as error:
            raise MissingInput(f"cannot read '{journal.path}': {reason(error)}") from error
        return self.lines.add(fd, journal.path)

    def add_header(self, file: int, offset: int, line: bytes) -> None:
        """Note a header, which a journal has where a run begins or has ended."""
        self._last_header[file] = offset
        if b'"unused":true' in line:
            self._header_after_unused[file] = offset

    def last_header(self, file: int) -> int:
        """The offset of the last header of a file, 0 without one."""
        return self._last_header.get(file, 0)

    def is_in_journal(self, location: int) -> bool:
        """Return True if a line is in the journal of this run, which stays where it is."""
        return self.journal is not None and unpack_location(location)[0] == self.journal

    def is_in_out(self, location: int) -> bool:
        """Return True if a line is in OUT, which stays until it is replaced."""
        return self.out is not None and unpack_location(location)[0] == self.out

    def was_unused(self, location: int) -> bool:
        """Return True for a line of the journal that a run before this one left there unused."""
        file, offset = unpack_location(location)
        return file == self.journal and offset < self._header_after_unused.get(file, 0)

    def blocks(self, locations: Sequence[int]) -> Iterator[bytes]:
        """The unchanged lines at locations, in that order, so the order of OUT needs 8 bytes per line.

        Each has a newline. Those that follow one another in a file, as most do, come together.
        Raises MissingInput, also for a file that somebody shortened during the run.
        """
        for start in range(0, len(locations), _BLOCK_LINES):
            block = locations[start : start + _BLOCK_LINES]
            lines = self.lines.neighbours(block)
            if lines is not None and _has_usual_ends(lines):
                yield lines
            else:
                yield from (self.line(location) + b"\n" for location in block)

    def line(self, location: int) -> bytes:
        """The unchanged line at a location, without its newline. Raises like blocks()."""
        line = self.any_line(location)
        if not (line.lstrip().startswith(b"{") and line.rstrip().endswith(b"}")):
            name = self.lines.name(unpack_location(location)[0])
            raise MissingInput(f"cannot read '{name}': it was changed during the run")
        return line

    def any_line(self, location: int) -> bytes:
        """The line at a location, which may have changed. Raises MissingInput."""
        file, offset = unpack_location(location)
        line = self.lines.line(file, offset).removesuffix(b"\r")
        return line if offset else line.removeprefix(BOM)

    def close(self) -> None:
        self.lines.close()


def _has_usual_ends(lines: bytes) -> bool:
    """Return True for most lines of objects: not cut, without a byte order mark and carriage returns.

    Only the ends of the block are looked at; the lines inside it were read when they were indexed.
    """
    return lines.startswith(b"{") and lines.endswith(b"}\n") and b"\r" not in lines
