"""JSON bytes <-> values: orjson, and Python's json for what orjson refuses.

A server may send, and a user may ask for, what orjson will not touch: lone surrogates
(`"\\ud83d"`, half an emoji in a cut token) on the way in, and integers beyond 64 bits on the way
out. Python's json takes both, so nothing that arrived is lost for being odd. NaN, Infinity and
numbers beyond all floats are taken of servers only, some of which put them among log probabilities:
they are floats then, and null where they are written, as JSON has no such numbers.
"""

from __future__ import annotations

import contextlib
import json
import math
import re
from collections.abc import Callable
from typing import Any, NoReturn

import orjson

# Any, at the JSON boundary and nowhere else: what comes out of a document has any shape.
Value = Any


# The shortest integer that does not fit 64 bits has 19 digits and a sign, or 20.
_LONG_NUMBER = re.compile(rb"[0-9]{19}")


# json.dumps recurses, and Python lets it go to about 1,000. A request has some ten levels.
_DEEPEST = 900


class NotJSON(ValueError):
    """The text is not one JSON value. line and column count from 1, column in characters."""

    def __init__(self, what: str, line: int, column: int) -> None:
        self.what = what
        self.line = line
        self.column = column
        super().__init__(f"{what} (line {line}, column {column})")


def loads(data: bytes) -> Value:
    """The value of one JSON text in UTF-8, a leading byte order mark ignored. Raises NotJSON.

    For what servers say: NaN, Infinity and 1e400 are floats that are not finite.
    """
    try:
        return orjson.loads(data)
    except orjson.JSONDecodeError:
        return _loads_slowly(data, parse_constant=float, parse_float=float)


def loads_exactly(data: bytes) -> Value:
    """As loads, but integers beyond 64 bits stay what they are; orjson makes them floats without a word.

    For what the user gives. Looking for them costs too much for each chunk of a stream. What cannot
    be written again is refused, too: numbers that are not finite, and what is nested too deeply.
    """
    value = _strictly(data)
    if data.count(b"[") + data.count(b"{") > _DEEPEST and _depth(value) > _DEEPEST:
        raise NotJSON(f"nested too deeply, more than {_DEEPEST} levels", 1, 1)
    return value


def _strictly(data: bytes) -> Value:
    if not _LONG_NUMBER.search(data):
        with contextlib.suppress(orjson.JSONDecodeError):
            return orjson.loads(data)
    return _loads_slowly(data, parse_constant=_refuse_constant, parse_float=_finite)


def _depth(value: Value) -> int:
    """How deep a value is nested, found without recursion."""
    depth = 0
    level = [value]
    while level:
        inner = [each for each in level if isinstance(each, list | dict)]
        level = [part for each in inner for part in (each if isinstance(each, list) else each.values())]
        depth += bool(inner)
    return depth


def _loads_slowly(
    data: bytes, *, parse_constant: Callable[[str], float], parse_float: Callable[[str], float]
) -> Value:
    try:
        # surrogatepass is not wanted here: raw surrogates in UTF-8 are invalid UTF-8, escapes are not
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        before = error.object[: error.start]  # not data, which may begin with a byte order mark
        line = before.count(b"\n") + 1
        column = len(before[before.rfind(b"\n") + 1 :].decode("utf-8", "replace")) + 1
        raise NotJSON(f"byte 0x{error.object[error.start]:02x} is not UTF-8", line, column) from error
    if not text.strip():
        raise NotJSON("nothing there", 1, 1)
    try:
        return json.loads(text, parse_constant=parse_constant, parse_float=parse_float)
    except json.JSONDecodeError as error:
        what = error.msg[:1].lower() + error.msg[1:]
        raise NotJSON(what, error.lineno, error.colno) from error
    except RecursionError as error:
        raise NotJSON("nested too deeply", 1, 1) from error
    except ValueError as error:  # _refuse_constant, or an integer of more digits than int() takes
        raise NotJSON(str(error).partition(";")[0], 1, 1) from error


def _finite(text: str) -> float:
    """Infinity is no JSON: orjson would write it as null, and nobody would know."""
    number = float(text)
    if math.isinf(number):
        raise ValueError(f"'{text[:40]}' is too large a number")
    return number


def _refuse_constant(name: str) -> NoReturn:
    raise ValueError(f"'{name}' is not JSON")


def dumps(value: Value) -> bytes:
    """One line of JSON, without a line end, non-ASCII as it is, keys in their order.

    Floats that are not finite are null.
    """
    try:
        return orjson.dumps(value)
    except (TypeError, orjson.JSONEncodeError):
        return _dumps_slowly(value)


def _dumps_slowly(value: Value) -> bytes:
    try:
        text = _dumped(value, ensure_ascii=False)
    except ValueError:  # NaN or Infinity; not looked for by ourselves, who would recurse less deeply
        value = json.loads(json.dumps(value), parse_constant=lambda _: None)
        text = _dumped(value, ensure_ascii=False)
    try:
        return text.encode()
    except UnicodeEncodeError:  # a lone surrogate has no bytes in UTF-8: only its escape is JSON
        return _dumped(value, ensure_ascii=True).encode()


def _dumped(value: Value, *, ensure_ascii: bool) -> str:
    return json.dumps(value, ensure_ascii=ensure_ascii, separators=(",", ":"), allow_nan=False)


# Outside strings, CR and LF are the only line ends that JSON's white space can hold; inside they are escaped.
_LINE_ENDS = bytes.maketrans(b"\r\n", b"  ")


def one_line(body: bytes) -> bytes:
    """A JSON text on one line, every other byte as it came."""
    return body.translate(_LINE_ENDS).strip(b" \t\xef\xbb\xbf")


def strict_line(body: bytes) -> bytes:
    """The same for any reader of JSON: where NaN or Infinity is among its values, written anew with null."""
    line = one_line(body)
    if b"NaN" in line or b"Infinity" in line:  # maybe in a text only
        try:
            _strictly(line)
        except NotJSON:
            return dumps(loads(line))
    return line
