"""The items of a run whose answers come later: in a temporary file, without the messages of their requests.

Input lines are read, checked and fingerprinted once, before anything is sent. Results are made of the items
in this file, hours later, in their order.
"""

from __future__ import annotations

import asyncio
import pickle
from collections.abc import AsyncIterator, Callable, Iterator
from typing import Any

import orjson

from chatpipe.batch.items import Item
from chatpipe.errors import MissingInput, reason
from chatpipe.system.temporary_file import cannot_keep, close_temporary, open_temporary

_BLOCK_ITEMS = 256
_MESSAGES = "messages"


class ItemFile:
    """The items. All are added before the first is read.

    They are written in blocks, field by field. Most items of a block differ in three fields: one value stands
    for all others. Items that are read may share a body, which nobody changes.
    """

    def __init__(self) -> None:
        """Raises CannotWrite."""
        self._file = open_temporary()
        self._block: list[tuple[Any, ...]] = []  # the fields of items, in their order, and the part

    def add(self, item: Item, fingerprint: str, part: int) -> None:
        """Add an item, the fingerprint of its request, empty without one, and the number of its part.

        Raises CannotWrite.
        """
        rest = item.body
        if rest is not None:
            rest = rest.copy()
            rest.pop(_MESSAGES, None)
        self._block.append(
            (
                item.line,
                item.custom_id,
                rest,
                item.has_own_id,
                item.fault,
                item.warnings,
                item.is_ours,
                item.row,
                item.row_number,
                fingerprint,
                part,
            )
        )
        if len(self._block) >= _BLOCK_ITEMS:
            self._write_block()

    async def read(self, is_left_out: Callable[[Item, int], bool] | None = None) -> AsyncIterator[Item]:
        """All items but those that are left out: is_left_out gets the number of the part, too.

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
            items: Iterator[Item] = map(Item, *fields)
            if is_left_out is not None:
                pairs = zip(items, parts, strict=True)
                items = (item for item, part in pairs if not is_left_out(item, part))
            for item in items:
                yield item
            await asyncio.sleep(0)

    def close(self) -> None:
        close_temporary(self._file)

    def _write_block(self) -> None:
        if not self._block:
            return
        columns = zip(*self._block, strict=True)
        try:
            pickler = pickle.Pickler(self._file, pickle.HIGHEST_PROTOCOL)
            pickler.dispatch_table = {orjson.Fragment: _reduced_fragment}
            pickler.dump([_without_repeats(each) for each in columns])
            self._file.flush()
        except OSError as error:
            raise cannot_keep(error) from error
        self._block.clear()


def _without_repeats(column: tuple[Any, ...]) -> tuple[Any, ...]:
    """A column, or its first value if all are equal."""
    return column[:1] if column.count(column[0]) == len(column) else column


def _reduced_fragment(fragment: orjson.Fragment) -> tuple[type[orjson.Fragment], tuple[bytes]]:
    """The way to make a Fragment again, which pickle does not know."""
    return orjson.Fragment, (orjson.dumps(fragment),)
