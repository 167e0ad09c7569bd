"""temporary_file.py: the remedy for each error."""

from __future__ import annotations

import errno
import os

from chatpipe.system.temporary_file import cannot_keep
from support.parametrize import cases

LARGER_DISK = "set TMPDIR to a folder on a larger disk"


@cases(
    "number, fix",
    {
        "a full disk": (errno.ENOSPC, LARGER_DISK),
        "a quota": (errno.EDQUOT, LARGER_DISK),
        "a disk that is not writable": (errno.EROFS, LARGER_DISK),
        "a limit on the size of files": (errno.EFBIG, "raise the limit that 'ulimit -f' shows"),
        "a limit on open files": (errno.EMFILE, "raise the limit that 'ulimit -n' shows"),
    },
)
def test_a_limit_of_the_process_is_named_and_any_other_error_wants_another_disk(
    number: int, fix: str
) -> None:
    fault = cannot_keep(OSError(number, os.strerror(number)))
    assert fault.fix == fix
    assert fault.what.startswith("cannot write a temporary file: ")
