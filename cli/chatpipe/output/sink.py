"""Bytes -> a descriptor, at once: stdout, or whatever `-o` names that is not a regular file.

Nothing is buffered: a piece has been handed to the system when write returns, so that the next
command of the pipe sees it as it comes and a killed run leaves all that arrived.
"""

from __future__ import annotations

import contextlib
import errno
import os
import select
import stat
from types import TracebackType
from typing import Protocol, Self

from chatpipe.errors import CannotWrite, reason
from chatpipe.output.escape import ByteEscaper

_FIXES = {
    errno.ENOSPC: "free some space",
    errno.EDQUOT: "free some of your quota",
    errno.EFBIG: "raise the limit that 'ulimit -f' shows",
}
_DESCRIPTORS = ("/dev/fd", "/proc/self/fd")


class Sink(Protocol):
    """What formats write to. Raises CannotWrite, or BrokenPipe when nobody reads any more."""

    def write(self, data: bytes) -> None: ...


class BrokenPipe(Exception):
    """The reader went away. Not a fault: a filter then ends as SIGPIPE would end it, in silence."""


class Direct:
    """A descriptor that is written as things come. Also what `-o` takes for a FIFO or a device.

    On a terminal what could drive it is escaped, unless escape is False. A character cut in two
    is then held back until the rest of it comes; anywhere else bytes pass untouched.
    """

    def __init__(self, fd: int, name: str, *, escape: bool = True, close: bool = False) -> None:
        """For error lines it goes by name. close: the descriptor is ours, to be closed at the end."""
        self._fd = fd
        self._name = name
        self._close = close
        self._escaper = ByteEscaper() if escape and os.isatty(fd) else None

    def write(self, data: bytes) -> None:
        self._write(self._escaper.feed(data) if self._escaper else data)

    def commit(self) -> None:
        """The last write, and the last chance for a network file system to say that it kept nothing."""
        self._flush()
        try:
            os.close(os.dup(self._fd))  # NFS and quotas speak up at close, and stdout is not ours to close
        except OSError as error:
            raise failure(self._name, error) from error

    def keep_part(self) -> str | None:
        """None: what came has left, or leaves now."""
        self._flush()
        return None

    def discard(self) -> None:
        """Take nothing back, but give up a descriptor that is ours. May be called again."""
        if self._close:
            self._close = False
            with contextlib.suppress(OSError):  # commit is where a failure counts
                os.close(self._fd)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.discard()

    def _flush(self) -> None:
        if self._escaper:
            self._write(self._escaper.end())

    def _write(self, data: bytes) -> None:
        try:
            write_all(self._fd, data)
        except (BrokenPipeError, ConnectionResetError) as error:
            raise BrokenPipe(self._name) from error
        except OSError as error:
            raise failure(self._name, error) from error


class Stdout(Direct):
    """Descriptor 1, which the caller has found to be open."""

    def __init__(self, *, escape: bool = True, fd: int = 1) -> None:
        super().__init__(fd, "stdout", escape=escape)


def is_terminal() -> bool:
    """Whether stdout is one. False when it is closed."""
    return os.isatty(1)


def special(path: str, *, escape: bool = True) -> Direct | None:
    """What path names, opened for writing; None when it is, or would be, a regular file, or a directory.

    Opening a FIFO waits for its reader, as in a shell. Raises CannotWrite with path as its place.
    """
    try:
        if (descriptor := _descriptor(path)) is not None:
            return Direct(_duplicate(descriptor), path, escape=escape, close=True)
        kind = stat.S_IFMT(os.stat(path).st_mode)
        if kind in (stat.S_IFREG, stat.S_IFDIR):
            return None
        fd = (
            _connect(path)
            if kind == stat.S_IFSOCK
            else os.open(path, os.O_WRONLY | os.O_CLOEXEC | os.O_NOCTTY)
        )
        return Direct(fd, path, escape=escape, close=True)
    except FileNotFoundError:
        return None
    except (OSError, ValueError) as error:  # ValueError: a NUL in the name
        raise failure(path, error) from error


def write_all(fd: int, data: bytes) -> None:
    """Every byte, however few the system takes at a time. Raises OSError.

    A descriptor may be non-blocking although we did not ask for it: the flag belongs to the open
    file, which a shell, ssh or an event loop at the other end of a pty may share with us.
    """
    rest = memoryview(data)
    while rest:
        try:
            rest = rest[os.write(fd, rest) :]
        except BlockingIOError:
            poll = select.poll()
            poll.register(fd, select.POLLOUT)
            poll.poll()  # an error or a hang-up ends the wait too, and the next write names it


def failure(place: str, error: OSError | ValueError, what: str = "cannot write") -> CannotWrite:
    """The system's refusal as ours. place is a file's name as the user gave it, or `stdout`."""
    fix = _FIXES.get(error.errno or 0, "") if isinstance(error, OSError) else ""
    return CannotWrite(f"{what}: {reason(error)}", place=place, fix=fix)


def _descriptor(path: str) -> int | None:
    """The N of /dev/fd/N, and what /dev/stdout and other links to it come down to; else None.

    Opening these anew would start at the first byte of a file that stdout is redirected to, and
    fails for a socket; replacing what they lead to would write another file than the one that is open.
    """
    for _ in range(40):  # as many links as Linux follows
        folder, name = os.path.split(path)
        if name.isdecimal() and os.path.realpath(folder) in map(os.path.realpath, _DESCRIPTORS):
            return int(name)
        if not os.path.islink(path):
            break
        path = os.path.join(folder, os.readlink(path))
    return None


def _duplicate(fd: int) -> int:
    import fcntl  # for this rare case only

    if fcntl.fcntl(fd, fcntl.F_GETFL) & os.O_ACCMODE == os.O_RDONLY:
        raise OSError(errno.EBADF, "it is open for reading only")
    return os.dup(fd)


def _connect(path: str) -> int:
    import socket  # for this rare case only

    with socket.socket(socket.AF_UNIX) as connection:
        connection.connect(path)
        return connection.detach()
