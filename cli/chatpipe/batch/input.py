"""The input of a run -> its items: opened, read line by line, cut to the shard and the limit."""

from __future__ import annotations

import contextlib
import os
from collections.abc import AsyncIterator, Iterable, Iterator
from operator import attrgetter
from typing import TypeGuard

from chatpipe.batch.items import Item, ItemReader, in_shard
from chatpipe.errors import BadInput
from chatpipe.inputs.line_decoder import InputForm
from chatpipe.inputs.lines import LineReader
from chatpipe.inputs.sources import Sources, missing_input
from chatpipe.inputs.stdin import STDIN, STDIN_NAME, StdinKind
from chatpipe.options.run import InputOptions
from chatpipe.request.fingerprint import OccurrenceCounter, body_digest
from chatpipe.system.console import Console, FirstFew
from chatpipe.system.descriptor import close_quietly
from chatpipe.system.escape import shorten

_WARNINGS = attrgetter("warnings")
_ID_SHOWN = 80  # characters


@contextlib.contextmanager
def open_lines(file: str, sources: Sources, form: InputForm) -> Iterator[LineReader]:
    """Open the lines of a file in this form, or of stdin for `-`. Raises MissingInput."""
    if file == STDIN:
        if not sources.stdin.is_open:
            sources.stdin.read()  # raises the error for a closed stdin
        if sources.stdin.kind() is StdinKind.TERMINAL:
            sources.stdin.notice("type the input, then Ctrl-D")
        yield LineReader(sources.stdin.descriptor, STDIN_NAME, form)
        return
    try:
        descriptor = os.open(file, os.O_RDONLY | os.O_CLOEXEC)
    except (OSError, ValueError) as error:
        raise missing_input(file, "FILE", error) from error
    try:
        yield LineReader(descriptor, file, form)
    finally:
        close_quietly(descriptor)


class RunInput:
    """The items of one run: its ItemSource."""

    def __init__(
        self,
        lines: LineReader,
        reader: ItemReader,
        options: InputOptions,
        console: Console,
        *,
        own_ids_once: bool = False,
    ) -> None:
        """own_ids_once: a custom_id must be unique, because answers are found by it."""
        self._lines = lines
        self._reader = reader
        self._options = options
        self._warnings = FirstFew(console.warning, console.warning, "chatpipe check shows them all")
        self._option_warnings: set[str] = set()
        self._ids = OccurrenceCounter() if own_ids_once else None
        self._ahead: list[Item] = []
        self._taken = 0  # items of this shard

    def read_head(self) -> None:
        """Read the part of the input that the reader needs first: a header, a first row.

        Blocks until it arrives, and until the first line shows what the input is. Raises BadInput for an
        error that affects every line.
        """
        self._lines.start()
        while self._reader.needs_head and (source := self._lines.read_line()) is not None:
            if (item := self._reader.item(source)) is not None:
                self._ahead.append(item)
        if self._reader.needs_head:
            try:
                self._reader.finish()
            except BadInput as fault:
                fault.place = fault.place or self._lines.name
                raise

    async def items(self) -> AsyncIterator[Item]:
        """The items one by one, as an ItemSource."""
        async for block in self.blocks():
            for item in block:
                yield item

    async def blocks(self) -> AsyncIterator[Iterable[Item]]:
        """The items in blocks, as an ItemSource."""
        async for read in self._read_blocks():
            yield read if self._are_all_chosen(read) else self._chosen(read)
            if self._taken == self._options.limit:
                return

    async def _read_blocks(self) -> AsyncIterator[Iterable[Item | None]]:
        """The items of the lines of each block, None for a line without one."""
        yield self._ahead
        async for sources in self._lines.blocks():
            yield self._reader.items(sources)
        yield [self._reader.finish()]

    def _are_all_chosen(self, read: Iterable[Item | None]) -> TypeGuard[list[Item]]:
        """Return True for a list of items of this run without warnings, as most blocks of most runs are."""
        if self._ids is not None or self._options.shard is not None or self._options.limit is not None:
            return False
        return isinstance(read, list) and read != [] and all(read) and not any(map(_WARNINGS, read))

    def _chosen(self, read: Iterable[Item | None]) -> Iterator[Item]:
        """The items of a block as an ItemSource has them. read has None for a line without an item."""
        shard, limit = self._options.shard, self._options.limit
        for found in read:
            if found is None:
                continue
            item = found if self._ids is None else self._with_own_id(found, self._ids)
            if shard is not None and not in_shard(item.row_number or item.line, shard):
                yield item._replace(is_ours=False)
                continue
            if item.warnings:
                self._warn(item)
            yield item
            self._taken += 1
            if self._taken == limit:
                return

    def _warn(self, item: Item) -> None:
        """Print the warnings of an item. One about an option is printed for the first item that has it."""
        for warning in item.warnings:
            text = str(warning)
            if text not in self._option_warnings:
                self._warnings.report(f"{self._lines.name}:{item.line}: {text}")
            if warning.place:
                self._option_warnings.add(text)

    def _with_own_id(self, item: Item, ids: OccurrenceCounter) -> Item:
        """The item, with a fault if an earlier line has its custom_id, which must be unique."""
        if not item.has_own_id:
            return item
        if ids.count(body_digest({"custom_id": item.custom_id})) == 1 or item.fault is not None:
            return item
        fault = BadInput(
            f"custom_id '{shorten(item.custom_id, _ID_SHOWN, is_ours=True)}' is on another line, too",
            place=f"{self._lines.name}:{item.line}",
            fix="give each its own, or leave out --match id",
        )
        return item._replace(body=None, fault=fault)
