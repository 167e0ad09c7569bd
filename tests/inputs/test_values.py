"""JSON in and out: what is a value, where it is not one, and the odd ones that must survive."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chatpipe.inputs.values import NotJSON, dumps, loads, loads_exactly, strict_line
from refusals import refused


@pytest.mark.parametrize(
    ("data", "value"),
    [
        pytest.param(b'{"a":[1,2.5,"x",true,null]}', {"a": [1, 2.5, "x", True, None]}, id="plain"),
        pytest.param(b' \t\r\n"a" \n', "a", id="white space around"),
        pytest.param(b'\xef\xbb\xbf{"a":1}', {"a": 1}, id="byte order mark"),
        pytest.param(b'"\\ud83d"', "\ud83d", id="half of an emoji"),
        pytest.param(b'"\\ud83d\\ude00"', "\U0001f600", id="both halves"),
        pytest.param(b"18446744073709551615", 18446744073709551615, id="the last of 64 bits"),
        pytest.param(b"-9223372036854775808", -9223372036854775808, id="the first of 64 bits"),
        pytest.param(b'{"a":1,"a":2}', {"a": 2}, id="of a repeated key the last"),
        pytest.param('"a\u2028b\u0085c"'.encode(), "a\u2028b\u0085c", id="line separators in a string"),
        pytest.param(b'"a\\u0000b"', "a\0b", id="escaped NUL"),
    ],
)
def test_read(data: bytes, value: Any) -> None:
    assert loads(data) == value
    assert loads_exactly(data) == value


@pytest.mark.parametrize(
    "digits",
    [
        pytest.param("18446744073709551616", id="the first beyond 64 bits"),
        pytest.param("-9223372036854775809", id="below 64 bits"),
        pytest.param("123456789012345678901234567890", id="30 digits"),
        pytest.param("9" * 4300, id="4300 digits"),
    ],
)
def test_what_the_user_gives_keeps_every_digit(digits: str) -> None:
    value = loads_exactly(b'{"a":[' + digits.encode() + b"]}")["a"][0]
    assert type(value) is int
    assert str(value) == digits
    assert dumps(value) == digits.encode()


@pytest.mark.parametrize(
    ("data", "what", "line", "column"),
    [
        pytest.param(b"", "nothing there", 1, 1, id="nothing"),
        pytest.param(b" \n\t\n", "nothing there", 1, 1, id="white space only"),
        pytest.param(b"\xef\xbb\xbf", "nothing there", 1, 1, id="byte order mark only"),
        pytest.param(b"{", "expecting property name enclosed in double quotes", 1, 2, id="open brace"),
        pytest.param(b'{"a": 1,\n "b" 2}', "expecting ':' delimiter", 2, 6, id="second line"),
        pytest.param('{"äöü": x}'.encode(), "expecting value", 1, 9, id="column in characters"),
        pytest.param(b"[1] [2]", "extra data", 1, 5, id="two values"),
        pytest.param(b'"a', "unterminated string starting at", 1, 1, id="open string"),
        pytest.param(b'{"a":\n "b\xffc"}', "byte 0xff is not UTF-8", 2, 4, id="invalid UTF-8"),
        pytest.param('"ä'.encode() + b'\xc3"', "byte 0xc3 is not UTF-8", 1, 3, id="cut character"),
        pytest.param(b'"\xed\xa0\xbd"', "byte 0xed is not UTF-8", 1, 2, id="a surrogate in raw bytes"),
        pytest.param(b"[" * 100_000, "nested too deeply", 1, 1, id="deep"),
    ],
)
@pytest.mark.parametrize("read", [loads, loads_exactly])
def test_refused_with_line_and_column(
    read: Callable[[bytes], Any], data: bytes, what: str, line: int, column: int
) -> None:
    with pytest.raises(NotJSON) as refused:
        read(data)
    error = refused.value
    assert (error.what, error.line, error.column) == (what, line, column)
    assert str(error) == f"{what} (line {line}, column {column})"


def test_byte_that_is_not_utf8_is_the_right_one_behind_a_byte_order_mark() -> None:
    with refused(NotJSON, what="byte 0xfe is not UTF-8", line=1):
        loads(b'\xef\xbb\xbf"a\xfe"')


def test_more_digits_than_python_reads_are_refused() -> None:
    with pytest.raises(NotJSON, match="4300 digits"):
        loads_exactly(b"1" * 5000)


NOT_FINITE = pytest.mark.parametrize(
    ("data", "what", "value"),
    [
        pytest.param(b"NaN", "'NaN' is not JSON", "nan", id="NaN"),
        pytest.param(b"[-Infinity]", "'-Infinity' is not JSON", "[-inf]", id="minus infinity"),
        pytest.param(b'{"a":Infinity}', "'Infinity' is not JSON", "{'a': inf}", id="infinity"),
        pytest.param(b"1e400", "'1e400' is too large a number", "inf", id="beyond all floats"),
        pytest.param(b'{"a":[-1e999]}', "'-1e999' is too large a number", "{'a': [-inf]}", id="below them"),
    ],
)


@NOT_FINITE
def test_what_the_user_gives_holds_no_number_that_json_has_not(data: bytes, what: str, value: str) -> None:
    with refused(NotJSON, what=what, line=1, column=1):
        loads_exactly(data)


@NOT_FINITE
def test_of_a_server_it_is_taken(data: bytes, what: str, value: str) -> None:
    assert str(loads(data)) == value


@pytest.mark.parametrize(
    ("data", "line"),
    [
        pytest.param(b'{"a": [NaN, 1.50]}', b'{"a":[null,1.5]}', id="NaN"),
        pytest.param(b'{"a": [-Infinity]}', b'{"a":[null]}', id="minus infinity"),
        pytest.param(
            b'[NaN, "\\ud83d", 18446744073709551616]',
            b'[null,"\\ud83d",18446744073709551616]',
            id="beside what orjson refuses",
        ),
        pytest.param(b'{"a": "NaN",\n "b": 1.50}', b'{"a": "NaN",  "b": 1.50}', id="in a text: as it came"),
        pytest.param(b'{"a": 1e400}', b'{"a": 1e400}', id="what is JSON, as it came"),
    ],
)
def test_a_line_for_any_reader(data: bytes, line: bytes) -> None:
    assert strict_line(data) == line


@pytest.mark.parametrize(
    ("value", "data"),
    [
        pytest.param({"b": 1, "a": [True, None]}, b'{"b":1,"a":[true,null]}', id="keys in their order"),
        pytest.param("äöü\u2028\U0001f600", '"äöü\u2028\U0001f600"'.encode(), id="not ASCII, as it is"),
        pytest.param("a\nb\x01\x7f", b'"a\\nb\\u0001\x7f"', id="controls escaped: always one line"),
        pytest.param(2**64, b"18446744073709551616", id="beyond 64 bits"),
        pytest.param([-(2**70), "ä"], '[-1180591620717411303424,"ä"]'.encode(), id="huge beside not ASCII"),
        pytest.param("\ud83d", b'"\\ud83d"', id="lone surrogate"),
        pytest.param({"ä": "\udcff"}, b'{"\\u00e4":"\\udcff"}', id="lone surrogate beside not ASCII"),
        pytest.param(1.0, b"1.0", id="a float stays one"),
        pytest.param(0.1, b"0.1", id="shortest form"),
    ],
)
def test_written(value: Any, data: bytes) -> None:
    assert dumps(value) == data


def test_depth_that_can_be_read_can_be_written() -> None:
    """What was read is sent again: no depth may be lost in between."""
    for depth in (300, 900):
        assert dumps(loads(b"[" * depth + b"]" * depth)) == b"[" * depth + b"]" * depth


JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(st.characters(categories=None)),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=8,
)


@given(JSON)
def test_what_is_written_is_one_line_and_reads_back_the_same(value: Any) -> None:
    data = dumps(value)
    assert b"\n" not in data
    assert b"\r" not in data
    assert loads_exactly(data) == value


@given(st.binary(max_size=40))
def test_any_bytes_are_a_value_or_refused_with_a_place(data: bytes) -> None:
    try:
        loads(data)
    except NotJSON as refused:
        error = refused
    else:
        return
    assert 1 <= error.line <= data.count(b"\n") + 1
    assert 1 <= error.column <= len(data) + 1
