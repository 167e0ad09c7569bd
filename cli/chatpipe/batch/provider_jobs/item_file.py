"""The items of a run whose answers come later: in a temporary file, without the messages of their requests.

Input lines are read, checked and fingerprinted once, before anything is sent. Results are made of the items
in this file, hours later, in their order.
"""

from __future__ import annotations

import asyncio
import pickle
from collections.abc import AsyncIterator, Callable, Collection, Sequence
from operator import attrgetter
from typing import Any

import orjson

from chatpipe.batch.items import Item
from chatpipe.errors import MissingInput, reason
from chatpipe.system.temporary_file import cannot_keep, close_temporary, open_temporary

_BLOCK_ITEMS = 256
_FIELDS = attrgetter(*Item._fields)  # the fingerprint is the last


class ItemFile:
    """The items. All are added before the first is read.

    They are written in blocks, field by field. Most items of a block differ in three fields: one value stands
    for all others. Items that are read may share a body, which nobody changes.
    """

    def __init__(self) -> None:
        """Raises CannotWrite."""
        self._file = open_temporary()
        self._items: list[Item] = []  # those of the next block, ...
        self._fingerprints: list[str] = []  # ... and what belongs to each
        self._parts: list[int] = []

    def add(self, items: Collection[Item], fingerprints: Sequence[str], parts: Sequence[int]) -> None:
        """Add items, whose bodies lose their messages. Raises CannotWrite.

        fingerprints are those of their requests, empty without one, and parts the numbers of their parts.
        """
        for item in items:
            if item.body is not None:
                item.body.pop("messages", None)
        self._items += items
        self._fingerprints += fingerprints
        self._parts += parts
        if len(self._items) >= _BLOCK_ITEMS:
            self._write_block()

    async def read(self, is_left_out: Callable[[Item, int], bool] | None = None) -> AsyncIterator[list[Item]]:
        """All items but those that are left out, in blocks: is_left_out gets the number of the part, too.

        Between blocks the event loop can run, for the display. Raises CannotWrite.
        """
        self._write_block()
        self._file.seek(0)
        while True:
            try:
                block = pickle.load(self._file)  # noqa: S301 - our own file, which has no name
            except EOFError:
                return
            except OSError as error:
                raise MissingInput(f"cannot read a temporary file: {reason(error)}") from error
            size = max(map(len, block))
            *fields, parts = (column if len(column) == size else column * size for column in block)
            items = [*map(Item, *fields)]
            if is_left_out is not None:
                pairs = zip(items, parts, strict=True)
                items = [item for item, part in pairs if not is_left_out(item, part)]
            if items:
                yield items
            await asyncio.sleep(0)

    def close(self) -> None:
        close_temporary(self._file)

    def _write_block(self) -> None:
        if not self._items:
            return
        *columns, _ = zip(*map(_FIELDS, self._items), strict=True)
        try:
            pickler = pickle.Pickler(self._file, pickle.HIGHEST_PROTOCOL)
            pickler.dispatch_table = {orjson.Fragment: _reduced_fragment}
            pickler.dump([_without_repeats(each) for each in (*columns, self._fingerprints, self._parts)])
            self._file.flush()
        except OSError as error:
            raise cannot_keep(error) from error
        self._items, self._fingerprints, self._parts = [], [], []


def _without_repeats(column: Sequence[Any]) -> Sequence[Any]:
    """A column, or its first value if all are equal."""
    return column[:1] if column.count(column[0]) == len(column) else column


def _reduced_fragment(fragment: orjson.Fragment) -> tuple[type[orjson.Fragment], tuple[bytes]]:
    """The way to make a Fragment again, which pickle does not know."""
    return orjson.Fragment, (orjson.dumps(fragment),)
