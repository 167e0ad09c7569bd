"""JSON Pointers -> line and column, in documents of every shape."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chatpipe.inputs.place import Source, locate

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


@pytest.mark.parametrize(
    ("pointer", "line", "column"),
    [
        pytest.param("", 1, 1, id="the whole"),
        pytest.param("/model", 2, 12, id="a member"),
        pytest.param("/messages", 3, 15, id="an array"),
        pytest.param("/messages/0", 4, 5, id="an item"),
        pytest.param("/messages/0/content", 5, 17, id="a member of an item"),
        pytest.param("/messages/1/role", 7, 15, id="of the second item"),
        pytest.param("/messages/1/content", 6, 5, id="missing member: its parent"),
        pytest.param("/messages/9/content/1", 3, 15, id="missing item: the array"),
        pytest.param("/messages/x", 3, 15, id="a word for an index"),
        pytest.param("/messages/01", 3, 15, id="no leading zeros"),
        pytest.param("/a~1b", 10, 10, id="a slash in a key"),
        pytest.param("/a~1b/c~0d", 10, 18, id="a tilde in a key"),
        pytest.param("/", 11, 7, id="the empty key"),
        pytest.param("/model/deeper", 2, 12, id="inside a string: the string"),
        pytest.param("/nothing", 1, 1, id="missing at the top"),
    ],
)
def test_pretty_document(pointer: str, line: int, column: int) -> None:
    assert locate(PRETTY, pointer) == (line, column)


@pytest.mark.parametrize(
    ("pointer", "column"),
    [
        pytest.param("", 1, id="the whole"),
        pytest.param("/ä", 7, id="columns are characters"),
        pytest.param("/b", 39, id="of a repeated key the last"),
        pytest.param("/b/1", 44, id="inside the last"),
        pytest.param("/b/1/c", 44, id="what only the first had is not there"),
    ],
)
def test_document_on_one_line(pointer: str, column: int) -> None:
    assert locate(ONE_LINE, pointer) == (1, column)


@pytest.mark.parametrize(
    ("data", "pointer", "place"),
    [
        pytest.param(b'{"a\\"b": 1, "\\u00e4": 2}', "/ä", (1, 23), id="escaped key"),
        pytest.param(b'{"a\\"b": 1}', '/a"b', (1, 10), id="escaped quote"),
        pytest.param(b'\n\n  {"a": 1}', "/a", (3, 9), id="blank lines before"),
        pytest.param(b'\n\n  {"a": 1}', "", (3, 3), id="the whole behind blank lines"),
        pytest.param(b'{\r\n"a": 1}', "/a", (2, 6), id="CRLF"),
        pytest.param(b"[[1, 2], [3, 4]]", "/1/0", (1, 11), id="arrays in arrays"),
        pytest.param(b"[]", "/0", (1, 1), id="empty array"),
        pytest.param(b"{}", "/a", (1, 1), id="empty object"),
        pytest.param(b'{"a":{},"b":[],"c":3}', "/c", (1, 20), id="empty ones before"),
        pytest.param('{"a\u2028":1,\n"b":2}'.encode(), "/b", (2, 5), id="U+2028 ends no line"),
        pytest.param(b"5", "/a", (1, 1), id="a number"),
    ],
)
def test_odd_documents(data: bytes, pointer: str, place: tuple[int, int]) -> None:
    assert locate(data, pointer) == place


@pytest.mark.parametrize(
    "data",
    [b"", b"{", b'{"a"', b'{"a":', b"[1,", b'{"a":1 "b":2}', b"nul", b"\xff\xfe", b"[" * 10_000],
    ids=["nothing", "brace", "key", "colon", "comma", "no comma", "half a word", "no text", "deep"],
)
@pytest.mark.parametrize("pointer", ["", "/a", "/b/0", "/1"])
def test_what_is_not_json_has_some_place(data: bytes, pointer: str) -> None:
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
def test_what_begins_at_the_place_is_the_value(document: Any, indent: int | None, ascii_only: bool) -> None:
    text = json.dumps(document, indent=indent, ensure_ascii=ascii_only)
    lines = text.split("\n")
    for pointer, value in leaves(document):
        line, column = locate(text.encode(), pointer)
        rest = "\n".join([lines[line - 1][column - 1 :], *lines[line:]])
        assert json.JSONDecoder().raw_decode(rest)[0] == value
