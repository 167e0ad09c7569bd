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
    ("text", "is_run"),
    [
        *(
            (text, True)
            for text in ("=1+1", "+1+1", "+49 30", "-1+1", "-", "- item", "@SUM(1)", "=", "\uff1d1")
        ),
        *((text, True) for text in ("\t=1", "\r=1", " \n=1", "-1,5", "-1e", "--1")),
        *((text, False) for text in ("", "1", "-1", "-1.50", "-1e+9", "a=1", "'=1", "1-2", "\t", '"=1"')),
    ],
)
def test_an_apostrophe_stands_before_what_a_spreadsheet_runs(text: str, is_run: bool) -> None:
    assert without_formula(text) == ("'" + text if is_run else text)


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
