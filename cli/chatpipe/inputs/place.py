"""Where a value stands in the text it was read from.

Documents are parsed by a fast parser that forgets positions. Only when there is something to
complain about is the text walked again, by `locate`, to the one value that is meant.
"""

import re
from collections.abc import Iterator
from json import JSONDecoder
from typing import NamedTuple

# Longer than any request a server takes (images in it included), and short enough for memory.
LINE_BYTES = 256 << 20


class Source(NamedTuple):
    """A text with a name: a file, `<stdin>`, or one line of either.

    line is the physical line of the file on which data begins, from 1. end is the line end that
    stood behind a line, and is not in data.
    """

    name: str
    data: bytes
    line: int = 1
    end: bytes = b"\n"

    def at(self, pointer: str) -> tuple[int, int]:
        """Line and column, from 1, of the value at a JSON Pointer, or of the nearest parent there is."""
        line, column = locate(self.data, pointer)
        return self.line + line - 1, column

    def place(self, pointer: str = "") -> str:
        """`file:line` of the value at pointer."""
        return f"{self.name}:{self.at(pointer)[0]}"


_SPACE = re.compile(r"[ \t\r\n]*")
# Nobody looks at the numbers, and int() takes no more than some thousand digits.
_DECODER = JSONDecoder(parse_int=str, parse_float=str)


def locate(data: bytes, pointer: str) -> tuple[int, int]:
    """Line and column (characters), from 1, at which the value at a JSON Pointer begins.

    Where the document has no such value, that of its nearest parent. The text has been parsed
    before, so it is JSON; for text that is not, the answer is the last place understood.
    Of a repeated key the last one counts, as it does for the parser. Never raises.
    """
    text = data.decode("utf-8", "replace")
    index = _skip(text, 1 if text.startswith("\ufeff") else 0)
    keys = [key.replace("~1", "/").replace("~0", "~") for key in pointer.split("/")[1:]]
    try:
        for key in keys:
            child = _child(text, index, key)
            if child is None:
                break
            index = child
    except (IndexError, ValueError, RecursionError):  # ValueError: no JSON, or a number of too many digits
        pass
    return text.count("\n", 0, index) + 1, index - text.rfind("\n", 0, index)


def _skip(text: str, index: int) -> int:
    match = _SPACE.match(text, index)
    return match.end() if match else index


def _child(text: str, index: int, key: str) -> int | None:
    """Where the member or item called key begins inside the value at index."""
    found = None
    for name, start, _ in _children(text, index):
        if name == key:
            found = start
            if text[index] == "[":
                break
    return found


def members(text: str) -> Iterator[tuple[str, int, int]]:
    """Name, start and end of the value of each member of an object. The text is valid JSON."""
    yield from _children(text, _skip(text, 0))


def _children(text: str, index: int) -> Iterator[tuple[str, int, int]]:
    """Name, start and end of each member of the object, or item of the array, at index."""
    kind = text[index]
    if kind not in "{[":
        return
    position = _skip(text, index + 1)
    number = 0
    while text[position] not in "}]":
        name = str(number)
        if kind == "{":
            name, position = _DECODER.raw_decode(text, position)
            position = _skip(text, _skip(text, position) + 1)  # the colon
        end = _DECODER.raw_decode(text, position)[1]
        yield name, position, end
        position = _skip(text, end)
        if text[position] == ",":
            position = _skip(text, position + 1)
        number += 1
