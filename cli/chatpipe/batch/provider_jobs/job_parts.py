"""The items of a run -> the parts of them that have to be sent, as Batch lines in a temporary file.

A line is in no part if it has an answer, or lies in a job that has not been collected.
"""

from __future__ import annotations

from collections.abc import AsyncIterator

from chatpipe.batch.items import Item
from chatpipe.batch.journal.store import RunStore
from chatpipe.batch.provider_jobs.item_file import ItemFile
from chatpipe.batch.provider_jobs.job_budget import JobBudget
from chatpipe.batch.provider_jobs.job_records import JobRecords, PlannedLines, key_of
from chatpipe.batch.provider_jobs.line_encoder import LineEncoder
from chatpipe.batch.run_spec import RunSpec
from chatpipe.errors import TooLarge
from chatpipe.jobs.input_parts import InputPart, PartSplitter, alone
from chatpipe.jobs.job_dialects import JobDialect
from chatpipe.system.line_index import SortedIndex
from chatpipe.system.signals import run_loop
from chatpipe.system.temporary_file import cannot_keep, close_temporary, open_temporary


class JobParts:
    """The parts, and the file with their lines.

    items has all items of this run but those that the budget leaves out.
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
        self._splitter = PartSplitter(dialect)
        self._at = 0
        self._seen = SortedIndex("B") if spec.input.dedupe else None
        self._fingerprints: list[bytearray] = []
        self._costs: list[float | None] = []
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
        return PlannedLines(
            self._fingerprints[number].decode(), self.parts[number].numbers, self.cost(number)
        )

    def cost(self, number: int) -> float | None:
        """The expected cost of a part, None without prices."""
        cost = self._costs[number]
        return None if cost is None else round(cost, 6)

    def read(self, items: AsyncIterator[Item]) -> None:
        """Add all items. Raises BadInput for a line that is larger than a file may be, and CannotWrite."""
        run_loop(self._read(items))
        try:
            self.file.flush()
        except OSError as error:
            raise cannot_keep(error) from error

    async def _read(self, items: AsyncIterator[Item]) -> None:
        async for item in items:
            # Identical requests are counted over all shards.
            fingerprint = "" if item.fault is not None else self._store.fingerprint(item)
            if item.is_ours and (item.fault is not None or self._has_place(item, fingerprint)):
                self.items.add(item, fingerprint)

    def _has_place(self, item: Item, fingerprint: str) -> bool:
        """Put an item into a part if it has to be sent. Returns False if the budget leaves it out."""
        seen = self._seen
        if seen is not None and seen.find(key_of(fingerprint)):
            return True
        if self._records.job_of(fingerprint) is not None or self._store.has_answer(item, fingerprint):
            self._budget.count_known(item, fingerprint)
        else:
            if self._budget.leaves_out(item):
                return False
            self._add(item, fingerprint)
        if seen is not None:
            seen.add(key_of(fingerprint), 0)
        return True

    def _add(self, item: Item, fingerprint: str) -> None:
        place = f"{self._input_name}:{item.line}"
        line, model = self._encoder.encode(item, fingerprint, place)
        try:
            number = self._splitter.number(self._url, model, len(line), place)
        except TooLarge as fault:
            only = alone(item.line if item.row_number is None else item.row_number)
            fault.fix = f"add --engine local {only} to send it alone, then leave them out to send the rest"
            raise
        if number == len(self._costs):
            self._fingerprints.append(bytearray())
            self._costs.append(None)
        try:
            self.file.write(line)
        except OSError as error:
            raise cannot_keep(error) from error
        self.parts[number].add(line, self._at, item.line)
        self._at += len(line)
        self._fingerprints[number] += fingerprint.encode()
        if (cost := self._budget.expected_cost(item)) is not None:
            self._costs[number] = (self._costs[number] or 0.0) + cost
