"""Results of a run over rows -> the same rows with the answer in a new field: see rows.Writing."""

from __future__ import annotations

import csv
import re
from collections.abc import Callable, Mapping, Sequence

from chatpipe.batch.options import Carrying
from chatpipe.batch.results import Result
from chatpipe.dialogue.converse import total_usage
from chatpipe.inputs import values
from chatpipe.inputs.quoted import CsvRecords, TsvRecords
from chatpipe.inputs.rows import CellRows, JsonRows, LineRows, Rows
from chatpipe.inputs.splice import spliced
from chatpipe.inputs.values import NotJSON, Value
from chatpipe.output.records import content_of, messages
from chatpipe.output.rows import Writing, message_of
from chatpipe.request.placeholders import as_text

_ESCAPED = {"\\": "\\\\", "\t": "\\t", "\n": "\\n", "\r": "\\r"}
_TO_ESCAPE = re.compile(r"[\\\t\n\r]")


def as_it_came(content: str | None) -> Value:
    """The value of an answer that is text."""
    return content


def as_json(content: str | None) -> Value:
    """The value that an answer writes. What is no JSON was called good all the same: it stays text."""
    if content is None:
        return None
    try:
        return values.loads_exactly(content.encode("utf-8", "backslashreplace"))
    except NotJSON:
        return content


class Answers:
    """What is put beside a row."""

    def __init__(self, carrying: Carrying, value: Callable[[str | None], Value] = as_it_came) -> None:
        """The callable makes the value of an answer's text, of which there may be none."""
        self._carrying = carrying
        self._value = value

    def names(self) -> list[str]:
        """The fields that every row gets, in order."""
        how = self._carrying
        return [name for name in (how.into, how.usage_into, how.error_into) if name is not None]

    def of(self, result: Result) -> dict[str, Value]:
        """Their values. Of what failed there is no answer, but what it cost; of choices the first counts."""
        how = self._carrying
        completion = result.completion if result.is_good else None
        message = next(messages(completion), {}) if completion is not None else {}
        fields = {how.into: self._value(content_of(message)) if message else None}
        if how.usage_into is not None:
            last = None if result.completion is None else result.completion.get("usage")
            fields[how.usage_into] = total_usage(last, result.earlier)
        if how.error_into is not None:
            fields[how.error_into] = None if result.is_good else message_of(result)
        return fields


def rows_of(carrying: Carrying, name: str) -> Rows:
    """The reader of the input, which is called name."""
    if carrying.source == "csv":
        return CellRows(CsvRecords(), carrying.columns)
    if carrying.source == "tsv":
        return CellRows(TsvRecords(), carrying.columns)
    if carrying.source == "lines":
        return LineRows()
    return JsonRows(name, carrying.columns, has_columns=carrying.target != "jsonl")


def writing(carrying: Carrying, rows: Rows, answers: Answers) -> Writing:
    """What is written of the rows read by rows."""
    if carrying.target == "jsonl":
        return JsonTable(carrying, answers)
    return CellTable(rows, answers, csv_line if carrying.target == "csv" else tsv_line)


class _Tabular:
    """What all of them are: rows that say themselves which they are, of answers that are text."""

    is_whole = False
    needs_order = False
    recorded = None
    calls_are_final = True


class JsonTable(_Tabular):
    """A JSON object a row. What came as JSON stays as it is, to the byte."""

    def __init__(self, carrying: Carrying, answers: Answers) -> None:
        self._error = carrying.reason_field
        self._answers = answers

    def head(self) -> bytes:
        return b""

    def row(self, result: Result) -> bytes:
        row = result.item.row
        assert row is not None
        fields = self._answers.of(result)
        if not result.is_good:
            fields[self._error] = message_of(result)
        if row.data:
            return spliced(row.data, row.fields, fields) + b"\n"
        return values.dumps({**row.fields, **fields}) + b"\n"


class CellTable(_Tabular):
    """A line of column names, then a line of cells a row. join makes a line, with its end, of cells."""

    def __init__(self, rows: Rows, answers: Answers, join: Callable[[Sequence[str]], str]) -> None:
        self._rows = rows
        self._answers = answers
        self._join = join
        self._names: Sequence[str] = ()

    def head(self) -> bytes:
        columns = self._rows.columns
        if columns is None:  # an empty input: nobody knows
            return b""
        self._names = [*columns, *(name for name in self._answers.names() if name not in columns)]
        return _encoded(self._join(self._names))

    def row(self, result: Result) -> bytes:
        row = result.item.row
        assert row is not None
        fields: Mapping[str, Value] = {**row.fields, **self._answers.of(result)}
        return _encoded(self._join([as_text(fields.get(name)) for name in self._names]))


class _Line:
    """A file for a csv.writer, which then returns the line that it made."""

    def write(self, text: str) -> str:
        return text


# With this end, and no shorter one, every version of the module quotes both CR and LF inside a cell.
_WRITER = csv.writer(_Line(), lineterminator="\r\n")


def csv_line(cells: Sequence[str]) -> str:
    """Commas, LF, and quotes where they are needed."""
    line: str = _WRITER.writerow(cells)  # what _Line.write returns
    return line.removesuffix("\r\n") + "\n"


def tsv_line(cells: Sequence[str]) -> str:
    r"""Tabs, LF, and `\t`, `\n`, `\r` and `\\` for what these name."""
    return "\t".join(_TO_ESCAPE.sub(lambda match: _ESCAPED[match[0]], cell) for cell in cells) + "\n"


def _encoded(line: str) -> bytes:
    """Bytes that were not UTF-8 come out as they came in; half a character of an answer is lost."""
    try:
        return line.encode("utf-8", "surrogateescape")
    except UnicodeEncodeError:
        return line.encode("utf-8", "replace")
