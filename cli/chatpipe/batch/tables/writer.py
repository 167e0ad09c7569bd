"""Results of a run over rows -> the same rows with the answer in a new field: see RunFormat."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from chatpipe.batch.result import Result
from chatpipe.batch.run_format import RunFormat, error_message
from chatpipe.batch.tables.template import as_text
from chatpipe.inputs import values
from chatpipe.inputs.delimited import CsvDecoder, TsvDecoder
from chatpipe.inputs.rows import CellRowDecoder, JsonRowDecoder, LineRowDecoder, RowDecoder, TableHead
from chatpipe.inputs.splice import set_fields
from chatpipe.inputs.values import NotJSON, Value
from chatpipe.options.outcomes import Outcome
from chatpipe.options.output import FORMATS
from chatpipe.options.rows import RowOptions
from chatpipe.output.cells import CellLines, CsvLines, TsvLines, encodable, without_formula
from chatpipe.response.completion import content_of, first_message
from chatpipe.response.usage import reported_usage, total_usage

# Outcomes whose answers may be no JSON object, so that no field of --unpack would hold what was paid for.
TORN = frozenset({Outcome.mismatch, Outcome.truncated})


def as_text_value(content: str | None) -> Value:
    """The text of an answer, as its value."""
    return content


def as_json(content: str | None) -> Value:
    """The JSON value of an answer. Content that is no JSON, but was accepted as good, remains text."""
    if content is None:
        return None
    try:
        return values.loads_strict(content.encode("utf-8", "backslashreplace"))
    except NotJSON:
        return content


class AnswerFields:
    """The fields that are added to each row."""

    def __init__(
        self,
        options: RowOptions,
        value: Callable[[str | None], Value] = as_text_value,
        properties: Sequence[str] = (),
    ) -> None:
        """Use value to turn the text of an answer, None if there is none, into the value of its field.

        properties of the answer have a field each, with options.unpack.
        """
        self._options = options
        self._value = value
        self.unpacked = {f"{options.unpack or ''}{name}": name for name in properties}

    def names(self) -> list[str]:
        """The names of the added fields, in order."""
        options = self._options
        answers = self.unpacked or (options.into,)
        return [*answers, *(name for name in (options.usage_into, options.error_into) if name is not None)]

    def for_result(self, result: Result) -> dict[str, Value]:
        """The added fields of a result. A failed one has usage, but no answer. The first choice counts."""
        options = self._options
        completion = result.completion if result.is_good else None
        message = first_message(completion) if completion is not None else {}
        value = self._value(content_of(message)) if message else None
        fields = self._unpack(value, result) if self.unpacked else {options.into: value}
        if options.usage_into is not None:
            fields[options.usage_into] = total_usage(reported_usage(result.completion), result.earlier_usage)
        if options.error_into is not None:
            has_answer = result.is_good and result.completion is not None  # --allow failed accepts none
            fields[options.error_into] = None if has_answer else error_message(result)
        return fields

    def _unpack(self, value: Value, result: Result) -> dict[str, Value]:
        """A field for each property. A row that failed because it has such a field keeps its own."""
        properties = value if isinstance(value, dict) else {}
        own = result.item.row.fields if result.item.row is not None and not result.is_good else ()
        return {field: properties.get(name) for field, name in self.unpacked.items() if field not in own}


def create_rows(options: RowOptions) -> RowDecoder:
    """Create the reader of the input."""
    if options.source == "csv":
        return CellRowDecoder(CsvDecoder(options.delimiter), options.columns)
    if options.source == "tsv":
        return CellRowDecoder(TsvDecoder(), options.columns)
    if options.source == "lines":
        return LineRowDecoder()
    return JsonRowDecoder(options.columns, has_columns=options.target != "jsonl")


def create_format(options: RowOptions, rows: RowDecoder, answers: AnswerFields) -> RunFormat:
    """Create the output format for the rows that rows reads."""
    is_json = options.target == "jsonl"
    made = JsonRowsFormat(options, answers) if is_json else CellRowsFormat(rows, answers, options)
    made.unacceptable = TORN if answers.unpacked else frozenset()
    return made


# Each row identifies itself, and the answers are text.
_PROPERTIES = FORMATS["rows"]


class JsonRowsFormat(RunFormat):
    """One JSON object a row. Fields of a JSON input are copied byte by byte."""

    def __init__(self, options: RowOptions, answers: AnswerFields) -> None:
        super().__init__(_PROPERTIES)
        self._error = options.reason_field
        self._answers = answers

    def row(self, result: Result) -> bytes:
        row = result.item.row
        assert row is not None
        fields = self._answers.for_result(result)
        if not result.is_good:
            fields[self._error] = error_message(result)
        if row.data:
            return set_fields(row.data, row.fields, fields) + b"\n"
        return values.dumps({**row.fields, **fields}) + b"\n"


class CellRowsFormat(RunFormat):
    """A line of column names, then one line of cells a row.

    If the input has the same form, its head is kept, and cells that are only carried through are written
    as they stand there.
    """

    def __init__(self, rows: RowDecoder, answers: AnswerFields, options: RowOptions) -> None:
        super().__init__(_PROPERTIES)
        self._rows = rows
        self._answers = answers
        self._has_same_form = options.source == options.target
        self._is_csv = options.target == "csv"
        self._is_safe = options.csv_safe
        self._lines: CellLines = CsvLines() if self._is_csv else TsvLines()
        self._columns: Sequence[str] = ()
        self._positions: dict[str, int] = {}  # of the added fields
        self._width = 0  # the number of cells, the added ones included

    def head(self) -> bytes:
        columns = self._rows.columns
        if columns is None:  # an empty input: the columns are unknown
            return b""
        names = self._answers.names()
        new = [name for name in names if name not in columns]
        self._columns = columns
        self._positions = {name: columns.index(name) for name in names if name in columns}
        self._positions |= {name: len(columns) + at for at, name in enumerate(new)}
        self._width = len(columns) + len(new)
        head = self._rows.head if self._has_same_form else TableHead()
        if self._is_csv:
            self._lines = CsvLines(head.delimiter)
        separator_line = head.separator_line and head.separator_line + b"\n"
        cells = [*self._carried(columns, head.names), *map(self._cell, new)]
        return head.bom + separator_line + self._lines.line(cells)

    def row(self, result: Result) -> bytes:
        row = result.item.row
        assert row is not None
        texts = row.cells or [encodable(as_text(row.fields.get(name))) for name in self._columns]
        cells = list(self._carried(texts, row.verbatim)[: len(self._columns)])
        cells += [""] * (self._width - len(cells))
        for name, value in self._answers.for_result(result).items():
            cells[self._positions[name]] = self._cell(encodable(as_text(value)))
        return self._lines.line(cells)

    def _carried(self, texts: Sequence[str], verbatim: Sequence[str]) -> Sequence[str]:
        """The cells of texts that are not new."""
        if not (verbatim and self._has_same_form):
            return [self._cell(text) for text in texts]
        if not self._is_safe:
            return verbatim
        return [
            cell if without_formula(text) == text else self._cell(text)
            for text, cell in zip(texts, verbatim, strict=True)
        ]

    def _cell(self, text: str) -> str:
        return self._lines.cell(without_formula(text) if self._is_safe else text)
