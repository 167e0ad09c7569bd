"""Data files of the package, on disk or in an archive of zipapp."""

from __future__ import annotations

import os.path
import sys

TYPE_CHECKING = False  # as in typing, which the completion of names does without
if TYPE_CHECKING:
    from typing import Any


def read_package_data(module: str, name: str) -> bytes:
    """The bytes of a file beside a module that is imported. Raises OSError with the path of the file.

    The loader of the module reads it. importlib.resources would cost more at start-up than most commands.
    """
    found: Any = sys.modules[module]
    data: bytes = found.__loader__.get_data(os.path.join(os.path.dirname(found.__file__), name))
    return data
