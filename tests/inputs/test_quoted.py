"""CSV and TSV, a physical line at a time: the records of the csv module, without seeing the end first."""

from __future__ import annotations

import csv
import io

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chatpipe.inputs import quoted
from chatpipe.inputs.place import Source
from chatpipe.inputs.quoted import CsvRecords, Record, Records, TsvRecords


def read(records: Records, data: bytes) -> list[Record]:
    """The records of a whole input, cut into lines as a feed cuts it."""
    found = []
    *whole, last = data.split(b"\n")
    for number, line in enumerate(whole, 1):
        text, end = (line[:-1], b"\r\n") if line.endswith(b"\r") else (line, b"\n")
        found.append(records.record(Source("t.csv", text, number, end)))
    if last:
        found.append(records.record(Source("t.csv", last, len(whole) + 1, b"")))
    found.append(records.end())
    return [record for record in found if record is not None]


def cells(data: bytes) -> list[list[str]]:
    found = read(CsvRecords(), data)
    assert [record.fault for record in found] == [None] * len(found)
    return [list(record.cells) for record in found]


def faults(data: bytes) -> list[str | None]:
    return [None if each.fault is None else str(each.fault) for each in read(CsvRecords(), data)]


@pytest.mark.parametrize(
    ("data", "expected"),
    [
        pytest.param(b"", [], id="nothing"),
        pytest.param(b"a,b\n1,2\n", [["a", "b"], ["1", "2"]], id="plain"),
        pytest.param(b"a,b\n1,2", [["a", "b"], ["1", "2"]], id="no last newline"),
        pytest.param(b"a,b\r\n1,2\r\n", [["a", "b"], ["1", "2"]], id="CRLF"),
        pytest.param(b"\n\na\n\n", [["a"]], id="blank lines are no records"),
        pytest.param(b" \n", [[" "]], id="a space is a cell"),
        pytest.param(b'""\n', [[""]], id="an empty cell alone"),
        pytest.param(b",\n,,\n", [["", ""], ["", "", ""]], id="empty cells"),
        pytest.param(b'"a","b"\n', [["a", "b"]], id="all quoted"),
        pytest.param(b'"a,b",c\n', [["a,b", "c"]], id="a comma in quotes"),
        pytest.param(b'"say ""hi""",c\n', [['say "hi"', "c"]], id="doubled quotes"),
        pytest.param(b'"""",""""""\n', [['"', '""']], id="only quotes"),
        pytest.param(b'"a\nb",c\nd,e\n', [["a\nb", "c"], ["d", "e"]], id="a newline in quotes"),
        pytest.param(b'"a\r\nb",c\r\n', [["a\r\nb", "c"]], id="CRLF in quotes stays CRLF"),
        pytest.param(b'"a\rb",c\n', [["a\rb", "c"]], id="CR in quotes"),
        pytest.param(b'"\n\n\n"\n', [["\n\n\n"]], id="blank lines in quotes"),
        pytest.param(b'a,"\n",b,"\n"\n', [["a", "\n", "b", "\n"]], id="open, closed and open again"),
        pytest.param(b'"a\n"",""\nb"\n', [['a\n","\nb']], id="doubled, then on"),
        pytest.param(b'5" pipe,x\n', [['5" pipe', "x"]], id="a quote inside an unquoted cell is itself"),
        pytest.param(b'a"b"c,"d\ne"\n', [['a"b"c', "d\ne"]], id="and does not open one"),
        pytest.param(b'a, "b"\n', [["a", ' "b"']], id="a space before a quote"),
        pytest.param("é,\u2028,\x0b\x1c\n".encode(), [["é", "\u2028", "\x0b\x1c"]], id="other line ends"),
        pytest.param('"日\n本"\n'.encode(), [["日\n本"]], id="UTF-8 in quotes"),
    ],
)
def test_csv(data: bytes, expected: list[list[str]]) -> None:
    assert cells(data) == expected


@pytest.mark.parametrize(
    ("data", "expected"),
    [
        pytest.param(
            b'"a"b,c\nd,e\n',
            ["t.csv:1: text behind a closing quote: a quote inside a cell is doubled", None],
            id="text behind a quote",
        ),
        pytest.param(b'a\n"b,c\nd\n', [None, "t.csv:2: a quote is never closed"], id="never closed"),
        pytest.param(b'"', ["t.csv:1: a quote is never closed"], id="a quote alone"),
        pytest.param(b"a\rb\nc\n", ["t.csv:1: a carriage return outside quotes", None], id="CR"),
        pytest.param(b"a\0b\nc\n", ["t.csv:1: binary data, a NUL", None], id="NUL"),
        pytest.param(b'"a\nb\0"\nc\n', ["t.csv:1: binary data, a NUL", None], id="NUL on another line"),
        pytest.param(
            b"a\n\xff,b\n",
            [None, "t.csv:2: byte 0xff is not UTF-8: convert it first, for example with iconv -t UTF-8"],
            id="Latin-1",
        ),
    ],
)
def test_what_is_wrong_is_one_record_with_its_place(data: bytes, expected: list[str | None]) -> None:
    assert faults(data) == expected


def test_bytes_that_are_not_utf_8_are_there_to_be_written_again() -> None:
    [record] = read(CsvRecords(), b'\xff,"\xfe"\n')
    assert [cell.encode("utf-8", "surrogateescape") for cell in record.cells] == [b"\xff", b"\xfe"]


def test_a_cell_of_megabytes() -> None:
    """The csv module's own limit is 128 KiB."""
    assert cells(b'a,"' + b"x" * 3_000_000 + b'"\n') == [["a", "x" * 3_000_000]]


def test_a_quote_that_is_never_closed_takes_no_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(quoted, "LINE_BYTES", 1 << 20)
    records = CsvRecords()
    line = b"x" * 1000
    assert records.record(Source("t.csv", b'"', 7)) is None
    for _ in range(3000):
        assert records.record(Source("t.csv", line)) is None
    assert sum(map(len, records._buffer)) < 1 << 20
    last = records.record(Source("t.csv", b'"', 3008))
    assert last is not None
    assert str(last.fault) == "t.csv:7: longer than 1 MiB"
    assert records.record(Source("t.csv", b"a,b", 3009)) == Record(Source("t.csv", b"a,b", 3009), ["a", "b"])


_CELL = st.text(st.sampled_from('ab,"\n\r\t\\ é'), max_size=6)


@given(
    st.lists(st.lists(_CELL, min_size=1, max_size=4), max_size=5),
    st.sampled_from([csv.QUOTE_ALL, csv.QUOTE_MINIMAL]),
    st.sampled_from(["\n", "\r\n"]),
)
def test_what_the_csv_module_writes_is_read(rows: list[list[str]], quoting: int, end: str) -> None:
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
    found = read(CsvRecords(), text.encode())
    good = [list(record.cells) for record in found if record.fault is None]
    if is_good:
        assert [record.fault for record in found] == [None] * len(found)
        assert good == expected
    else:
        assert any(record.fault is not None for record in found)


@pytest.mark.parametrize(
    ("data", "expected"),
    [
        pytest.param(b"a\tb\n", [["a", "b"]], id="plain"),
        pytest.param(b'"a\t"b"\n', [['"a', '"b"']], id="quotes are nothing"),
        pytest.param(b"\t\n", [["", ""]], id="empty cells"),
        pytest.param(rb"1\t2" + b"\t" + rb"3\n4\r5\\n" + b"\n", [["1\t2", "3\n4\r5\\n"]], id="escapes"),
        pytest.param(rb"C:\path\x" + b"\n", [["C:\\path\\x"]], id="other backslashes are themselves"),
        pytest.param(b"a\\\n", [["a\\"]], id="one at the end"),
        pytest.param(b"a\r\n", [["a"]], id="CRLF"),
        pytest.param(b"\na\n", [["a"]], id="blank"),
    ],
)
def test_tsv(data: bytes, expected: list[list[str]]) -> None:
    found = read(TsvRecords(), data)
    assert [list(record.cells) for record in found] == expected
    assert [record.fault for record in found] == [None] * len(found)


def test_tsv_of_bytes_that_are_no_text() -> None:
    found = read(TsvRecords(), b"a\n\xff\tb\n")
    assert [record.fault is None for record in found] == [True, False]
