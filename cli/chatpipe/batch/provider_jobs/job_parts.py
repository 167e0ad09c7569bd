"""The items of a run -> the parts of them that have to be sent, as Batch lines in a temporary file.

A line is in no part if it has an answer, or lies in a job that has not been collected.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterable, Sequence

from chatpipe.batch.items import Item
from chatpipe.batch.journal.store import RunStore
from chatpipe.batch.provider_jobs.item_file import ItemFile
from chatpipe.batch.provider_jobs.job_budget import JobBudget
from chatpipe.batch.provider_jobs.job_fingerprints import JobFingerprints
from chatpipe.batch.provider_jobs.job_journal import JobJournal
from chatpipe.batch.provider_jobs.line_encoder import LineEncoder
from chatpipe.batch.provider_jobs.part_file import PartFile, RunPart
from chatpipe.batch.provider_jobs.part_lines import RequestSet
from chatpipe.batch.run_spec import RunSpec
from chatpipe.errors import TooLarge
from chatpipe.jobs.input_parts import PartSplitter, alone, refuse_too_large
from chatpipe.jobs.job_dialects import JobDialect
from chatpipe.system.signals import run_loop

NO_PART = -1


class JobParts:
    """The parts, and the file with their lines.

    items has all items of this run but those that the budget leaves out, each with the number of the part
    that it is in, NO_PART for one that is in none. are_new: the journal has neither answers nor jobs.
    """

    def __init__(
        self, spec: RunSpec, dialect: JobDialect, store: RunStore, records: JobJournal, budget: JobBudget
    ) -> None:
        """Raises CannotWrite."""
        self._url = dialect.url
        self._store = store
        self._records = records
        self._fingerprints = JobFingerprints(store, records, by_id=spec.resume.match == "id")
        self.are_new = records.is_empty and not store.lookup.has_answers  # as all lines of a first run are
        self._budget = budget
        self._input_name = spec.input_name
        self._encoder = LineEncoder(spec.endpoint.patches, dialect, spec.console, spec.input_name)
        self.items = ItemFile()
        self._splitter = PartSplitter(dialect, RunPart)
        self.parts = self._splitter.parts
        self.lines = PartFile(self.parts)
        self._seen = RequestSet() if spec.input.dedupe else None
        # True if nothing has to be looked up, counted or left out
        self._sends_all = (
            self.are_new and self._seen is None and budget.is_unlimited and spec.input.shard is None
        )
        self._too_large: list[TooLarge] = []

    def close(self) -> None:
        """Give up both files. May be called again."""
        self.lines.close()
        self.items.close()

    @property
    def currency(self) -> str:
        """The currency of all costs."""
        return self._budget.currency

    def read(self, blocks: AsyncIterator[Iterable[Item]]) -> None:
        """Add all items.

        Raises BadInput for lines that are larger than a file may be, CannotWrite, and BadConfiguration for a
        model without a price.
        """
        run_loop(self._read(blocks))
        refuse_too_large(self._too_large)
        self.lines.finish()
        for part in self.parts:
            self._budget.expect(part)

    async def _read(self, blocks: AsyncIterator[Iterable[Item]]) -> None:
        async for block in blocks:
            # Items that are not in memory yet may be large, with an image each.
            for items in [block] if isinstance(block, list) else ([item] for item in block):
                self._add(items)

    def _add(self, items: Sequence[Item]) -> None:
        # Identical requests are counted over all shards.
        fingerprints = ["" if item.fault is not None else self._fingerprints.of(item) for item in items]
        if self._sends_all and all(fingerprints):
            self.items.add(items, fingerprints, self._send(items, fingerprints))
            return
        for item, fingerprint in zip(items, fingerprints, strict=True):
            if item.is_ours:
                number = NO_PART if item.fault is not None else self._put(item, fingerprint)
                if number is not None:
                    self.items.add((item,), (fingerprint,), (number,))

    def _put(self, item: Item, fingerprint: str) -> int | None:
        """Put an item into a part, if it has to be sent, and return its number.

        Returns None if the budget leaves it out.
        """
        seen = self._seen
        if seen is not None and fingerprint in seen:
            return NO_PART
        number = NO_PART
        if self.are_new or not self._is_known(item, fingerprint):
            if not self._budget.is_unlimited and self._budget.leaves_out(item):
                return None
            (number,) = self._send((item,), (fingerprint,))
        if seen is not None:
            seen.add(fingerprint)
        return number

    def is_recorded(self, fingerprint: str) -> bool:
        """Return True for a request with an answer that is recorded, or a failure."""
        recorded = self._store.files.recorded
        if recorded is None:
            return False
        return bool(recorded.find(fingerprint) or recorded.reasons.of_request(fingerprint))

    def _is_known(self, item: Item, fingerprint: str) -> bool:
        return self._records.job_of(fingerprint) is not None or self._store.lookup.has_answer(
            item, fingerprint
        )

    def _send(self, items: Sequence[Item], fingerprints: Sequence[str]) -> list[int]:
        """Put items into parts. Returns the numbers of these, NO_PART for a line that is too large."""
        digits = [each.encode() for each in fingerprints]
        lines, models = self._encoder.encode(items, digits)
        model, *others = {*models}
        size = sum(map(len, lines))
        if not others and self._splitter.has_room(self._url, model, size, len(lines)):
            number = self._splitter.number(self._url, model, size)
            self._add_lines(number, items, lines, digits)
            return [number] * len(lines)
        rows = zip(items, lines, digits, models, strict=True)
        return [self._send_alone(*row) for row in rows]

    def _send_alone(self, item: Item, line: bytes, digits: bytes, model: str | None) -> int:
        try:
            number = self._splitter.number(self._url, model, len(line))
        except TooLarge as fault:
            fault.place = f"{self._input_name}:{item.line}"
            only = alone(item.row_number or item.line)
            fault.fix = f"add --engine local {only} to send it alone, then leave them out to send the rest"
            self._too_large.append(fault)
            return NO_PART
        self._add_lines(number, (item,), (line,), (digits,))
        return number

    def _add_lines(
        self, number: int, items: Sequence[Item], lines: Sequence[bytes], digits: Sequence[bytes]
    ) -> None:
        """Add lines to one part, which has room for them."""
        part = self.parts[number]
        sizes = [*map(len, lines)]
        part.add(sum(sizes), [item.line for item in items], b"".join(digits))
        self.lines.add(part, lines, [item.custom_id if item.has_own_id else None for item in items])
        bodies = [item.body or {} for item in items]
        part.expect(bodies, sizes, self._encoder.envelope_bytes)
