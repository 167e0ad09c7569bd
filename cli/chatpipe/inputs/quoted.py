"""Physical lines -> the records of CSV or TSV, as they come: nothing waits for the end of the input.

Where a CSV record ends, quotes decide. That is found out here, line by line, since the csv module
pulls its lines and cannot be told to wait for one; each record is then cut into cells by it.
"""

import codecs
import csv
import re
from collections.abc import Sequence
from typing import NamedTuple, Protocol

from chatpipe.errors import BadInput
from chatpipe.inputs.place import LINE_BYTES, Source

_QUOTE, _COMMA = b'"', b","
# Possessive: a doubled quote is never taken apart to find an end.
_CLOSING = re.compile(rb'[^"]*+(?:""[^"]*+)*+"')
_ESCAPE = re.compile(r"\\([tnr\\])")
_MEANINGS = {"t": "\t", "n": "\n", "r": "\r", "\\": "\\"}
# The module's own limit is 128 KiB a cell; a document in a cell is longer.
csv.field_size_limit(LINE_BYTES)


class Record(NamedTuple):
    """source is the first line. fault: why cells are not what was meant."""

    source: Source
    cells: Sequence[str]
    fault: BadInput | None = None


class Records(Protocol):
    """Lines -> records. What is wrong with a record is its fault; nothing is raised."""

    def record(self, source: Source) -> Record | None:
        """The record that ends with this line, None for none and for a blank line."""

    def end(self) -> Record | None:
        """The record that never ended."""


class CsvRecords:
    """RFC 4180, read strictly: behind a closing quote stands a comma or the end."""

    def __init__(self) -> None:
        self._first: Source | None = None
        self._held: list[bytes] = []
        self._held_bytes = 0

    def record(self, source: Source) -> Record | None:
        data = source.data
        if self._first is None:
            if not data:
                return None
            if _QUOTE not in data:
                return _cut(source, data)
            is_open = _ends_in_quotes(data, 0, inside=False)
            if not is_open:
                return _cut(source, data)
            self._first = source
            self._hold(data, source.end)
            return None
        if _QUOTE not in data or _ends_in_quotes(data, 0, inside=True):
            self._hold(data, source.end)
            return None
        self._hold(data, b"")
        return self._whole()

    def end(self) -> Record | None:
        if self._first is None:
            return None
        record = self._whole()
        fault = BadInput("a quote is never closed", place=record.source.place())
        return record._replace(fault=fault)

    def _hold(self, data: bytes, end: bytes) -> None:
        self._held_bytes += len(data) + len(end)
        if self._held_bytes <= LINE_BYTES:  # a quote that is never closed must not take all memory
            self._held += (data, end)

    def _whole(self) -> Record:
        assert self._first is not None
        first, held, size = self._first, self._held, self._held_bytes
        self._first, self._held, self._held_bytes = None, [], 0
        if size > LINE_BYTES:
            return Record(first, (), too_long(first))
        return _cut(first, b"".join(held))


def _ends_in_quotes(line: bytes, at: int, *, inside: bool) -> bool:
    """Whether a quoted cell goes on behind this line; inside: it does so at its start."""
    while True:
        if inside:
            closing = _CLOSING.match(line, at)
            if closing is None:
                return True
            at = closing.end()
            if line[at : at + 1] != _COMMA:
                return False  # the end, or what the csv module will refuse
            at += 1
        if line[at : at + 1] == _QUOTE:
            at += 1
            inside = True
            continue
        at = line.find(_COMMA, at) + 1
        if at == 0:
            return False
        inside = False


def _cut(source: Source, data: bytes) -> Record:
    """The cells of one record."""
    text, fault = decoded(source, data)
    try:
        cells = next(csv.reader([text], strict=True))
    except csv.Error as error:
        cells = [text]
        fault = fault or BadInput(_told(str(error)), place=source.place())
    return Record(source, cells, fault)


def _told(error: str) -> str:
    """The csv module's complaint in our words."""
    if "expected after" in error:
        return "text behind a closing quote: a quote inside a cell is doubled"
    if "new-line" in error:
        return "a carriage return outside quotes"
    return f"not CSV: {error}"


class TsvRecords:
    r"""Cells between tabs; `\t`, `\n`, `\r` and `\\` stand for what they name. No quotes."""

    def record(self, source: Source) -> Record | None:
        if not source.data:
            return None
        text, fault = decoded(source, source.data)
        cells = text.split("\t")
        if "\\" in text:
            cells = [_ESCAPE.sub(_meaning, cell) for cell in cells]
        return Record(source, cells, fault)

    def end(self) -> None:
        """Every line is a whole record."""


def _meaning(match: re.Match[str]) -> str:
    return _MEANINGS[match[1]]


def decoded(source: Source, data: bytes) -> tuple[str, BadInput | None]:
    """UTF-8 as text, and why it is none: bytes that are not UTF-8 become lone surrogates (PEP 383)."""
    if len(data) > LINE_BYTES:
        return "", too_long(source)
    if source.line == 1 and data.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        fix = "convert it first, for example with iconv -f UTF-16 -t UTF-8"
        return data.decode("utf-8", "surrogateescape"), BadInput("UTF-16", place=source.place(), fix=fix)
    if b"\0" in data:
        text = data.decode("utf-8", "surrogateescape")
        return text, BadInput("binary data, a NUL", place=source.place())
    try:
        return data.decode(), None
    except UnicodeDecodeError as error:
        fault = BadInput(
            f"byte 0x{data[error.start]:02x} is not UTF-8",
            place=source.place(),
            fix="convert it first, for example with iconv -t UTF-8",
        )
        return data.decode("utf-8", "surrogateescape"), fault


def too_long(source: Source) -> BadInput:
    """What to say of a row that has no end, or none that anybody would wait for."""
    return BadInput(f"longer than {LINE_BYTES >> 20} MiB", place=source.place())
