"""`-o FILE` and side files: a file is replaced whole on success, and otherwise not touched.

Data goes to a temporary file in the directory of the file, or of the target of a link. Creating it is
tried before anything is sent, so that a missing or read-only directory costs nothing. It exists from the
first byte on, so that a run killed earlier leaves nothing behind. What a run leaves that is killed later
goes when the next one opens the same file. commit() renames the temporary file over the file, keep_part()
keeps it as FILE.chatpipe-part. Leaving the `with` block in any other way removes it.
At the end of a run the side files are written first, then commit() is called.
"""

from __future__ import annotations

import contextlib
import errno
import os
import stat
from types import TracebackType
from typing import Protocol, Self

from chatpipe.errors import CannotWrite, reason
from chatpipe.options.output import PART_SUFFIX
from chatpipe.system import atomic
from chatpipe.system.descriptor import (
    Stdout,
    cannot_write,
    close_quietly,
    is_special,
    open_special,
    refuse_full_disk,
    write_all,
)
from chatpipe.system.same_file import is_current, resolve_path
from chatpipe.system.strangers import refuse_stranger

_BLOCK_BYTES = 1 << 18
_MOST_NAME_BYTES = 255  # of nearly all file systems


class ResultOutput(Protocol):
    """A sink for a result, with three ends: commit it, keep it as a partial file, or discard it."""

    def check_room(self) -> None: ...
    def write(self, data: bytes) -> None: ...
    def commit(self) -> None: ...
    def keep_part(self) -> str | None: ...
    def discard(self) -> None: ...
    def __enter__(self) -> Self: ...
    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None: ...


def open_output(
    path: str, *, special: bool | None = None, if_changed: bool = False, escape: bool = True
) -> ResultOutput:
    """Open the output of `-o path`: stdout for `-`, a special file itself, or else a Replacement.

    special is what is_special(path) said earlier, None to ask it now. A path that has become something
    else since is refused.
    Opening a FIFO waits for its reader, as in a shell. Raises CannotWrite with path as its place.
    """
    if path == "-":
        return Stdout(escape=escape)
    if not (is_special(path) if special is None else special):
        return Replacement(path, if_changed=if_changed)
    output = open_special(path, escape=escape)
    if output is None:
        raise CannotWrite("is no longer a device or pipe", place=path, fix="run the same command again")
    return output


def write_side_file(path: str, data: bytes, *, if_changed: bool = False) -> None:
    """Write a small file whole or not at all, and leave no FILE.chatpipe-part. Raises CannotWrite."""
    with open_output(path, if_changed=if_changed) as out:
        out.write(data)
        if isinstance(out, Replacement):
            out.replace()
        else:
            out.commit()


def check_side_file(path: str) -> None:
    """Raise CannotWrite if the file could not be written at the end. Devices and pipes are not tried."""
    if path != "-" and not is_special(path):
        Replacement(path)


class Replacement:
    """The replacement of a regular file: atomic, synced to disk, with the same mode, through links.

    Owner and group are kept if the system permits it. Other hard links keep the old content. A file
    without write permission is refused, although a rename could replace it: whoever removed the
    permission wants to keep the content.
    """

    def __init__(self, path: str, *, if_changed: bool = False) -> None:
        """Check that the file can be replaced. Raises CannotWrite.

        if_changed: leave a file that already has the same content alone, including its times.
        """
        self._path = path
        self._if_changed = if_changed
        self._temporary = ""  # empty while there is none
        self._fd = -1
        self._is_closed = False
        self._has_written = False
        try:
            self._target = resolve_path(path)
            self._old = _stat_old(path)
        except (OSError, ValueError) as error:  # ValueError: a NUL in the name
            raise cannot_write(path, error) from error
        atomic.remove_abandoned(self._target)
        self._create_temporary()
        self._remove_temporary()

    def check_room(self) -> None:
        """Raise CannotWrite if the disk is full."""
        refuse_full_disk(os.path.dirname(self._target) or ".", self._path)

    def write(self, data: bytes) -> None:
        fd = self._descriptor()
        try:
            write_all(fd, data)
            self._has_written = True
        except OSError as error:
            raise cannot_write(self._path, error) from error

    def commit(self) -> None:
        """Replace the file with the new content, and remove the FILE.chatpipe-part of an earlier failure.

        If that fails, keep the content as FILE.chatpipe-part and raise CannotWrite, which names it.
        """
        try:
            self.replace()
        except CannotWrite as fault:
            if part := self.keep_part():
                fault.fix = f"what arrived is in '{part}'"
            raise
        self._remove_part()

    def replace(self) -> None:
        """commit(), but without keeping the content when CannotWrite is raised."""
        fd = self._descriptor()
        try:
            if not (self._if_changed and _has_content_of(self._target, fd)):
                os.fsync(fd)
                self._rename(self._target)
                atomic.sync_directory(os.path.dirname(self._target))
        except OSError as error:
            raise cannot_write(self._path, error, "cannot replace the file") from error
        self.discard()

    def keep_part(self) -> str | None:
        """Keep the content as FILE.chatpipe-part, and replace an older one, unless that has it all, and more.

        Returns its name, or None if there is no content. It is placed beside FILE as the user named it.
        If that is impossible (FILE is a link into another file system), it is placed beside the target of
        the link, and a name that would be too long is cut. If all of that fails, CannotWrite names the
        temporary file, which stays.
        """
        if not self._has_content():
            self.discard()
            return None
        if (longer := next(filter(self._is_beginning_of, self._part_names()), None)) is not None:
            self.discard()
            return longer
        with contextlib.suppress(OSError):  # a failing disk may still return what it stored
            os.fsync(self._fd)
        try:
            part = self._rename_to_part()
        except OSError as error:
            kept = self._keep_temporary()
            self.discard()
            what = f"cannot keep the answer as '{self._path}{PART_SUFFIX}': {reason(error)}"
            raise CannotWrite(what, place=self._path, fix=f"it is in '{kept}'") from error
        self.discard()
        return part

    def discard(self) -> None:
        """Remove the content unless it was committed or kept. May be called again."""
        self._is_closed = True
        self._remove_temporary()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.discard()

    def _descriptor(self) -> int:
        """The descriptor of the temporary file, which is created on first use. Raises CannotWrite."""
        if self._fd < 0 and not self._is_closed:
            self._create_temporary()
        return self._fd

    def _create_temporary(self) -> None:
        mode = 0o666 if self._old is None else 0o600
        try:
            # O_RDWR: --if-changed reads the new content back
            self._temporary, self._fd = atomic.create_temporary(self._target, mode, os.O_RDWR)
        except OSError as error:
            folder = os.path.dirname(self._target)
            raise cannot_write(self._path, error, f"cannot make a file in '{folder}'") from error
        try:
            if self._old is not None:
                _copy_attributes(self._fd, self._old)
        except BaseException:
            self.discard()
            raise

    def _has_content(self) -> bool:
        try:
            return self._fd >= 0 and os.fstat(self._fd).st_size > 0
        except OSError:
            return self._has_written

    def _is_beginning_of(self, path: str) -> bool:
        """Return True if a regular file begins with the content, and has more."""
        with contextlib.suppress(OSError):
            status = os.stat(path)
            if stat.S_ISREG(status.st_mode) and status.st_size > os.fstat(self._fd).st_size:
                return _begins_with_content_of(path, self._fd)
        return False

    def _remove_temporary(self) -> None:
        self._close()
        atomic.remove_temporary(self._temporary)

    def _rename(self, name: str) -> None:
        """Give the temporary file another name. Raises OSError.

        A file server may do it and lose its reply: the error is none if the name is that of our file.
        """
        try:
            os.replace(self._temporary, name)
        except OSError:
            with contextlib.suppress(OSError):
                if is_current(name, self._fd):
                    return
            raise

    def _part_names(self) -> list[str]:
        """The names of a partial file, the best first."""
        names = [f"{self._path}{PART_SUFFIX}", f"{self._target}{PART_SUFFIX}"]
        folder, name = os.path.split(self._target)
        if len(os.fsencode(name)) > _MOST_NAME_BYTES - len(PART_SUFFIX):
            names.append(os.path.join(folder, f"{atomic.truncate_name(name)}{PART_SUFFIX}"))
        return names

    def _rename_to_part(self) -> str:
        """Rename the temporary file and return its new name. Raises the OSError of the last name tried."""
        *names, last = self._part_names()
        for part in names:
            with contextlib.suppress(OSError):
                self._rename(part)
                return part
        self._rename(last)
        return last

    def _keep_temporary(self) -> str:
        """Let the temporary file stay. Its new name differs from those that remove_abandoned removes."""
        kept = f"{self._temporary}.part"
        try:
            self._rename(kept)
        except OSError:
            kept = self._temporary
        atomic.keep_temporary(self._temporary)
        return kept

    def _remove_part(self) -> None:
        for part in self._part_names():
            with contextlib.suppress(OSError):  # none is there, or it is a directory
                os.unlink(part)

    def _close(self) -> None:
        if self._fd >= 0:
            fd, self._fd = self._fd, -1
            close_quietly(fd)


def _stat_old(path: str) -> os.stat_result | None:
    """The status of the file to replace; None if there is none. Raises OSError if it cannot be replaced."""
    if not path:
        raise FileNotFoundError(errno.ENOENT, "the name is empty")
    try:
        old = os.stat(path)
    except FileNotFoundError:
        if path.endswith("/"):
            raise
        return None
    if stat.S_ISDIR(old.st_mode):
        raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR))
    if not stat.S_ISREG(old.st_mode):
        raise OSError(errno.EINVAL, "it has become a device or a pipe")
    refuse_stranger(path, old)
    if not os.access(path, os.W_OK, effective_ids=os.access in os.supports_effective_ids):
        # os.access hides the cause, which may be another one.
        close_quietly(os.open(path, os.O_WRONLY | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC))
    return old


def _copy_attributes(fd: int, old: os.stat_result) -> None:
    """Give the new file the owner, group and mode of the old one, as far as the system permits.

    Setuid, setgid and sticky bits are not copied: they were granted to the old content.
    """
    with contextlib.suppress(OSError):
        os.fchown(fd, -1, old.st_gid)
    with contextlib.suppress(OSError):  # only root may give a file away
        os.fchown(fd, old.st_uid, -1)
    with contextlib.suppress(OSError):  # some file systems have no modes
        os.fchmod(fd, old.st_mode & 0o777)


def _has_content_of(path: str, fd: int) -> bool:
    """Return True if both files have the same bytes. An unreadable file counts as different."""
    with contextlib.suppress(OSError):
        return os.stat(path).st_size == os.fstat(fd).st_size and _begins_with_content_of(path, fd)
    return False


def _begins_with_content_of(path: str, fd: int) -> bool:
    """Return True if the file begins with all bytes of the other one. Raises OSError."""
    with open(path, "rb") as file:
        offset = 0
        while block := os.pread(fd, _BLOCK_BYTES, offset):
            if file.read(len(block)) != block:
                return False
            offset += len(block)
    return True
