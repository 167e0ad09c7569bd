"""The terminal that stdout may be, and its width."""

from __future__ import annotations

import os
from collections.abc import Mapping

_COLUMNS = 80
_MOST_COLUMNS = 9999  # a table of more would fill the memory with spaces


def is_terminal() -> bool:
    """Return True if stdout is a terminal; False if it is closed."""
    return os.isatty(1)


def terminal_columns() -> int:
    """The width of the terminal that stdout is; 0 if it is none, or does not say."""
    try:
        return os.get_terminal_size(1).columns
    except OSError:
        return 0


def named_columns(environ: Mapping[str, str]) -> int:
    """The width that COLUMNS names, at most 9,999; 80 if it names none."""
    named = environ.get("COLUMNS", "")
    digits = named.lstrip("0") if named.isdecimal() else ""
    return min(int(digits[:5] or _COLUMNS), _MOST_COLUMNS)
