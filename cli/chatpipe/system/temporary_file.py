"""Temporary files without a name, which end with the process whatever ends it."""

from __future__ import annotations

import errno
import tempfile
from contextlib import suppress
from typing import BinaryIO

from chatpipe.errors import CannotWrite, reason
from chatpipe.system.descriptor import system_remedy

# Limits of the process, which are the same on every disk.
_OWN_LIMITS = frozenset({errno.EFBIG, errno.EMFILE})


def open_temporary() -> BinaryIO:
    """A new file, to be written and read. Raises CannotWrite."""
    try:
        return tempfile.TemporaryFile(prefix="chatpipe-")
    except OSError as error:
        raise cannot_keep(error) from error


def close_temporary(file: BinaryIO) -> None:
    """Give up a file. On a full disk the rest of its buffer can no longer be written."""
    with suppress(OSError):
        file.close()


def cannot_keep(error: OSError) -> CannotWrite:
    """The fault of a temporary file that cannot be written."""
    what = f"cannot write a temporary file: {reason(error)}"
    return CannotWrite(what, fix=temporary_remedy(error))


def temporary_remedy(error: OSError) -> str:
    """The remedy for a temporary file that cannot be written: another disk, or a higher limit."""
    return system_remedy(error) if error.errno in _OWN_LIMITS else "set TMPDIR to a folder on a larger disk"
