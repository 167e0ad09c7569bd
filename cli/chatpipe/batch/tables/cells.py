"""Cells of a row -> a line of CSV or TSV."""

from __future__ import annotations

import csv
import re
from collections.abc import Sequence

_ESCAPED = {"\\": "\\\\", "\t": "\\t", "\n": "\\n", "\r": "\\r"}
_TO_ESCAPE = re.compile(r"[\\\t\n\r]")


class _Line:
    """A file for a csv.writer. It makes writerow() return the line."""

    def write(self, text: str) -> str:
        return text


# Only with this terminator does every version of csv quote both CR and LF inside a cell.
_WRITER = csv.writer(_Line(), lineterminator="\r\n")


def csv_line(cells: Sequence[str]) -> str:
    """A line of CSV: commas, LF, and quotes only if needed."""
    line: str = _WRITER.writerow(cells)  # the value that _Line.write returns
    return line.removesuffix("\r\n") + "\n"


def tsv_line(cells: Sequence[str]) -> str:
    r"""A line of TSV: tabs and LF, with tab, LF, CR and backslash in cells as `\t`, `\n`, `\r` and `\\`."""
    return "\t".join(_TO_ESCAPE.sub(lambda match: _ESCAPED[match[0]], cell) for cell in cells) + "\n"
