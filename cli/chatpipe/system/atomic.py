"""Files written whole or not at all: to a new name, synced to disk, and renamed over the old file.

A temporary file is `.NAME.chatpipe-RANDOM` in the directory of the file NAME, because a rename cannot
leave a file system. Its maker holds a lock on it, so a file without a lock is left from a run that was
killed, and the next run with the same output removes it. This module knows all temporary files of the
process, so that its end can remove them.
"""

from __future__ import annotations

import contextlib
import os
import re
from collections.abc import Iterable
from itertools import islice

from chatpipe.system.descriptor import close_quietly, write_all
from chatpipe.system.lock import try_lock
from chatpipe.system.same_file import is_current_entry

_NEW = os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
# NONBLOCK and NOCTTY: the name may have become a FIFO or a terminal since it was listed.
_OLD = os.O_RDWR | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC
# bytes of NAME in temporary names: 23 more fit into the 143 of eCryptfs, the strictest limit in use
_NAME_BYTES = 120
_MARK = ".chatpipe-"
_RANDOM_BYTES = 6
_RANDOM = rf"[0-9a-f]{{{2 * _RANDOM_BYTES}}}"
# A larger directory is not searched to its end: 10,000 entries take 8 ms, and a loop that writes one
# file after the other into it would become quadratic.
_MOST_ENTRIES = 10_000

# temporary files that exist or are about to exist
_unfinished: set[str] = set()


def write_new(path: str, mode: int, blocks: Iterable[bytes]) -> None:
    """Write a new file and sync it to disk. Raises OSError, including FileExistsError."""
    fd = os.open(path, os.O_WRONLY | _NEW, mode)
    try:
        _fill(fd, blocks)
    finally:
        close_quietly(fd)


def replace_whole(path: str, mode: int, blocks: Iterable[bytes]) -> None:
    """Replace the file at path by a new one, which is synced to disk first. A link itself is replaced.

    Raises OSError, and everything that blocks raises. The old file then stays.
    """
    temporary, fd = create_temporary(path, mode, os.O_WRONLY)
    try:
        _fill(fd, blocks)
        os.replace(temporary, path)
    finally:
        close_quietly(fd)  # not earlier: the lock on it ends here
        remove_temporary(temporary)
    sync_directory(os.path.dirname(path))


def create_temporary(target: str, mode: int, access: int) -> tuple[str, int]:
    """Create a file beside target, and lock it.

    Returns its name, and a descriptor with the access of os.open, which holds the lock.
    """
    while True:
        temporary = f"{_temporary_prefix(target)}{os.urandom(_RANDOM_BYTES).hex()}"
        _unfinished.add(temporary)  # before it exists: see discard_all
        try:
            fd = os.open(temporary, access | _NEW, mode)
        except FileExistsError:  # another run's
            _unfinished.discard(temporary)
            continue
        except BaseException:
            remove_temporary(temporary)
            raise
        if _lock_entry(temporary, fd) is not False:
            return temporary, fd
        # Another run saw it before it was locked, and removes it.
        close_quietly(fd)
        remove_temporary(temporary)


def remove_abandoned(target: str) -> None:
    """Remove the temporary files of target whose makers were killed. Never raises.

    One that is locked belongs to a run that is still going. On a file system without locks all stay.
    """
    folder, prefix = os.path.split(_temporary_prefix(target))
    with contextlib.suppress(OSError), os.scandir(folder or ".") as entries:
        for entry in islice(entries, _MOST_ENTRIES):
            name = entry.name
            if name.startswith(prefix) and re.fullmatch(_RANDOM, name[len(prefix) :]):
                _remove_if_unlocked(entry)


def remove_temporary(temporary: str) -> None:
    """Remove a temporary file unless it was renamed, kept or removed before."""
    if temporary in _unfinished:
        with contextlib.suppress(OSError):
            os.unlink(temporary)
        _unfinished.discard(temporary)


def keep_temporary(temporary: str) -> None:
    """Let a temporary file stay under its name."""
    _unfinished.discard(temporary)


def discard_all() -> None:
    """Remove the temporary files that were neither renamed nor kept.

    The program calls this at its end. The owner of a file does the same, but a signal's exception may be
    raised between the creation of the file and the start of the owner's block.
    """
    for path in tuple(_unfinished):
        remove_temporary(path)


def truncate_name(name: str) -> str:
    """The name of a file, cut so that a prefix and a suffix fit beside it."""
    encoded = os.fsencode(name)
    return name if len(encoded) <= _NAME_BYTES else encoded[:_NAME_BYTES].decode(errors="ignore")


def sync_directory(path: str) -> None:
    """Make a new name survive a power failure, if the file system supports that. Never raises.

    A failure is ignored, because the file has been replaced and the run has to end in status 0.
    """
    with contextlib.suppress(OSError):
        fd = os.open(path or ".", os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            os.fsync(fd)
        finally:
            close_quietly(fd)


def _temporary_prefix(target: str) -> str:
    """The path of a temporary file of target, without its random end."""
    folder, name = os.path.split(target)
    return os.path.join(folder, f".{truncate_name(name)}{_MARK}")


def _lock_entry(path: str, fd: int) -> bool | None:
    """Lock an open file that has the name path.

    Returns False if another process holds the lock or removed the name, and None if there are no locks.
    """
    try:
        return try_lock(fd) and is_current_entry(path, fd)
    except OSError:
        return None


def _remove_if_unlocked(entry: os.DirEntry[str]) -> None:
    with contextlib.suppress(OSError):
        if not entry.is_file(follow_symlinks=False):
            return
        fd = os.open(entry.path, _OLD)
        try:
            if _lock_entry(entry.path, fd):
                os.unlink(entry.path)
        finally:
            close_quietly(fd)


def _fill(fd: int, blocks: Iterable[bytes]) -> None:
    """Write all blocks, and sync them to disk."""
    for block in blocks:
        write_all(fd, block)
    os.fsync(fd)
