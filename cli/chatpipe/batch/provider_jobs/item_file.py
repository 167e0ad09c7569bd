"""The items of a run whose answers come later: in a temporary file, without the messages of their requests.

Input lines are read, checked and fingerprinted once, before anything is sent. Results are made of the items
in this file, hours later, in their order.
"""

from __future__ import annotations

import asyncio
import pickle
from collections.abc import AsyncIterator
from typing import Any

import orjson

from chatpipe.batch.items import Item
from chatpipe.errors import MissingInput, reason
from chatpipe.system.temporary_file import cannot_keep, close_temporary, open_temporary

# Items that are written together: one alone would repeat the names of its classes.
_BLOCK_ITEMS = 256
_MESSAGES = "messages"
_BODY, _FINGERPRINT = map(Item._fields.index, ("body", "fingerprint"))


class ItemFile:
    """The items. All are added before the first is read."""

    def __init__(self) -> None:
        """Raises CannotWrite."""
        self._file = open_temporary()
        self._block: list[list[Any]] = []  # the fields of items

    def add(self, item: Item, fingerprint: str) -> None:
        """Add an item with the fingerprint of its request, empty without one. Raises CannotWrite."""
        fields: list[Any] = list(item)
        if item.body is not None:
            fields[_BODY] = {name: value for name, value in item.body.items() if name != _MESSAGES}
        fields[_FINGERPRINT] = fingerprint
        self._block.append(fields)
        if len(self._block) >= _BLOCK_ITEMS:
            self._write_block()

    async def read(self) -> AsyncIterator[Item]:
        """All items. Between blocks the event loop can run, for the display. Raises CannotWrite."""
        self._write_block()
        self._file.seek(0)
        while True:
            try:
                block = pickle.load(self._file)  # noqa: S301 - our own file, which has no name
            except EOFError:
                return
            except OSError as error:
                raise MissingInput(f"cannot read a temporary file: {reason(error)}") from error
            for fields in block:
                yield Item(*fields)
            await asyncio.sleep(0)

    def close(self) -> None:
        close_temporary(self._file)

    def _write_block(self) -> None:
        try:
            pickler = pickle.Pickler(self._file, pickle.HIGHEST_PROTOCOL)
            pickler.dispatch_table = {orjson.Fragment: _reduced_fragment}
            pickler.dump(self._block)
            self._file.flush()
        except OSError as error:
            raise cannot_keep(error) from error
        self._block.clear()


def _reduced_fragment(fragment: orjson.Fragment) -> tuple[type[orjson.Fragment], tuple[bytes]]:
    """The way to make a Fragment again, which pickle does not know."""
    return orjson.Fragment, (orjson.dumps(fragment),)
