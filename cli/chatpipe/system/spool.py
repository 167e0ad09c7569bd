"""Bytes that are kept for a while: a few in memory, many in a temporary file without a name."""

from __future__ import annotations

import os
import tempfile
import zlib
from collections.abc import Iterator
from contextlib import suppress

from chatpipe.errors import reason
from chatpipe.system.regular_file import write_all_at
from chatpipe.system.temporary_file import temporary_remedy

_IN_MEMORY = 1 << 20
_PIECE = 256 << 10


class NoRoom(Exception):
    """More bytes than may be kept, or than the disk takes. fix is the remedy for the disk."""

    def __init__(self, what: str, fix: str = "") -> None:
        super().__init__(what)
        self.fix = fix


class Room:
    """The bytes that several spools may keep together."""

    def __init__(self, limit: int) -> None:
        self.limit = limit
        self.used = 0

    def take(self, size: int) -> None:
        """Raises NoRoom."""
        if self.used + size > self.limit:
            raise NoRoom(f"at most {self.limit} bytes of files are kept: delete some")
        self.used += size


class Spool:
    """Bytes that are appended and read, until all who share it have closed it."""

    def __init__(self, room: Room) -> None:
        self._room = room
        self._end = bytearray()  # what is not in the file yet
        self._descriptor: int | None = None
        self._filed = 0
        self._owners = 1
        self.size = 0

    def write(self, data: bytes) -> None:
        """Append. Raises NoRoom."""
        self._room.take(len(data))
        self.size += len(data)
        self._end += data
        if len(self._end) > _IN_MEMORY:
            self._move()

    def read(self, at: int, count: int) -> bytes:
        """At most count bytes from a place on. Raises NoRoom."""
        if at >= self._filed:
            return bytes(memoryview(self._end)[at - self._filed : at - self._filed + count])
        if at + count > self._filed and self._end:
            self._move()
        assert self._descriptor is not None
        return os.pread(self._descriptor, count, at)

    def pieces(self, at: int, end: int) -> Iterator[bytes]:
        """The bytes from one place to another, which is not included."""
        self.share()
        try:
            while at < end:
                piece = self.read(at, min(_PIECE, end - at))
                yield piece
                at += len(piece)
        finally:
            self.close()

    def checksum(self) -> int:
        """The CRC-32 of all bytes."""
        found = 0
        for piece in self.pieces(0, self.size):
            found = zlib.crc32(piece, found)
        return found

    def share(self) -> None:
        """Have one more owner, who has to close it, too."""
        self._owners += 1

    def close(self) -> None:
        """Give up the bytes, unless another owner needs them."""
        self._owners -= 1
        if self._owners:
            return
        self._room.used -= self.size
        self.size = self._filed = 0
        self._end = bytearray()
        if self._descriptor is not None:
            os.close(self._descriptor)
            self._descriptor = None

    def __del__(self) -> None:
        """Give up what nobody closed, such as the upload of a client that has gone."""
        if self._owners > 0:
            self._owners = 1
            with suppress(OSError):
                self.close()

    def _move(self) -> None:
        """Move what is in memory to the file."""
        try:
            if self._descriptor is None:
                self._descriptor = _unnamed()
            write_all_at(self._descriptor, self._end, self._filed)
            self._filed += len(self._end)
        except OSError as error:
            what = f"cannot write a temporary file: {reason(error)}"
            raise NoRoom(what, temporary_remedy(error)) from error
        self._end = bytearray()


def _unnamed() -> int:
    """A descriptor of a temporary file that no longer has a name."""
    descriptor, path = tempfile.mkstemp(prefix="chatpipe-")
    os.unlink(path)
    return descriptor
