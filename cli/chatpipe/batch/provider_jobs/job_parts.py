"""The items of a run -> the parts of them that have to be sent, as Batch lines in a temporary file.

A line is in no part if it has an answer, or lies in a job that has not been collected.
"""

from __future__ import annotations

from array import array
from collections.abc import AsyncIterator

from chatpipe.batch.items import Item
from chatpipe.batch.journal.store import RunStore
from chatpipe.batch.provider_jobs.item_file import ItemFile
from chatpipe.batch.provider_jobs.job_budget import JobBudget
from chatpipe.batch.provider_jobs.job_records import JobRecords, PlannedLines, key_of
from chatpipe.batch.provider_jobs.line_encoder import LineEncoder
from chatpipe.batch.run_spec import RunSpec
from chatpipe.errors import BadInput, TooLarge
from chatpipe.jobs.input_parts import InputPart, PartSplitter, alone, refuse_too_large
from chatpipe.jobs.job_dialects import JobDialect
from chatpipe.system.line_index import SortedIndex
from chatpipe.system.signals import run_loop
from chatpipe.system.temporary_file import cannot_keep, close_temporary, open_temporary

NO_PART = -1
# Lines that are written, and hashed, together.
_BLOCK_BYTES = 1 << 16


class _PartLines:
    """The lines of a part that are not in the file yet. fingerprints and cost are those of all its lines."""

    def __init__(self) -> None:
        self.unwritten: list[bytes] = []
        self.fingerprints = bytearray()
        self.cost: float | None = None


class JobParts:
    """The parts, and the file with their lines.

    items has all items of this run but those that the budget leaves out. numbers has that of the part that
    each of them is in, NO_PART for one that is in none.
    """

    def __init__(
        self, spec: RunSpec, dialect: JobDialect, store: RunStore, records: JobRecords, budget: JobBudget
    ) -> None:
        """Raises CannotWrite."""
        self._url = dialect.url
        self._store = store
        self._records = records
        self._budget = budget
        self._input_name = spec.input_name
        self._encoder = LineEncoder(spec, dialect)
        self.items = ItemFile()
        self.numbers = array("i")
        self._splitter = PartSplitter(dialect)
        self._too_large: list[TooLarge] = []
        self._at = 0
        self._seen = SortedIndex("B") if spec.input.dedupe else None
        self._lines: list[_PartLines] = []  # by the number of a part
        self._unwritten_bytes = 0
        self.file = open_temporary()

    @property
    def parts(self) -> list[InputPart]:
        return self._splitter.parts

    def close_lines(self) -> None:
        """Give up the lines, which are all submitted."""
        close_temporary(self.file)

    def close(self) -> None:
        """Give up both files. May be called again."""
        close_temporary(self.file)
        self.items.close()

    def lines(self, number: int) -> PlannedLines:
        """The lines of a part."""
        fingerprints = self._lines[number].fingerprints.decode()
        return PlannedLines(fingerprints, self.parts[number].numbers, self.cost(number))

    def cost(self, number: int) -> float | None:
        """The expected cost of a part, None without prices."""
        cost = self._lines[number].cost
        return None if cost is None else round(cost, 6)

    @property
    def currency(self) -> str:
        """The currency of all costs."""
        return self._budget.currency

    def read(self, items: AsyncIterator[Item]) -> None:
        """Add all items. Raises BadInput for lines that are larger than a file may be, and CannotWrite."""
        run_loop(self._read(items))
        refuse_too_large(self._too_large)
        self._write_lines()
        try:
            self.file.flush()
        except OSError as error:
            raise cannot_keep(error) from error

    async def _read(self, items: AsyncIterator[Item]) -> None:
        async for item in items:
            # Identical requests are counted over all shards.
            fingerprint = "" if item.fault is not None else self._store.fingerprint(item)
            if not item.is_ours:
                continue
            number = NO_PART if item.fault is not None else self._put(item, fingerprint)
            if number is not None:
                self.items.add(item, fingerprint)
                self.numbers.append(number)

    def _put(self, item: Item, fingerprint: str) -> int | None:
        """Put an item into a part, if it has to be sent, and return its number.

        Returns None if the budget leaves it out.
        """
        seen = self._seen
        if seen is not None and seen.find(key_of(fingerprint)):
            return NO_PART
        number = NO_PART
        if self._records.job_of(fingerprint) is not None or self._store.has_answer(item, fingerprint):
            self._budget.count_known(item, fingerprint)
        elif self._budget.leaves_out(item):
            return None
        else:
            number = self._add(item, fingerprint)
        if seen is not None:
            seen.add(key_of(fingerprint), 0)
        return number

    def _add(self, item: Item, fingerprint: str) -> int:
        """Add an item to a part. Returns its number."""
        try:
            line, model = self._encoder.encode(item, fingerprint)
            number = self._splitter.number(self._url, model, len(line))
        except BadInput as fault:
            fault.place = f"{self._input_name}:{item.line}"
            if not isinstance(fault, TooLarge):
                raise
            only = alone(item.row_number or item.line)
            fault.fix = f"add --engine local {only} to send it alone, then leave them out to send the rest"
            self._too_large.append(fault)
            return NO_PART
        if number == len(self._lines):
            self._lines.append(_PartLines())
        self._splitter.parts[number].add(len(line), item.line)
        lines = self._lines[number]
        lines.unwritten.append(line)
        lines.fingerprints += fingerprint.encode()
        if (cost := self._budget.expected_cost(item)) is not None:
            lines.cost = (lines.cost or 0.0) + cost
        self._unwritten_bytes += len(line)
        if self._unwritten_bytes >= _BLOCK_BYTES:
            self._write_lines()
        return number

    def _write_lines(self) -> None:
        for part, lines in zip(self.parts, self._lines, strict=True):
            if data := b"".join(lines.unwritten):
                try:
                    self.file.write(data)
                except OSError as error:
                    raise cannot_keep(error) from error
                part.add_bytes(data, self._at)
                self._at += len(data)
                lines.unwritten.clear()
        self._unwritten_bytes = 0
