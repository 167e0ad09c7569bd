"""Files written whole or not at all: to a new name, synced to disk, and renamed over the old file.

A temporary file is `.NAME.RANDOM.tmp` in the directory of the file NAME, because a rename cannot leave a
file system. This module knows all temporary files of the process, so that its end can remove them.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterable

from chatpipe.system.descriptor import write_all

_NEW = os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
# bytes of NAME in temporary names: 18 more fit into the 143 of eCryptfs, the strictest limit in use
_NAME_BYTES = 120

# temporary files that exist or are about to exist
_unfinished: set[str] = set()


def write_new(path: str, mode: int, blocks: Iterable[bytes]) -> None:
    """Write a new file and sync it to disk. Raises OSError, including FileExistsError."""
    _fill(os.open(path, os.O_WRONLY | _NEW, mode), blocks)


def replace_whole(path: str, mode: int, blocks: Iterable[bytes]) -> None:
    """Replace the file at path by a new one, which is synced to disk first. A link itself is replaced.

    Raises OSError, and everything that blocks raises. The old file then stays.
    """
    temporary, fd = create_temporary(path, mode, os.O_WRONLY)
    try:
        _fill(fd, blocks)
        os.replace(temporary, path)
    finally:
        remove_temporary(temporary)
    sync_directory(os.path.dirname(path))


def create_temporary(target: str, mode: int, access: int) -> tuple[str, int]:
    """Create a file beside target. Returns its name, and a descriptor with the access of os.open."""
    folder, name = os.path.split(target)
    while True:
        temporary = os.path.join(folder, f".{truncate_name(name)}.{os.urandom(6).hex()}.tmp")
        _unfinished.add(temporary)  # before it exists: see discard_all
        try:
            return temporary, os.open(temporary, access | _NEW, mode)
        except FileExistsError:  # another run's
            _unfinished.discard(temporary)
        except BaseException:
            remove_temporary(temporary)
            raise


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

    A failure is ignored: the file has been replaced, so the run must end in status 0.
    """
    with contextlib.suppress(OSError):
        fd = os.open(path or ".", os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            os.fsync(fd)
        finally:
            os.close(fd)


def _fill(fd: int, blocks: Iterable[bytes]) -> None:
    """Write all blocks, sync them to disk, and close the descriptor."""
    try:
        for block in blocks:
            write_all(fd, block)
        os.fsync(fd)
    finally:
        os.close(fd)
