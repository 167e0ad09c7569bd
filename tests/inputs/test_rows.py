"""Lines of a table -> rows, in each of the formats."""

from __future__ import annotations

from typing import Any

import pytest

from chatpipe.errors import BadInput
from chatpipe.inputs import values
from chatpipe.inputs.delimited import CsvDecoder, RecordDecoder, TsvDecoder
from chatpipe.inputs.place import Source
from chatpipe.inputs.rows import CellRowDecoder, JsonRowDecoder, LineRowDecoder, Row, RowDecoder, TableHead
from support.parametrize import cases


def read(rows: RowDecoder, *lines: bytes) -> list[Row]:
    found = [rows.feed(Source("t", line, number)) for number, line in enumerate(lines, 1)]
    return [row for row in [*found, rows.finish()] if row is not None]


def fields(row: Row) -> Any:
    """What JSON makes of them, as a number that came in an odd form is a Fragment."""
    return values.dumps(row.fields)


def fault(row: Row) -> str | None:
    return None if row.fault is None else str(row.fault)


# JSONL


def test_json_rows_have_fields_of_their_own_and_their_text() -> None:
    rows = read(JsonRowDecoder(), b'{"a": 1}', b"", b'  {"b": [true, null]} ', b"{}")
    assert [row.fields for row in rows] == [{"a": 1}, {"b": [True, None]}, {}]
    assert [row.data for row in rows] == [b'{"a": 1}', b'{"b": [true, null]}', b"{}"]
    assert [(row.number, row.source.line) for row in rows] == [(1, 1), (2, 3), (3, 4)]


@pytest.mark.parametrize(
    "number",
    ["1.10", "1e400", "-0.0", "1E5", "12345678901234567890123", "-9223372036854775809", "0.1", "7", "1.0"],
)
def test_a_number_stays_as_it_was_written(number: str) -> None:
    [row] = read(JsonRowDecoder(), f'{{"a":{number},"b":[{number}]}}'.encode())
    assert fields(row) == f'{{"a":{number},"b":[{number}]}}'.encode()


@cases(
    ("line", "written"),
    {
        "half a character": (b'{"a":1.10,"b":"\\ud83d"}', b'{"a":1.1,"b":"\\ud83d"}'),
        "as deep as can be": (b'{"a":1.10,"b":' + b"[" * 199 + b"]" * 199 + b"}", None),
        "too deep": (
            b'{"a":1.10,"b":' + b"[" * 200 + b"]" * 200 + b"}",
            b'{"a":1.1,"b":' + b"[" * 200 + b"]" * 200 + b"}",
        ),
    },
)
def test_a_row_that_orjson_refuses_to_write_has_plain_numbers(line: bytes, written: bytes | None) -> None:
    [row] = read(JsonRowDecoder(), line)
    assert fields(row) == (written or line)


def test_a_line_that_is_too_long_is_a_row_with_a_fault(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("chatpipe.inputs.rows.MAX_LINE_BYTES", 9)
    found = read(JsonRowDecoder(), b'{"a":"b"}', b'{"a":"bc"}')
    assert [row.fault is None for row in found] == [True, False]


def test_an_integer_of_any_length_is_taken() -> None:
    [row] = read(JsonRowDecoder(), b'{"a":' + b"9" * 5000 + b"}")
    assert fields(row) == b'{"a":' + b"9" * 5000 + b"}"


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        (b"[1]", "t:2: is an array, not an object"),
        (b"7", "t:2: is a number, not an object"),
        (b'"x"', "t:2: is a string, not an object"),
        (b"null", "t:2: is null, not an object"),
        (b"nope", "t:2: not JSON: expecting value (column 1)"),
        (b'{"a":1.5', "t:2: not JSON: expecting ',' delimiter (column 9)"),
        (b'{"a":1.5,"b":NaN}', "t:2: not JSON: 'NaN' is not JSON (column 14)"),
        (b'{"a":"\xff"}', "t:2: not JSON: byte 0xff is not UTF-8 (column 7)"),
        (b'{"a":1.5,"b":"\xff"}', "t:2: not JSON: byte 0xff is not UTF-8 (column 15)"),
    ],
)
def test_a_line_that_is_no_object_is_a_row_with_a_fault(line: bytes, expected: str) -> None:
    first, second, third = read(JsonRowDecoder(), b"{}", line, b"{}")
    assert (first.fault, fault(second), third.fault) == (None, expected, None)
    assert (second.fields, second.data) == ({}, b"")


CSV = "say --csv if it is CSV"
ROWS = "jq -c '..|scalars|{text: .}' t makes rows with a field 'text'"


@cases(
    ("line", "end", "fix"),
    {
        "CSV in quotes": (b'"a","b"', b"\n", CSV),
        "a string": (b'"a"', b"\n", f"{CSV}, else {ROWS}"),
        "a string of an array": (b'"a"', b"", ROWS),
        "a number": (b"1", b"\n", ROWS),
        "a number of an array": (b"1", b"", ROWS),
        "cells": (b'["a"]', b"\n", "jq -r @csv t makes CSV of it"),
        "cells of an array": (b'["a"]', b"", "jq -r '.[]|@csv' t makes CSV of it"),
        "a broken object": (b'{"a"', b"\n", ""),
        "an object that cannot be taken": (b'{"a":1.5,"b":NaN}', b"\n", ""),
    },
)
def test_the_first_row_names_what_makes_rows_of_it(line: bytes, end: bytes, fix: str) -> None:
    rows = JsonRowDecoder()
    first, second = (rows.feed(Source("t", line, number, end)) for number in (1, 2))
    assert first is not None
    assert first.fault is not None
    assert first.fault.fix == fix
    assert second is not None
    assert second.fault is not None
    assert second.fault.fix == ""


def test_a_byte_order_mark_is_no_part_of_the_first_row() -> None:
    """Other decoders never see one."""
    assert [row.fields for row in read(CellRowDecoder(CsvDecoder()), b'\xef\xbb\xbf"a"', b"1")] == [
        {"a": "1"}
    ]
    assert [row.fields for row in read(CellRowDecoder(TsvDecoder()), b"\xef\xbb\xbfa", b"1")] == [{"a": "1"}]


def test_elsewhere_it_is_text() -> None:
    mark = b"\xef\xbb\xbf"
    assert [row.fields for row in read(LineRowDecoder(), b"a", mark + b"b")] == [
        {"line": "a"},
        {"line": "\ufeffb"},
    ]
    rows = CellRowDecoder(CsvDecoder())
    assert [row.fields for row in read(rows, b"a", mark + b"b")] == [{"a": "\ufeffb"}]
    assert rows.head == TableHead()


def test_columns_are_those_of_the_first_row() -> None:
    rows = JsonRowDecoder(has_columns=True)
    assert rows.needs_head
    first, other_order, too_few, too_many = read(
        rows, b'{"a":1,"b":2}', b'{"b":3,"a":4}', b'{"b":5}', b'{"a":6,"b":7,"c":8}'
    )
    assert not rows.needs_head
    assert rows.columns == ("a", "b")
    assert (first.fields, other_order.fields) == ({"a": 1, "b": 2}, {"a": 4, "b": 3})
    assert (too_few.fields, too_few.fault) == ({"b": 5}, None)
    assert too_many.fields == {"a": 6, "b": 7, "c": 8}
    assert fault(too_many) == (
        "t:4: field 'c' is not a column: the first row decides the columns: name all of them with --fields"
    )


def test_columns_may_be_given() -> None:
    rows = JsonRowDecoder(("b", "c"), has_columns=True)
    assert not rows.needs_head
    first, second = read(rows, b'{"c":1}', b'{"a":1}')
    assert (first.fields, first.fault) == ({"c": 1}, None)
    assert second.fault is not None


def test_without_a_first_row_there_are_no_columns() -> None:
    with pytest.raises(BadInput, match="is an array, not an object"):
        read(JsonRowDecoder(has_columns=True), b"[]")


# Lines


def test_lines_are_rows_of_one_field() -> None:
    rows = read(LineRowDecoder(), b"one", b" ", b'  "two" ')
    assert [row.fields for row in rows] == [{"line": "one"}, {"line": '  "two" '}]
    assert [(row.number, row.source.line) for row in rows] == [(1, 1), (2, 3)]


@pytest.mark.parametrize(
    ("line", "expected"),
    [(b"a\0", "t:1: binary data, a NUL"), (b"\xff", "t:1: byte 0xff is not UTF-8: convert it first")],
)
def test_a_line_that_is_no_text_is_a_row_with_a_fault(line: bytes, expected: str) -> None:
    [row] = read(LineRowDecoder(), line)
    assert (fault(row) or "").startswith(expected)
    assert row.fields == {"line": line.decode("utf-8", "replace")}
    assert row.cells == (line.decode("utf-8", "surrogateescape"),)


# CSV and TSV


def test_the_first_record_names_the_columns() -> None:
    rows = CellRowDecoder(CsvDecoder())
    assert (rows.columns, rows.needs_head) == (None, True)
    found = read(rows, b"", b'a,"b c"', b"1,2", b"3,")
    assert rows.columns == ("a", "b c")
    assert [row.fields for row in found] == [{"a": "1", "b c": "2"}, {"a": "3", "b c": ""}]
    assert [(row.number, row.source.line) for row in found] == [(1, 3), (2, 4)]


def test_columns_that_are_given_leave_the_first_line_a_row() -> None:
    rows = CellRowDecoder(CsvDecoder(), ("x", "y"))
    assert rows.needs_head  # a byte order mark or a separator line may come
    assert [row.fields for row in read(rows, b"1,2")] == [{"x": "1", "y": "2"}]
    assert not rows.needs_head


_MARK = b"\xef\xbb\xbf"


@cases(
    ("records", "lines", "head"),
    {
        "nothing": (CsvDecoder(), [b"a,b"], TableHead()),
        "a mark": (CsvDecoder(), [_MARK + b"a,b"], TableHead(bom=_MARK)),
        "a line": (CsvDecoder(), [b"sep=;", b"a;b"], TableHead(";", b"", b"sep=;")),
        "both": (CsvDecoder(), [_MARK + b"sep=|", b"a|b"], TableHead("|", _MARK, b"sep=|")),
        "a line in quotes": (CsvDecoder(), [b'"SEP=\t"', b"a\tb"], TableHead("\t", b"", b'"SEP=\t"')),
        "no ASCII": (
            CsvDecoder(),
            ["sep=§".encode(), "a§b".encode()],
            TableHead("§", b"", "sep=§".encode()),
        ),
        "a delimiter is given": (CsvDecoder(";"), [b"sep=;", b"a;b"], TableHead(";", b"", b"sep=;")),
        "and wins": (CsvDecoder(";"), [b"sep=,", b"a;b"], TableHead(";", b"", b"sep=;")),
        "TSV": (TsvDecoder(), [b"sep=\t", b"a\tb"], TableHead("\t", b"", b"sep=\t", ["a", "b"])),
        "not the first line": (CsvDecoder(), [b"a,b", b"sep=;"], TableHead()),
    },
)
def test_the_head_of_a_table_is_known(records: RecordDecoder, lines: list[bytes], head: TableHead) -> None:
    rows = CellRowDecoder(records)
    read(rows, *lines)
    assert (rows.head, rows.columns) == (head, ("a", "b"))


@pytest.mark.parametrize(
    "line", [b"sep=ab", b"sep=", b'sep="', b'"sep=;', b"sep=\xff", b"sep=;;", b"x sep=;"]
)
def test_other_first_lines_name_columns(line: bytes) -> None:
    rows = CellRowDecoder(CsvDecoder("|"), ("x",))
    rows.feed(Source("t", line))
    assert rows.head == TableHead("|")


def test_a_separator_line_stands_before_rows_too() -> None:
    rows = CellRowDecoder(CsvDecoder(), ("x", "y"))
    assert [row.fields for row in read(rows, b"sep=;", b"1;2")] == [{"x": "1", "y": "2"}]


def test_cells_stand_beside_the_fields() -> None:
    """Columns of the same name have one field and two cells."""
    rows = CellRowDecoder(TsvDecoder())
    [row] = read(rows, rb"a\t" + b"\t\t", rb"\N" + b"\t1\t" + rb"\\srv\tmp")
    assert (rows.columns, rows.head.names) == (("a\t", "", ""), ["a\\t", "", ""])
    assert row.fields == {"a\t": "\\N", "": "\\srv\tmp"}
    assert row.cells == ["\\N", "1", "\\srv\tmp"]
    assert row.verbatim == ["\\N", "1", "\\\\srv\\tmp"]


def test_a_row_of_several_lines_has_the_place_of_its_first() -> None:
    first, second = read(CellRowDecoder(CsvDecoder(), ("x",)), b'"1', b"", b'2"', b"3")
    assert (first.fields, first.source.line, first.number) == ({"x": "1\n\n2"}, 1, 1)
    assert (second.fields, second.source.line, second.number) == ({"x": "3"}, 4, 2)


@pytest.mark.parametrize(
    ("line", "cells", "expected"),
    [
        (b"1", {"a": "1", "b": None}, "t:2: 1 cell, where there are 2 columns"),
        (b"1,2,3", {"a": "1", "b": "2"}, "t:2: 3 cells, where there are 2 columns"),
        (b'1,"2"3', {"a": '1,"2"3', "b": None}, "t:2: text after a closing quote"),
        (b"1,\xff", {"a": "1", "b": "\ufffd"}, "t:2: byte 0xff is not UTF-8"),
    ],
)
def test_a_ragged_row_is_one_with_a_fault(line: bytes, cells: dict[str, str], expected: str) -> None:
    ragged, good = read(CellRowDecoder(CsvDecoder()), b"a,b", line, b"x,y")[:2]
    assert ragged.fields == cells
    assert (fault(ragged) or "").startswith(expected)
    assert (good.fields, good.fault) == ({"a": "x", "b": "y"}, None)


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        (b"a,\xff", "t:1: byte 0xff is not UTF-8"),
        (b'a,"b"c', "t:1: text after a closing quote"),
        (b'a,"b', "t:1: a quote is never closed"),
    ],
)
def test_a_header_that_cannot_be_ends_it(line: bytes, expected: str) -> None:
    with pytest.raises(BadInput) as refused:
        read(CellRowDecoder(CsvDecoder()), line, b"1,2,3")
    assert str(refused.value).startswith(expected)


def test_one_column_may_have_no_name() -> None:
    """As tables have whose first column numbers the rows."""
    assert [row.fields for row in read(CellRowDecoder(CsvDecoder()), b",a", b"0,x")] == [{"": "0", "a": "x"}]
