"""The items of a run -> the parts of them that have to be sent, as Batch lines in a temporary file.

A line is in no part if it has an answer, or lies in a job that has not been collected.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Mapping

from chatpipe.batch.items import Item
from chatpipe.batch.provider_jobs.item_file import ItemFile
from chatpipe.batch.provider_jobs.job_records import PlannedLines, key_of
from chatpipe.errors import ChatpipeError, TooLarge
from chatpipe.exchange import body_to_send
from chatpipe.inputs import values
from chatpipe.inputs.values import Value
from chatpipe.jobs.input_parts import InputPart, PartSplitter, alone, model_of
from chatpipe.jobs.job_dialects import JobDialect
from chatpipe.named_tuple import NamedTuple
from chatpipe.server.patches import Patch
from chatpipe.system.line_index import SortedIndex
from chatpipe.system.signals import run_loop
from chatpipe.system.temporary_file import cannot_keep, close_temporary, open_temporary

_STREAMING = frozenset(("stream", "stream_options"))


class PartTerms(NamedTuple):
    """The rules for parts.

    input_name is that of the input, for places. fingerprint identifies an item. is_known returns True for one
    that is not to be sent; if it lies in a job, count_known then takes its part of the budget. reserve does
    so for an item that is sent, and returns the fault if there is not enough left. cost is the expected one,
    None without prices. detail gets the changes that patches make. With dedupe, items with the same request
    are sent once.
    """

    input_name: str
    dialect: JobDialect
    patches: tuple[Patch, ...]
    fingerprint: Callable[[Item], str]
    is_known: Callable[[Item, str], bool]
    count_known: Callable[[Item, str], None]
    reserve: Callable[[Item], ChatpipeError | None]
    cost: Callable[[Item], float | None]
    detail: Callable[[str], None] | None = None
    dedupe: bool = False


class JobParts:
    """The parts, and the file with their lines.

    items has all items of this run but those that are left out; budget_fault is the reason.
    """

    def __init__(self, terms: PartTerms) -> None:
        """Raises CannotWrite."""
        self._terms = terms
        self.items = ItemFile()
        self._splitter = PartSplitter(terms.dialect)
        self._at = 0
        self._seen = SortedIndex("B") if terms.dedupe else None
        self._fingerprints: list[bytearray] = []
        self._costs: list[float | None] = []
        self.budget_fault: ChatpipeError | None = None
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
        fingerprint_of = self._terms.fingerprint
        async for item in items:
            # Identical requests are counted over all shards.
            fingerprint = "" if item.fault is not None else fingerprint_of(item)
            if item.is_ours and (item.fault is not None or self._has_place(item, fingerprint)):
                self.items.add(item, fingerprint)

    def _has_place(self, item: Item, fingerprint: str) -> bool:
        """Put an item into a part if it has to be sent. Returns False if the budget leaves it out."""
        seen = self._seen
        if seen is not None and seen.find(key_of(fingerprint)):
            return True
        if self._terms.is_known(item, fingerprint):
            self._terms.count_known(item, fingerprint)
        else:
            self.budget_fault = self.budget_fault or self._terms.reserve(item)
            if self.budget_fault is not None:
                return False
            self._add(item, fingerprint)
        if seen is not None:
            seen.add(key_of(fingerprint), 0)
        return True

    def _add(self, item: Item, fingerprint: str) -> None:
        assert item.body is not None
        dialect, place = self._terms.dialect, f"{self._terms.input_name}:{item.line}"
        body = body_to_send(item.body, self._terms.patches, self._terms.detail)
        if not _STREAMING.isdisjoint(body):
            body = {name: value for name, value in body.items() if name not in _STREAMING}
        model = model_of(body, dialect, place)
        line = values.dumps(_line_of(fingerprint, body, dialect)) + b"\n"
        try:
            number = self._splitter.number(dialect.url, model, len(line), place)
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
        if (cost := self._terms.cost(item)) is not None:
            self._costs[number] = (self._costs[number] or 0.0) + cost


def _line_of(fingerprint: str, body: Mapping[str, Value], dialect: JobDialect) -> dict[str, Value]:
    """The line of a request. Its url and its model are left out where they are those of the job."""
    if dialect.shape.model_is_of_job:
        rest = {name: value for name, value in body.items() if name != "model"}
        return {"custom_id": fingerprint, "body": rest}
    return {"custom_id": fingerprint, "method": "POST", "url": dialect.url, "body": body}
