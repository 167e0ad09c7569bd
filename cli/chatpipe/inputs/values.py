"""JSON bytes <-> values: orjson, and Python's json for what orjson refuses.

Servers send and users write values that orjson refuses: lone surrogates on input (`"\\ud83d"`, half
an emoji in a cut token), and integers beyond 64 bits on output. Python's json accepts both, so no
unusual value is lost. NaN, Infinity and numbers too large for a float are accepted from servers only,
because some put them among log probabilities. They are read as floats and written as null, because
JSON has no such numbers.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Callable, Iterator, Sequence
from typing import Any, NoReturn

import orjson

# Any is used at the JSON boundary and nowhere else: a document may have any shape.
Value = Any


# The shortest integers beyond 64 bits have 20 digits, or 19 digits and a minus sign. They are searched for
# with every digit made a zero, which takes a sixth of the time of a pattern. Of a run of 19 digits, at least
# three are among every sixth byte, so that most texts need a look at these only.
_AS_ZERO = bytes.maketrans(b"123456789", b"000000000")
_LONG_RUN = b"0" * 19
_SIXTH = slice(None, None, 6)
_RUN_IN_SIXTH = b"0" * 3


# bool comes before int because it is a subclass of int
_KINDS = (
    (bool, "a boolean"),
    ((int, float), "a number"),
    (str, "a string"),
    (list, "an array"),
    (dict, "an object"),
)

# json.dumps recurses, and the recursion limit is about 1,000. A request has about ten levels.
_MAX_DEPTH = 900
_BRACKETS = r'"[^"\\]*+(?:\\.[^"\\]*+)*+"?|[\[{\]}]'
# Strings are matched so that what is inside them is none.
_NUMBERS = r'"[^"\\]*+(?:\\.[^"\\]*+)*+"?|-?Infinity|NaN|-?[0-9][-+.0-9eE]*'
_MOST_DIGITS = 4300  # the default limit of int() since Python 3.11

# The faults of Python's json, whose words differ between its versions, and ours.
_FAULTS = {
    "Expecting value": "expecting value",
    "Expecting property name": "expecting property name enclosed in double quotes",
    "Expecting ':'": "expecting ':' delimiter",
    "Expecting ','": "expecting ',' delimiter",
    "Extra data": "extra data",
    "Unterminated string": "unterminated string",
    "Invalid control character": "invalid control character",
    "Invalid \\u": "invalid \\uXXXX escape",
    "Invalid \\": "invalid \\escape",
    "Illegal trailing comma": "a comma that nothing follows",
}
_TRAILING_COMMA = _FAULTS["Illegal trailing comma"]


class NotJSON(ValueError):
    """A text that is not one JSON value. line and column count from 1, column in characters."""

    def __init__(self, what: str, line: int, column: int) -> None:
        self.what = what
        self.line = line
        self.column = column
        super().__init__(f"{what} (line {line}, column {column})")


def loads(data: bytes) -> Value:
    """The value of one JSON text in UTF-8. A leading byte order mark is ignored. Raises NotJSON.

    For data from servers: NaN, Infinity and 1e400 become non-finite floats.
    """
    try:
        return orjson.loads(data)
    except orjson.JSONDecodeError:
        return _loads_slowly(data, parse_constant=float, parse_float=float)


def loads_exact(data: bytes) -> Value:
    """Like loads, but integers beyond 64 bits stay exact, as in loads_strict."""
    if not has_long_number(data):
        return loads(data)
    return _loads_slowly(data, parse_constant=float, parse_float=float)


def has_long_number(data: bytes) -> bool:
    """Return True if JSON may have an integer beyond 64 bits in it, which only loads_exact keeps."""
    # partition() is called faster than find().
    if not data[_SIXTH].translate(_AS_ZERO).partition(_RUN_IN_SIXTH)[1]:
        return False
    return data.translate(_AS_ZERO).find(_LONG_RUN) >= 0


def loads_strict(data: bytes) -> Value:
    """Like loads, but integers beyond 64 bits stay exact; orjson silently turns them into floats.

    For data from the user: the search for long integers is too slow for each chunk of a stream.
    Values that could not be written again also raise NotJSON: non-finite numbers and deep nesting.
    """
    if len(data) > _MAX_DEPTH or has_long_number(data):
        return _loads_carefully(data)
    try:
        return orjson.loads(data)
    except orjson.JSONDecodeError:
        return _loads_carefully(data)


def loads_all(texts: Sequence[bytes]) -> list[Value]:
    """The value of each text, as from loads_strict. Raises NotJSON if one is no value."""
    are_long = max(map(len, texts), default=0) > _MAX_DEPTH
    if not (are_long and any(map(_may_be_deep, texts))) and not has_long_number(b"\n".join(texts)):
        try:
            return [*map(orjson.loads, texts)]
        except orjson.JSONDecodeError:
            pass
    return [*map(loads_strict, texts)]


def _loads_carefully(data: bytes) -> Value:
    value = _loads_strictly(data)
    if _may_be_deep(data) and _depth(value) > _MAX_DEPTH:
        text = data.decode("utf-8-sig")
        raise _fault_at(text, too_deep_at(text) or 0, f"nested too deeply, more than {_MAX_DEPTH} levels")
    return value


def _may_be_deep(data: bytes) -> bool:
    """Return True if a value has so many brackets that it may be nested too deeply.

    To count them takes half as long as to parse.
    """
    return data.count(b"[") + data.count(b"{") > _MAX_DEPTH


def _loads_strictly(data: bytes) -> Value:
    try:
        if not has_long_number(data):
            return orjson.loads(data)
    except orjson.JSONDecodeError:
        pass
    return _loads_slowly(data, parse_constant=_refuse_constant, parse_float=_finite)


def has_repeated_name(data: bytes) -> bool:
    """Return True if an object in JSON text has two members of one name. loads() takes the last one."""
    is_repeated = False

    def read_object(members: list[tuple[str, Value]]) -> dict[str, Value]:
        nonlocal is_repeated
        members_by_name = dict(members)
        is_repeated = is_repeated or len(members_by_name) < len(members)
        return members_by_name

    # Numbers stay text, because they do not matter, and int() refuses long ones.
    json.loads(data.decode("utf-8-sig"), object_pairs_hook=read_object, parse_int=str, parse_float=str)
    return is_repeated


def _depth(value: Value) -> int:
    """The nesting depth of a value, found without recursion."""
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
        # No surrogatepass: raw surrogates are invalid UTF-8, escaped ones are valid JSON.
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        before = error.object[: error.start]  # data may begin with a byte order mark, error.object does not
        line = before.count(b"\n") + 1
        column = len(before[before.rfind(b"\n") + 1 :].decode("utf-8", "replace")) + 1
        raise NotJSON(f"byte 0x{error.object[error.start]:02x} is not UTF-8", line, column) from error
    if not text.strip():
        raise NotJSON("nothing there", 1, 1)
    if (at := too_deep_at(text)) is not None:
        raise _fault_at(text, at, f"nested too deeply, more than {_MAX_DEPTH} levels")
    try:
        return json.loads(text, parse_constant=parse_constant, parse_float=parse_float)
    except json.JSONDecodeError as error:
        raise _fault_of(error, text) from error
    except _RefusedNumber as error:
        at = _number_at(text, error.number.__eq__)
        raise _fault_at(text, at, str(error)) from error
    except ValueError as error:  # more digits than int() accepts
        at = _number_at(text, lambda number: len(number) > _MOST_DIGITS)
        raise _fault_at(text, at, "a number of more digits than Python reads") from error


def _number_at(text: str, is_it: Callable[[str], bool]) -> int:
    """The position of the first number for which is_it returns True, 0 if there is none."""
    numbers = (match for match in re.finditer(_NUMBERS, text, re.DOTALL) if not match[0].startswith('"'))
    return next((match.start() for match in numbers if is_it(match[0])), 0)


def too_deep_at(text: str) -> int | None:
    """The position of the first bracket of a level that is not read, None if there is none."""
    if text.count("[") + text.count("{") <= _MAX_DEPTH:
        return None
    depth = 0
    for match in re.finditer(_BRACKETS, text, re.DOTALL):
        bracket = match[0]
        if bracket in ("[", "{"):
            depth += 1
            if depth > _MAX_DEPTH:
                return match.start()
        elif bracket in ("]", "}"):
            depth -= 1
            if depth <= 0:  # the value ends here, and what follows is not read
                return None
    return None


def _fault_of(error: json.JSONDecodeError, text: str) -> NotJSON:
    """The fault in our words, at the same place in every version of Python."""
    what = next((ours for theirs, ours in _FAULTS.items() if error.msg.startswith(theirs)), "not a JSON text")
    at = error.pos
    if text[at : at + 1] in ("]", "}"):  # until 3.12 its json says that a value or a name is missing here
        before = text[:at].rstrip()
        if before.endswith(","):
            what, at = _TRAILING_COMMA, len(before) - 1
    return _fault_at(text, at, what)


def _fault_at(text: str, at: int, what: str) -> NotJSON:
    return NotJSON(what, text.count("\n", 0, at) + 1, at - text.rfind("\n", 0, at))


class _RefusedNumber(ValueError):
    """A number that JSON cannot have, or that a float cannot hold."""

    def __init__(self, number: str, what: str) -> None:
        self.number = number
        super().__init__(what)


def _finite(text: str) -> float:
    """Parse a float, and refuse one that overflows: orjson would silently write infinity as null."""
    number = float(text)
    if math.isinf(number):
        raise _RefusedNumber(text, f"'{text[:40]}' is too large a number")
    return number


def _refuse_constant(name: str) -> NoReturn:
    raise _RefusedNumber(name, f"'{name}' is not JSON")


def is_json(data: bytes) -> bool:
    """Return True if loads() reads the data."""
    try:
        loads(data)
    except NotJSON:
        return False
    return True


def dumps(value: Value) -> bytes:
    """One line of JSON without a line ending. Non-ASCII text and the order of keys are kept.

    Non-finite floats become null.
    """
    try:
        return orjson.dumps(value)
    except (TypeError, orjson.JSONEncodeError):
        try:
            return _dumps_slowly(value)
        except (RecursionError, TypeError):  # a TypeError for a Fragment beside such a value
            return b"".join(_pieces(value))


def _dumps_slowly(value: Value) -> bytes:
    try:
        text = _json_text(value, ensure_ascii=False)
    except ValueError:  # NaN or Infinity; a search in Python would reach the recursion limit sooner
        value = json.loads(json.dumps(value), parse_constant=lambda _: None)
        text = _json_text(value, ensure_ascii=False)
    try:
        return text.encode()
    except UnicodeEncodeError:  # a lone surrogate has no UTF-8 form: it must be escaped
        return _json_text(value, ensure_ascii=True).encode()


def _pieces(value: Value) -> Iterator[bytes]:
    """The text of a value that is nested more deeply than Python may recurse, in pieces."""
    stack: list[Value] = [value]
    while stack:
        each = stack.pop()
        if type(each) is bytes:
            yield each
        elif isinstance(each, orjson.Fragment):
            yield orjson.dumps(each)
        elif isinstance(each, dict):
            parts = [(b"{" if at == 0 else b",") + _dumps_slowly(key) + b":" for at, key in enumerate(each)]
            pairs = [part for pair in zip(parts, each.values(), strict=True) for part in pair]
            stack += [b"}", *reversed(pairs or [b"{"])]
        elif isinstance(each, list | tuple):
            items = [part for item in each for part in (b",", item)]
            stack += [b"]", *reversed(items[1:]), b"["]
        else:
            yield _dumps_slowly(each)


def _json_text(value: Value, *, ensure_ascii: bool) -> str:
    return json.dumps(value, ensure_ascii=ensure_ascii, separators=(",", ":"), allow_nan=False)


# CR and LF are the only line endings that JSON allows as white space; inside strings they are escaped.
_LINE_ENDS = bytes.maketrans(b"\r\n", b"  ")
# Bytes as numbers: `in` tries to read any other object as a number first, at twice the cost of the search.
_LF, _CR, _LETTER_N, _LETTER_I = b"\n\rNI"


def one_line_json(body: bytes) -> bytes:
    """A JSON text on one line, every other byte unchanged. Outer white space and a byte order mark go."""
    if _LF in body or _CR in body:
        body = body.translate(_LINE_ENDS)
    return body.strip(b" \t\xef\xbb\xbf")


def standard_line(body: bytes) -> bytes:
    """Like one_line, but valid for every JSON reader: a text with NaN or Infinity is rewritten with null."""
    line = one_line_json(body)
    # The single letters are found faster, and few texts have an N. Either word may stand in a string.
    if (_LETTER_N in line and b"NaN" in line) or (_LETTER_I in line and b"Infinity" in line):
        try:
            _loads_strictly(line)
        except NotJSON:
            return dumps(loads(line))
    return line


def json_type(value: Value) -> str:
    """The JSON type name of a value, with its article: `an array`, `null`."""
    for kinds, name in _KINDS:
        if isinstance(value, kinds):
            return name
    return "null"


def as_list(value: Value) -> list[Value]:
    """The value if it is a list, else an empty list: whoever sent it may have sent anything."""
    return value if isinstance(value, list) else []


def as_object(value: Value) -> dict[str, Value]:
    """The value if it is an object, else an empty one."""
    return value if isinstance(value, dict) else {}


def objects_in(value: Value) -> list[dict[str, Value]]:
    """The objects in a list; none if the value is no list."""
    return [each for each in as_list(value) if isinstance(each, dict)]
