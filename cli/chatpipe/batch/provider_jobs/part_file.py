"""The lines of the parts of a run, in a temporary file from which the parts are uploaded."""

from __future__ import annotations

from collections.abc import Sequence

from chatpipe.batch.provider_jobs.job_journal import PlannedLines
from chatpipe.jobs.input_parts import InputPart
from chatpipe.system.temporary_file import cannot_keep, close_temporary, open_temporary

# Lines that are written, and hashed, together.
_BLOCK_BYTES = 1 << 16


class RunPart(InputPart):
    """A part whose lines are written in blocks. unwritten are those that are not in the file yet."""

    def __init__(self, url: str, model: str | None) -> None:
        super().__init__(url, model)
        self.unwritten: list[bytes] = []
        self._cost: float | None = None

    def add_cost(self, cost: float | None) -> None:
        """Add the expected cost of a line."""
        if cost is not None:
            self._cost = (self._cost or 0.0) + cost

    @property
    def cost(self) -> float | None:
        """The expected cost of all lines, None without prices."""
        return None if self._cost is None else round(self._cost, 6)

    def planned_lines(self) -> PlannedLines:
        return PlannedLines(self.fingerprints.decode(), self.numbers, self.cost)


class PartFile:
    """The file with the lines of parts, which may still grow. All are written before the first is read."""

    def __init__(self, parts: Sequence[RunPart]) -> None:
        """Raises CannotWrite."""
        self._parts = parts
        self._at = 0
        self._unwritten_bytes = 0
        self.file = open_temporary()

    def add(self, part: RunPart, line: bytes) -> None:
        """Add a line to the file, which is in the part already. Raises CannotWrite."""
        part.unwritten.append(line)
        self._unwritten_bytes += len(line)
        if self._unwritten_bytes >= _BLOCK_BYTES:
            self._write()

    def finish(self) -> None:
        """Have all lines in the file. Raises CannotWrite."""
        self._write()
        try:
            self.file.flush()
        except OSError as error:
            raise cannot_keep(error) from error

    def close(self) -> None:
        """Give up the file. May be called again."""
        close_temporary(self.file)

    def _write(self) -> None:
        for part in self._parts:
            if data := b"".join(part.unwritten):
                try:
                    self.file.write(data)
                except OSError as error:
                    raise cannot_keep(error) from error
                part.add_bytes(data, self._at)
                self._at += len(data)
                part.unwritten.clear()
        self._unwritten_bytes = 0
