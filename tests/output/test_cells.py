"""Lines of CSV and TSV."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chatpipe.inputs.delimited import CsvDecoder, TsvDecoder
from chatpipe.inputs.place import Source
from chatpipe.output.cells import CsvLines, TsvLines, without_formula


@pytest.mark.parametrize(
    ("cells", "line"),
    [
        (["a", "b"], "a,b\n"),
        ([""], '""\n'),
        (["", ""], ",\n"),
        (["a\rb", "a\nb", "a\r\nb"], '"a\rb","a\nb","a\r\nb"\n'),
        (["a,b", 'a"b', "a;b", "a\tb"], '"a,b","a""b",a;b,a\tb\n'),
        (["\r\n"], '"\r\n"\n'),
    ],
)
def test_csv_lines_are_quoted_where_they_have_to_be(cells: list[str], line: str) -> None:
    assert CsvLines().line(cells) == line.encode()


@pytest.mark.parametrize(
    "text",
    [
        *("'=1+1", "'+1+1", "'+49 30", "'-1+1", "'-", "'- item", "'@SUM(1)", "'="),
        *("'\uff1d1", "'-1e", "'--1", "'-1.2.3"),
        # after what a spreadsheet passes over
        *("\t'=1", "\r'=1", " \n'=1", "\v'=1", "\f'=1", "\xa0'=1", "\u3000'=1", "\x00'=1", "\x85'=1"),
        *("\u200b'=1", "\u2060'=1", "\xad'=1", "\u202e'=1", "\ufeff'=1", "\ufeff \u200b'@a"),
        # where another character separates cells
        *("x;'=cmd", "x,'=cmd", "x\t'=cmd", "x\n'=cmd", "x\r\n'=cmd", "x; '=cmd", 'x;"\'=cmd"', "x,'@bob"),
        *("'=1;'=2", "-1;'=2", "x; ;,'+1+1", "a\n'- b\n'- c", ";'=1"),
    ],
)
def test_an_apostrophe_stands_before_what_a_spreadsheet_runs(text: str) -> None:
    assert without_formula(text.replace("'", "")) == text
    assert without_formula(text) == text


@pytest.mark.parametrize(
    "text",
    [
        *("", "1", "-1", "-1.50", "-1e+9", "+1", "+1e5", "-1 ", " +1\t", "-.5", "-1.", "-1,5"),
        *("3;-5;+7", "-1\n-2", "-1 \n+2", "\xa0-1"),
        *("a=1", "'=1", "1-2", "\t", '"=1"', "a =1", "a -b", "x;y=1", "x;'=1", "a;", "\u200b", "a-b, c=d"),
    ],
)
def test_what_a_spreadsheet_does_not_run_stays(text: str) -> None:
    assert without_formula(text) == text


def test_formulas_behind_a_long_gap_are_found() -> None:
    gap = " \n" * 200_000
    assert without_formula(f"a{gap}b{gap}=") == f"a{gap}b{gap}'="


_CELLS = st.lists(
    st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=5), min_size=2
)


@given(_CELLS, st.sampled_from(["csv", "tsv"]))
def test_written_cells_are_read_again(cells: list[str], shape: str) -> None:
    lines = CsvLines() if shape == "csv" else TsvLines()
    line = lines.line([lines.cell(cell) for cell in cells])
    records = CsvDecoder() if shape == "csv" else TsvDecoder()
    read = []
    for text in line.removesuffix(b"\n").split(b"\n"):
        is_crlf = text.endswith(b"\r")
        source = Source("t", text[:-1], 1, b"\r\n") if is_crlf else Source("t", text)
        if (record := records.feed(source)) is not None:
            read.append(list(record.cells))
    assert read == [cells]
