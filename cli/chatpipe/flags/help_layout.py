"""Text of a help page at the width of the terminal: paragraphs, and names with their meanings."""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence

from chatpipe.system.terminal import named_columns, terminal_columns

_LEAST_WIDTH = 20
_COLUMNS_FROM = 60  # narrower pages have the meaning below the name
_MOST_NAME = 26  # a longer one has a line of its own
_GAP = 2


def page_width() -> int:
    """The columns of the terminal, or of the variable COLUMNS; 80 in a pipe."""
    return max(_LEAST_WIDTH, terminal_columns() or named_columns(os.environ))


def wrap(text: str, width: int) -> list[str]:
    """The lines of text, of at most width characters. A longer word has a line of its own.

    textwrap would do the same; importing it costs more than the page.
    """
    lines: list[str] = []
    for word in text.split():
        if lines and len(lines[-1]) + 1 + len(word) <= width:
            lines[-1] += f" {word}"
        else:
            lines.append(word)
    return lines or [""]


def definitions(pairs: Sequence[tuple[str, str]], width: int, column: int | None = None) -> Iterable[str]:
    """The lines of names and meanings, two columns on a page that is wide enough.

    The meanings begin at column, or after the longest name.
    """
    if width < _COLUMNS_FROM:
        for name, meaning in pairs:
            yield f"  {name}"
            yield from (f"    {line}" for line in wrap(meaning, width - 4))
        return
    start = column or meaning_column(name for name, _ in pairs)
    for name, meaning in pairs:
        first, *rest = wrap(meaning, width - start)
        if len(name) + _GAP > start - _GAP:
            yield f"  {name}"
            yield f"{'':{start}}{first}"
        else:
            yield f"  {name:{start - 2}}{first}"
        yield from (f"{'':{start}}{line}" for line in rest)


def meaning_column(names: Iterable[str]) -> int:
    """The column at which the meanings of names begin."""
    longest = max((len(name) for name in names if len(name) <= _MOST_NAME), default=0)
    return 2 + longest + _GAP
