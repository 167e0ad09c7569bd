"""Read lines from a file or stdin as they arrive, without blocking the requests in flight."""

from __future__ import annotations

import asyncio
import os
import select
import stat
from collections import deque
from collections.abc import AsyncIterator

from chatpipe.errors import MissingInput, reason
from chatpipe.inputs.place import MAX_LINE_BYTES, Source

_BLOCK_BYTES = 1 << 16


class LineReader:
    """Physical lines of a descriptor, split at LF, without their ends.

    A line that is too long is cut somewhere after LINE_BYTES. Lines is an asynchronous iterator;
    before the event loop runs, next() reads single lines. A regular file is read without waiting.
    For a pipe, the iterator waits until it is readable, so results arrive while `tail -f` is silent.
    Raises MissingInput if reading fails.
    """

    def __init__(self, descriptor: int, name: str) -> None:
        self.name = name
        self._descriptor = descriptor
        self._is_file = stat.S_ISREG(os.fstat(descriptor).st_mode)
        self._number = 1
        self._partial: list[bytes] = []  # pieces of a line whose end has not been read
        self._partial_bytes = 0
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
        """Split a block into lines; the last piece may be part of a line."""
        if not block:
            self._is_at_end = True
            if self._partial_bytes:
                self._ready.append(Source(self.name, b"".join(self._partial), self._number, b""))
            return
        first, *rest = block.split(b"\n")
        if self._partial_bytes <= MAX_LINE_BYTES:
            self._partial.append(first)
            self._partial_bytes += len(first)
        for piece in rest:
            line = self._partial[0] if len(self._partial) == 1 else b"".join(self._partial)
            if line.endswith(b"\r"):
                self._ready.append(Source(self.name, line[:-1], self._number, b"\r\n"))
            else:
                self._ready.append(Source(self.name, line, self._number))
            self._number += 1
            self._partial, self._partial_bytes = [piece], len(piece)


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
