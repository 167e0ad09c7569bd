"""Room on a disk for bytes that must not be lost when the disk fills up.

The room belongs to a file without a name, so that nothing stays of it, whatever ends the process. Bytes
that find no room elsewhere on the disk get it when the reserve is released.
"""

from __future__ import annotations

import errno
import os
import resource

from chatpipe.system.atomic import create_temporary, remove_temporary
from chatpipe.system.descriptor import close_quietly
from chatpipe.system.regular_file import write_all_at

# The disk or the user has no room. Any other failure says nothing about room.
_NO_ROOM = (errno.ENOSPC, errno.EDQUOT)
_ZEROS = bytes(64 << 10)


class DiskReserve:
    """Room on the disk of the file at path. size is the number of bytes that it has."""

    def __init__(self, path: str) -> None:
        self._path = path
        self._fd = -1
        self.size = 0

    def grow(self, size: int) -> None:
        """Have room for size bytes. Raises OSError if the disk or a quota has not enough for more.

        A folder that takes no new file is no error, and there is no reserve then.
        """
        try:
            if self._fd < 0:
                self._fd = _open_unnamed(self._path)
            # Not posix_fallocate(): blocks that are allocated are freed on ext4 in 4 ms, those that were
            # written a moment ago in 20 us.
            for start in range(self.size, size, len(_ZEROS)):
                write_all_at(self._fd, _ZEROS[: size - start], start)
        except OSError as error:
            if error.errno in _NO_ROOM:
                self._give_back()
                raise
        self.size = size

    def _give_back(self) -> None:
        """Give up what was taken beyond size."""
        try:
            os.ftruncate(self._fd, self.size)
        except OSError:
            self.release()

    def release(self) -> None:
        """Give the room to the other files of the disk. May be called again."""
        fd, self._fd, self.size = self._fd, -1, 0
        if fd >= 0:
            close_quietly(fd)


def largest_file() -> int | None:
    """The limit of `ulimit -f` in bytes, None if there is none."""
    limit = resource.getrlimit(resource.RLIMIT_FSIZE)[0]
    return None if limit == resource.RLIM_INFINITY else limit


def refuse_growth(fd: int, size: int, limit: int) -> None:
    """Raise OSError if a file would become larger than limit with size more bytes."""
    if os.fstat(fd).st_size + size > limit:
        raise OSError(errno.EFBIG, os.strerror(errno.EFBIG))


def _open_unnamed(beside: str) -> int:
    """A descriptor of a new file without a name in the folder of another one. Raises OSError."""
    path, fd = create_temporary(beside, 0o600, os.O_WRONLY)
    remove_temporary(path)
    return fd
