"""Temporary files without a name, which end with the process whatever ends it."""

from __future__ import annotations

import tempfile
from contextlib import suppress
from typing import BinaryIO

from chatpipe.errors import CannotWrite, reason


def open_temporary() -> BinaryIO:
    """A new file, to be written and read. Raises CannotWrite."""
    try:
        return tempfile.TemporaryFile(prefix="chatpipe-")
    except OSError as error:
        raise cannot_keep(error) from error


def close_temporary(file: BinaryIO) -> None:
    """Give up a file. On a full disk the rest of its buffer cannot be written any more."""
    with suppress(OSError):
        file.close()


def cannot_keep(error: OSError) -> CannotWrite:
    """The fault of a temporary file that cannot be written."""
    what = f"cannot write a temporary file: {reason(error)}"
    return CannotWrite(what, fix="set TMPDIR to a folder on a larger disk")
