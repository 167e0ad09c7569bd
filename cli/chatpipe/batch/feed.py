"""A file, or stdin, -> its lines as they come, without blocking what is in flight."""

from __future__ import annotations

import asyncio
import os
import select
import stat
from collections import deque
from collections.abc import AsyncIterator

from chatpipe.errors import MissingInput, reason
from chatpipe.inputs.place import LINE_BYTES, Source

_BLOCK_BYTES = 1 << 16


class Lines:
    """The physical lines of a descriptor, at LF, without their ends. One too long is cut behind LINE_BYTES.

    An asynchronous iterator, and before its event loop runs also one line at a time. A regular file
    is read as it is; a pipe is waited for, so that results come while `tail -f` says nothing. Raises
    MissingInput when reading fails.
    """

    def __init__(self, descriptor: int, name: str) -> None:
        self.name = name
        self._descriptor = descriptor
        self._is_file = stat.S_ISREG(os.fstat(descriptor).st_mode)
        self._number = 1
        self._held: list[bytes] = []
        self._held_bytes = 0
        self._ready: deque[Source] = deque()
        self._is_over = False

    def next(self) -> Source | None:
        """The next line, waited for however long it takes; None at the end."""
        while not self._ready and not self._is_over:
            if (block := self._read()) is not None:
                self._take(block)
            else:  # who has given us the descriptor made it non-blocking
                select.select([self._descriptor], [], [])
        return self._ready.popleft() if self._ready else None

    async def __aiter__(self) -> AsyncIterator[Source]:
        ready = self._ready
        while True:
            while ready:
                yield ready.popleft()
            if self._is_over:
                return
            if self._is_file:
                await asyncio.sleep(0)  # a file never makes us wait, and what is in flight wants its turn
            else:
                await _readable(self._descriptor)
            if (block := self._read()) is not None:
                self._take(block)

    def _read(self) -> bytes | None:
        """A block, empty at the end; None where there was nothing to read after all."""
        try:
            return os.read(self._descriptor, _BLOCK_BYTES)
        except BlockingIOError:
            return None
        except OSError as error:
            raise MissingInput(f"cannot read '{self.name}': {reason(error)}", place="FILE") from error

    def _take(self, block: bytes) -> None:
        """Cut a block into lines, and hold what is left of the last."""
        if not block:
            self._is_over = True
            if self._held_bytes:
                self._ready.append(Source(self.name, b"".join(self._held), self._number, b""))
            return
        first, *rest = block.split(b"\n")
        if self._held_bytes <= LINE_BYTES:
            self._held.append(first)
            self._held_bytes += len(first)
        for piece in rest:
            line = self._held[0] if len(self._held) == 1 else b"".join(self._held)
            if line.endswith(b"\r"):
                self._ready.append(Source(self.name, line[:-1], self._number, b"\r\n"))
            else:
                self._ready.append(Source(self.name, line, self._number))
            self._number += 1
            self._held, self._held_bytes = [piece], len(piece)


async def _readable(descriptor: int) -> None:
    """Wait for data or the end. What an event loop cannot watch (a device) can be read at once."""
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
