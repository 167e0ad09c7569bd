"""A file, or stdin, -> its lines as they come, without blocking what is in flight."""

from __future__ import annotations

import asyncio
import os
import stat
from collections.abc import AsyncIterator

from chatpipe.batch.lines import LINE_BYTES
from chatpipe.errors import MissingInput, reason
from chatpipe.inputs.place import Source

_BLOCK_BYTES = 1 << 16


async def lines(descriptor: int, name: str) -> AsyncIterator[Source]:
    """The physical lines of a descriptor, at LF, without their ends. One too long is cut behind LINE_BYTES.

    A regular file is read as it is; a pipe is waited for, so that results come while `tail -f` says
    nothing. Raises MissingInput when reading fails.
    """
    is_file = stat.S_ISREG(os.fstat(descriptor).st_mode)
    number = 1
    held: list[bytes] = []
    held_bytes = 0
    while block := await _block(descriptor, name, is_file):
        first, *rest = block.split(b"\n")
        if held_bytes <= LINE_BYTES:
            held.append(first)
            held_bytes += len(first)
        for piece in rest:
            yield Source(name, b"".join(held).removesuffix(b"\r"), number)
            number += 1
            held, held_bytes = [piece], len(piece)
    if held_bytes:
        yield Source(name, b"".join(held), number)


async def _block(descriptor: int, name: str, is_file: bool) -> bytes:
    while True:
        if is_file:
            await asyncio.sleep(0)  # a file never makes us wait, and what is in flight wants its turn
        else:
            await _readable(descriptor)
        try:
            return os.read(descriptor, _BLOCK_BYTES)
        except BlockingIOError:
            continue
        except OSError as error:
            raise MissingInput(f"cannot read: {reason(error)}", place=name) from error


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
