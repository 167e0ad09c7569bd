"""Rows with what is put beside them, as JSONL, CSV and TSV."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import orjson
import pytest

from chatpipe.batch.items import Item
from chatpipe.batch.result import Result
from chatpipe.batch.tables import writer
from chatpipe.batch.tables.writer import AnswerFields
from chatpipe.errors import Status
from chatpipe.inputs.line_decoder import InputForm
from chatpipe.inputs.place import Source
from chatpipe.inputs.rows import Row, TableHead
from chatpipe.options.outcomes import Outcome
from chatpipe.options.rows import RowOptions

USAGE = {"prompt_tokens": 1, "completion_tokens": 2, "total_tokens": 3}


def row(data: bytes = b"", /, **fields: Any) -> Row:
    """A row that came as this JSON, or as cells."""
    return Row(Source("t", data), 1, orjson.loads(data) if data else fields, data)


def good(row: Row, content: Any) -> Result:
    completion = {"choices": [{"index": 0, "message": {"content": content}}], "usage": USAGE}
    return Result(Item(1, "line-1", {}, row=row), Outcome.ok, b"{}", completion, True, Status.OK)


def failed(row: Row, message: str) -> Result:
    line = orjson.dumps({"error": {"code": "http_500", "message": message}})
    return Result(Item(1, "line-1", {}, row=row), Outcome.http, line, None, False, Status.UNREACHABLE)


def json(result: Result, **how: Any) -> bytes:
    carrying = RowOptions(**how)
    return writer.JsonRowsFormat(carrying, AnswerFields(carrying)).row(result)


def test_an_answer_stands_behind_the_fields() -> None:
    assert json(good(row(b'{"a": 1.10}'), "yes"), into="b") == b'{"a": 1.10,"b":"yes"}\n'


def test_a_field_of_that_name_is_replaced_in_its_place() -> None:
    assert json(good(row(b'{"a":1,"b":2}'), "yes"), into="a") == b'{"a":"yes","b":2}\n'
    assert json(good(row(a="1", b="2"), "yes"), into="a") == b'{"a":"yes","b":"2"}\n'


def test_counts_and_errors_have_a_field_in_every_row() -> None:
    how = {"into": "x", "usage_into": "u", "error_into": "e"}
    assert json(good(row(b"{}"), "yes"), **how) == (
        b'{"x":"yes","u":{"prompt_tokens":1,"completion_tokens":2,"total_tokens":3},"e":null}\n'
    )
    assert json(failed(row(b"{}"), "no"), **how) == b'{"x":null,"u":null,"e":"no"}\n'


def test_a_failed_row_of_json_says_why() -> None:
    assert json(failed(row(b'{"a":1}'), "no"), into="x") == b'{"a":1,"x":null,"x_error":"no"}\n'


def test_a_failure_that_counts_as_good_is_null() -> None:
    assert json(failed(row(b"{}"), "no")._replace(is_good=True), into="x") == b'{"x":null}\n'


@pytest.mark.parametrize(
    ("content", "written"),
    [
        ("a\n", b'"a\\n"'),
        (None, b"null"),
        ([{"type": "text", "text": "a"}, {"type": "text", "text": "b"}], b'"ab"'),
        ("\ud83d", b'"\\ud83d"'),
    ],
)
def test_content_is_written_as_a_json_text(content: Any, written: bytes) -> None:
    assert json(good(row(b"{}"), content), into="x") == b'{"x":' + written + b"}\n"


def test_a_value_may_be_made_of_the_text() -> None:
    carrying = RowOptions(into="x")
    table = writer.JsonRowsFormat(carrying, AnswerFields(carrying, writer.as_json))
    assert table.row(good(row(b"{}"), '{"a": 1}')) == b'{"x":{"a":1}}\n'
    assert table.row(good(row(b"{}"), "no JSON")) == b'{"x":"no JSON"}\n'
    assert table.row(good(row(b"{}"), None)) == b'{"x":null}\n'


class _Columns:
    """Rows whose columns are known."""

    form = InputForm.CELLS
    is_flat = True
    needs_head = False
    head = TableHead()

    def __init__(self, *columns: str) -> None:
        self.columns: Sequence[str] | None = columns

    def feed(self, source: Source) -> None: ...

    def finish(self) -> None: ...


def table(target: str, *columns: str, **how: Any) -> writer.CellRowsFormat:
    carrying = RowOptions(target=target, **how)
    written = writer.create_format(carrying, _Columns(*columns), AnswerFields(carrying))
    assert isinstance(written, writer.CellRowsFormat)
    return written


def test_csv_has_a_header_and_cells() -> None:
    csv = table("csv", "a", "b,c", into="x", usage_into="u", error_into="e")
    assert csv.head() == b'a,"b,c",x,u,e\n'
    assert csv.row(good(row(**{"a": "1", "b,c": 'say "hi"'}), "two\nlines")) == (
        b'1,"say ""hi""","two\nlines","{""prompt_tokens"":1,""completion_tokens"":2,""total_tokens"":3}",\n'
    )
    assert csv.row(failed(row(**{"a": None, "b,c": ""}), "no, sorry")) == b',,,,"no, sorry"\n'


def test_csv_replaces_a_column_in_its_place() -> None:
    csv = table("csv", "a", "b", into="a")
    assert csv.head() == b"a,b\n"
    assert csv.row(good(row(a="1", b="2"), "x")) == b"x,2\n"


def test_cells_of_json_values_are_json() -> None:
    csv = table("csv", "a", "b", "c", "d", "e", into="x")
    csv.head()
    fields = {"a": 1, "b": orjson.Fragment("1.10"), "c": True, "d": {"k": [1]}, "e": None}
    assert csv.row(good(row(**fields), "y")) == b'1,1.10,true,"{""k"":[1]}",,y\n'


def test_without_columns_there_is_no_header() -> None:
    carrying = RowOptions(target="csv")
    unknown = _Columns()
    unknown.columns = None
    assert writer.create_format(carrying, unknown, AnswerFields(carrying)).head() == b""


def test_tsv_escapes_tabs_and_line_ends() -> None:
    tsv = table("tsv", "a\tb", into="x")
    assert tsv.head() == b"a\\tb\tx\n"
    assert tsv.row(good(row(**{"a\tb": "1\\n"}), "two\n\r\tlines")) == b"1\\\\n\ttwo\\n\\r\\tlines\n"


def cell_row(*cells: str, verbatim: Sequence[str] = ()) -> Row:
    return Row(Source("t", b""), 1, {}, cells=cells, verbatim=verbatim)


@pytest.mark.parametrize(
    ("source", "target", "written"),
    [
        ("tsv", "tsv", b"\\N\t\\\\srv\\tmp\t\\\\x\\t\n"),
        ("tsv", "csv", b"\\N,\\srv\tmp,\\x\t\n"),
        ("csv", "tsv", b"\\\\N\t\\\\srv\\tmp\t\\\\x\\t\n"),
    ],
)
def test_a_cell_of_the_same_form_comes_out_to_the_byte(source: str, target: str, written: bytes) -> None:
    form = table(target, "a", "b", source=source, into="x")
    form.head()
    carried = cell_row("\\N", "\\srv\tmp", verbatim=["\\N", "\\\\srv\\tmp"] if source == "tsv" else ())
    assert form.row(good(carried, "\\x\t")) == written


def test_with_csv_safe_a_cell_that_needs_no_guard_comes_out_to_the_byte() -> None:
    form = table("tsv", "=a", "b", source="tsv", into="x", csv_safe=True)
    assert form.head() == b"'=a\tb\tx\n"
    carried = cell_row("\\N", "=\\t", verbatim=["\\N", "=\\t"])
    assert form.row(good(carried, "+a")) == b"\\N\t'=\\\\t\t'+a\n"


def test_columns_of_the_same_name_keep_their_cells() -> None:
    csv = table("csv", "a", "", "a", "", into="b")
    assert csv.head() == b"a,,a,,b\n"
    assert csv.row(good(cell_row("1", "2", "3", "4"), "x")) == b"1,2,3,4,x\n"


@pytest.mark.parametrize(("cells", "line"), [(("1",), b"1,,\n"), (("1", "2", "3"), b"1,2,\n"), ((), b",,\n")])
def test_a_ragged_row_has_as_many_cells_as_the_header(cells: tuple[str, ...], line: bytes) -> None:
    csv = table("csv", "a", "b", into="x")
    csv.head()
    assert csv.row(failed(cell_row(*cells), "no")) == line


def test_bytes_that_were_no_text_come_out_as_they_went_in() -> None:
    csv = table("csv", "a", into="x")
    csv.head()
    assert csv.row(failed(cell_row("\udcff"), "no")) == b"\xff,\n"
    assert csv.row(good(cell_row("\udcff"), "\ud83d-\udcff")) == b"\xff,\xef\xbf\xbd-\xef\xbf\xbd\n"
    assert csv.row(good(row(a="\udcff"), "é")) == "\ufffd,é\n".encode()
