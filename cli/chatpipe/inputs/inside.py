"""A file that untrusted data names, read only if it is inside a folder that the user named."""

from __future__ import annotations

import errno
import os
import stat

from chatpipe.errors import BadInput, reason
from chatpipe.inputs.sources import missing


def refuse_missing(folder: str, option: str) -> None:
    """Raises MissingInput where there is no such folder: nothing could be inside."""
    try:
        if not stat.S_ISDIR(os.stat(folder).st_mode):
            raise NotADirectoryError(errno.ENOTDIR, os.strerror(errno.ENOTDIR))
    except (OSError, ValueError) as error:
        raise missing(folder, option, error) from error


def read(folder: str, name: str, most_bytes: int) -> bytes:
    """The bytes of a regular file in folder, or below it. Raises BadInput, without a place.

    Links and `..` are followed as far as they lead to the inside.
    """
    root = os.path.realpath(folder)
    try:
        path = os.path.realpath(os.path.join(root, name))
        if os.path.commonpath((root, path)) != root:
            raise BadInput(f"'{name}' is not inside '{folder}'")
        # O_NONBLOCK: a FIFO there must not stop the run. O_NOFOLLOW: a link can only be there since.
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK)
        try:
            return _content(descriptor, name, most_bytes)
        finally:
            os.close(descriptor)
    except (OSError, ValueError) as error:  # ValueError: a NUL in the name
        raise BadInput(f"cannot read '{name}': {reason(error)}") from error


def _content(descriptor: int, name: str, most_bytes: int) -> bytes:
    found = os.fstat(descriptor)
    if not stat.S_ISREG(found.st_mode):
        raise BadInput(f"'{name}' is not a file")
    if found.st_size > most_bytes:
        raise BadInput(f"'{name}' is larger than {most_bytes // 1_000_000} MB")
    with open(descriptor, "rb", closefd=False) as file:
        return file.read()
