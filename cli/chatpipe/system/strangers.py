"""Files that somebody else put into a folder where everybody may put some, such as /tmp.

Such a file may have been waiting for us: with answers that no server gave, or to be read by its owner once
prompts are in it. The rule is that of fs.protected_regular (Linux 4.19), which not every system has set.
"""

from __future__ import annotations

import os
import stat

from chatpipe.errors import CannotWrite

_ROOT = 0


def refuse_stranger(path: str, status: os.stat_result) -> None:
    """Raise CannotWrite for the file of a stranger at path: neither ours, root's nor its folder's owner's.

    status describes the file. In a folder that is not both sticky and writable for everybody, all may use
    the files of each other: those who can write to it are a group that shares them.
    """
    if status.st_uid in (os.geteuid(), _ROOT):
        return
    try:
        folder = os.stat(os.path.dirname(os.path.realpath(path)))
    except OSError:  # it is gone; what is opened next fails
        return
    is_public = folder.st_mode & stat.S_ISVTX and folder.st_mode & stat.S_IWOTH
    if is_public and status.st_uid != folder.st_uid:
        raise CannotWrite(
            "belongs to another user, in a folder where everybody may put files",
            place=path,
            fix="name a file in a folder of your own",
        )
