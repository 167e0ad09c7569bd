"""Physical lines -> the records of CSV or TSV, each one as soon as it is complete.

Quotes decide where a CSV record ends. This module finds the end itself, line by line, because the csv
module pulls its lines and cannot wait for one. The csv module then splits each record into cells.
"""

from __future__ import annotations

import csv
import re
from collections.abc import Sequence
from typing import Protocol

from chatpipe.errors import BadInput
from chatpipe.inputs.place import MAX_LINE_BYTES, TOO_LONG, Source
from chatpipe.inputs.text_decoder import not_utf8, with_name
from chatpipe.line_record import LineRecord

COMMA, TAB = ",", "\t"
_QUOTE = b'"'
# The first line by which a spreadsheet names the delimiter. It may be in quotes.
_SEPARATOR_LINE = re.compile(rb'("?)sep=([^"]{1,4})\1', re.IGNORECASE)
# Possessive, so that backtracking never splits a doubled quote to find an end.
_CLOSING = re.compile(rb'[^"]*+(?:""[^"]*+)*+"')
_ESCAPE = re.compile(r"\\([tnr\\])")
_LONE_RETURN = "a carriage return outside quotes"
_UNESCAPED = {"t": "\t", "n": "\n", "r": "\r", "\\": "\\"}
# The default limit of the csv module is 128 KiB per cell; a document in a cell is longer.
csv.field_size_limit(MAX_LINE_BYTES)


class Record(LineRecord):
    """A record of CSV or TSV.

    source is its first line. fault says why the cells may not be the intended ones. verbatim holds the
    cells as they stand in the file, where cells can be spelled in several ways without quotes: in TSV.
    """

    source: Source
    cells: Sequence[str]
    fault: BadInput | None = None
    verbatim: Sequence[str] = ()


class RecordDecoder(Protocol):
    """A decoder of lines into records. It raises nothing: an error becomes the fault of its record.

    options are those that choose this format. delimiter stands between cells. separator_line is the first
    line of the input if that names the delimiter, such as `sep=;`, and empty otherwise.
    """

    options: str
    delimiter: str
    separator_line: bytes

    def feed(self, source: Source) -> Record | None:
        """Feed one line. Returns the record that it completes; None if there is none or the line is blank."""

    def finish(self) -> Record | None:
        """The incomplete record at the end of the input, if there is one."""


class CsvDecoder:
    """A strict decoder of RFC 4180: only the delimiter or an end may follow a closing quote."""

    def __init__(self, delimiter: str | None = None) -> None:
        """Without a delimiter it is the one of the separator line, or a comma."""
        self.options = "--csv" if delimiter is None else "--csv and --delimiter"
        self.separator_line = b""
        self._is_given = delimiter is not None
        self._set_delimiter(delimiter or COMMA)
        self._first: Source | None = None  # of a record that is not complete
        self._opened: Source | None = None  # the line on which its open quote stands
        self._is_reported = False  # that it is too long: the rest of it is dropped
        self._buffer: list[bytes] = []
        self._buffer_bytes = 0

    def feed(self, source: Source) -> Record | None:
        data = source.data
        if source.line == 1 and self._names_delimiter(data):
            return None
        if self._first is None:
            if not data:
                return None
            if _QUOTE not in data or not self._ends_in_quotes(data, inside=False):
                return self._parse(source, data)
            self._first = self._opened = source
            return self._append(data, source.end)
        if _QUOTE in data:
            if not self._ends_in_quotes(data, inside=True):
                overlong = self._append(data, b"")
                return self._take() or overlong
            if _CLOSING.match(data) is not None:
                self._opened = source
        return self._append(data, source.end)

    def finish(self) -> Record | None:
        if self._first is None:
            return None
        assert self._opened is not None
        fault = BadInput("a quote is never closed", place=self._opened.place())
        record = self._take()
        return None if record is None else record._replace(fault=fault)

    def _append(self, data: bytes, end: bytes) -> Record | None:
        """Add a line to the record. Returns the record once it is too long, without a wait for its end.

        Otherwise an unclosed quote would fill the memory, and be reported only at the end of the input.
        """
        assert self._first is not None
        assert self._opened is not None
        self._buffer_bytes += len(data) + len(end)
        if self._buffer_bytes <= MAX_LINE_BYTES:
            self._buffer += (data, end)
            return None
        self._buffer.clear()
        if self._is_reported:
            return None
        self._is_reported = True
        what = f"a quote is not closed within {MAX_LINE_BYTES >> 20} MiB"
        return Record(self._first, (), BadInput(what, place=self._opened.place()))

    def _take(self) -> Record | None:
        """The record, which is complete. None if it was too long, and is reported."""
        assert self._first is not None
        first, pieces, is_reported = self._first, self._buffer, self._is_reported
        self._first, self._buffer, self._buffer_bytes, self._is_reported = None, [], 0, False
        return None if is_reported else self._parse(first, b"".join(pieces))

    def _set_delimiter(self, delimiter: str) -> None:
        self.delimiter = delimiter
        self._delimiter = delimiter.encode()

    def _names_delimiter(self, first_line: bytes) -> bool:
        """Take the delimiter of a separator line; return False for another line.

        A delimiter that was given wins, and the line then names it.
        """
        named = _named_delimiter(first_line)
        if named is None:
            return False
        if not self._is_given:
            self._set_delimiter(named)
        self.separator_line = first_line if named == self.delimiter else b"sep=" + self._delimiter
        return True

    def _ends_in_quotes(self, line: bytes, *, inside: bool) -> bool:
        """True if the line ends inside a quoted cell. inside is True if it begins in one."""
        delimiter, at = self._delimiter, 0
        while True:
            if inside:
                closing = _CLOSING.match(line, at)
                if closing is None:
                    return True
                at = closing.end()
                if not line.startswith(delimiter, at):
                    return False  # the end, or text that the csv module will reject
            if line[at : at + 1] == _QUOTE:
                at += 1
                inside = True
                continue
            at = line.find(delimiter, at)
            if at < 0:
                return False
            at += len(delimiter)
            inside = False

    def _parse(self, source: Source, data: bytes) -> Record:
        """Split one record into cells."""
        text, fault = decode_text(source, data)
        try:
            cells = next(csv.reader([text], strict=True, delimiter=self.delimiter))
        except csv.Error as error:
            cells = [text]
            what = csv_fault(error)
            fix = _line_ends_fix(source) if what == _LONE_RETURN else ""
            fault = fault or BadInput(what, place=source.place(), fix=fix)
        return Record(source, cells, fault)


def _line_ends_fix(source: Source) -> str:
    """The advice for a carriage return alone: on the first line it is likely the end of all lines."""
    return (
        with_name(r"end lines with LF, for example with tr '\r' '\n' <FILE", source.name)
        if source.line == 1
        else ""
    )


def _named_delimiter(line: bytes) -> str | None:
    """The delimiter that a separator line names; None if the line is something else."""
    match = _SEPARATOR_LINE.fullmatch(line)
    delimiter = match[2].decode("utf-8", "backslashreplace") if match else ""
    return delimiter if len(delimiter) == 1 else None


def csv_fault(error: csv.Error) -> str:
    """An error of the csv module in our own words."""
    words = str(error)
    if "expected after" in words:
        return "text after a closing quote: a quote inside a cell is doubled"
    if "new-line" in words:
        return _LONE_RETURN
    if "field limit" in words:
        return f"a cell of more than {csv.field_size_limit()} characters"
    return "a quote that is not closed" if "end of data" in words else "not CSV"


class TsvDecoder:
    r"""A decoder of tab-separated cells, with the escapes `\t`, `\n`, `\r` and `\\`.

    Quotes are ordinary text.
    """

    options = "--tsv"
    delimiter = TAB
    separator_line = b""

    def feed(self, source: Source) -> Record | None:
        if not source.data:
            return None
        if source.line == 1 and _named_delimiter(source.data) == TAB:
            self.separator_line = source.data
            return None
        text, fault = decode_text(source, source.data)
        if source.line == 1 and "\r" in text:
            fix = _line_ends_fix(source)
            fault = fault or BadInput("a carriage return inside a line", place=source.place(), fix=fix)
        cells = verbatim = text.split("\t")
        if "\\" in text:
            cells = [_ESCAPE.sub(_unescape, cell) for cell in verbatim]
        return Record(source, cells, fault, verbatim)

    def finish(self) -> None:
        """Return None: every line is a complete record."""


def _unescape(match: re.Match[str]) -> str:
    return _UNESCAPED[match[1]]


def decode_text(source: Source, data: bytes) -> tuple[str, BadInput | None]:
    """The text of data, and a fault if it is not UTF-8 text or is too long.

    Bytes that are not UTF-8 become lone surrogates (PEP 383), so that they can be written again.
    Data that is too long gives an empty text.
    """
    if len(data) > MAX_LINE_BYTES:
        return "", too_long(source)
    if b"\0" in data:
        text = data.decode("utf-8", "surrogateescape")
        return text, BadInput("binary data, a NUL", place=source.place())
    try:
        return data.decode(), None
    except UnicodeDecodeError as error:
        return data.decode("utf-8", "surrogateescape"), not_utf8(error, source.name, source.place())


def valid_text(text: str) -> str:
    """The text of decode_text with U+FFFD for every byte that is not UTF-8, as JSON and requests want it."""
    return text.encode("utf-8", "surrogateescape").decode("utf-8", "replace")


def too_long(source: Source) -> BadInput:
    """A BadInput for a row that exceeds MAX_LINE_BYTES, such as one that never ends."""
    return BadInput(TOO_LONG, place=source.place())
