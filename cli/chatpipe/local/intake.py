"""The input of a run -> its items: opened, read line by line, cut to the shard and the limit."""

from __future__ import annotations

import contextlib
import os
from collections.abc import AsyncIterator, Iterator

from chatpipe.batch.feed import Lines
from chatpipe.batch.lines import Item, Reader, in_shard
from chatpipe.batch.options import Feeding
from chatpipe.inputs.sources import STDIN, STDIN_NAME, Sources, missing
from chatpipe.output.notices import Notices

_WARNINGS = 10


@contextlib.contextmanager
def opened(file: str, sources: Sources) -> Iterator[Lines]:
    """The lines of a file, or of stdin for `-`. Raises MissingInput."""
    if file == STDIN:
        if not sources.stdin.opened:
            sources.stdin.read()  # says that it is closed
        yield Lines(sources.stdin.descriptor, STDIN_NAME)
        return
    try:
        descriptor = os.open(file, os.O_RDONLY | os.O_CLOEXEC)
    except (OSError, ValueError) as error:
        raise missing(file, "FILE", error) from error
    try:
        yield Lines(descriptor, file)
    finally:
        os.close(descriptor)


class Intake:
    """The items of one run."""

    def __init__(self, lines: Lines, reader: Reader, feeding: Feeding, told: Notices) -> None:
        self._lines = lines
        self._reader = reader
        self._feeding = feeding
        self._told = told
        self._ahead: list[Item] = []
        self._warned = 0

    def read_head(self) -> None:
        """Read what the reader has to have seen before anything else happens: a header, a first row.

        Waits for it. Raises BadInput for what every line would suffer from.
        """
        while self._reader.wants_head and (source := self._lines.next()) is not None:
            if (item := self._reader.item(source)) is not None:
                self._ahead.append(item)
        if self._reader.wants_head:
            self._reader.end()

    async def items(self) -> AsyncIterator[Item]:
        """The items of this shard, up to the limit; those of other shards are marked."""
        taken = 0
        async for item in self._all():
            if not in_shard(item.line if item.row_number is None else item.row_number, self._feeding.shard):
                yield item._replace(is_ours=False)
                continue
            self._warn(item)
            yield item
            taken += 1
            if taken == self._feeding.limit:
                return

    async def _all(self) -> AsyncIterator[Item]:
        for item in self._ahead:
            yield item
        async for source in self._lines:
            if (ready := self._reader.item(source)) is not None:
                yield ready
        if (last := self._reader.end()) is not None:
            yield last

    def _warn(self, item: Item) -> None:
        """The first warnings of a run; a million lines may well have the same."""
        for number, warning in enumerate(item.warnings, self._warned):
            if number < _WARNINGS:
                self._told.warning(warning)
            elif number == _WARNINGS:
                self._told.warning("there are more like these: chatpipe check shows them all")
        self._warned += len(item.warnings)
