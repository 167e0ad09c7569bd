"""Lines of a table -> rows, from JSONL, CSV, TSV, or text with one row per line.

A faulty row is still a row: it carries its fault and the fields that could be read. A fault of the
whole table is raised instead; that happens only while needs_head is True.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from typing import Any, Protocol

import orjson

from chatpipe.errors import BadInput, quantity
from chatpipe.inputs import values
from chatpipe.inputs.delimited import COMMA, TAB, Record, RecordDecoder, decode_text, too_long, valid_text
from chatpipe.inputs.line_decoder import InputForm
from chatpipe.inputs.messages import not_json_input
from chatpipe.inputs.place import MAX_LINE_BYTES, Source
from chatpipe.inputs.text_decoder import BOM, with_name
from chatpipe.inputs.values import NotJSON, Value, json_type
from chatpipe.line_record import LineRecord
from chatpipe.named_tuple import NamedTuple

_LINE_FIELD = "line"
# A number that a parser may return in another form: 1.10, 1e400, or more than 18 digits.
_INEXACT = re.compile(rb"[0-9](?:\.[0-9]|[eE])|[0-9]{19}")
# orjson cannot write lone surrogates, which any such escape may produce, or deeply nested values.
_SURROGATE = re.compile(rb"\\u[dD][89a-fA-F]")
_DEEP = 200
# No names of columns begin so. An array may take several lines, and an object.
_JSON_START = re.compile(rb"""\s*(?:\{\s*(?:"|$)|\[\s*(?:[{\["]|$))""")
_SAY_CSV = "say --csv if it is CSV"
# These make rows of lines or elements that are no objects.
_JQ_SCALARS = "jq -c '..|scalars|{text: .}' FILE"
_JQ_CELLS, _JQ_ARRAYS = "jq -r @csv FILE", "jq -r '.[]|@csv' FILE"


class Row(LineRecord):
    """A row of a table.

    source is its first line. number counts rows from 1. data is the row's own JSON text on one line;
    it is empty if the row is faulty, or was not JSON.

    A number that JSON can spell in several ways is an orjson.Fragment in fields, so that it is written
    exactly as it was read.

    cells are the texts of a row that was not JSON, one for each column that the row has. Unlike fields
    they keep columns of the same name, and bytes that are not UTF-8 as lone surrogates. verbatim: see
    Record.
    """

    source: Source
    number: int
    fields: Mapping[str, Value]
    data: bytes = b""
    fault: BadInput | None = None
    cells: Sequence[str] = ()
    verbatim: Sequence[str] = ()


class TableHead(NamedTuple):
    """The beginning of a table of cells, as it stands in the input.

    bom is its byte order mark, separator_line the line that names the delimiter; either may be missing.
    names are the names of the columns, if they are there: see Record.verbatim.
    """

    delimiter: str = COMMA
    bom: bytes = b""
    separator_line: bytes = b""
    names: Sequence[str] = ()


class RowDecoder(Protocol):
    """A decoder of one table format: lines in, rows out.

    columns holds the field names that all rows share. It is None if each row has its own fields or the
    names are not known yet. is_flat means that all values are texts and that no row has a field that is not a
    column.
    """

    columns: Sequence[str] | None
    is_flat: bool

    @property
    def form(self) -> InputForm:
        """The form in which the table is expected."""

    @property
    def head(self) -> TableHead:
        """The head of a table of cells, once needs_head is False."""

    @property
    def needs_head(self) -> bool:
        """True while the facts about the whole table, such as its columns, are still unknown."""

    def feed(self, source: Source) -> Row | None:
        """Feed one line. Returns the row that it completes, if any. Raises BadInput for an invalid head."""

    def finish(self) -> Row | None:
        """The incomplete row at the end of the input, if there is one."""


class JsonRowDecoder:
    """A decoder of JSONL: one JSON object per line.

    With has_columns, the fields are those of the first row or the given columns, and a row with any
    other field is faulty.
    """

    form = InputForm.JSONL
    is_flat = False
    head = TableHead()

    def __init__(self, columns: Sequence[str] | None = None, *, has_columns: bool = False) -> None:
        self.columns = columns
        self._has_columns = has_columns
        self._count = 0

    @property
    def needs_head(self) -> bool:
        return self._has_columns and self.columns is None

    def feed(self, source: Source) -> Row | None:
        data = source.data
        if not data.strip():
            return None
        wants_head = self.needs_head
        self._count += 1
        try:
            fields = self._fields(source)
        except BadInput as fault:
            if self._count == 1:
                fault.fix = _fix(source)
            if wants_head:
                raise
            return Row(source, self._count, {}, fault=fault)
        if self._has_columns:
            if self.columns is None:
                self.columns = tuple(fields)
            elif not fields.keys() <= set(self.columns):
                extra = next(name for name in fields if name not in self.columns)
                return Row(source, self._count, fields, fault=_no_column(extra, source))
        return Row(source, self._count, fields, values.one_line_json(data))

    def finish(self) -> None:
        """Return None: every line is a complete row."""

    def _fields(self, source: Source) -> dict[str, Value]:
        if len(source.data) > MAX_LINE_BYTES:
            raise too_long(source)
        try:
            value = _loads_verbatim(source.data)
        except NotJSON as error:
            raise not_json_input(source, error) from error
        if not isinstance(value, dict):
            raise BadInput(f"is {json_type(value)}, not an object", place=source.place())
        return value


def _no_column(field: str, source: Source) -> BadInput:
    """The fault of a row with a field that has no column: its value would be lost."""
    what = f"field '{field}' is not a column: the first row decides the columns"
    return BadInput(what, place=source.place(), fix="name all of them with --fields")


def _fix(source: Source) -> str:
    """The advice for a first row that is no object: what makes rows of all of them.

    A string at a line end may be the only column of CSV.
    """
    try:
        value = values.loads(source.data)
    except NotJSON:
        return _SAY_CSV if source.data.startswith(b'"') else ""
    if isinstance(value, list):
        return f"{with_name(_JQ_CELLS if source.end else _JQ_ARRAYS, source.name)} makes CSV of it"
    if isinstance(value, dict):
        return ""
    fix = f"{with_name(_JQ_SCALARS, source.name)} makes rows with a field 'text'"
    return f"{_SAY_CSV}, else {fix}" if isinstance(value, str) and source.end else fix


def _loads_verbatim(data: bytes) -> Value:
    """The value of a JSON text, with numbers as they were written. Raises NotJSON.

    Only orjson writes Fragments. In a value that orjson refuses to write, numbers are only as exact as
    in a request.
    """
    if not _INEXACT.search(data) or _SURROGATE.search(data) or data.count(b"[") + data.count(b"{") > _DEEP:
        return values.loads_strict(data)
    try:
        return json.loads(data.decode(), parse_float=_verbatim, parse_int=_integer, parse_constant=_refuse)
    except (ValueError, RecursionError):
        return values.loads_strict(data)  # raises NotJSON with the reason


def _verbatim(text: str) -> Any:
    return orjson.Fragment(text)


def _integer(text: str) -> Any:
    return int(text) if len(text) < 19 else orjson.Fragment(text)


def _refuse(name: str) -> Any:
    raise ValueError(name)


class LineRowDecoder:
    """A decoder of plain text: each line is a row with one field. Blank lines are skipped."""

    form = InputForm.TEXT
    is_flat = True
    needs_head = False
    head = TableHead()

    def __init__(self) -> None:
        self.columns: Sequence[str] | None = (_LINE_FIELD,)
        self._count = 0

    def feed(self, source: Source) -> Row | None:
        if not source.data.strip():
            return None
        self._count += 1
        text, fault = decode_text(source, source.data)
        field = text if fault is None else valid_text(text)
        return Row(source, self._count, {_LINE_FIELD: field}, fault=fault, cells=(text,))

    def finish(self) -> None:
        """Return None: every line is a complete row."""


class CellRowDecoder:
    """A decoder of CSV or TSV. The first row names the columns, unless they are given.

    records splits the lines into cells. Also with given columns the first line is a part of the head.
    """

    form = InputForm.CELLS
    is_flat = True

    def __init__(self, records: RecordDecoder, columns: Sequence[str] | None = None) -> None:
        self.columns = columns
        self._records = records
        self._is_at_start = True
        self._bom = b""
        self._names: Sequence[str] = ()
        self._count = 0

    @property
    def needs_head(self) -> bool:
        return self.columns is None or self._is_at_start

    @property
    def head(self) -> TableHead:
        return TableHead(self._records.delimiter, self._bom, self._records.separator_line, self._names)

    def feed(self, source: Source) -> Row | None:
        if self._is_at_start:
            self._is_at_start = False
            if source.data.startswith(BOM):
                self._bom = BOM
                source = source._replace(data=source.data.removeprefix(BOM))
        record = self._records.feed(source)
        return None if record is None else self._row(record)

    def finish(self) -> Row | None:
        record = self._records.finish()
        return None if record is None else self._row(record)

    def _row(self, record: Record) -> Row | None:
        source, cells, fault, verbatim = record
        if self.columns is None:
            if _JSON_START.match(source.data):
                what = f"JSON, not {'TSV' if self._records.delimiter == TAB else 'CSV'}"
                raise BadInput(what, place=source.place(), fix=f"leave out {self._records.options}")
            if fault is not None:
                raise fault
            self.columns = tuple(cells)
            self._names = verbatim
            return None
        self._count += 1
        columns = self.columns
        if fault is None and len(cells) != len(columns):
            verb = "is" if len(columns) == 1 else "are"
            what = f"{quantity(len(cells), 'cell')}, where there {verb} {quantity(len(columns), 'column')}"
            fault = BadInput(what, place=source.place())
        texts = cells if fault is None else [valid_text(cell) for cell in cells]
        fields: dict[str, Value] = dict(zip(columns, texts, strict=False))
        if len(fields) < len(columns):
            fields = {name: fields.get(name) for name in columns}
        return Row(source, self._count, fields, fault=fault, cells=cells, verbatim=verbatim)
