"""JSON in and out: what is a value, where it is not one, and the odd ones that must survive."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from chatpipe.inputs.values import NotJSON, dumps, loads, loads_all, loads_strict, standard_line
from support.parametrize import cases
from support.refusals import refused

TOO_DEEP = "nested too deeply, more than 900 levels"


@cases(
    ("data", "value"),
    {
        "plain": (b'{"a":[1,2.5,"x",true,null]}', {"a": [1, 2.5, "x", True, None]}),
        "white space around": (b' \t\r\n"a" \n', "a"),
        "byte order mark": (b'\xef\xbb\xbf{"a":1}', {"a": 1}),
        "half of an emoji": (b'"\\ud83d"', "\ud83d"),
        "both halves": (b'"\\ud83d\\ude00"', "\U0001f600"),
        "the last of 64 bits": (b"18446744073709551615", 18446744073709551615),
        "the first of 64 bits": (b"-9223372036854775808", -9223372036854775808),
        "of a repeated key the last": (b'{"a":1,"a":2}', {"a": 2}),
        "line separators in a string": ('"a\u2028b\u0085c"'.encode(), "a\u2028b\u0085c"),
        "escaped NUL": (b'"a\\u0000b"', "a\0b"),
    },
)
def test_json_is_read(data: bytes, value: Any) -> None:
    assert loads(data) == value
    assert loads_strict(data) == value


@cases(
    "digits",
    {
        "the first beyond 64 bits": "18446744073709551616",
        "below 64 bits": "-9223372036854775809",
        "30 digits": "123456789012345678901234567890",
        "4300 digits": "9" * 4300,
    },
)
def test_input_of_the_user_keeps_every_digit(digits: str) -> None:
    value = loads_strict(b'{"a":[' + digits.encode() + b"]}")["a"][0]
    assert type(value) is int
    assert str(value) == digits
    assert dumps(value) == digits.encode()


@cases(
    ("data", "what", "line", "column"),
    {
        "nothing": (b"", "nothing there", 1, 1),
        "white space only": (b" \n\t\n", "nothing there", 1, 1),
        "byte order mark only": (b"\xef\xbb\xbf", "nothing there", 1, 1),
        "open brace": (b"{", "expecting property name enclosed in double quotes", 1, 2),
        "second line": (b'{"a": 1,\n "b" 2}', "expecting ':' delimiter", 2, 6),
        "column in characters": ('{"äöü": x}'.encode(), "expecting value", 1, 9),
        "two values": (b"[1] [2]", "extra data", 1, 5),
        "open string": (b'"a', "unterminated string", 1, 1),
        "invalid UTF-8": (b'{"a":\n "b\xffc"}', "byte 0xff is not UTF-8", 2, 4),
        "cut character": ('"ä'.encode() + b'\xc3"', "byte 0xc3 is not UTF-8", 1, 3),
        "a surrogate in raw bytes": (b'"\xed\xa0\xbd"', "byte 0xed is not UTF-8", 1, 2),
        "deep": (b"[" * 100_000, TOO_DEEP, 1, 901),
        "as deep as Python 3.12 still reads": (b"[" * 2000 + b"]" * 2000, TOO_DEEP, 1, 901),
        "brackets in a string": (b'["' + b"[" * 2000 + b'", x]', "expecting value", 1, 2006),
        "brackets side by side": (b"[" + b"[]," * 2000 + b"x]", "expecting value", 1, 6002),
        "brackets behind the value": (b"[] " + b"[" * 2000, "extra data", 1, 4),
        "comma at the end of an array": (b"[\n1, ]", "a comma that nothing follows", 2, 2),
        "comma at the end of an object": (b'{"a": 1,\n}', "a comma that nothing follows", 1, 8),
        "two commas": (b"[1,,2]", "expecting value", 1, 4),
        "single quotes": (b"{'a': 1}", "expecting property name enclosed in double quotes", 1, 2),
        "no comma": (b"[1 2]", "expecting ',' delimiter", 1, 4),
        "odd escape": (rb'["\x"]', r"invalid \escape", 1, 3),
        "short escape": (rb'["\u12"]', r"invalid \uXXXX escape", 1, 4),
        "control character": (b'"a\tb"', "invalid control character", 1, 3),
    },
)
@pytest.mark.parametrize("read", [loads, loads_strict])
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
    with pytest.raises(NotJSON, match="more digits"):
        loads_strict(b"1" * 5000)


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
def test_input_of_the_user_holds_no_number_that_is_not_json(data: bytes, what: str, value: str) -> None:
    number = what.split("'")[1].encode()
    with refused(NotJSON, what=what, line=1, column=data.index(number) + 1):
        loads_strict(data)


@cases(
    ("data", "line", "column"),
    {
        "behind one in a string": (b'{"NaN": "NaN",\n "a": NaN}', 2, 7),
        "behind an escaped quote": (b'["\\"NaN", 1, NaN]', 1, 14),
        "a long one behind others": (b'[1, "' + b"2" * 5000 + b'",\n' + b"3" * 5000 + b"]", 2, 1),
        "levels behind brackets in a string": (b'["[[[["' + b",[" * 900 + b"]" * 901, 1, 1807),
    },
)
def test_what_is_refused_has_its_own_place(data: bytes, line: int, column: int) -> None:
    with pytest.raises(NotJSON) as raised:
        loads_strict(data)
    assert (raised.value.line, raised.value.column) == (line, column)


@NOT_FINITE
def test_a_server_may_send_numbers_that_are_not_json(data: bytes, what: str, value: str) -> None:
    assert str(loads(data)) == value


@cases(
    ("data", "line"),
    {
        "NaN": (b'{"a": [NaN, 1.50]}', b'{"a":[null,1.5]}'),
        "minus infinity": (b'{"a": [-Infinity]}', b'{"a":[null]}'),
        "beside what orjson refuses": (
            b'[NaN, "\\ud83d", 18446744073709551616]',
            b'[null,"\\ud83d",18446744073709551616]',
        ),
        "in a text: as it came": (b'{"a": "NaN",\n "b": 1.50}', b'{"a": "NaN",  "b": 1.50}'),
        "what is JSON, as it came": (b'{"a": 1e400}', b'{"a": 1e400}'),
    },
)
def test_a_line_for_any_reader(data: bytes, line: bytes) -> None:
    assert standard_line(data) == line


@pytest.mark.parametrize("depth", [100, 300, 900, 1020])
def test_what_is_nested_deeply_is_written_as_it_was_read(depth: int) -> None:
    """orjson reads 1024 levels and writes 254."""
    inner = '{"ä":"x","n":[],"o":{},"t":[null,1.5]}'.encode()
    data = b'{"a":[' * (depth // 2) + inner + b"]}" * (depth // 2)
    value = loads(data)
    assert dumps(value) == data
    assert dumps({"deep": value, "raw": orjson.Fragment(b"{ }")}) == b'{"deep":%b,"raw":{ }}' % data


@cases(
    ("value", "data"),
    {
        "keys in their order": ({"b": 1, "a": [True, None]}, b'{"b":1,"a":[true,null]}'),
        "not ASCII, as it is": ("äöü\u2028\U0001f600", '"äöü\u2028\U0001f600"'.encode()),
        "controls escaped: always one line": ("a\nb\x01\x7f", b'"a\\nb\\u0001\x7f"'),
        "beyond 64 bits": (2**64, b"18446744073709551616"),
        "huge beside not ASCII": ([-(2**70), "ä"], '[-1180591620717411303424,"ä"]'.encode()),
        "lone surrogate": ("\ud83d", b'"\\ud83d"'),
        "lone surrogate beside not ASCII": ({"ä": "\udcff"}, b'{"\\u00e4":"\\udcff"}'),
        "a float stays one": (1.0, b"1.0"),
        "shortest form": (0.1, b"0.1"),
    },
)
def test_values_are_written_as_json(value: Any, data: bytes) -> None:
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
def test_written_json_is_one_line_and_reads_back_the_same(value: Any) -> None:
    data = dumps(value)
    assert b"\n" not in data
    assert b"\r" not in data
    assert loads_strict(data) == value


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


@pytest.mark.parametrize(
    "text",
    [
        b"2",
        b"123456789012345678901",
        b'"\\ud83d"',
        b"[" * 600 + b"]" * 600,
        b"[" * 50 + b"]" * 50,
        b'"%b"' % (b"a" * 2000),
        b"[%b[]]" % (b"[]," * 1000),
    ],
    ids=["short", "a long integer", "half an emoji", "deep", "less deep", "long", "long, of many brackets"],
)
def test_several_texts_have_the_values_that_each_has(text: bytes) -> None:
    assert loads_all([b"1", text, b'"x"']) == [1, loads_strict(text), "x"]


@pytest.mark.parametrize("text", [b"", b"NaN", b"1 2", b"[" * 950 + b"]" * 950, b"[" * 2000 + b"]" * 2000])
def test_several_texts_are_refused_with_one_of_them(text: bytes) -> None:
    with pytest.raises(NotJSON):
        loads_all([b"1", text])


def test_no_texts_have_no_values() -> None:
    assert loads_all([]) == []
