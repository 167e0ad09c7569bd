"""The journal of a run: every answer is written to it at once, so a kill at any byte loses nothing.

A journal is a header line followed by result lines, as they are written to OUT. Only the holder of
its lock may append, and only complete lines count. A run opens the Journal, which drops a line that
an earlier run left incomplete; loads the recorded answers (batch/journal/answers.py); appends each answer
before it is counted; and finally closes the journal, or removes it if OUT has all answers.

Answers that jobs of a provider keep for the next run are written in blocks. Requests in flight have room on
the disk for their answers: if it fills up, these are written, and no more is sent.
"""

from __future__ import annotations

import contextlib
import os
import shlex
import stat
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import accumulate, chain
from types import TracebackType
from typing import Self

from chatpipe import __version__
from chatpipe.errors import BadInput, CannotWrite, MissingInput, TryLater, reason
from chatpipe.inputs import values
from chatpipe.inputs.values import NotJSON
from chatpipe.system.atomic import remove_abandoned, replace_whole, sync_directory, write_new
from chatpipe.system.descriptor import close_quietly, system_remedy, write_all
from chatpipe.system.disk_reserve import DiskReserve, largest_file, refuse_growth
from chatpipe.system.lock import open_current, try_lock, unlock
from chatpipe.system.regular_file import last_line, read_at, read_blocks
from chatpipe.system.same_file import is_current_entry
from chatpipe.system.strangers import refuse_stranger

VERSION = 1
_HEADER_START = b'{"chatpipe_journal":'
_HEADER = _HEADER_START + f'{VERSION},"chatpipe":"{__version__}"}}\n'.encode()
# A further header, after the answers of finished runs: they are no cost of the current run.
_FINISHED = _HEADER_START + f'{VERSION},"chatpipe":"{__version__}","finished":true}}\n'.encode()
# The same after answers that these runs did not use.
_UNUSED = _FINISHED.replace(b"}", b',"unused":true}')

# O_APPEND: write at the current end, whatever else writes to the file. O_NOFOLLOW: the name is OUT
# with a suffix, so in a world-writable directory another user may have put a link there.
_OPEN_FLAGS = (
    os.O_RDWR | os.O_CREAT | os.O_APPEND | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC
)
_HEAD_BYTES = 4096
_BLOCK_BYTES = 256 << 10
_SYNC_EVERY_S = 1.0
_LF = ord("\n")
_SEVERAL = "a record is one line"
# The room for one answer in flight: as much as the longest line took, between these, ...
_LINE_BYTES = 4 << 10
_LONG_LINE_BYTES = 64 << 10
# ... and that of all of them.
_MOST_ROOM_BYTES = 16 << 20
# fdatasync flushes the data and the size of the file, but not its times. macOS has only fsync.
_sync = getattr(os, "fdatasync", os.fsync)


class Journal:
    """A journal that this run has locked and appends complete lines to."""

    def __init__(
        self,
        path: str,
        clock: Callable[[], float] = time.monotonic,
        *,
        mode: int = 0o666,
        notice: Callable[[str], None] = lambda text: None,
    ) -> None:
        """Create the journal or continue an existing one; a torn last line is dropped.

        clock returns seconds. A new file has the bits of mode that the umask leaves. notice receives a
        message if somebody removed or renamed the file.
        Raises TryLater if another run holds the lock, BadInput for a file that is not a journal,
        which is left alone, and CannotWrite.
        """
        self.path = path
        self._clock = clock
        self._notice = notice
        self._torn: int | None = None  # offset of a line that may be incomplete
        self._block = bytearray()  # lines of append_later() that are not written yet
        self._block_at = 0  # the offset of the block
        self._longest = _LINE_BYTES
        self._reserve = DiskReserve(path)
        self._lines_with_room = 0
        self._largest = largest_file()
        self._is_new = not os.path.lexists(path)
        self._fd = _open_locked(path, mode)
        remove_abandoned(path)
        try:
            self._repair()
        except BaseException:
            with contextlib.suppress(OSError):
                if self._is_new and os.fstat(self._fd).st_size == 0:
                    os.unlink(path)
            self._release()
            raise
        self._synced = clock()

    def fileno(self) -> int:
        return self._fd

    def make_room(self, lines: int) -> None:
        """Make room on the disk for this many lines, whatever other files grow. Raises CannotWrite.

        append() uses it if there is no other.
        """
        if lines <= self._lines_with_room:
            return
        size = min(lines * self._longest, _MOST_ROOM_BYTES)
        try:
            if self._largest is not None:
                refuse_growth(self._fd, size, self._largest)
            if size > self._reserve.size:
                self._reserve.grow(size)
        except OSError as error:
            raise self._failure("no room for another answer", error) from error
        if self._largest is None:
            self._lines_with_room = lines

    def append(self, line: bytes) -> int:
        """Append a line, given without its newline. Once this returns, killing the run cannot lose it.

        Returns the offset of the line. Raises CannotWrite; the lines before it then stay intact.
        """
        if _LF in line:
            raise ValueError(_SEVERAL)
        self.flush()
        if len(line) > self._longest:
            self._longest = min(len(line), _LONG_LINE_BYTES)
            self._lines_with_room = 0
        return self._append(line + b"\n")

    def append_later(self, lines: Sequence[bytes]) -> Iterator[int]:
        """Append lines that are safe elsewhere. They are written with those after them, by flush().

        Returns the offset of each line. Raises like append().
        """
        text = b"".join(line + b"\n" for line in lines)
        if text.count(b"\n") != len(lines):
            raise ValueError(_SEVERAL)
        if not self._block:
            try:
                self._drop_torn()
                self._block_at = self._end()
            except OSError as error:
                raise self._failed_write(error) from error
        start = self._block_at + len(self._block)
        self._block += text
        if len(self._block) >= _BLOCK_BYTES:
            self.flush()
        return accumulate((len(line) + 1 for line in lines[:-1]), initial=start)

    def flush(self) -> None:
        """Write the lines of append_later(). Raises CannotWrite; they are then given up."""
        if not self._block:
            return
        block, self._block = self._block, bytearray()
        if self._append(block) != self._block_at:
            what, fix = "another program wrote to the journal", "run the same command again"
            raise CannotWrite(what, place=self.path, fix=fix)

    def sync(self) -> None:
        """Wait until a power failure can lose no line. append does so once a second. Raises CannotWrite."""
        self.flush()
        try:
            _sync(self._fd)
        except OSError as error:
            raise self._failed_write(error) from error
        self._synced = self._clock()

    def close(self, *, is_refused: bool = False) -> None:
        """Keep the journal and release its lock. May be called again.

        is_refused: the run is refused, and a new journal in which nothing was recorded is removed. If
        somebody removed the file during the run, it is written again. Raises CannotWrite if the answers
        cannot be kept.
        """
        if self._fd < 0:
            return
        try:
            with contextlib.suppress(OSError):
                self._drop_torn()
            self.sync()
            if not is_current_entry(self.path, self._fd):
                self._rescue()
            elif is_refused and self._is_new and os.fstat(self._fd).st_size == len(_HEADER):
                os.unlink(self.path)
        except OSError as error:
            raise self._failure("cannot read the journal", error) from error
        finally:
            self._release()

    def finish(self) -> None:
        """Keep the journal of a run that ended well: its answers are no cost of the next run. Closes it.

        Raises CannotWrite.
        """
        self.flush()
        try:
            end = self._end()
            start = last_line(self._fd, end - 1)
            is_marked = _version(read_at(self._fd, min(end - start, _HEAD_BYTES), start)) is not None
        except OSError as error:
            raise self._failure("cannot read the journal", error) from error
        if not is_marked:
            self._append(_FINISHED)
        self.close()

    def compact(self, blocks: Iterable[bytes]) -> None:
        """Replace the content by these unused answers and a header that says so, and release the lock.

        blocks are whole lines.

        For a run that ended well. If the new content cannot be written, the old one stays. Raises
        like close.
        """
        with contextlib.suppress(OSError, MissingInput):
            if self._fd >= 0 and is_current_entry(self.path, self._fd):
                self._rewrite(blocks)
        self.close()

    def remove(self) -> None:
        """Remove the journal, unless its name now leads to another file. Raises CannotWrite."""
        try:
            if self._fd >= 0 and is_current_entry(self.path, self._fd):
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
            self.close(is_refused=True)
        except CannotWrite as fault:  # the error being raised is the cause and must not be replaced
            self._notice(str(fault))

    def _repair(self) -> None:
        """Make the file ready for another line: write a missing header, drop a torn last line."""
        try:
            head = read_at(self._fd, _HEAD_BYTES, 0)
            if _is_torn_header(head):
                os.ftruncate(self._fd, 0)
                self._end()
                sync_directory(os.path.dirname(self.path))
                return
            if head.startswith(b"\0"):
                raise _zeroed(self.path, any(block.strip(b"\0") for block in read_blocks(self._fd)))
            _check_header(head, self.path)
            self._repair_tail()
        except OSError as error:
            raise self._failed_write(error) from error

    def _repair_tail(self) -> None:
        """Drop an incomplete last line. A line that lacks only its newline is an answer and stays."""
        size = os.fstat(self._fd).st_size
        start = last_line(self._fd, size)
        if start == size:
            return
        if values.is_json(read_at(self._fd, size - start, start)):
            write_all(self._fd, b"\n")
        else:
            os.ftruncate(self._fd, start)

    def _end(self) -> int:
        """Offset of the next line. An empty file gets its header, even if somebody emptied it."""
        end = os.lseek(self._fd, 0, os.SEEK_END)
        if end == 0:
            write_all(self._fd, _HEADER)
            end = len(_HEADER)
        return end

    def _append(self, lines: bytes | bytearray) -> int:
        """Append whole lines. Returns their offset. Raises CannotWrite."""
        try:
            try:
                start = self._write(lines)
            except OSError:  # a file server may fail for a moment, and nothing else has the answer
                self._reserve.release()
                self._lines_with_room = 0
                start = self._write(lines)
        except OSError as error:
            # If this fails too, the torn line goes before the next append or when the journal is opened.
            with contextlib.suppress(OSError):
                self._drop_torn()
            raise self._failed_write(error) from error
        if self._clock() - self._synced >= _SYNC_EVERY_S:
            self.sync()
        return start

    def _write(self, lines: bytes | bytearray) -> int:
        self._drop_torn()
        start = self._torn = self._end()
        write_all(self._fd, lines)  # one write, unless the disk or a quota is nearly full
        self._torn = None
        return start

    def _drop_torn(self) -> None:
        if self._torn is not None:
            os.ftruncate(self._fd, self._torn)
            self._torn = None

    def _rescue(self) -> None:
        """Handle a path that no longer leads to the journal: save the answers if no other name does."""
        if os.fstat(self._fd).st_nlink:
            self._notice(
                f"{self.path}: the journal was renamed during the run: its answers are under the new name"
            )
            return
        for path in (self.path, f"{self.path}.chatpipe-part"):
            try:
                write_new(path, stat.S_IMODE(os.fstat(self._fd).st_mode), read_blocks(self._fd))
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

    def _rewrite(self, blocks: Iterable[bytes]) -> None:
        mode = stat.S_IMODE(os.fstat(self._fd).st_mode)
        replace_whole(self.path, mode, chain((_HEADER,), blocks, (_UNUSED,)))
        self._release()

    def _release(self) -> None:
        self._reserve.release()
        if self._fd >= 0:
            fd, self._fd = self._fd, -1
            unlock(fd)
            close_quietly(fd)

    def _failed_write(self, error: OSError) -> CannotWrite:
        return self._failure("cannot write the journal", error)

    def _failure(self, what: str, error: OSError) -> CannotWrite:
        remedy = system_remedy(error)
        fix = f"the answers before are safe: {remedy} and run the same command again" if remedy else ""
        return CannotWrite(f"{what}: {reason(error)}", place=self.path, fix=fix)


def _open_locked(path: str, mode: int) -> int:
    """Open the file, creating it if necessary, and lock it. Raises like Journal."""
    try:
        return open_current(
            lambda: _open(path, mode), lambda fd: _lock(fd, path), lambda fd: is_current_entry(path, fd)
        )
    except OSError as error:
        raise CannotWrite(f"cannot open the journal: {reason(error)}", place=path) from error


def _open(path: str, mode: int) -> int:
    try:
        with contextlib.suppress(FileNotFoundError):
            # Before opening, because opening a device may rewind a tape or block.
            _refuse_special(os.lstat(path), path)
        fd = os.open(path, _OPEN_FLAGS, mode)
    except (OSError, ValueError) as error:
        raise CannotWrite(f"cannot open the journal: {reason(error)}", place=path) from error
    try:
        status = os.fstat(fd)
        _refuse_special(status, path)
        refuse_stranger(path, status)
    except (BadInput, CannotWrite):
        close_quietly(fd)
        raise
    return fd


def _refuse_special(status: os.stat_result, path: str) -> None:
    if not stat.S_ISREG(status.st_mode):
        kinds = {stat.S_IFLNK: "a symbolic link", stat.S_IFDIR: "a directory"}
        kind = kinds.get(stat.S_IFMT(status.st_mode), "a device or pipe")
        raise BadInput(f"is {kind}, not a journal", place=path, fix="name a file with --journal")


def _lock(fd: int, path: str) -> None:
    try:
        is_locked = try_lock(fd)
    except OSError as error:
        raise CannotWrite(
            f"cannot lock the journal: {reason(error)}",
            place=path,
            fix="name a file on a local disk with --journal",
        ) from error
    if not is_locked:
        raise TryLater(
            "another run holds this journal", place=path, fix="wait until it has ended, or name another file"
        )


def _is_torn_header(head: bytes) -> bool:
    """Return True if a run was killed while it created the file: the header is missing or incomplete."""
    if b"\n" in head or len(head) == _HEAD_BYTES or values.is_json(head):
        return False
    return head.startswith(_HEADER_START) or _HEADER_START.startswith(head)


def _zeroed(path: str, has_more: bool) -> BadInput:
    """The error for a file whose beginning is NULs: some file systems lose blocks in a power failure."""
    if not has_more:
        return BadInput("has only NUL bytes, as after a power failure", place=path, fix="remove it")
    name, old = shlex.quote(path), shlex.quote(f"{path}.old")
    fix = f"mv {name} {old}, then add --reuse {old} to use the answers that are left"
    return BadInput("begins with NUL bytes, as after a power failure", place=path, fix=fix)


def _check_header(head: bytes, path: str) -> None:
    version = _version(head.partition(b"\n")[0])
    if version is None:
        raise BadInput("is not a journal of chatpipe", place=path, fix="name another file with --journal")
    if version > VERSION:
        raise BadInput(
            f"was written by a newer chatpipe (journal version {version})",
            place=path,
            fix="use that version, or name another file with --journal",
        )


def _version(line: bytes) -> int | None:
    """The journal version in a header line; None for any other line."""
    try:
        header = values.loads(line)
    except NotJSON:
        return None
    version = header.get("chatpipe_journal") if type(header) is dict else None
    return version if type(version) is int and version > 0 else None


def is_header(line: bytes) -> bool:
    """Return True for the first line of a journal, and the last one of a finished run, of any version."""
    try:
        record = values.loads(line)
    except NotJSON:
        return False
    return type(record) is dict and "chatpipe_journal" in record
