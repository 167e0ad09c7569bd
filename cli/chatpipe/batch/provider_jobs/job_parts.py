"""The first pass over an input -> the parts of it that have to be sent, as Batch lines in a temporary file.

A line is left out if it has an answer, or lies in a job that has not been collected.
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import AsyncIterator, Callable
from typing import BinaryIO

from chatpipe.batch.items import Item
from chatpipe.batch.provider_jobs.job_records import PlannedLines, key_of
from chatpipe.errors import BadInput, CannotWrite, ChatpipeError, quantity, reason
from chatpipe.exchange import body_to_send
from chatpipe.inputs import values
from chatpipe.inputs.values import Value
from chatpipe.jobs.input_parts import MARGIN, InputPart, model_of
from chatpipe.jobs.job_dialects import JobDialect
from chatpipe.named_tuple import NamedTuple
from chatpipe.server.patches import Patch
from chatpipe.system.line_index import SortedIndex
from chatpipe.system.signals import run_loop

_STREAMING = ("stream", "stream_options")


class PartTerms(NamedTuple):
    """The rules for parts.

    fingerprint identifies an item. is_known tells whether it is not to be sent; if it lies in a job,
    count_known then takes its part of the budget. reserve does so for an item that is sent, and returns the
    fault if there is not enough left. cost is the expected one, None without prices.
    """

    dialect: JobDialect
    patches: tuple[Patch, ...]
    fingerprint: Callable[[Item], str]
    is_known: Callable[[Item, str], bool]
    count_known: Callable[[Item, str], None]
    reserve: Callable[[Item], ChatpipeError | None]
    cost: Callable[[Item], float | None]


class JobParts:
    """The parts, and the file with their lines.

    budget_fault is the reason why the rest of the input is left out.
    """

    def __init__(self, terms: PartTerms) -> None:
        self._terms = terms
        self._most_bytes = int(terms.dialect.most_bytes * MARGIN)
        self._open: dict[str | None, int] = {}  # the part that is being filled, by model
        self._at = 0
        self._seen = SortedIndex("B")
        self.parts: list[InputPart] = []
        self._fingerprints: list[bytearray] = []
        self._costs: list[float | None] = []
        self.budget_fault: ChatpipeError | None = None
        self.file: BinaryIO = _temporary()

    def __len__(self) -> int:
        return sum(map(len, self.parts))

    def close(self) -> None:
        self.file.close()

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
            raise _full(error) from error

    async def _read(self, items: AsyncIterator[Item]) -> None:
        async for item in items:
            if item.fault is not None or item.body is None:
                continue
            fingerprint = self._terms.fingerprint(item)
            if not item.is_ours or self.budget_fault is not None or self._seen.find(key_of(fingerprint)):
                continue
            if self._terms.is_known(item, fingerprint):
                self._terms.count_known(item, fingerprint)
                continue
            self.budget_fault = self._terms.reserve(item)
            if self.budget_fault is None:
                self._add(item, fingerprint)

    def _add(self, item: Item, fingerprint: str) -> None:
        assert item.body is not None
        dialect = self._terms.dialect
        body = dict(body_to_send(item.body, self._terms.patches))
        for name in _STREAMING:
            body.pop(name, None)
        model = model_of(body, dialect, f"line {item.line}")
        line = values.dumps(_line_of(fingerprint, body, dialect))
        if len(line) + 1 > self._most_bytes:
            what = f"the request has {quantity(len(line), 'byte')}, and a file of the provider at most"
            raise BadInput(f"{what} {self._most_bytes}", place=f"line {item.line}")
        number = self._part_for(model, len(line) + 1)
        try:
            self.file.write(line + b"\n")
        except OSError as error:
            raise _full(error) from error
        self.parts[number].add(line, self._at, item.line)
        self._at += len(line) + 1
        self._fingerprints[number] += fingerprint.encode()
        if (cost := self._terms.cost(item)) is not None:
            self._costs[number] = (self._costs[number] or 0.0) + cost
        self._seen.add(key_of(fingerprint), 0)

    def _part_for(self, model: str | None, size: int) -> int:
        """The number of the part that a line of this size goes to."""
        number = self._open.get(model)
        part = None if number is None else self.parts[number]
        dialect = self._terms.dialect
        if part is None or len(part) >= dialect.most_lines or part.size + size > self._most_bytes:
            number = self._open[model] = len(self.parts)
            self.parts.append(InputPart(dialect.url, model))
            self._fingerprints.append(bytearray())
            self._costs.append(None)
        assert number is not None
        return number


def _line_of(fingerprint: str, body: dict[str, Value], dialect: JobDialect) -> dict[str, Value]:
    """The line of a request. Its url and its model are left out where they are those of the job."""
    if dialect.shape.model_is_of_job:
        body.pop("model", None)
        return {"custom_id": fingerprint, "body": body}
    return {"custom_id": fingerprint, "method": "POST", "url": dialect.url, "body": body}


def _temporary() -> BinaryIO:
    """A temporary file without a name. Raises CannotWrite."""
    try:
        descriptor, path = tempfile.mkstemp(prefix="chatpipe-")
        os.unlink(path)
    except OSError as error:
        raise _full(error) from error
    return open(descriptor, "w+b")


def _full(error: OSError) -> CannotWrite:
    what = f"cannot write a temporary file: {reason(error)}"
    return CannotWrite(what, fix="set TMPDIR to a folder on a larger disk")
