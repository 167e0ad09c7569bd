"""Lines and elements of an input: what is recognised, what is refused, and what comes before that."""

from __future__ import annotations

import gzip
import json
import os
import subprocess
from itertools import chain
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from chatpipe.errors import BadInput
from chatpipe.inputs import elements
from chatpipe.inputs.line_decoder import InputForm, LineDecoder
from chatpipe.inputs.sources import Sources
from chatpipe.inputs.stdin import Stdin
from support.parametrize import cases
from support.programs import program

Lines = list[tuple[int, bytes]]


def read(
    data: bytes, form: InputForm = InputForm.JSONL, name: str = "f", *, step: int = 1 << 20
) -> tuple[Lines, str]:
    """The lines that are not blank, and the text of the fault behind them."""
    decoder = LineDecoder(name, form)
    feeds = [decoder.feed(data[at : at + step]) for at in range(0, len(data), step)]
    lines: Lines = []
    try:
        for source in chain(*feeds, decoder.end()):
            if source.data.strip():
                lines.append((source.line, source.data))
    except BadInput as fault:
        return lines, str(fault)
    return lines, ""


def read_alike(data: bytes, form: InputForm = InputForm.JSONL, name: str = "f") -> tuple[Lines, str]:
    """The same for blocks of any size."""
    whole = read(data, form, name)
    assert [read(data, form, name, step=step) for step in (1, 2, 5)] == [whole] * 3
    return whole


@cases(
    "data, lines",
    {
        "JSONL": (b'{"a":1}\n\n{"b":2}\r\n"c"', [(1, b'{"a":1}'), (3, b'{"b":2}'), (4, b'"c"')]),
        "blank lines first": (b'\n \n"c"', [(3, b'"c"')]),
        "nothing": (b"\n \n", []),
        "a value that is no request": (b"5\nwords\n", [(1, b"5"), (2, b"words")]),
        "a broken object": (b'{"a":\n"b"\n', [(1, b'{"a":'), (2, b'"b"')]),
        "a broken string": (b'"a\n"b"\n', [(1, b'"a'), (2, b'"b"')]),
        "a broken array": (b'[broken\n"b"\n', [(1, b"[broken"), (2, b'"b"')]),
        "a broken array behind blank lines": (b'\n [}\n"b"\n', [(2, b" [}"), (3, b'"b"')]),
        "a broken string in an array": (b'["a\n"b"\n', [(1, b'["a'), (2, b'"b"')]),
        "an array that is one line and ends early": (b'[{"a"\n', [(1, b'[{"a"')]),
        "the same without a line end": (b'[{"a"', [(1, b'[{"a"')]),
        "an array": (b'[{"a":1},"b",[]]', [(1, b'{"a":1}'), (2, b'"b"'), (3, b"[]")]),
        "an empty array": (b"[ ]\n\n", []),
        "an array, an element a line": (b'\n[{"a":1},\n{"b":2}\n]\n', [(1, b'{"a":1}'), (2, b'{"b":2}')]),
        "an array, pretty-printed": (b'[\r\n  {\r\n    "a": 1\r\n  }\r\n]', [(1, b'{      "a": 1    }')]),
        "strings with brackets": (rb'["]\"\\","{\u00e4"]', [(1, rb'"]\"\\"'), (2, rb'"{\u00e4"')]),
        "content of elements that is bad": (
            b'[NaN,"\xff",1e999,' + b"[" * 950 + b"]" * 950 + b"]",
            [(1, b"NaN"), (2, b'"\xff"'), (3, b"1e999"), (4, b"[" * 950 + b"]" * 950)],
        ),
    },
)
def test_what_is_read(data: bytes, lines: Lines) -> None:
    assert read_alike(data) == (lines, "")
    assert read_alike(gzip.compress(b"\xef\xbb\xbf" + data)) == (lines, "")


CSV = "CSV, not JSON: chatpipe map --csv '{{text}}' f asks about each row"


@cases(
    "data, lines, fault",
    {
        "an array that ends early": (
            b'["a",\n"b"',
            [b'"a"', b'"b"'],
            "f: the array ends early, after element 2: jq empty f says on which line",
        ),
        "behind its first line": (
            b"[\n",
            [],
            "f: the array ends early, at its beginning: jq empty f says on which line",
        ),
        "inside an element": (
            b'["a",\n{"b":',
            [b'"a"'],
            "f: the array ends early, after element 1: jq empty f says on which line",
        ),
        "a comma that is missing": (
            b'["a"\n"b"]',
            [b'"a"'],
            "f: neither ',' nor ']' after element 1: jq empty f says on which line",
        ),
        "a comma too many": (
            b'["a",\n]',
            [b'"a"'],
            "f: a value is missing after element 1: jq empty f says on which line",
        ),
        "no first element": (
            b'[\n,"a"]',
            [],
            "f: a value is missing at its beginning: jq empty f says on which line",
        ),
        "an element that is broken": (
            b'["a", {"b" 1}, "c"]',
            [b'"a"'],
            "f: element 2 is not JSON: expecting ':' delimiter (column 6): jq empty f says on which line",
        ),
        "a string that is broken": (
            b'["a", "b\n, "c"]',
            [b'"a"'],
            "f: a string is never closed in element 2: jq empty f says on which line",
        ),
        "several arrays": (
            b'["a"]\n["b"]\n',
            [b'"a"'],
            "f: there is something after the array: read it with jq -c '.[]' f",
        ),
        "gzip that ends early": (
            gzip.compress(b'"a"\n"b"\n"c"')[:-8],
            [b'"a"', b'"b"'],
            "f: its gzip data end early: get the whole file",
        ),
        "an object on several lines": (
            b'\n{ \n"a":1}\n',
            [],
            "f:2: JSON that takes several lines: put each value on one line with jq -c . f",
        ),
        "CSV": (b"text,label\n1,2\n", [], f"f:1: {CSV}"),
        "CSV with a quoted name": (b'text,"a b"\n', [], f"f:1: {CSV}"),
        "CSV with semicolons": (
            b"text;label\n",
            [],
            "f:1: CSV, not JSON: chatpipe map --csv --delimiter ';' '{{text}}' f asks about each row",
        ),
        "TSV": (
            b"the id\ttext\n",
            [],
            "f:1: TSV, not JSON: chatpipe map --tsv '{{text}}' f asks about each row",
        ),
        "text": (
            b"Dear Sir, dear Madam\n",
            [],
            "f:1: plain text, not JSON: chatpipe batch --lines f takes each line as a prompt",
        ),
        "text in another character set": (
            b"caf\xe9\n",
            [],
            "f:1: plain text, not JSON: chatpipe batch --lines f takes each line as a prompt",
        ),
    },
)
def test_what_is_refused_behind_what_came(data: bytes, lines: list[bytes], fault: str) -> None:
    assert read_alike(data) == (list(enumerate(lines, 1)), fault)


@cases(
    "name, data, fault",
    {
        "CSV with one column": ("a.csv", b"text\n", "'{{text}}' a.csv"),
        "CSV with quotes, packed": ("a.CSV.gz", b'"text","b"\n', "--csv '{{text}}' a.CSV.gz"),
        "TSV": ("a.tsv", b"text\n", "--tsv '{{text}}' a.tsv"),
        "JSONL under another name": ("a.csv", b'{"a":1}\n', ""),
        "stdin": ("<stdin>", b"a,b\n", "--csv '{{a}}' asks"),
        "no name of a column": ("f", b"1,2\n", "--csv '{{COLUMN}}' f"),
    },
)
def test_name_of_the_input_counts_too(name: str, data: bytes, fault: str) -> None:
    found = read_alike(data, name=name)[1]
    assert fault in found
    assert bool(found) == bool(fault)


@cases(
    "form, data, lines",
    {
        "text": (InputForm.TEXT, b'["a",\n"b"]\n', [(1, b'["a",'), (2, b'"b"]')]),
        "cells": (InputForm.CELLS, b"\xef\xbb\xbfa,b\n", [(1, b"\xef\xbb\xbfa,b")]),
        "documents": (InputForm.DOCUMENTS, b'{\n"a":1}\n', [(1, b"{"), (2, b'"a":1}')]),
        "documents in an array": (InputForm.DOCUMENTS, b'[{\n"a":1}]\n', [(1, b'{ "a":1}')]),
    },
)
def test_other_forms(form: InputForm, data: bytes, lines: Lines) -> None:
    assert read_alike(data, form) == (lines, "")


JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.text(max_size=5)
    | st.sampled_from(['"', "\\", "]", "{", ",\n"]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
    max_leaves=12,
)


@settings(max_examples=50)
@given(st.lists(JSON, max_size=4), st.sampled_from([None, 0, 2]), st.booleans(), st.integers(1, 9), st.data())
def test_elements_are_those_of_the_parser(
    values: list[Any], indent: int | None, ascii: bool, step: int, draw: st.DataObject
) -> None:
    data = json.dumps(values, indent=indent, ensure_ascii=ascii).encode("utf-8", "surrogatepass")
    lines, fault = read(data, step=step)
    assert not fault
    assert [json.loads(line.decode("utf-8", "surrogatepass")) for _, line in lines] == json.loads(data)

    cut = data[: draw.draw(st.integers(1, len(data) - 1))]
    part, fault = read(cut, step=step)
    is_broken_line = part == [(1, cut.rstrip(b"\n"))]
    assert is_broken_line or part == lines[: len(part)]
    assert fault or is_broken_line


def test_an_element_that_is_too_long_is_cut(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(elements, "MAX_LINE_BYTES", 10)
    decoder = LineDecoder("f", InputForm.JSONL)
    data = b'["a","' + b"x" * 1000 + b'","b"]'
    found = [each.data for at in range(len(data)) for each in decoder.feed(data[at : at + 1])]
    assert (found[0], len(found[1]), found[2:]) == (b'"a"', 11, [b'"b"'])


@pytest.mark.parametrize("start", [b'"', b'{"a":"', b"[[["])
def test_an_element_without_an_end_is_there_at_once(monkeypatch: pytest.MonkeyPatch, start: bytes) -> None:
    monkeypatch.setattr(elements, "MAX_LINE_BYTES", 10)
    decoder = LineDecoder("f", InputForm.JSONL)
    blocks = [b'["a",' + start, *[b"[" * 8] * 9]
    found = [(each.line, len(each.data)) for block in blocks for each in decoder.feed(block)]
    assert [number for number, _ in found] == [1, 2]
    assert 10 < found[1][1] < 24


def test_no_more_than_the_first_line_is_waited_for() -> None:
    for data in (b'{"a":1}\n', b'[{"a":1},', b"[1 ", b"x\n", gzip.compress(b'"a"\n' * 9)[:-8]):
        reader, writer = os.pipe()
        try:
            os.write(writer, data)
            form = InputForm.TEXT if data.startswith(b"x") else InputForm.JSONL
            assert next(Sources(Stdin(reader, True, print)).lines("-", "FILE", form)).line == 1
        finally:
            os.close(reader)
            os.close(writer)


@cases(
    "data, elements",
    {
        "several lines": (b'{\n"a":1}\n{"b":\n2}', [b'{"a":1}', b'{"b":2}']),
        "several arrays": (b'["a"]\n["b"]\n', [b'"a"', b'"b"']),
    },
)
def test_jq_command_works_as_it_stands(tmp_path: Path, data: bytes, elements: list[bytes]) -> None:
    program("jq")
    (tmp_path / "in 1.json").write_bytes(data)
    fault = read(data, name="in 1.json")[1]
    command = fault[fault.index("jq ") :]
    done = subprocess.run(command, shell=True, cwd=tmp_path, stdout=subprocess.PIPE, check=True)
    assert read(done.stdout) == (list(enumerate(elements, 1)), "")
