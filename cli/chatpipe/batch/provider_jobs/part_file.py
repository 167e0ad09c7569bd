"""The lines of the parts of a run, in a temporary file from which the parts are uploaded."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

import orjson

from chatpipe.batch.provider_jobs.part_lines import PlannedLines
from chatpipe.inputs import values
from chatpipe.inputs.values import Value
from chatpipe.jobs.input_parts import InputPart
from chatpipe.limits.tokens import LARGE_ATTACHMENT, guess_answer_tokens, prompt_bytes, usage_at_first
from chatpipe.response.usage import Usage, counts_object
from chatpipe.system.temporary_file import cannot_keep, close_temporary, open_temporary

# Lines that are written, and hashed, together.
_BLOCK_BYTES = 1 << 16


class RunPart(InputPart):
    """A part whose lines are written in blocks.

    cost is the expected one of all lines, None without prices.
    """

    def __init__(self, url: str, model: str | None) -> None:
        super().__init__(url, model)
        self._unwritten: list[bytes] = []
        self._unwritten_ids: list[Value] = []
        self._ids = bytearray()  # the members of a JSON array
        self._has_ids = False
        self._bodies_bytes = 0
        self._answer_tokens = 0
        self.cost: float | None = None

    def expect(
        self, bodies: Sequence[Mapping[str, Value]], sizes: Sequence[int], envelope_bytes: int
    ) -> None:
        """Add requests to the expected usage. sizes are those of their lines, each with an envelope."""
        size = sum(map(prompt_bytes, bodies, sizes)) if max(sizes) >= LARGE_ATTACHMENT else sum(sizes)
        self._bodies_bytes += size - len(sizes) * envelope_bytes
        self._answer_tokens += guess_answer_tokens(bodies)

    @property
    def expected_usage(self) -> Usage:
        """The usage that all lines may come to."""
        return usage_at_first(self._bodies_bytes, self._answer_tokens)

    def planned_lines(self) -> PlannedLines:
        """The lines, once all are written."""
        ids = orjson.Fragment(b"[%b]" % bytes(self._ids)) if self._has_ids else None
        usage = counts_object(self.expected_usage)
        return PlannedLines(self.fingerprints.decode(), self.numbers, ids, self.model, usage, self.cost)

    def add_unwritten(self, lines: Iterable[bytes], custom_ids: Iterable[str | None]) -> None:
        """Add lines that will be written later, with their own custom_ids."""
        self._unwritten += lines
        self._unwritten_ids += custom_ids

    def take_unwritten(self) -> bytes:
        """The lines that are not written yet, which the caller does now."""
        lines, ids = self._unwritten, self._unwritten_ids
        if ids:
            self._has_ids = self._has_ids or any(ids)
            self._ids += b"," if self._ids else b""
            self._ids += values.dumps(ids)[1:-1]
        self._unwritten, self._unwritten_ids = [], []
        return b"".join(lines)


class PartFile:
    """The file with the lines of parts, which may still grow. All are written before the first is read."""

    def __init__(self, parts: Sequence[RunPart]) -> None:
        """Raises CannotWrite."""
        self._parts = parts
        self._at = 0
        self._unwritten_bytes = 0
        self.file = open_temporary()

    def add(self, part: RunPart, lines: Sequence[bytes], custom_ids: Iterable[str | None]) -> None:
        """Add lines to the file, which are in the part already. Raises CannotWrite.

        custom_ids are the lines' own ones.
        """
        part.add_unwritten(lines, custom_ids)
        self._unwritten_bytes += sum(map(len, lines))
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
            if data := part.take_unwritten():
                try:
                    self.file.write(data)
                except OSError as error:
                    raise cannot_keep(error) from error
                part.add_bytes(data, self._at)
                self._at += len(data)
        self._unwritten_bytes = 0
