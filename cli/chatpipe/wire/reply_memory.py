"""A limit of the memory that the replies of a run take together.

A run may have thousands of replies under way, each of them within its own limit. Beyond the limit of
all, only the oldest reply is read on. The connections of the others fill, and their servers wait.
"""

from __future__ import annotations

import asyncio

from chatpipe.server.request_extensions import REPLY_MEMORY

MAX_BYTES = 1_000_000_000


class ReplyMemory:
    """The bytes of all open replies. Each reply is known by an object of its own."""

    def __init__(self, max_bytes: int = MAX_BYTES) -> None:
        self.bytes = 0
        self._max_bytes = max_bytes
        self._open: dict[object, int] = {}  # in the order in which they were opened
        self._waiting: set[asyncio.Future[None]] = set()

    @property
    def extensions(self) -> dict[str, object]:
        """The extensions of a request whose reply this memory counts."""
        return {REPLY_MEMORY: self}

    @property
    def is_full(self) -> bool:
        return self.bytes > self._max_bytes

    def open(self, reply: object) -> None:
        self._open[reply] = 0

    def add(self, reply: object, size: int) -> None:
        """Count bytes that arrived."""
        self._open[reply] += size
        self.bytes += size

    def close(self, reply: object) -> None:
        """Count the bytes of a reply no more. The next oldest may be read on then."""
        self.bytes -= self._open.pop(reply)
        waiting, self._waiting = self._waiting, set()
        for room in waiting:
            if not room.done():
                room.set_result(None)

    async def wait_for_room(self, reply: object) -> None:
        """Return when there is room, or when the reply is the oldest: one always makes progress."""
        while self.is_full and reply is not next(iter(self._open)):
            room: asyncio.Future[None] = asyncio.get_running_loop().create_future()
            self._waiting.add(room)
            try:
                await room
            finally:
                self._waiting.discard(room)
