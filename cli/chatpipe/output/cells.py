"""Cells of a row -> a line of CSV or TSV."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Protocol

from chatpipe.inputs.delimited import COMMA
from chatpipe.output.text import encode_text

_ESCAPED = {"\\": "\\\\", "\t": "\\t", "\n": "\\n", "\r": "\\r"}
# A spreadsheet runs what begins with one of these, also of full width.
_RUN = r"[=+\-@\uff1d\uff0b\uff0d\uff20]"
# It may pass over white space, and over characters that nobody sees.
_BLANK = r"\s\x00-\x1f\x7f\xad\u200b-\u200f\u202a-\u202e\u2060-\u2064\ufeff"
_SEPARATORS = re.compile(r"[,;\t\r\n]")
_NUMBER = rf"[+-]?(?:[0-9]+(?:\.[0-9]*)?|\.[0-9]+)(?:[eE][+-]?[0-9]+)?(?=[{_BLANK}]*(?:[,;\t\r\n\"]|\Z))"
_BEFORE_FORMULA = re.compile(
    rf'(?:\A|(?<![,;"{_BLANK}])(?=[,;"{_BLANK}]))[,;"{_BLANK}]*+(?={_RUN})(?!{_NUMBER})'
)
_TO_ESCAPE = re.compile(r"[\\\t\n\r]")


class CellLines(Protocol):
    """The form of a table of cells: how a text becomes a cell, and cells a line."""

    def cell(self, text: str) -> str:
        """The cell of a text, for line()."""

    def line(self, cells: Sequence[str]) -> bytes:
        """A line of cells, LF included. Lone surrogates become the bytes that they were (PEP 383)."""


class CsvLines:
    """Lines of CSV: the delimiter, LF, and quotes only if needed.

    The csv module writes the same, but takes four bytes a character for that.
    """

    def __init__(self, delimiter: str = COMMA) -> None:
        self._delimiter = delimiter
        self._has_to_be_quoted = re.compile(f'[{re.escape(delimiter)}"\r\n]').search

    def cell(self, text: str) -> str:
        return text

    def line(self, cells: Sequence[str]) -> bytes:
        has_to_be_quoted = self._has_to_be_quoted
        texts = [_quoted(text) if has_to_be_quoted(text) else text for text in cells]
        # An empty line would be no row at all.
        return _encoded((self._delimiter.join(texts) or '""') + "\n")


def _quoted(text: str) -> str:
    text = text.replace('"', '""')
    return f'"{text}"'


class TsvLines:
    r"""Lines of TSV: tabs and LF, with tab, LF, CR and backslash in cells as `\t`, `\n`, `\r` and `\\`."""

    def cell(self, text: str) -> str:
        return _TO_ESCAPE.sub(lambda match: _ESCAPED[match[0]], text)

    def line(self, cells: Sequence[str]) -> bytes:
        return _encoded("\t".join(cells) + "\n")


def _encoded(line: str) -> bytes:
    return line.encode("utf-8", "surrogateescape")


def without_formula(text: str) -> str:
    """The text with an apostrophe before each formula that a spreadsheet would run. A number is none.

    It is at the beginning, or where a cell begins if other characters separate cells than in this table, as
    they do in the spreadsheets of many countries. Quotes protect nothing there, nor a line end in them.
    Source: OWASP, CSV Injection.
    """
    return _BEFORE_FORMULA.sub(_guarded, text)


def _guarded(match: re.Match[str]) -> str:
    before = match[0]
    begins_cell = _SEPARATORS.search(before) or (match.start() == 0 and '"' not in before)
    return f"{before}'" if begins_cell else before


def encodable(text: str) -> str:
    """The text with U+FFFD for every lone surrogate: half a character of an answer has no UTF-8."""
    if text.isascii():
        return text
    return encode_text(text).decode()
