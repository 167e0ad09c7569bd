"""Read lines from a file or stdin as they arrive, without blocking the requests in flight."""

from __future__ import annotations

import asyncio
import os
import select
import stat
from collections import deque
from collections.abc import AsyncIterator

from chatpipe.errors import MissingInput, reason
from chatpipe.inputs.place import MAX_LINE_BYTES, LineSplitter, Source, line_source

_BLOCK_BYTES = 1 << 16


class LineReader:
    """Physical lines of a descriptor, split at LF, without their ends.

    A line that is too long is cut somewhere after MAX_LINE_BYTES. The reader is an asynchronous iterator;
    before the event loop runs, read_line() reads single lines. A regular file is read without waiting.
    For a pipe, the iterator waits until it is readable, so results arrive while `tail -f` is silent.
    Raises MissingInput if reading fails.
    """

    def __init__(self, descriptor: int, name: str) -> None:
        self.name = name
        self._descriptor = descriptor
        self._is_file = stat.S_ISREG(os.fstat(descriptor).st_mode)
        self._number = 1
        self._splitter = LineSplitter(MAX_LINE_BYTES)
        self._ready: deque[Source] = deque()
        self._is_at_end = False

    def read_line(self) -> Source | None:
        """The next line, or None at the end. Blocks until there is one."""
        while not self._ready and not self._is_at_end:
            if (block := self._read()) is not None:
                self._split(block)
            else:  # our caller passed a non-blocking descriptor
                select.select([self._descriptor], [], [])
        return self._ready.popleft() if self._ready else None

    async def __aiter__(self) -> AsyncIterator[Source]:
        ready = self._ready
        while True:
            while ready:
                yield ready.popleft()
            if self._is_at_end:
                return
            if self._is_file:
                await asyncio.sleep(0)  # a file is always readable: let the requests in flight run
            else:
                await _until_readable(self._descriptor)
            if (block := self._read()) is not None:
                self._split(block)

    def _read(self) -> bytes | None:
        """The next block, empty at the end; None if there is nothing to read yet."""
        try:
            return os.read(self._descriptor, _BLOCK_BYTES)
        except BlockingIOError:
            return None
        except OSError as error:
            raise MissingInput(f"cannot read '{self.name}': {reason(error)}", place="FILE") from error

    def _split(self, block: bytes) -> None:
        """Split a block into lines. An empty block is the end of the input."""
        if block:
            for line in self._splitter.feed(block):
                self._ready.append(line_source(self.name, line, self._number))
                self._number += 1
            return
        self._is_at_end = True
        if last := self._splitter.end():
            self._ready.append(Source(self.name, last, self._number, b""))


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
