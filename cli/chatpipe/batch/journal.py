"""What a run is answered, written down as it comes: killed at any byte, it has lost nothing.

A journal is a header line, then result lines as they are written to OUT; whoever holds its lock may
append, and only complete lines count. Order in a run: open the Journal, which drops what an earlier
run left half-written; load what is recorded (batch/recorded.py); `append` each answer before it is
counted; in the end the journal is closed, or removed when OUT has it all.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import stat
import time
from collections.abc import Callable, Iterable
from itertools import chain
from types import TracebackType
from typing import Self

from chatpipe import __version__
from chatpipe.errors import BadInput, CannotWrite, MissingInput, TryLater, reason
from chatpipe.inputs import values
from chatpipe.inputs.values import NotJSON

VERSION = 1
_HEADER_START = b'{"chatpipe_journal":'
_HEADER = _HEADER_START + f'{VERSION},"chatpipe":"{__version__}"}}\n'.encode()
# What is above it was left over by runs that came to their end: no part of what this job has cost.
_MARK = _HEADER_START + f'{VERSION},"chatpipe":"{__version__}","finished":true}}\n'.encode()

# O_APPEND: the end is where the file ends, whatever else writes to it. O_NOFOLLOW: the name is made
# by suffix, so that in a directory open to all another user may have put a link there.
_OPEN = os.O_RDWR | os.O_CREAT | os.O_APPEND | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC
_COPY = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
_BLOCK_BYTES = 1 << 18
_HEAD_BYTES = 4096
_NAME_BYTES = 120  # of the journal's, in that of a temporary file: see output/files.py
_SYNC_EVERY_S = 1.0
# the file's size goes to disk with it, its times need not. macOS has only fsync
_sync = getattr(os, "fdatasync", os.fsync)


class Journal:
    """A journal that is this run's until it ends: locked, and open for one complete line after another."""

    def __init__(
        self,
        path: str,
        clock: Callable[[], float] = time.monotonic,
        *,
        notice: Callable[[str], None] = lambda text: None,
    ) -> None:
        """Make the file, or go on with it; a torn last line is dropped.

        clock gives seconds. notice is told what became of a file that somebody removed or renamed.
        Raises TryLater when another run holds it, BadInput for what is no journal, which is not
        touched, and CannotWrite.
        """
        self.path = path
        self._clock = clock
        self._notice = notice
        self._torn: int | None = None  # where a line begins that may be there in part
        self._fd = _own(path)
        try:
            self._continue()
        except BaseException:
            self._release()
            raise
        self._synced = clock()

    def fileno(self) -> int:
        return self._fd

    def append(self, line: bytes) -> int:
        """Add a line, given without its newline: when this returns, killing the run cannot lose it.

        Returns the offset at which it begins. Raises CannotWrite; the lines before it then stay whole.
        """
        if b"\n" in line:
            raise ValueError("a record is one line")
        try:
            self._drop_torn()
            start = self._torn = self._end()
            _write_all(self._fd, line + b"\n")
            self._torn = None
        except OSError as error:
            with contextlib.suppress(OSError):  # else before the next line, or when the journal is opened
                self._drop_torn()
            raise self._failure("cannot write the journal", error) from error
        if self._clock() - self._synced >= _SYNC_EVERY_S:
            self.sync()
        return start

    def sync(self) -> None:
        """Wait until a power failure could lose no line. append does it once a second. Raises CannotWrite."""
        try:
            _sync(self._fd)
        except OSError as error:
            raise self._failure("cannot write the journal", error) from error
        self._synced = self._clock()

    def close(self) -> None:
        """Keep the journal and give up its lock. May be called again.

        One that somebody removed during the run is written anew. Raises CannotWrite when the answers
        could not be kept.
        """
        if self._fd < 0:
            return
        try:
            with contextlib.suppress(OSError):
                self._drop_torn()
            self.sync()
            if not _leads_to(self.path, self._fd):
                self._rescue()
        except OSError as error:
            raise self._failure("cannot read the journal", error) from error
        finally:
            self._release()

    def keep_only(self, lines: Iterable[bytes]) -> None:
        """Keep these lines alone, as a job has come to its end, and give up the lock. A mark follows them.

        Where that cannot be written all stays as it is. Raises as close does.
        """
        with contextlib.suppress(OSError, MissingInput):
            if self._fd >= 0 and _leads_to(self.path, self._fd):
                self._rewrite(lines)
        self.close()

    def remove(self) -> None:
        """Remove the journal, unless the name leads to another file by now. Raises CannotWrite."""
        try:
            if self._fd >= 0 and _leads_to(self.path, self._fd):
                os.unlink(self.path)
        except OSError as error:
            raise self._failure("cannot remove the journal", error) from error
        finally:
            self._release()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if error is None:
            self.close()
            return
        try:
            self.close()
        except CannotWrite as fault:  # the error on its way is the cause, and goes first
            self._notice(str(fault))

    def _continue(self) -> None:
        """Bring the file into the state in which a line can follow."""
        try:
            head = os.pread(self._fd, _HEAD_BYTES, 0)
            if _is_torn_header(head):
                os.ftruncate(self._fd, 0)
                self._end()
                _sync_directory(os.path.dirname(self.path))
                return
            _check_header(head, self.path)
            self._mend_tail()
        except OSError as error:
            raise self._failure("cannot write the journal", error) from error

    def _mend_tail(self) -> None:
        """Drop a last line that is not all there. All there but for its newline, it is an answer."""
        size = os.fstat(self._fd).st_size
        start = _last_line(self._fd, size)
        if start == size:
            return
        if _is_json(os.pread(self._fd, size - start, start)):
            _write_all(self._fd, b"\n")
        else:
            os.ftruncate(self._fd, start)

    def _end(self) -> int:
        """The offset of the next line. A file that is empty, or was emptied by somebody, gets its header."""
        end = os.lseek(self._fd, 0, os.SEEK_END)
        if end == 0:
            _write_all(self._fd, _HEADER)
            end = len(_HEADER)
        return end

    def _drop_torn(self) -> None:
        if self._torn is not None:
            os.ftruncate(self._fd, self._torn)
            self._torn = None

    def _rescue(self) -> None:
        """The name leads elsewhere: save the answers if nothing but our descriptor holds them any more."""
        if os.fstat(self._fd).st_nlink:
            self._notice(
                f"{self.path}: the journal was renamed during the run: its answers are under the new name"
            )
            return
        for path in (self.path, f"{self.path}.part"):
            try:
                _copy(self._fd, path)
            except FileExistsError:
                continue
            except OSError as error:
                what = "the journal was removed during the run and cannot be written anew"
                raise self._failure(what, error) from error
            self._notice(
                f"{self.path}: the journal was removed during the run: its answers were saved as '{path}'"
            )
            return
        what = "the journal was removed during the run, and others have taken its name"
        raise CannotWrite(what, place=self.path)

    def _rewrite(self, lines: Iterable[bytes]) -> None:
        folder, name = os.path.split(self.path)
        start = os.fsencode(name)[:_NAME_BYTES].decode(errors="ignore")
        temporary = os.path.join(folder, f".{start}.{os.urandom(6).hex()}.tmp")
        mode = stat.S_IMODE(os.fstat(self._fd).st_mode)
        try:
            _write_new(temporary, mode, chain((_HEADER,), (line + b"\n" for line in lines), (_MARK,)))
            os.replace(temporary, self.path)
        except BaseException:
            with contextlib.suppress(OSError):
                os.unlink(temporary)
            raise
        _sync_directory(folder)
        self._release()

    def _release(self) -> None:
        if self._fd >= 0:
            fd, self._fd = self._fd, -1
            with contextlib.suppress(OSError):  # a duplicate of the descriptor would keep the lock
                fcntl.flock(fd, fcntl.LOCK_UN)
            os.close(fd)

    def _failure(self, what: str, error: OSError) -> CannotWrite:
        fix = "the answers before are safe: free some space and run the same command again"
        is_full = error.errno in (errno.ENOSPC, errno.EDQUOT)
        return CannotWrite(f"{what}: {reason(error)}", place=self.path, fix=fix if is_full else "")


def _own(path: str) -> int:
    """A descriptor of the file, which is there and locked. Raises as Journal does."""
    while True:
        fd = _open(path)
        try:
            _lock(fd, path)
            if _leads_to(path, fd):
                return fd
        except OSError as error:
            os.close(fd)
            raise CannotWrite(f"cannot open the journal: {reason(error)}", place=path) from error
        except BaseException:
            os.close(fd)
            raise
        os.close(fd)  # the run that held the lock has removed the file: what is written there is lost


def _open(path: str) -> int:
    try:
        with contextlib.suppress(FileNotFoundError):
            _refuse_special(os.lstat(path), path)  # before opening, which may rewind a tape or wait
        fd = os.open(path, _OPEN, 0o666)
    except (OSError, ValueError) as error:
        raise CannotWrite(f"cannot open the journal: {reason(error)}", place=path) from error
    try:
        _refuse_special(os.fstat(fd), path)
    except BadInput:
        os.close(fd)
        raise
    return fd


def _refuse_special(found: os.stat_result, path: str) -> None:
    if not stat.S_ISREG(found.st_mode):
        kinds = {stat.S_IFLNK: "a symbolic link", stat.S_IFDIR: "a directory"}
        kind = kinds.get(stat.S_IFMT(found.st_mode), "a device or pipe")
        raise BadInput(f"is {kind}, not a journal", place=path, fix="name a file with --journal")


def _lock(fd: int, path: str) -> None:
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as error:
        raise TryLater(
            "another run holds this journal", place=path, fix="wait until it has ended, or name another file"
        ) from error
    except OSError as error:  # ENOLCK, EOPNOTSUPP: network file systems
        raise CannotWrite(
            f"cannot lock the journal: {reason(error)}",
            place=path,
            fix="name a file on a local disk with --journal",
        ) from error


def _leads_to(path: str, fd: int) -> bool:
    try:
        return os.path.samestat(os.lstat(path), os.fstat(fd))
    except (FileNotFoundError, NotADirectoryError):
        return False


def _is_torn_header(head: bytes) -> bool:
    """Whether a run was cut off while it made the file: there is nothing, or not all of a header."""
    if b"\n" in head or len(head) == _HEAD_BYTES or _is_json(head):
        return False
    return head.startswith(_HEADER_START) or _HEADER_START.startswith(head)


def _check_header(head: bytes, path: str) -> None:
    version = _version(head.partition(b"\n")[0])
    if version is None:
        raise BadInput("is not a journal of chatpipe", place=path, fix="name another file with --journal")
    if version > VERSION:
        raise BadInput(
            f"was written by a newer chatpipe (journal version {version})",
            place=path,
            fix="go on with that one, or start another file with --journal",
        )


def _version(line: bytes) -> int | None:
    """The version that a header line tells; None for any other line."""
    try:
        header = values.loads(line)
    except NotJSON:
        return None
    version = header.get("chatpipe_journal") if type(header) is dict else None
    return version if type(version) is int and version > 0 else None


def _is_json(data: bytes) -> bool:
    try:
        values.loads(data)
    except NotJSON:
        return False
    return True


def _last_line(fd: int, size: int) -> int:
    """The offset behind the last newline; size when that is the last byte."""
    end = size
    while end > 0:
        start = max(0, end - _BLOCK_BYTES)
        found = os.pread(fd, end - start, start).rfind(b"\n")
        if found >= 0:
            return start + found + 1
        end = start
    return 0


def _write_all(fd: int, data: bytes) -> None:
    """One write, and more only when the system takes a part: at the end of the disk, or of a quota."""
    done = os.write(fd, data)
    while done < len(data):
        done += os.write(fd, memoryview(data)[done:])


def _copy(fd: int, path: str) -> None:
    """All of an open file to a new one. Raises OSError, FileExistsError among them."""
    offsets = range(0, os.fstat(fd).st_size, _BLOCK_BYTES)
    blocks = (os.pread(fd, _BLOCK_BYTES, offset) for offset in offsets)
    _write_new(path, stat.S_IMODE(os.fstat(fd).st_mode), blocks)


def _write_new(path: str, mode: int, blocks: Iterable[bytes]) -> None:
    """A new file, on disk when this returns. Raises OSError, FileExistsError among them."""
    fd = os.open(path, _COPY, mode)
    try:
        for block in blocks:
            _write_all(fd, block)
        os.fsync(fd)
    finally:
        os.close(fd)


def _sync_directory(path: str) -> None:
    """Make a new name last through a power failure, where that can be asked for."""
    with contextlib.suppress(OSError):
        fd = os.open(path or ".", os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            os.fsync(fd)
        finally:
            os.close(fd)
