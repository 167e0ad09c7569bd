"""`-o FILE` and side files: a file is replaced whole when all went well, else it is not touched.

What is written goes to `.NAME.RANDOM.tmp` beside the file (beside what a link leads to). That it can
be made is tried before anything is sent, so that a directory that is missing or read-only costs
nothing; it is there from the first byte on, so that a run that is killed before leaves nothing.
commit() renames it over the file; keep_part() keeps it as FILE.part; leaving the `with` block in any
other way removes it. The order at the end of a run: the side files, then commit().
"""

from __future__ import annotations

import contextlib
import errno
import os
import stat
from collections.abc import Iterable
from types import TracebackType
from typing import Protocol, Self

from chatpipe.errors import CannotWrite, reason
from chatpipe.output.sink import Stdout, failure, special, write_all

# O_RDWR: --if-changed reads back what was written
_CREATE = os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
# of NAME in the names we make: with 18 more they fit into the 143 of eCryptfs, the strictest in use
_NAME_BYTES = 120
_PIECE_BYTES = 1 << 18

# the temporary files that exist or are about to
_unfinished: set[str] = set()


class Output(Protocol):
    """Where a result goes: a sink with a good end, an end that keeps what came, and none at all."""

    def write(self, data: bytes) -> None: ...
    def commit(self) -> None: ...
    def keep_part(self) -> str | None: ...
    def discard(self) -> None: ...
    def __enter__(self) -> Self: ...
    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None: ...


def open_output(path: str, *, if_changed: bool = False, escape: bool = True) -> Output:
    """What `-o path` means: stdout for `-`, the thing itself when it is no regular file, else a Replacement.

    Opening a FIFO waits for its reader, as in a shell. Raises CannotWrite with path as its place.
    """
    if path == "-":
        return Stdout(escape=escape)
    return special(path, escape=escape) or Replacement(path, if_changed=if_changed)


def write_side_file(path: str, data: bytes, *, if_changed: bool = False) -> None:
    """A small file, whole or not at all. Unlike commit() it leaves no FILE.part. Raises CannotWrite."""
    with open_output(path, if_changed=if_changed) as out:
        out.write(data)
        if isinstance(out, Replacement):
            out.replace()
        else:
            out.commit()


def try_side_file(path: str) -> None:
    """Raises CannotWrite for a file that could not be made at the end. Devices and pipes are left alone."""
    if path != "-" and (os.path.isfile(path) or os.path.isdir(path) or not os.path.exists(path)):
        Replacement(path)


def is_one_place(path: str, other: str) -> bool:
    """Whether two names lead to one file, which need not be there yet."""
    return (
        path == other
        or os.path.realpath(path) == os.path.realpath(other)
        or same_file(path, [other]) is not None
    )


def same_file(path: str | int, inputs: Iterable[str]) -> str | None:
    """The first of inputs that is the regular file path leads to, by whatever name or link; else None.

    path may be a descriptor; an input `-` is stdin. Devices and FIFOs may well be both read and written.
    """
    target = _stat(path) if path != "-" else None
    if target is None or not stat.S_ISREG(target.st_mode):
        return None
    for name in inputs:
        found = _stat(0 if name == "-" else name)
        if found is not None and os.path.samestat(found, target):
            return name
    return None


def discard_all() -> None:
    """Remove the temporary files of outputs that were neither committed nor kept.

    For the last lines of the program. A `with` block does the same, but a signal's exception may
    strike after the file has been made and before the block has been entered.
    """
    for path in tuple(_unfinished):
        _remove(path)


class Replacement:
    """A regular file that is to be replaced: atomically, on disk, with its mode, through links.

    Owner and group are kept where the system permits it. Other hard links keep the old content.
    A file that we may not write is refused although a rename would replace it, since someone
    who takes away the right to write wants the content to stay.
    """

    def __init__(self, path: str, *, if_changed: bool = False) -> None:
        """if_changed: a file that has the same content already stays as it is, its times included.

        Raises CannotWrite.
        """
        self._path = path
        self._if_changed = if_changed
        self._temporary = ""  # while there is none
        self._fd = -1
        self._is_over = False
        try:
            self._target = os.path.realpath(path)
            self._old = _old(path)
        except (OSError, ValueError) as error:  # ValueError: a NUL in the name
            raise failure(path, error) from error
        self._make()
        self._unmake()

    def write(self, data: bytes) -> None:
        try:
            write_all(self._made(), data)
        except OSError as error:
            raise failure(self._path, error) from error

    def commit(self) -> None:
        """Put what was written in the file's place.

        If that fails it is kept as FILE.part: CannotWrite says so.
        """
        try:
            self.replace()
        except CannotWrite as fault:
            if part := self.keep_part():
                fault.fix = f"what came is in '{part}'"
            raise

    def replace(self) -> None:
        """commit, but when CannotWrite is raised nothing is kept yet."""
        fd = self._made()
        try:
            if not (self._if_changed and _has_content_of(self._target, fd)):
                os.fsync(fd)
                os.replace(self._temporary, self._target)
                _sync_directory(os.path.dirname(self._target))
        except OSError as error:
            raise failure(self._path, error, "cannot replace the file") from error
        self.discard()

    def keep_part(self) -> str | None:
        """Keep what was written as FILE.part, in place of an older one. None: nothing was written.

        FILE.part is beside FILE as the user named it. If it cannot be there (FILE is a link into
        another file system) it is beside the file that FILE leads to, and a name that would be
        too long is cut. If all of that fails CannotWrite names the temporary file, which stays.
        """
        if self._fd < 0 or os.fstat(self._fd).st_size == 0:
            self.discard()
            return None
        with contextlib.suppress(OSError):  # a disk that fails now may still give back what it has
            os.fsync(self._fd)
        try:
            part = self._rename_to_part()
        except OSError as error:
            _unfinished.discard(self._temporary)
            self.discard()
            what = f"cannot keep the answer as '{self._path}.part': {reason(error)}"
            raise CannotWrite(what, place=self._path, fix=f"it is in '{self._temporary}'") from error
        self.discard()
        return part

    def discard(self) -> None:
        """Remove what was written, unless it was committed or kept. May be called again."""
        self._is_over = True
        self._unmake()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.discard()

    def _made(self) -> int:
        """The descriptor of the temporary file, which may not be there yet. Raises CannotWrite."""
        if self._fd < 0 and not self._is_over:
            self._make()
        return self._fd

    def _make(self) -> None:
        mode = 0o666 if self._old is None else 0o600
        try:
            self._temporary, self._fd = _create(self._target, mode)
        except OSError as error:
            folder = os.path.dirname(self._target)
            raise failure(self._path, error, f"cannot make a file in '{folder}'") from error
        try:
            if self._old is not None:
                _dress(self._fd, self._old)
        except BaseException:
            self.discard()
            raise

    def _unmake(self) -> None:
        self._close()
        _remove(self._temporary)

    def _rename_to_part(self) -> str:
        """The name it got. Raises OSError of the last name tried."""
        folder, name = os.path.split(self._target)
        for part in (f"{self._path}.part", f"{self._target}.part"):
            with contextlib.suppress(OSError):
                os.replace(self._temporary, part)
                return part
        part = os.path.join(folder, f"{_cut(name)}.part")
        os.replace(self._temporary, part)
        return part

    def _close(self) -> None:
        if self._fd >= 0:
            fd, self._fd = self._fd, -1
            os.close(fd)


def _create(target: str, mode: int) -> tuple[str, int]:
    """A new file beside target: its name, and a descriptor to write and read it."""
    folder, name = os.path.split(target)
    while True:
        temporary = os.path.join(folder, f".{_cut(name)}.{os.urandom(6).hex()}.tmp")
        _unfinished.add(temporary)  # before it exists: see discard_all
        try:
            return temporary, os.open(temporary, _CREATE, mode)
        except FileExistsError:  # another run's
            _unfinished.discard(temporary)
        except BaseException:
            _remove(temporary)
            raise


def _remove(temporary: str) -> None:
    if temporary in _unfinished:
        with contextlib.suppress(OSError):
            os.unlink(temporary)
        _unfinished.discard(temporary)


def _cut(name: str) -> str:
    encoded = os.fsencode(name)
    return name if len(encoded) <= _NAME_BYTES else encoded[:_NAME_BYTES].decode(errors="ignore")


def _old(path: str) -> os.stat_result | None:
    """The file to be replaced, None if there is none yet. Raises OSError for what cannot be one."""
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
    if not os.access(path, os.W_OK, effective_ids=os.access in os.supports_effective_ids):
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))
    return old


def _dress(fd: int, old: os.stat_result) -> None:
    """Give the new file the old one's owner, group and mode, as far as the system lets us.

    Not setuid and its like: they were granted to the old content.
    """
    with contextlib.suppress(OSError):
        os.fchown(fd, -1, old.st_gid)
    with contextlib.suppress(OSError):  # only root may give a file away
        os.fchown(fd, old.st_uid, -1)
    with contextlib.suppress(OSError):  # file systems without modes
        os.fchmod(fd, old.st_mode & 0o777)


def _has_content_of(path: str, fd: int) -> bool:
    """Whether the file fd is the same, byte by byte. A file that cannot be read is not."""
    with contextlib.suppress(OSError), open(path, "rb") as file:
        if os.fstat(file.fileno()).st_size != os.fstat(fd).st_size:
            return False
        offset = 0
        while piece := os.pread(fd, _PIECE_BYTES, offset):
            if file.read(len(piece)) != piece:
                return False
            offset += len(piece)
        return True
    return False


def _sync_directory(path: str) -> None:
    """Make a rename last through a power failure, where that can be asked for.

    A failure is passed over: the file has been replaced, so the run has to end in status 0.
    """
    with contextlib.suppress(OSError):
        fd = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            os.fsync(fd)
        finally:
            os.close(fd)


def _stat(file: str | int) -> os.stat_result | None:
    try:
        return os.stat(file)
    except (OSError, ValueError):
        return None
