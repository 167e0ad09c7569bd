"""Blocks of a JSON array -> its elements, one at a time, however the array is laid out.

The splitter follows strings and brackets only; the parser sees each element when it is whole. So an
array of any size is read in the memory of its largest element.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator

from chatpipe.errors import BadInput
from chatpipe.inputs import values
from chatpipe.inputs.place import MAX_LINE_BYTES, Source
from chatpipe.inputs.text_decoder import with_name
from chatpipe.inputs.values import NotJSON

_SPACE = re.compile(rb"[ \t\r\n]*+")
_SCALAR = re.compile(rb'[^ \t\r\n,\[\]{}"]*+')
# The rest of a string up to its closing quote, to a line end, or to a backslash whose character is in the
# next block. JSON has no line end inside a string, so a quote that is missing does no harm beyond its line.
_STRING_REST = re.compile(rb'[^"\\\n]*+(?:\\[^\n][^"\\\n]*+)*+')
# Whole strings, and all else that opens and closes nothing.
_FLAT = re.compile(rb'[^"{}\[\]]*+(?:"[^"\\\n]*+(?:\\[^\n][^"\\\n]*+)*+"[^"{}\[\]]*+)*+')
_QUOTE, _BACKSLASH, _COMMA, _ARRAY_START, _ARRAY_END = b'"\\,[]'
_OPENING, _CLOSING = frozenset(b"[{"), frozenset(b"]}")
# A longer first line is the start of an array for certain.
_FIRST_LINE_BYTES = 1 << 20
# A value with more brackets may be nested too deeply for the parser.
_DEEP = 900
_JQ_ELEMENTS = "jq -c '.[]' FILE"


class BrokenArray(ValueError):
    """A text that is not one JSON array. The text of the error says where and why."""


class ElementSplitter:
    """A splitter of a JSON array into sources. The array begins the text, perhaps after white space.

    If the first line cannot be the start of an array, it is a broken line of JSONL: nothing is raised, and
    broken_line is all text so far.
    """

    def __init__(self, name: str) -> None:
        self.broken_line: bytes | None = None
        self._name = name
        self._array = ArraySplitter()
        self._first_line: bytes | None = b""  # None once an element or a second line has come
        self._has_line_end = False

    def feed(self, text: bytes) -> Iterator[Source]:
        """The elements that end in this text. Raises BadInput after them if the array is broken."""
        while text and self.broken_line is None:
            piece = text if self._first_line is None else self._part_of_first_line(text)
            text = text[len(piece) :]
            try:
                for element in self._array.feed(piece):
                    self._first_line = None
                    yield Source(self._name, element, self._array.count, b"")
            except BrokenArray as error:
                self._break(error, text)

    def end(self) -> Iterator[Source]:
        """Yield nothing. Raises BadInput if the array has not ended."""
        try:
            self._array.end()
        except BrokenArray as error:
            self._break(error, b"")
        return iter(())

    def _part_of_first_line(self, text: bytes) -> bytes:
        """The part of text up to the end of the first line, or all of it."""
        assert self._first_line is not None
        if self._has_line_end and not text.isspace():
            self._first_line = None
            return text
        if not self._has_line_end:
            start = 0 if self._first_line else text.index(b"[")
            end = text.find(b"\n", start) + 1
            self._has_line_end = end > 0
            text = text[: end or len(text)]
        self._first_line += text
        if len(self._first_line) > _FIRST_LINE_BYTES:
            self._first_line = None
        return text

    def _break(self, error: BrokenArray, rest: bytes) -> None:
        if self._first_line is not None and self._first_line.strip() != b"[":
            self.broken_line = self._first_line + rest
            return
        if self._array.is_complete:  # jq takes several arrays, one after the other
            fix = f"read it with {with_name(_JQ_ELEMENTS, self._name)}"
        else:
            fix = f"{with_name('jq empty FILE', self._name)} says on which line"
        raise BadInput(str(error), place=self._name, fix=fix) from error


class ArraySplitter:
    """A splitter of an array that arrives in blocks of any size. White space may precede it.

    count is the number of elements so far. An element that is longer than MAX_LINE_BYTES is cut after the
    block that exceeds the limit, without a wait for its end. The rest is dropped.
    """

    def __init__(self) -> None:
        self.count = 0
        # The step reads a part of a block from an offset, and returns the offset after that part.
        self._step: Callable[[bytes, int], int] = self._before_array
        self._start: int | None = None  # of the current element in this block, 0 if it began earlier
        self._pieces: list[bytes] = []  # of the current element, from earlier blocks
        self._size = 0
        self._is_cut = False  # the current element was yielded, and its rest is dropped
        self._depth = 0
        self._is_escaped = False  # the last block ended between a backslash and its character
        self._complete: bytes | None = None

    def feed(self, block: bytes) -> Iterator[bytes]:
        """Yield the elements that end or are cut in this block, each on one line.

        Raises BrokenArray after them.
        """
        at = 0
        while at < len(block):
            at = self._step(block, at)
            if self._complete is not None:
                element, self._complete = self._complete, None
                yield element
        if self._start is not None:
            self._add(block[self._start :])
            self._start = 0
            if self._size > MAX_LINE_BYTES and not self._is_cut:
                self._is_cut = True
                yield self._take()

    @property
    def is_complete(self) -> bool:
        return self._step == self._after_array

    def end(self) -> None:
        """Raises BrokenArray if the array has not ended."""
        if not self.is_complete:
            raise BrokenArray(f"the array ends early, {self._after()}")

    def _before_array(self, block: bytes, at: int) -> int:
        at = _end(_SPACE, block, at)
        if at < len(block):
            assert block[at] == _ARRAY_START
            self._step = self._first_element
        return at + 1

    def _first_element(self, block: bytes, at: int) -> int:
        at = _end(_SPACE, block, at)
        if at < len(block) and block[at] == _ARRAY_END:
            self._step = self._after_array
            return at + 1
        return self._element(block, at)

    def _element(self, block: bytes, at: int) -> int:
        at = _end(_SPACE, block, at)
        if at == len(block):
            return at
        first = block[at]
        if first in (_COMMA, _ARRAY_END):
            raise BrokenArray(f"a value is missing {self._after()}")
        self._start, self._size, self._is_cut = at, 0, False
        if first == _QUOTE:
            self._step = self._in_string
            return at + 1
        self._step = self._in_container if first in _OPENING else self._in_scalar
        return at

    def _in_container(self, block: bytes, at: int) -> int:
        while (at := _end(_FLAT, block, at)) < len(block):
            character = block[at]
            at += 1
            if character == _QUOTE:
                self._step = self._in_string
                return at
            self._depth += 1 if character in _OPENING else -1
            if self._depth == 0:
                self._finish(block, at)
                return at
        return at

    def _in_string(self, block: bytes, at: int) -> int:
        if self._is_escaped:
            self._is_escaped = False
            at += block[at : at + 1] != b"\n"
        at = _end(_STRING_REST, block, at)
        if at == len(block):
            return at
        if block[at] == _BACKSLASH and at + 1 == len(block):
            self._is_escaped = True
        elif block[at] != _QUOTE:
            number = self.count if self._is_cut else self.count + 1
            raise BrokenArray(f"a string is never closed in element {number}")
        elif self._depth:
            self._step = self._in_container
        else:
            self._finish(block, at + 1)
        return at + 1

    def _in_scalar(self, block: bytes, at: int) -> int:
        at = _end(_SCALAR, block, at)
        if at < len(block):
            self._finish(block, at)
        return at

    def _finish(self, block: bytes, end: int) -> None:
        """Complete the current element, which ends before this offset."""
        assert self._start is not None
        self._add(block[self._start : end])
        self._start = None
        self._step = self._after_element
        if self._is_cut:
            return
        element = self._take()
        if len(element) <= MAX_LINE_BYTES and (fault := _syntax_fault(element)) is not None:
            raise BrokenArray(f"element {self.count} is not JSON: {fault.what} (column {fault.column})")
        self._complete = element

    def _after_element(self, block: bytes, at: int) -> int:
        at = _end(_SPACE, block, at)
        if at == len(block):
            return at
        if block[at] not in (_COMMA, _ARRAY_END):
            raise BrokenArray(f"neither ',' nor ']' {self._after()}")
        self._step = self._element if block[at] == _COMMA else self._after_array
        return at + 1

    def _after_array(self, block: bytes, at: int) -> int:
        at = _end(_SPACE, block, at)
        if at < len(block):
            raise BrokenArray("there is something after the array")
        return at

    def _after(self) -> str:
        return f"after element {self.count}" if self.count else "at its beginning"

    def _take(self) -> bytes:
        """Count the current element. Returns what came of it, on one line."""
        self.count += 1
        element = values.one_line_json(b"".join(self._pieces))
        self._pieces = []
        return element

    def _add(self, piece: bytes) -> None:
        if not self._is_cut:
            self._pieces.append(piece)
            self._size += len(piece)


def _end(pattern: re.Pattern[bytes], block: bytes, at: int) -> int:
    match = pattern.match(block, at)
    assert match is not None  # every pattern matches nothing, too
    return match.end()


def _syntax_fault(element: bytes) -> NotJSON | None:
    """The reason why an element is not JSON; None if only its content may be bad.

    Bytes that are not UTF-8, numbers that JSON does not have, and deep nesting do not hide its end.
    """
    try:
        values.loads(element)
    except NotJSON as error:
        if element.count(b"[") + element.count(b"{") > _DEEP:
            return None
        try:
            values.loads(element.decode("utf-8", "replace").encode())
        except NotJSON:
            return error
    return None
