"""The identity of files: names and descriptors of one file, which need not exist yet."""

from __future__ import annotations

import contextlib
import os
import stat
from collections.abc import Hashable

from chatpipe.named_tuple import NamedTuple

_STANDARD = {"/dev/stdin": 0, "/dev/stdout": 1, "/dev/stderr": 2}
_DESCRIPTORS = ("/dev/fd", "/proc/self/fd", "/proc/thread-self/fd")
_LINKS = 40  # the number of links that Linux follows


class FileId(NamedTuple):
    """The identity of a file. Two names with equal keys lead to one file.

    key is None for a device, a socket or a directory: any number of names may read and write it at once.
    descriptor is the N of /dev/fd/N.
    """

    key: Hashable | None
    descriptor: int | None = None


def identify(path: str) -> FileId:
    """The identity of the file at path, through links.

    That of a missing file is its real folder and its name there. A path that cannot be followed has no
    key, because opening it fails, too. Any relative one is such a path once the working directory is deleted.
    """
    descriptor = descriptor_of(path)
    try:
        status = os.stat(path if descriptor is None else descriptor)
    except FileNotFoundError:
        return FileId(_key_of_missing(path))
    except (OSError, ValueError):  # ValueError: a NUL in the name
        return FileId(None, descriptor)
    is_single = stat.S_ISREG(status.st_mode) or stat.S_ISFIFO(status.st_mode)
    return FileId((status.st_dev, status.st_ino) if is_single else None, descriptor)


def descriptor_of(path: str) -> int | None:
    """The N of /dev/fd/N, also by /dev/stdout and by links to it; None for any other path.

    Opening such a path again would start at the first byte of the file that stdout is redirected to, and
    fails for a socket. Replacing its target would write a different file from the one that is open.
    """
    for _ in range(_LINKS):
        if path in _STANDARD:  # also where /dev is incomplete
            return _STANDARD[path]
        folder, name = os.path.split(path)
        try:
            if name.isdecimal() and os.path.realpath(folder) in map(os.path.realpath, _DESCRIPTORS):
                return int(name)
            path = os.path.join(folder, os.readlink(path))
        except (OSError, ValueError):  # no link, or a NUL in the name
            return None
    return None


def resolve_path(path: str) -> str:
    """The path of a file, through links. The file need not exist. Raises OSError, ValueError for a NUL.

    A link that cannot be read for a moment is not taken for a file.
    """
    try:
        return os.path.realpath(path, strict=True)
    except FileNotFoundError:
        return os.path.realpath(path)


def is_current(path: str, fd: int) -> bool:
    """Return True if path refers to the file that is open as fd. Raises OSError if that cannot be known."""
    try:
        return os.path.samestat(os.stat(path), os.fstat(fd))
    except (FileNotFoundError, NotADirectoryError):
        return False


def is_current_entry(path: str, fd: int) -> bool:
    """Return True if the directory entry path is the file that is open as fd, and not a link to it.

    Raises OSError for a path that cannot be followed.
    """
    try:
        return os.path.samestat(os.lstat(path), os.fstat(fd))
    except (FileNotFoundError, NotADirectoryError):
        return False


def _key_of_missing(path: str) -> Hashable | None:
    try:
        real = os.path.realpath(path)
    except OSError:  # the working directory is deleted
        return None
    folder, name = os.path.split(real)
    try:
        status = os.stat(folder)
    except OSError:
        return real
    if name != name.swapcase() and _ignores_case(folder):
        import unicodedata  # for this rare case only

        name = unicodedata.normalize("NFC", name).casefold()
    return status.st_dev, status.st_ino, name


def _ignores_case(folder: str) -> bool:
    """Return True if names in the folder that differ in case are one. An entry is tried, or its own name."""
    path = folder
    with contextlib.suppress(OSError), os.scandir(folder) as entries:
        path = next((entry.path for entry in entries if entry.name != entry.name.swapcase()), folder)
    above, name = os.path.split(path)
    try:
        return name != name.swapcase() and os.path.samestat(
            os.lstat(path), os.lstat(os.path.join(above, name.swapcase()))
        )
    except OSError:
        return False
