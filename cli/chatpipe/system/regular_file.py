"""Regular files: opened, and read and written at an offset."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator

from chatpipe.system.descriptor import close_quietly
from chatpipe.system.strangers import refuse_stranger

_BLOCK_BYTES = 1 << 20
_READ = os.O_RDONLY | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC


def open_regular(path: str) -> int | None:
    """Open a regular file for reading; return None for any other kind.

    Raises OSError, and ValueError for a NUL in the name.
    """
    return _open_regular(path, _READ, 0, is_own=False)


def open_own(path: str, flags: int = _READ, mode: int = 0o666) -> int | None:
    """Like open_regular, for a file that is ours, because we add to it or made it.

    flags must have O_NONBLOCK, so that a FIFO does not block. Raises CannotWrite for the file of a stranger,
    even if it is only read.
    """
    return _open_regular(path, flags, mode, is_own=True)


def _open_regular(path: str, flags: int, mode: int, *, is_own: bool) -> int | None:
    fd = os.open(path, flags, mode)
    try:
        status = os.fstat(fd)
        if stat.S_ISREG(status.st_mode):
            if is_own:
                refuse_stranger(path, status)
            return fd
    except BaseException:
        close_quietly(fd)
        raise
    close_quietly(fd)
    return None


def mode_of(path: str | None) -> int:
    """The mode of a file that is to keep what another holds from the same people; 0o666 without another."""
    try:
        status = None if path is None else os.stat(path)
    except (OSError, ValueError):
        status = None
    return 0o666 if status is None else stat.S_IMODE(status.st_mode) & 0o666 | 0o600


def read_at(fd: int, size: int, offset: int) -> bytes:
    """The bytes of a regular file from offset on: size of them, fewer only at its end. Raises OSError.

    A file system on a network or in a process may return fewer bytes at a time.
    """
    data = os.pread(fd, size, offset)
    if len(data) == size or not data:
        return data
    blocks, missing = [data], size - len(data)
    while missing and (data := os.pread(fd, missing, offset + size - missing)):
        blocks.append(data)
        missing -= len(data)
    return b"".join(blocks)


def read_blocks(fd: int) -> Iterator[bytes]:
    """Yield the content of a regular file. The position of the descriptor stays unchanged. Raises OSError."""
    offset = 0
    while block := os.pread(fd, _BLOCK_BYTES, offset):
        yield block
        offset += len(block)


def last_line(fd: int, size: int) -> int:
    """Offset after the last newline, which is size if the file ends in one. Raises OSError."""
    end = size
    while end > 0:
        start = max(0, end - _BLOCK_BYTES)
        newline = read_at(fd, end - start, start).rfind(b"\n")
        if newline >= 0:
            return start + newline + 1
        end = start
    return 0


def write_all_at(fd: int, data: bytes | bytearray, offset: int) -> None:
    """Write all of data to a regular file at offset, in one call if possible. Raises OSError."""
    written = os.pwrite(fd, data, offset)
    while written < len(data):
        written += os.pwrite(fd, memoryview(data)[written:], offset + written)
