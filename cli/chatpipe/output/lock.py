"""A file that processes use one at a time: opened, and locked while it is used.

The lock is a flock on the file itself, so nothing else is made beside it, and it ends with the process,
however that ends. A file that was removed or replaced while somebody waited for it is another one
than its name leads to, with a lock of its own; therefore one looks again after one got the lock.
"""

from __future__ import annotations

import fcntl
import os
import stat
import time
from collections.abc import Callable

from chatpipe.errors import CannotWrite, UsageFault, reason

_PATIENCE_S = 2.0  # as with stdin
_FIRST_WAIT_S, _LONGEST_WAIT_S = 0.001, 0.05
# NONBLOCK: a FIFO is refused, not waited for. NOCTTY: a terminal stays what it is.
_FLAGS = os.O_CLOEXEC | os.O_NOCTTY | os.O_NONBLOCK


class Patience:
    """How one waits: with a little more time between attempts, and note told once, after two seconds."""

    def __init__(
        self,
        note: Callable[[str], None],
        sleep: Callable[[float], None] = time.sleep,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._note: Callable[[str], None] | None = note
        self._sleep = sleep
        self._monotonic = monotonic
        self._since = monotonic()
        self._wait_s = _FIRST_WAIT_S

    def wait(self, path: str) -> None:
        if self._note is not None and self._monotonic() - self._since >= _PATIENCE_S:
            self._note(f"waiting for '{path}', which another process has locked")
            self._note = None
        self._sleep(self._wait_s)
        self._wait_s = min(self._wait_s * 2, _LONGEST_WAIT_S)


def locked(path: str, access: int, patience: Patience, *, mode: int | None = None) -> tuple[int, bool]:
    """A descriptor of the regular file that path leads to, locked, and whether it was made here.

    access is as for os.open; the lock is shared when that is O_RDONLY, else exclusive. A file that is
    missing is made with mode, if that is not None. Raises OSError, UsageFault for what is no regular
    file, and CannotWrite where the file system has no locks.
    """
    how = fcntl.LOCK_SH if access & os.O_ACCMODE == os.O_RDONLY else fcntl.LOCK_EX
    while True:
        fd, is_new = _opened(path, access | _FLAGS, mode)
        try:
            _lock(path, fd, how, patience)
            if is_named(path, fd):
                return fd, is_new
        except BaseException:
            os.close(fd)
            raise
        os.close(fd)


def is_named(path: str, fd: int) -> bool:
    """Whether path leads to the file that is open as fd."""
    try:
        return os.path.samestat(os.stat(path), os.fstat(fd))
    except OSError:
        return False


def _opened(path: str, flags: int, mode: int | None) -> tuple[int, bool]:
    while True:
        try:
            fd, is_new = os.open(path, flags), False
        except IsADirectoryError as error:
            raise _not_a_file(path) from error
        except FileNotFoundError:
            if mode is None or not path or path.endswith("/"):
                raise
            try:
                # Where a link leads to, as O_EXCL, which tells who made the file, does not follow links.
                fd, is_new = os.open(os.path.realpath(path), flags | os.O_CREAT | os.O_EXCL, mode), True
            except FileExistsError:  # somebody was faster
                continue
        if stat.S_ISREG(os.fstat(fd).st_mode):
            return fd, is_new
        os.close(fd)
        raise _not_a_file(path)


def _lock(path: str, fd: int, how: int, patience: Patience) -> None:
    while True:
        try:
            return fcntl.flock(fd, how | fcntl.LOCK_NB)
        except BlockingIOError:
            patience.wait(path)
        except OSError as error:
            raise CannotWrite(f"cannot be locked: {reason(error)}", place=path) from error


def _not_a_file(path: str) -> UsageFault:
    return UsageFault(f"'{path}' is not a regular file", fix="name a file")
