"""JSON Pointers -> line and column, in documents of every shape."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chatpipe.inputs.place import LineSplitter, Source, locate
from support.parametrize import cases

PRETTY = b"""{
  "model": "m",
  "messages": [
    {"role": "user",
     "content": "a"},
    {
      "role": "assistant"
    }
  ],
  "a/b": {"c~d": 1},
  "": 7
}
"""
ONE_LINE = '{"ä": "öü", "b": [10, {"c": 2}], "b": [30, 40]}'.encode()


@cases(
    ("pointer", "line", "column"),
    {
        "the whole": ("", 1, 1),
        "a member": ("/model", 2, 12),
        "an array": ("/messages", 3, 15),
        "an item": ("/messages/0", 4, 5),
        "a member of an item": ("/messages/0/content", 5, 17),
        "of the second item": ("/messages/1/role", 7, 15),
        "missing member: its parent": ("/messages/1/content", 6, 5),
        "missing item: the array": ("/messages/9/content/1", 3, 15),
        "a word for an index": ("/messages/x", 3, 15),
        "no leading zeros": ("/messages/01", 3, 15),
        "a slash in a key": ("/a~1b", 10, 10),
        "a tilde in a key": ("/a~1b/c~0d", 10, 18),
        "the empty key": ("/", 11, 7),
        "inside a string: the string": ("/model/deeper", 2, 12),
        "missing at the top": ("/nothing", 1, 1),
    },
)
def test_pretty_document(pointer: str, line: int, column: int) -> None:
    assert locate(PRETTY, pointer) == (line, column)


@cases(
    ("pointer", "column"),
    {
        "the whole": ("", 1),
        "columns are characters": ("/ä", 7),
        "of a repeated key the last": ("/b", 39),
        "inside the last": ("/b/1", 44),
        "what only the first had is not there": ("/b/1/c", 44),
    },
)
def test_document_on_one_line(pointer: str, column: int) -> None:
    assert locate(ONE_LINE, pointer) == (1, column)


@cases(
    ("data", "pointer", "place"),
    {
        "escaped key": (b'{"a\\"b": 1, "\\u00e4": 2}', "/ä", (1, 23)),
        "escaped quote": (b'{"a\\"b": 1}', '/a"b', (1, 10)),
        "blank lines before": (b'\n\n  {"a": 1}', "/a", (3, 9)),
        "the whole behind blank lines": (b'\n\n  {"a": 1}', "", (3, 3)),
        "CRLF": (b'{\r\n"a": 1}', "/a", (2, 6)),
        "arrays in arrays": (b"[[1, 2], [3, 4]]", "/1/0", (1, 11)),
        "empty array": (b"[]", "/0", (1, 1)),
        "empty object": (b"{}", "/a", (1, 1)),
        "empty ones before": (b'{"a":{},"b":[],"c":3}', "/c", (1, 20)),
        "U+2028 ends no line": ('{"a\u2028":1,\n"b":2}'.encode(), "/b", (2, 5)),
        "a number": (b"5", "/a", (1, 1)),
    },
)
def test_odd_documents_have_places(data: bytes, pointer: str, place: tuple[int, int]) -> None:
    assert locate(data, pointer) == place


@pytest.mark.parametrize(
    "data",
    [b"", b"{", b'{"a"', b'{"a":', b"[1,", b'{"a":1 "b":2}', b"nul", b"\xff\xfe", b"[" * 10_000],
    ids=["nothing", "brace", "key", "colon", "comma", "no comma", "half a word", "no text", "deep"],
)
@pytest.mark.parametrize("pointer", ["", "/a", "/b/0", "/1"])
def test_text_that_is_not_json_has_some_place(data: bytes, pointer: str) -> None:
    line, column = locate(data, pointer)
    assert line >= 1
    assert column >= 1


def test_number_too_long_for_python_has_some_place() -> None:
    """The walk never raises, also where the parser would have refused."""
    assert locate(b'{"a":' + b"1" * 5000 + b',"b":2}', "/b")[0] == 1


def test_source_counts_from_its_own_line() -> None:
    source = Source("f.jsonl", b'{"a": 1,\n "b": 2}', 41)
    assert source.at("/a") == (41, 7)
    assert source.at("/b") == (42, 7)
    assert source.place() == "f.jsonl:41"
    assert source.place("/b") == "f.jsonl:42"


KEYS = st.text('ab/~"\\ \u00e4', max_size=3)
DOCUMENTS = st.recursive(
    st.integers() | st.text(max_size=3) | st.none(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(KEYS, inner, max_size=3),
    max_leaves=6,
)


def leaves(value: Any, pointer: str = "") -> list[tuple[str, Any]]:
    found = [(pointer, value)]
    if isinstance(value, dict):
        for key, inner in value.items():
            step = key.replace("~", "~0").replace("/", "~1")
            found += leaves(inner, f"{pointer}/{step}")
    if isinstance(value, list):
        for index, inner in enumerate(value):
            found += leaves(inner, f"{pointer}/{index}")
    return found


@given(DOCUMENTS, st.sampled_from([None, 1]), st.booleans())
def test_the_value_begins_at_its_place(document: Any, indent: int | None, ascii_only: bool) -> None:
    text = json.dumps(document, indent=indent, ensure_ascii=ascii_only)
    lines = text.split("\n")
    for pointer, value in leaves(document):
        line, column = locate(text.encode(), pointer)
        rest = "\n".join([lines[line - 1][column - 1 :], *lines[line:]])
        assert json.JSONDecoder().raw_decode(rest)[0] == value


@pytest.mark.parametrize(
    ("data", "lines", "rest"),
    [
        (b"", [], b""),
        (b"a\nbc\n", [b"a", b"bc"], b""),
        (b"a\nbc", [b"a"], b"bc"),
        (b"\n\na\n", [b"", b"", b"a"], b""),
        (b"a\r\nb\xe2\x80\xa8c\n\r", [b"a\r", b"b\xe2\x80\xa8c"], b"\r"),
    ],
    ids=["empty", "two lines", "no final LF", "blank lines", "LF only"],
)
def test_lines_are_the_same_however_their_bytes_arrive(data: bytes, lines: list[bytes], rest: bytes) -> None:
    for size in range(1, len(data) + 2):
        splitter = LineSplitter()
        blocks = [data[start : start + size] for start in range(0, len(data), size)]
        assert [line for block in blocks for line in splitter.feed(block)] == lines
        assert splitter.end() == rest


def test_a_long_line_is_cut_after_the_block_that_exceeds_the_limit() -> None:
    splitter = LineSplitter(max_bytes=3)
    assert [splitter.feed(block) for block in (b"ab", b"cd", b"ef", b"g\nh")] == [[], [b"abcd"], [], []]
    assert splitter.end() == b"h"
