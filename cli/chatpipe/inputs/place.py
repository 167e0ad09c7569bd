"""The position of a value in the text it was read from.

Documents are parsed by a fast parser that does not keep positions. `locate` scans the text again
to find one value, but only when there is a problem to report.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Iterator
from functools import cache
from typing import TYPE_CHECKING

from chatpipe.line_record import LineRecord

if TYPE_CHECKING:
    from json import JSONDecoder

# Longer than any request that a server accepts, images included, and short enough for memory.
MAX_LINE_BYTES = 256 << 20
TOO_LONG = f"longer than {MAX_LINE_BYTES >> 20} MiB"


class Source(LineRecord):
    """A named text: a file, `<stdin>`, or one line of either.

    line is the physical line of the file on which data begins, from 1. end is the line ending that
    followed a line; data does not include it. An element of an array has its number in place of the line,
    and no end.
    """

    name: str
    data: bytes
    line: int = 1
    end: bytes = b"\n"

    def at(self, pointer: str) -> tuple[int, int]:
        """Line and column, from 1, of the value at a JSON Pointer, or of its nearest existing parent."""
        line, column = locate(self.data, pointer)
        return self.line + line - 1, column

    def place(self, pointer: str = "") -> str:
        """`file:line` of the value at pointer."""
        return f"{self.name}:{self.at(pointer)[0]}"


class LineSplitter:
    """A splitter of bytes that arrive in blocks into lines, without their LF.

    It splits at LF only, because JSON may contain U+2028 and the like. A line that is longer than max_bytes
    is cut after the block that exceeds the limit, without a wait for its end. The rest is dropped.
    """

    def __init__(self, max_bytes: float = math.inf) -> None:
        self._max_bytes = max_bytes
        self._pieces: list[bytes] = []  # of a line that spans blocks: joined once instead of grown
        self._size = 0
        self._is_cut = False  # the rest of the line is dropped

    def feed(self, block: bytes) -> list[bytes]:
        """The lines that end in this block, or are cut in it."""
        lines = block.split(b"\n")
        last = lines.pop()
        if lines:
            if self._is_cut:
                del lines[0]
            elif self._size:
                lines[0] = b"".join([*self._pieces, lines[0]])
            self._pieces, self._size, self._is_cut = [], 0, False
        if not self._is_cut:
            self._pieces.append(last)
            self._size += len(last)
            if self._size > self._max_bytes:
                lines.append(b"".join(self._pieces))
                self._pieces, self._size, self._is_cut = [], 0, True
        return lines

    def end(self) -> bytes:
        """The last line, which has no LF. It is empty if the bytes ended in an LF."""
        return b"".join(self._pieces)


def line_source(name: str, line: bytes, number: int) -> Source:
    """The source of a line that had an LF. A CR before the LF belongs to the line ending."""
    if line.endswith(b"\r"):
        return Source(name, line[:-1], number, b"\r\n")
    return Source(name, line, number)


_SPACE = re.compile(r"[ \t\r\n]*")


def pointer_of(path: Iterable[object]) -> str:
    """The JSON Pointer (RFC 6901) for a path of keys and indexes."""
    return "".join("/" + str(step).replace("~", "~0").replace("/", "~1") for step in path)


def pointer_steps(pointer: str) -> list[str]:
    """The keys and indexes in a JSON Pointer, as text."""
    return [step.replace("~1", "/").replace("~0", "~") for step in pointer.split("/")[1:]]


def locate(data: bytes, pointer: str) -> tuple[int, int]:
    """Line and column (characters), from 1, at which the value at a JSON Pointer begins.

    If the document has no such value, the position is that of its nearest existing parent. The
    text has been parsed before, so it is JSON; for other text the result is the last position that
    was understood. If a key is repeated, the last one counts, as in the parser. Never raises.
    """
    text = data.decode("utf-8", "replace")
    index = _skip(text, 1 if text.startswith("\ufeff") else 0)
    try:
        for key in pointer_steps(pointer):
            child = _child(text, index, key)
            if child is None:
                break
            index = child
    except (IndexError, ValueError, RecursionError):  # ValueError: not JSON, or a number with too many digits
        pass
    return text.count("\n", 0, index) + 1, index - text.rfind("\n", 0, index)


@cache
def _decoder() -> JSONDecoder:
    """Numbers stay strings: their values are not used, and int() rejects more than 4,300 digits."""
    from json import JSONDecoder  # --help imports this module, and needs no place

    return JSONDecoder(parse_int=str, parse_float=str)


def _skip(text: str, index: int) -> int:
    match = _SPACE.match(text, index)
    return match.end() if match else index


def _child(text: str, index: int, key: str) -> int | None:
    """The start of the member or item `key` of the value at index; None if there is none."""
    child = None
    for name, start, _ in _children(text, index):
        if name == key:
            child = start
            if text[index] == "[":
                break
    return child


def repeated_members(data: bytes) -> list[tuple[str, int, int]]:
    """The pointer, line and column of each member whose name an earlier one of the same object has.

    A line counts from 1 in data. The text has been parsed before, and is not nested deeply.
    """
    text = data.decode("utf-8", "replace")
    repeated = []
    values = [("", _skip(text, 1 if text.startswith("\ufeff") else 0))]
    while values:
        pointer, index = values.pop()
        names: set[str] = set()
        for name, start, _ in _children(text, index):
            path = pointer + pointer_of([name])
            if name in names:
                repeated.append((start, path))
            names.add(name)
            if text[start] in "{[":
                values.append((path, start))
    return [
        (path, text.count("\n", 0, start) + 1, start - text.rfind("\n", 0, start))
        for start, path in sorted(repeated)
    ]


def members(text: str) -> Iterator[tuple[str, int, int]]:
    """Yield the name, value start and value end of each member of an object. text is valid JSON."""
    yield from _children(text, _skip(text, 0))


def texts(text: str) -> Iterator[tuple[int, int]]:
    """Yield the start and end of each of several JSON texts, one after the other.

    Raises ValueError or RecursionError after the last that could be read.
    """
    position = _skip(text, 0)
    while position < len(text):
        end = _decoder().raw_decode(text, position)[1]
        yield position, end
        position = _skip(text, end)


def _children(text: str, index: int) -> Iterator[tuple[str, int, int]]:
    """Yield the name, start and end of each member or item of the object or array at index.

    The name of an item is its index as a string. A scalar has no children.
    """
    bracket = text[index]
    if bracket not in "{[":
        return
    position = _skip(text, index + 1)
    number = 0
    while text[position] not in "}]":
        name = str(number)
        if bracket == "{":
            name, position = _decoder().raw_decode(text, position)
            position = _skip(text, _skip(text, position) + 1)  # the colon
        end = _decoder().raw_decode(text, position)[1]
        yield name, position, end
        position = _skip(text, end)
        if text[position] == ",":
            position = _skip(text, position + 1)
        number += 1
