"""The identity of files: two names, or a name and a descriptor, that refer to one file."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterable


def is_same_path(path: str, other: str) -> bool:
    """Return True if both names refer to the same file, which need not exist yet."""
    return (
        path == other
        or os.path.realpath(path) == os.path.realpath(other)
        or find_same_file(path, [other]) is not None
    )


def find_same_file(path: str | int, inputs: Iterable[str]) -> str | None:
    """The first of inputs that is the same regular file as path, by any name or link; None if there is none.

    path may be a descriptor; the input `-` is stdin. Devices and FIFOs are ignored, because they may be
    both read and written.
    """
    target = _stat(path) if path != "-" else None
    if target is None or not stat.S_ISREG(target.st_mode):
        return None
    for name in inputs:
        found = _stat(0 if name == "-" else name)
        if found is not None and os.path.samestat(found, target):
            return name
    return None


def is_current(path: str, fd: int) -> bool:
    """Return True if path refers to the file that is open as fd."""
    try:
        return os.path.samestat(os.stat(path), os.fstat(fd))
    except OSError:
        return False


def is_current_entry(path: str, fd: int) -> bool:
    """Return True if the directory entry path is the file that is open as fd, and not a link to it.

    Raises OSError for a path that cannot be followed.
    """
    try:
        return os.path.samestat(os.lstat(path), os.fstat(fd))
    except (FileNotFoundError, NotADirectoryError):
        return False


def _stat(file: str | int) -> os.stat_result | None:
    try:
        return os.stat(file)
    except (OSError, ValueError):
        return None
