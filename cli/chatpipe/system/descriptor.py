"""Bytes -> a descriptor, unbuffered: stdout, or anything but a regular file that `-o` names.

When write returns, the system has the data. The next command of the pipe therefore sees each piece as it
arrives, and a killed run leaves everything that it received.
"""

from __future__ import annotations

import contextlib
import errno
import os
import select
import stat
from types import FrameType, TracebackType
from typing import Protocol, Self

from chatpipe.errors import CannotWrite, reason
from chatpipe.system.escape import ByteEscaper
from chatpipe.system.same_file import descriptor_of
from chatpipe.system.signals import end_at_second_signal, interruptible
from chatpipe.system.strangers import refuse_stranger

_FIXES = {
    errno.ENOSPC: "free some space",
    errno.EDQUOT: "free some of your quota",
    errno.EFBIG: "raise the limit that 'ulimit -f' shows",
    errno.EMFILE: "raise the limit that 'ulimit -n' shows",
}


class Sink(Protocol):
    """The output of a format. write raises CannotWrite, or BrokenPipe if the reader is gone."""

    def write(self, data: bytes) -> None: ...


class BrokenPipe(Exception):
    """The reader has gone away. This is no fault: a filter then ends silently, as by SIGPIPE."""


class DescriptorOutput:
    """An unbuffered output to a descriptor, also for a FIFO or a device named by `-o`.

    On a terminal, control characters are escaped unless escape is False. An incomplete character is then
    buffered until the rest of it arrives. Anywhere else bytes pass unchanged.
    """

    def __init__(self, fd: int, name: str, *, escape: bool = True, close: bool = False) -> None:
        """Write to fd, which errors call name. close: we own the descriptor and close it at the end."""
        self._fd = fd
        self._name = name
        self._close = close
        self._escaper = ByteEscaper() if escape and os.isatty(fd) else None

    def write(self, data: bytes) -> None:
        self._write(self._escaper.feed(data) if self._escaper else data)

    def check_room(self) -> None:
        """Raise CannotWrite if this is a regular file on a disk that is full."""
        with contextlib.suppress(OSError):
            if not stat.S_ISREG(os.fstat(self._fd).st_mode):
                return
        refuse_full_disk(self._fd, self._name)

    def commit(self) -> None:
        """Flush, and let a network file system report now that it has stored nothing."""
        self._flush()
        try:
            os.close(os.dup(self._fd))  # NFS and quotas report errors at close, and we do not own stdout
        except InterruptedError:  # it is closed, and nothing is lost
            return
        except OSError as error:
            raise cannot_write(self._name, error) from error

    def keep_part(self) -> str | None:
        """Flush, and return None: everything has been written, so there is no partial file."""
        self._flush()
        return None

    def discard(self) -> None:
        """Close a descriptor that we own. Nothing written is undone. May be called again."""
        if self._close:
            self._close = False
            close_quietly(self._fd)  # commit() reports failures

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
            raise cannot_write(self._name, error) from error


class Stdout(DescriptorOutput):
    """An output to descriptor 1, which must be open."""

    def __init__(self, *, escape: bool = True, fd: int = 1) -> None:
        super().__init__(fd, "stdout", escape=escape)


def is_stdout(path: str) -> bool:
    """Return True if path is a name of stdout, whatever it leads to."""
    return path == "-" or descriptor_of(path) == 1


def is_special(path: str) -> bool:
    """Return True if path is written directly: a descriptor, a device, a FIFO or a socket.

    Raises CannotWrite if that cannot be known.
    """
    try:
        return descriptor_of(path) is not None or not _is_replaceable(os.stat(path))
    except FileNotFoundError:
        return False
    except (OSError, ValueError) as error:  # ValueError: a NUL in the name
        raise cannot_write(path, error) from error


def open_special(path: str, *, escape: bool = True) -> DescriptorOutput | None:
    """Open a special file for writing; return None for a regular file, a missing one, or a directory.

    Opening a FIFO waits for its reader, as in a shell. Raises CannotWrite with path as its place.
    """
    try:
        if (descriptor := descriptor_of(path)) is not None:
            return DescriptorOutput(_duplicate(descriptor), path, escape=escape, close=True)
        status = os.stat(path)
        if _is_replaceable(status):
            return None
        fd = _connect(path) if stat.S_ISSOCK(status.st_mode) else _open_for_writing(path)
        return DescriptorOutput(fd, path, escape=escape, close=True)
    except FileNotFoundError:
        return None
    except (OSError, ValueError) as error:  # ValueError: a NUL in the name
        raise cannot_write(path, error) from error


def open_emptied(path: str) -> DescriptorOutput:
    """Open a regular file for writing, created or emptied. Raises CannotWrite with path as its place."""
    try:
        fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC | os.O_NOCTTY, 0o666)
        try:
            refuse_stranger(path, os.fstat(fd))
            os.ftruncate(fd, 0)
        except BaseException:
            close_quietly(fd)
            raise
    except (OSError, ValueError) as error:  # ValueError: a NUL in the name
        raise cannot_write(path, error) from error
    return DescriptorOutput(fd, path, close=True)


def write_all(fd: int, data: bytes | bytearray) -> None:
    """Write all of data, however few bytes the system accepts at a time. Raises OSError.

    A descriptor may be non-blocking although we did not request it: the flag belongs to the open file
    description, which a shell, ssh or an event loop at the other end of a pty may share with us.
    """
    rest = memoryview(data)
    while rest:
        try:
            rest = rest[os.write(fd, rest) :]
        except BlockingIOError:
            poll = select.poll()
            poll.register(fd, select.POLLOUT)
            poll.poll()  # an error or a hang-up ends the wait too, and the next write reports it


def _waits_for_reader(frame: FrameType) -> bool:
    """Return True for the frame of a write that waits for the reader of a pipe, a terminal or a socket."""
    if frame.f_code is not write_all.__code__:
        return False
    poll = select.poll()
    poll.register(frame.f_locals["fd"], select.POLLOUT)
    return not poll.poll(0)


end_at_second_signal(_waits_for_reader)


def refuse_full_disk(file: int | str, name: str) -> None:
    """Raise CannotWrite, with name as its place, if the disk of a regular file or a folder is full.

    A file system that does not say its size counts as one with room.
    """
    try:
        room = os.statvfs(file)
    except OSError:
        return
    free = room.f_bavail if os.geteuid() else room.f_bfree  # some blocks are for root alone
    if room.f_blocks and not free:
        raise cannot_write(name, OSError(errno.ENOSPC, os.strerror(errno.ENOSPC)))


def close_quietly(fd: int) -> None:
    """Close a descriptor whose failure to close says nothing: it is read only, or its data is synced.

    After an error the descriptor is closed all the same, as Linux has it.
    """
    with contextlib.suppress(OSError):
        os.close(fd)


def cannot_write(place: str, error: OSError | ValueError, what: str = "cannot write") -> CannotWrite:
    """The system's error as a CannotWrite, with its notes (PEP 678).

    place is the file name that the user gave, or `stdout`.
    """
    fixes = filter(None, (*getattr(error, "__notes__", ()), system_remedy(error)))
    return CannotWrite(f"{what}: {reason(error)}", place=place, fix=", ".join(fixes))


def system_remedy(error: Exception) -> str:
    """The remedy for an error of the system, if there is one."""
    return _FIXES.get(error.errno or 0, "") if isinstance(error, OSError) else ""


def _is_replaceable(status: os.stat_result) -> bool:
    """Return True for a regular file, and for a directory, which is refused where files are replaced."""
    return stat.S_ISREG(status.st_mode) or stat.S_ISDIR(status.st_mode)


def _open_for_writing(path: str) -> int:
    with interruptible():  # it waits for the reader of a FIFO
        return os.open(path, os.O_WRONLY | os.O_CLOEXEC | os.O_NOCTTY)


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
