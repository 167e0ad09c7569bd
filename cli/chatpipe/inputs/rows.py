"""Lines of a table -> rows: JSONL, CSV, TSV, or text with a row on each line.

A row that is wrong is a row all the same: it says why, and has what could be read of it. What is
wrong with the whole table is raised, while wants_head says that its first lines are not known yet.
"""

import json
import re
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple, Protocol

import orjson

from chatpipe.errors import BadInput
from chatpipe.inputs import values
from chatpipe.inputs.messages import kind, not_json
from chatpipe.inputs.place import LINE_BYTES, Source
from chatpipe.inputs.quoted import Record, Records, decoded, too_long
from chatpipe.inputs.values import NotJSON, Value

LINE = "line"
_BOM = b"\xef\xbb\xbf"
# A number that may leave a parser in another form than it came: 1.10, 1e400, or more than 18 digits.
_INEXACT = re.compile(rb"[0-9](?:\.[0-9]|[eE])|[0-9]{19}")
# What orjson does not write: lone surrogates, which may be behind any such escape, and many levels.
_SURROGATE = re.compile(rb"\\u[dD][89a-fA-F]")
_DEEP = 200


class Row(NamedTuple):
    """source: its first line. number counts rows from 1. data: the JSON text of the row, where it was one.

    Numbers that JSON can write in several ways are orjson.Fragments in fields, so that they are written
    as they came.
    """

    source: Source
    number: int
    fields: Mapping[str, Value]
    data: bytes = b""
    fault: BadInput | None = None


class Rows(Protocol):
    """One format. columns: the names of all rows' fields, None where each row has its own, or not yet.

    is_flat: values are texts, and a field that is no column is in no row.
    """

    columns: Sequence[str] | None
    is_flat: bool

    @property
    def wants_head(self) -> bool:
        """Whether what is known of the whole table is still to come."""

    def row(self, source: Source) -> Row | None:
        """The row that ends with this line, if one does. Raises BadInput for a head that cannot be."""

    def end(self) -> Row | None:
        """The row that never ended."""


class JsonRows:
    """A JSON object on each line.

    has_columns: fields are those of the first row, or the columns given, and a row with another one is
    wrong. name is the input's: of a file that calls itself a table the first line has to be JSON.
    """

    is_flat = False

    def __init__(self, name: str, columns: Sequence[str] | None = None, *, has_columns: bool = False) -> None:
        self.columns = columns
        self._has_columns = has_columns
        self._is_doubtful = name.lower().endswith((".csv", ".tsv"))
        self._count = 0

    @property
    def wants_head(self) -> bool:
        return (self._has_columns and self.columns is None) or (self._is_doubtful and self._count == 0)

    def row(self, source: Source) -> Row | None:
        data = source.data
        if source.line == 1:
            data = data.removeprefix(_BOM)
        if not data.strip():
            return None
        wants_head = self.wants_head
        self._count += 1
        try:
            fields = self._fields(source._replace(data=data))
        except BadInput as fault:
            if self._count == 1:
                fault.fix = "name another input with --csv, --tsv or --lines"
            if wants_head:
                raise
            return Row(source, self._count, {}, fault=fault)
        if self._has_columns:
            if self.columns is None:
                self.columns = tuple(fields)
            elif fields.keys() != set(self.columns):
                return self._fitted(source, fields, self.columns)
        return Row(source, self._count, fields, values.one_line(data))

    def end(self) -> None:
        """Every line is whole in itself."""

    def _fields(self, source: Source) -> dict[str, Value]:
        if len(source.data) > LINE_BYTES:
            raise too_long(source)
        try:
            value = _exactly(source.data)
        except NotJSON as error:
            raise not_json(source, error) from error
        if not isinstance(value, dict):
            raise BadInput(f"is {kind(value)}, not an object", place=source.place())
        return value

    def _fitted(self, source: Source, fields: dict[str, Value], columns: Sequence[str]) -> Row:
        """What a row lacks is empty; what is too much would be lost."""
        fitted = {name: fields.get(name) for name in columns}
        extra = next((name for name in fields if name not in fitted), None)
        fault = None
        if extra is not None:
            what = f"field '{extra}' is no column: columns are the first row's"
            fault = BadInput(what, place=source.place(), fix="name all of them with --fields")
        return Row(source, self._count, fitted, fault=fault)


def _exactly(data: bytes) -> Value:
    """The value of a JSON text, with its numbers as they were written. Raises NotJSON.

    Only orjson writes Fragments: beside what it refuses to write, numbers are as exact as in a request.
    """
    if not _INEXACT.search(data) or _SURROGATE.search(data) or data.count(b"[") + data.count(b"{") > _DEEP:
        return values.loads_exactly(data)
    try:
        return json.loads(data.decode(), parse_float=_verbatim, parse_int=_integer, parse_constant=_refuse)
    except (ValueError, RecursionError):
        return values.loads_exactly(data)  # which says what is wrong with it


def _verbatim(text: str) -> Any:
    return orjson.Fragment(text)


def _integer(text: str) -> Any:
    return int(text) if len(text) < 19 else orjson.Fragment(text)


def _refuse(name: str) -> Any:
    raise ValueError(name)


class LineRows:
    """Text, each line a row with one field. Blank lines are none."""

    is_flat = True
    wants_head = False

    def __init__(self) -> None:
        self.columns: Sequence[str] | None = (LINE,)
        self._count = 0

    def row(self, source: Source) -> Row | None:
        data = source.data
        if source.line == 1:
            data = data.removeprefix(_BOM)
        if not data.strip():
            return None
        self._count += 1
        text, fault = decoded(source, data)
        return Row(source, self._count, {LINE: text}, fault=fault)

    def end(self) -> None:
        """Every line is whole in itself."""


class CellRows:
    """A table: its columns are named by its first row, unless they are given. records cut it into cells."""

    is_flat = True

    def __init__(self, records: Records, columns: Sequence[str] | None = None) -> None:
        self.columns = columns
        self._records = records
        self._count = 0

    @property
    def wants_head(self) -> bool:
        return self.columns is None

    def row(self, source: Source) -> Row | None:
        if source.line == 1:
            source = source._replace(data=source.data.removeprefix(_BOM))
        record = self._records.record(source)
        return None if record is None else self._row(record)

    def end(self) -> Row | None:
        record = self._records.end()
        return None if record is None else self._row(record)

    def _row(self, record: Record) -> Row | None:
        source, cells, fault = record
        if self.columns is None:
            if fault is not None:
                raise fault
            self.columns = header(cells, source.place())
            return None
        self._count += 1
        columns = self.columns
        if fault is None and len(cells) != len(columns):
            verb = "is" if len(columns) == 1 else "are"
            what = f"{_counted(len(cells), 'cell')}, where there {verb} {_counted(len(columns), 'column')}"
            fault = BadInput(what, place=source.place())
        fields: dict[str, Value] = dict(zip(columns, cells, strict=False))
        if len(fields) < len(columns):
            fields = {name: fields.get(name) for name in columns}
        return Row(source, self._count, fields, fault=fault)


def header(cells: Sequence[str], place: str) -> tuple[str, ...]:
    """The names of columns. Raises BadInput for those that cannot be told apart."""
    twice = next((name for at, name in enumerate(cells) if name in cells[:at]), None)
    if twice is not None:
        raise BadInput(f"two columns are called '{twice}'", place=place, fix="rename one")
    return tuple(cells)


def _counted(number: int, noun: str) -> str:
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"
