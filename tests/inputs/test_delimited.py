"""CSV and TSV, a physical line at a time: the records of the csv module, without seeing the end first."""

from __future__ import annotations

import csv
import io

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chatpipe.inputs import delimited
from chatpipe.inputs.delimited import CsvDecoder, Record, RecordDecoder, TsvDecoder
from chatpipe.inputs.place import Source
from support.parametrize import cases


def read(records: RecordDecoder, data: bytes) -> list[Record]:
    """The records of a whole input, cut into lines as a feed cuts it."""
    found = []
    *whole, last = data.split(b"\n")
    for number, line in enumerate(whole, 1):
        text, end = (line[:-1], b"\r\n") if line.endswith(b"\r") else (line, b"\n")
        found.append(records.feed(Source("t.csv", text, number, end)))
    if last:
        found.append(records.feed(Source("t.csv", last, len(whole) + 1, b"")))
    found.append(records.finish())
    return [record for record in found if record is not None]


def cells(data: bytes) -> list[list[str]]:
    found = read(CsvDecoder(), data)
    assert [record.fault for record in found] == [None] * len(found)
    return [list(record.cells) for record in found]


def faults(data: bytes) -> list[str | None]:
    return [None if each.fault is None else str(each.fault) for each in read(CsvDecoder(), data)]


@cases(
    ("data", "expected"),
    {
        "nothing": (b"", []),
        "plain": (b"a,b\n1,2\n", [["a", "b"], ["1", "2"]]),
        "no last newline": (b"a,b\n1,2", [["a", "b"], ["1", "2"]]),
        "CRLF": (b"a,b\r\n1,2\r\n", [["a", "b"], ["1", "2"]]),
        "blank lines are no records": (b"\n\na\n\n", [["a"]]),
        "a space is a cell": (b" \n", [[" "]]),
        "an empty cell alone": (b'""\n', [[""]]),
        "empty cells": (b",\n,,\n", [["", ""], ["", "", ""]]),
        "all quoted": (b'"a","b"\n', [["a", "b"]]),
        "a comma in quotes": (b'"a,b",c\n', [["a,b", "c"]]),
        "doubled quotes": (b'"say ""hi""",c\n', [['say "hi"', "c"]]),
        "only quotes": (b'"""",""""""\n', [['"', '""']]),
        "a newline in quotes": (b'"a\nb",c\nd,e\n', [["a\nb", "c"], ["d", "e"]]),
        "CRLF in quotes stays CRLF": (b'"a\r\nb",c\r\n', [["a\r\nb", "c"]]),
        "CR in quotes": (b'"a\rb",c\n', [["a\rb", "c"]]),
        "blank lines in quotes": (b'"\n\n\n"\n', [["\n\n\n"]]),
        "open, closed and open again": (b'a,"\n",b,"\n"\n', [["a", "\n", "b", "\n"]]),
        "doubled, then on": (b'"a\n"",""\nb"\n', [['a\n","\nb']]),
        "a quote inside an unquoted cell is itself": (b'5" pipe,x\n', [['5" pipe', "x"]]),
        "and does not open one": (b'a"b"c,"d\ne"\n', [['a"b"c', "d\ne"]]),
        "a space before a quote": (b'a, "b"\n', [["a", ' "b"']]),
        "other line ends": ("é,\u2028,\x0b\x1c\n".encode(), [["é", "\u2028", "\x0b\x1c"]]),
        "UTF-8 in quotes": ('"日\n本"\n'.encode(), [["日\n本"]]),
    },
)
def test_csv_is_read_as_records(data: bytes, expected: list[list[str]]) -> None:
    assert cells(data) == expected


@pytest.mark.parametrize("delimiter", [";", "|", "\t", " ", "\\", "§", "日"])
def test_any_character_may_stand_between_cells(delimiter: str) -> None:
    text = f'a{delimiter}"b{delimiter}""\n"{delimiter}c,d\n{delimiter}'
    records = read(CsvDecoder(delimiter), text.encode())
    assert [list(each.cells) for each in records] == [["a", f'b{delimiter}"\n', "c,d"], ["", ""]]
    assert [each.fault for each in records] == [None, None]


@cases(
    ("data", "expected"),
    {
        "text behind a quote": (
            b'"a"b,c\nd,e\n',
            ["t.csv:1: text after a closing quote: a quote inside a cell is doubled", None],
        ),
        "never closed": (b'a\n"b,c\nd\n', [None, "t.csv:2: a quote is never closed"]),
        "closed, and another is not": (b'"a\nb","c\nd\n', ["t.csv:2: a quote is never closed"]),
        "a quote alone": (b'"', ["t.csv:1: a quote is never closed"]),
        "CR": (b"a\nb\rc\n", [None, "t.csv:2: a carriage return outside quotes"]),
        "CR as line ends": (
            b"a,b\r1,2\r",
            [
                (
                    "t.csv:1: a carriage return outside quotes: "
                    r"end lines with LF, for example with tr '\r' '\n' <t.csv"
                ),
            ],
        ),
        "NUL": (b"a\0b\nc\n", ["t.csv:1: binary data, a NUL", None]),
        "NUL on another line": (b'"a\nb\0"\nc\n', ["t.csv:1: binary data, a NUL", None]),
        "Latin-1": (
            b"a\n\xff,b\n",
            [
                None,
                (
                    "t.csv:2: byte 0xff is not UTF-8: "
                    "convert it first, for example with iconv -f WINDOWS-1252 -t UTF-8 t.csv"
                ),
            ],
        ),
    },
)
def test_a_fault_is_one_record_with_its_place(data: bytes, expected: list[str | None]) -> None:
    assert faults(data) == expected


def test_bytes_that_are_not_utf_8_are_there_to_be_written_again() -> None:
    [record] = read(CsvDecoder(), b'\xff,"\xfe"\n')
    assert [cell.encode("utf-8", "surrogateescape") for cell in record.cells] == [b"\xff", b"\xfe"]


def test_a_cell_of_megabytes() -> None:
    """The csv module's own limit is 128 KiB."""
    assert cells(b'a,"' + b"x" * 3_000_000 + b'"\n') == [["a", "x" * 3_000_000]]


@pytest.mark.parametrize("end", [b'"', None], ids=["closed late", "never closed"])
def test_a_quote_that_is_not_closed_is_told_at_the_limit(
    monkeypatch: pytest.MonkeyPatch, end: bytes | None
) -> None:
    """It takes no memory from there, and the record is told once. The place is the line of the quote."""
    monkeypatch.setattr(delimited, "MAX_LINE_BYTES", 1 << 20)
    records = CsvDecoder()
    start = [records.feed(Source("t.csv", data, line)) for line, data in ((7, b'"a'), (8, b'b","c'))]
    found = [records.feed(Source("t.csv", b"x" * 1000, line)) for line in range(9, 3009)]
    assert start == [None, None]
    [told] = [record for record in found if record is not None]
    assert found.index(told) == (1 << 20) // 1001
    assert str(told.fault) == "t.csv:8: a quote is not closed within 1 MiB"
    assert sum(map(len, records._buffer)) == 0
    assert (records.finish() if end is None else records.feed(Source("t.csv", end, 3009))) is None
    assert records.feed(Source("t.csv", b"a,b", 3010)) == Record(Source("t.csv", b"a,b", 3010), ["a", "b"])


def test_a_record_that_its_last_line_makes_too_long_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(delimited, "MAX_LINE_BYTES", 9)
    records = CsvDecoder()
    first, last = (
        records.feed(Source("t.csv", data, line)) for line, data in ((1, b'"a'), (2, b'123456789"'))
    )
    assert (first, last and str(last.fault)) == (None, "t.csv:1: a quote is not closed within 0 MiB")
    assert records.finish() is None


_CELL = st.text(st.sampled_from('ab,"\n\r\t\\ é'), max_size=6)


@given(
    st.lists(st.lists(_CELL, min_size=1, max_size=4), max_size=5),
    st.sampled_from([csv.QUOTE_ALL, csv.QUOTE_MINIMAL]),
    st.sampled_from(["\n", "\r\n"]),
)
def test_output_of_the_csv_module_is_read(rows: list[list[str]], quoting: int, end: str) -> None:
    file = io.StringIO(newline="")
    # With CRLF as its end the module quotes both CR and LF, whatever its version.
    csv.writer(file, quoting=quoting, lineterminator="\r\n").writerows(rows)  # type: ignore[arg-type]
    text = file.getvalue()
    if end == "\n" and "\r" not in "".join(map("".join, rows)):
        text = text.replace("\r\n", "\n")
    assert cells(text.encode()) == rows


@given(st.text(st.sampled_from('a,"\n'), max_size=14))
def test_any_text_gives_the_records_of_the_csv_module(text: str) -> None:
    """Up to the first that it refuses, and from there on it gives none."""
    oracle = csv.reader(io.StringIO(text, newline=""), strict=True)
    expected: list[list[str]] = []
    try:
        expected.extend(row for row in oracle if row)
        is_good = True
    except csv.Error:
        is_good = False
    found = read(CsvDecoder(), text.encode())
    good = [list(record.cells) for record in found if record.fault is None]
    if is_good:
        assert [record.fault for record in found] == [None] * len(found)
        assert good == expected
    else:
        assert any(record.fault is not None for record in found)


@cases(
    ("data", "expected"),
    {
        "plain": (b"a\tb\n", [["a", "b"]]),
        "quotes are nothing": (b'"a\t"b"\n', [['"a', '"b"']]),
        "empty cells": (b"\t\n", [["", ""]]),
        "escapes": (rb"1\t2" + b"\t" + rb"3\n4\r5\\n" + b"\n", [["1\t2", "3\n4\r5\\n"]]),
        "other backslashes are themselves": (rb"C:\path\x" + b"\n", [["C:\\path\\x"]]),
        "one at the end": (b"a\\\n", [["a\\"]]),
        "CRLF": (b"a\r\n", [["a"]]),
        "blank": (b"\na\n", [["a"]]),
    },
)
def test_tsv_is_read_as_records(data: bytes, expected: list[list[str]]) -> None:
    found = read(TsvDecoder(), data)
    assert [list(record.cells) for record in found] == expected
    assert [record.fault for record in found] == [None] * len(found)


def test_tsv_whose_lines_end_in_cr() -> None:
    """They would be one line, the names of the columns, of a table without rows."""
    [record] = read(TsvDecoder(), b"a\tb\r1\t2\r")
    fix = r"end lines with LF, for example with tr '\r' '\n' <t.csv"
    assert str(record.fault) == f"t.csv:1: a carriage return inside a line: {fix}"
    assert [record.fault for record in read(TsvDecoder(), b"a\nb\r1\n")] == [None, None]


def test_tsv_of_bytes_that_are_no_text() -> None:
    found = read(TsvDecoder(), b"a\n\xff\tb\n")
    assert [record.fault is None for record in found] == [True, False]
