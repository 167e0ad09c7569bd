"""A file that several processes share: opened, and locked while one of them uses it.

The lock is a flock on the file itself, so no second file is needed, and it ends with the process,
however that ends. The file may be removed or replaced while a process waits for its lock. Its name then
refers to another file, with a lock of its own. Therefore the file is checked again once the lock is held.

    open_locked()     the lock is held until the descriptor is closed
    open_current()    the same with the caller's own way to open the file and to wait
    LockedFile        the file stays open, and each action takes the lock and releases it

Nothing waits for a lock inside the system: that wait could last forever, and an event loop would see no
signal meanwhile.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import time
from collections.abc import Callable
from typing import TypeVar

from chatpipe.errors import CannotWrite, TryLater, UsageFault, reason
from chatpipe.inputs.stdin import NOTICE_DELAY_S
from chatpipe.system.descriptor import close_quietly
from chatpipe.system.regular_file import open_own
from chatpipe.system.same_file import is_current
from chatpipe.system.signals import raise_if_received

_FIRST_WAIT_S, _LONGEST_WAIT_S = 0.001, 0.05
# 50 ms in all: a process that has the lock may lose its turn on a busy machine.
_SHORT_WAITS_S = tuple(0.00005 * 2**step for step in range(10))
# NONBLOCK: refuse a FIFO without waiting for its writer. NOCTTY: do not acquire a controlling terminal.
_FLAGS = os.O_CLOEXEC | os.O_NOCTTY | os.O_NONBLOCK

_T = TypeVar("_T")


class FileLocked(Exception):
    """Another process has the lock. Try again after wait_s seconds."""

    def __init__(self, wait_s: float) -> None:
        self.wait_s = wait_s
        super().__init__(wait_s)


class LockedFile:
    """A file that stays open and is locked for one action at a time.

    open_file opens or creates it, and is called again if somebody deleted it. fd is the descriptor.
    Raises OSError, and everything that open_file raises.
    """

    def __init__(self, open_file: Callable[[], int], sleep: Callable[[float], None] = time.sleep) -> None:
        self._open = open_file
        self._sleep = sleep
        self._failures = 0  # consecutive
        self.fd = open_file()

    def run(self, action: Callable[[], _T]) -> _T:
        """Call action while this process alone has the file.

        Raises FileLocked after 50 milliseconds, and at once if that was so before.
        """
        self._lock()
        while os.fstat(self.fd).st_nlink == 0:  # somebody deleted it: the others use a new one
            deleted, self.fd = self.fd, self._open()
            close_quietly(deleted)
            self._lock()
        try:
            return action()
        finally:
            unlock(self.fd)

    def _lock(self) -> None:
        # Others have the lock for some 30 us at a time. The loop may wait as long as a few of them need.
        waits = iter(() if self._failures else _SHORT_WAITS_S)
        while not try_lock(self.fd):
            wait_s = next(waits, None)
            if wait_s is None:
                self._failures += 1
                raise FileLocked(min(_FIRST_WAIT_S * 2 ** min(self._failures, 10), _LONGEST_WAIT_S))
            self._sleep(wait_s)
        self._failures = 0

    def close(self) -> None:
        close_quietly(self.fd)


class LockPatience:
    """The wait for a lock: longer and longer pauses between attempts, up to a limit.

    note is called once, after two seconds. deadline_s is the longest wait, None for no limit.
    """

    def __init__(
        self,
        note: Callable[[str], None],
        deadline_s: float | None = None,
        monotonic: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self._note: Callable[[str], None] | None = note
        self._deadline_s = deadline_s
        self._monotonic = monotonic
        self._sleep = sleep
        self._since: float | None = None
        self._wait_s = _FIRST_WAIT_S

    def check(self, path: str) -> None:
        """Count the wait, from the first call on. Raises TryLater after the deadline."""
        now = self._monotonic()
        if self._since is None:
            self._since = now
        waited_s = now - self._since
        if self._note is not None and waited_s >= NOTICE_DELAY_S:
            self._note(f"waiting for '{path}', which another process has locked")
            self._note = None
        if self._deadline_s is not None and waited_s >= self._deadline_s:
            what = f"another process has had it locked for {self._deadline_s:g} s"
            raise TryLater(what, place=path, fix="end that process, or raise --deadline")

    def wait(self, path: str) -> None:
        """Pause before the next attempt. Raises TryLater after the deadline, and Interrupted."""
        self.check(path)
        raise_if_received()
        self._sleep(self._wait_s)
        self._wait_s = min(self._wait_s * 2, _LONGEST_WAIT_S)

    def reset(self) -> None:
        """End the wait: there is a lock."""
        self._since = None
        self._wait_s = _FIRST_WAIT_S


def open_locked(
    path: str, access: int, patience: LockPatience, *, mode: int | None = None
) -> tuple[int, bool]:
    """Open and lock the regular file at path. Returns its descriptor, and True if it was created here.

    access is as for os.open: the lock is shared for O_RDONLY, and exclusive otherwise. A missing file is
    created with mode, unless mode is None. Raises OSError, UsageFault for anything but a regular file,
    and CannotWrite if the file system has no locks.
    """
    operation = fcntl.LOCK_SH if access & os.O_ACCMODE == os.O_RDONLY else fcntl.LOCK_EX
    is_new = False

    def open_file() -> int:
        nonlocal is_new
        fd, is_new = _open(path, access | _FLAGS, mode)
        return fd

    def wait_for_lock(fd: int) -> None:
        try:
            while not try_lock(fd, operation):
                patience.wait(path)
        except OSError as error:
            raise CannotWrite(f"cannot be locked: {reason(error)}", place=path) from error

    return open_current(open_file, wait_for_lock, lambda fd: is_current(path, fd)), is_new


def open_current(
    open_file: Callable[[], int], lock: Callable[[int], None], has_name: Callable[[int], bool]
) -> int:
    """Open and lock a file, again and again until the locked file still has its name.

    Without its name it was removed or replaced by the previous holder of the lock, and writes to it would
    be lost. Raises everything that the callables raise.
    """
    while True:
        fd = open_file()
        try:
            lock(fd)
            if has_name(fd):
                return fd
        except BaseException:
            close_quietly(fd)
            raise
        close_quietly(fd)


def try_lock(fd: int, operation: int = fcntl.LOCK_EX) -> bool:
    """Lock the file without waiting. Returns False if another process has locked it.

    Raises OSError: ENOLCK or EOPNOTSUPP on network file systems without locks.
    """
    try:
        fcntl.flock(fd, operation | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def unlock(fd: int) -> None:
    """Release the lock now. Closing does not, while a duplicate of the descriptor is open."""
    with contextlib.suppress(OSError):
        fcntl.flock(fd, fcntl.LOCK_UN)


def _open(path: str, flags: int, mode: int | None) -> tuple[int, bool]:
    while True:
        try:
            fd, is_new = open_own(path, flags), False
        except IsADirectoryError as error:
            raise _not_a_file(path) from error
        except FileNotFoundError:
            if mode is None or not path or path.endswith("/"):
                raise
            try:
                # O_EXCL shows who created the file, but it does not follow links: resolve them first.
                fd, is_new = open_own(os.path.realpath(path), flags | os.O_CREAT | os.O_EXCL, mode), True
            except FileExistsError:  # another process created it first
                continue
        if fd is None:
            raise _not_a_file(path)
        return fd, is_new


def _not_a_file(path: str) -> UsageFault:
    return UsageFault("is not a regular file", place=path, fix="name a file")
