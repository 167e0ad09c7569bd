"""Read lines from a file or stdin as they arrive, without blocking the requests in flight."""

from __future__ import annotations

import asyncio
import os
import select
import stat
from collections.abc import AsyncIterator, Iterator
from itertools import chain, islice

from chatpipe.errors import BadInput, MissingInput, reason
from chatpipe.inputs.line_decoder import InputForm, LineDecoder
from chatpipe.inputs.place import Source

_BLOCK_BYTES = 1 << 16
_MOST_LINES = 256  # the item of a line takes up to a hundred times the memory of the line


class LineReader:
    """Lines of a descriptor, or elements of its JSON array: see LineDecoder.

    blocks() reads them in an event loop; before it runs, read_line() reads single lines. A regular file is
    read without waiting. For a pipe, blocks() waits until it is readable, so results arrive while `tail -f`
    is silent. Both raise MissingInput if reading fails, and BadInput after the last line that can be read.
    """

    def __init__(self, descriptor: int, name: str, form: InputForm = InputForm.TEXT) -> None:
        self.name = name
        self._descriptor = descriptor
        try:
            self._is_file = stat.S_ISREG(os.fstat(descriptor).st_mode)
        except OSError as error:
            raise MissingInput(f"cannot read '{name}': {reason(error)}", place="FILE") from error
        self._decoder = LineDecoder(name, form)
        self._ready: Iterator[Source] = iter(())
        self._is_at_end = False

    def start(self) -> None:
        """Block until the first line is there. Raises BadInput if the input is refused by what it shows."""
        if (first := self.read_line()) is not None:
            self._ready = chain([first], self._ready)

    def read_line(self) -> Source | None:
        """The next line, or None at the end. Blocks until there is one."""
        while True:
            for source in self._ready:
                return source
            if self._is_at_end:
                return None
            if (block := self._read()) is not None:
                self._decode(block)
            else:  # our caller passed a non-blocking descriptor
                select.select([self._descriptor], [], [])

    async def blocks(self) -> AsyncIterator[list[Source]]:
        """The lines of each block that is read, or of a part of it if they are many."""
        while True:
            lines, fault = _taken(self._ready)
            yield lines
            if fault is not None:
                raise fault
            if len(lines) == _MOST_LINES:
                continue
            if self._is_at_end:
                return
            if self._is_file:
                await asyncio.sleep(0)  # a file is always readable: let the requests in flight run
            else:
                await _until_readable(self._descriptor)
            if (block := self._read()) is not None:
                self._decode(block)

    def _read(self) -> bytes | None:
        """The next block, empty at the end; None if there is nothing to read yet."""
        try:
            return os.read(self._descriptor, _BLOCK_BYTES)
        except BlockingIOError:
            return None
        except OSError as error:
            raise MissingInput(f"cannot read '{self.name}': {reason(error)}", place="FILE") from error

    def _decode(self, block: bytes) -> None:
        """Decode a block. An empty block is the end of the input."""
        self._is_at_end = not block
        self._ready = self._decoder.feed(block) if block else self._decoder.end()


def _taken(sources: Iterator[Source]) -> tuple[list[Source], BadInput | None]:
    """The next lines, and the fault of the input that follows them, if there is one."""
    lines: list[Source] = []
    try:
        lines.extend(islice(sources, _MOST_LINES))  # extend() keeps the lines before a fault
    except BadInput as fault:
        return lines, fault
    return lines, None


async def _until_readable(descriptor: int) -> None:
    """Wait for data or the end. A descriptor that an event loop cannot watch (a device) is readable."""
    loop = asyncio.get_running_loop()
    ready = loop.create_future()
    try:
        loop.add_reader(descriptor, _wake, ready)
    except (PermissionError, ValueError):
        return
    try:
        await ready
    finally:
        loop.remove_reader(descriptor)


def _wake(ready: asyncio.Future[None]) -> None:
    if not ready.done():
        ready.set_result(None)
