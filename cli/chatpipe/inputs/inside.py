"""Read a file that untrusted data names, but only if it is inside a folder that the user named."""

from __future__ import annotations

import errno
import os
import stat

from chatpipe.errors import BadInput, reason
from chatpipe.inputs.sources import missing_input


def refuse_missing_folder(folder: str, option: str) -> None:
    """Raise MissingInput if the folder does not exist: no file could be inside it."""
    try:
        if not stat.S_ISDIR(os.stat(folder).st_mode):
            raise NotADirectoryError(errno.ENOTDIR, os.strerror(errno.ENOTDIR))
    except (OSError, ValueError) as error:
        raise missing_input(folder, option, error) from error


def read_inside(folder: str, name: str, max_bytes: int) -> bytes:
    """The bytes of a regular file in folder or below it. Raises BadInput without a place.

    Symbolic links and `..` are followed if the resolved path is inside folder.
    """
    root = os.path.realpath(folder)
    try:
        path = os.path.realpath(os.path.join(root, name))
        if os.path.commonpath((root, path)) != root:
            raise BadInput(f"'{name}' is not inside '{folder}'")
        # O_NONBLOCK: opening a FIFO must not block the run. O_NOFOLLOW: links are resolved above, so
        # a link at this path was put there since.
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK)
        try:
            return _content(descriptor, name, max_bytes)
        finally:
            os.close(descriptor)
    except (OSError, ValueError) as error:  # ValueError: a NUL in the name
        raise BadInput(f"cannot read '{name}': {reason(error)}") from error


def _content(descriptor: int, name: str, max_bytes: int) -> bytes:
    status = os.fstat(descriptor)
    if not stat.S_ISREG(status.st_mode):
        raise BadInput(f"'{name}' is not a file")
    if status.st_size > max_bytes:
        raise BadInput(f"'{name}' is larger than {max_bytes // 1_000_000} MB")
    with open(descriptor, "rb", closefd=False) as file:
        return file.read()
