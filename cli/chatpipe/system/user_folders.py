"""The folders of a user's files.

Source: XDG Base Directory Specification 0.8, which has relative paths ignored.
"""

from __future__ import annotations

import os
from collections.abc import Mapping

from chatpipe.errors import BadConfiguration


def user_folder(environ: Mapping[str, str], variable: str, default: str) -> str:
    """The folder that an XDG variable names, otherwise default in the home of the user.

    Raises BadConfiguration for a HOME that is no absolute path: the folder in which we are called may be a
    stranger's.
    """
    named = environ.get(variable, "")
    if os.path.isabs(named):
        return named
    home = environ.get("HOME", os.path.expanduser("~"))
    if not os.path.isabs(home):
        what = f"'{home}' is not an absolute path"
        raise BadConfiguration(what, place="HOME", fix=f"set it or {variable} to one")
    return os.path.join(home, default)
