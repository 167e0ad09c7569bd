"""Blocks of an input -> its lines, or the elements of its JSON array.

    bytes -> text in UTF-8 (encoding.py) -> lines
                                         -> elements (elements.py), if JSONL is expected

Every input that is read line by line passes through here, whoever reads its blocks.
"""

from __future__ import annotations

from collections.abc import Iterator
from enum import Enum, auto

from chatpipe.errors import BadInput
from chatpipe.inputs.elements import ArraySplitter, BrokenArray
from chatpipe.inputs.encoding import TextDecoder, with_name
from chatpipe.inputs.not_jsonl import other_format
from chatpipe.inputs.place import MAX_LINE_BYTES, LineSplitter, Source, line_source

# How much of the start is kept: blank lines before the first value, or the first line of an array.
_START_BYTES = 1 << 20


class InputForm(Enum):
    """The form in which an input is expected."""

    TEXT = auto()
    CELLS = auto()  # text whose byte order mark is a part of its head
    JSONL = auto()
    DOCUMENTS = auto()  # JSONL, or one JSON object on several lines


class LineDecoder:
    """A decoder of an input that arrives in blocks of any size. The input is called name in errors.

    The lines have no line endings. One that is too long is cut somewhere after MAX_LINE_BYTES. Of a JSON
    array, each element is a line, and its number takes the place of the line number.
    """

    def __init__(self, name: str, form: InputForm = InputForm.TEXT) -> None:
        self._name = name
        self._form = form
        self._text = TextDecoder(name, keeps_bom=form is InputForm.CELLS)
        self._start = b""
        self._splitter: _Lines | _Elements | None = None
        if form in (InputForm.TEXT, InputForm.CELLS):
            self._splitter = _Lines(name)

    def feed(self, block: bytes) -> Iterator[Source]:
        """The lines that end in this block. Raises BadInput behind the last of them."""
        for text in self._text.feed(block):
            yield from self._split(text)

    def end(self) -> Iterator[Source]:
        """The rest, such as a line without a line ending. Raises BadInput behind it."""
        for text in self._text.end():
            yield from self._split(text)
        if self._splitter is None:  # nothing but white space
            return
        try:
            yield from self._splitter.end()
        except _BrokenFirstLine as error:
            yield from self._restart(error.data)
            yield from self._splitter.end()

    def _split(self, text: bytes) -> Iterator[Source]:
        if self._splitter is None:
            text = self._start + text
            first = text.lstrip()[:1]
            if not first and len(text) < _START_BYTES:
                self._start = text
                return
            self._splitter = (
                _Elements(self._name)
                if first == b"["
                else _JsonLines(self._name, allows_documents=self._form is InputForm.DOCUMENTS)
            )
        try:
            yield from self._splitter.feed(text)
        except _BrokenFirstLine as error:
            yield from self._restart(error.data)

    def _restart(self, text: bytes) -> Iterator[Source]:
        """Read an input as lines that looked like an array."""
        self._splitter = _Lines(self._name)
        return self._splitter.feed(text)


class _Lines:
    """A splitter of text into physical lines."""

    def __init__(self, name: str) -> None:
        self._name = name
        self._number = 1
        self._splitter = LineSplitter(MAX_LINE_BYTES)

    def feed(self, text: bytes) -> Iterator[Source]:
        for line in self._splitter.feed(text):
            number = self._number
            self._number += 1
            yield line_source(self._name, line, number)

    def end(self) -> Iterator[Source]:
        if last := self._splitter.end():
            yield Source(self._name, last, self._number, b"")


class _JsonLines(_Lines):
    """A splitter of JSONL. It raises BadInput if the first line that is not blank shows something else."""

    def __init__(self, name: str, *, allows_documents: bool) -> None:
        super().__init__(name)
        self._allows_documents = allows_documents
        self._is_judged = False

    def feed(self, text: bytes) -> Iterator[Source]:
        lines = super().feed(text)
        return lines if self._is_judged else self._judge(lines)

    def end(self) -> Iterator[Source]:
        return self._judge(super().end())

    def _judge(self, lines: Iterator[Source]) -> Iterator[Source]:
        for line in lines:
            if not self._is_judged and line.data.strip():
                self._is_judged = True
                if (fault := other_format(line, allows_documents=self._allows_documents)) is not None:
                    raise fault
            yield line


class _BrokenFirstLine(Exception):
    """The first line looked like the start of an array, and is a broken line. data is all text so far."""

    def __init__(self, data: bytes) -> None:
        self.data = data


class _Elements:
    """A splitter of a JSON array. The text begins with its bracket, or with white space before that."""

    def __init__(self, name: str) -> None:
        self._name = name
        self._splitter = ArraySplitter()
        # The first line, as long as it may still turn out to be a broken line instead of an array.
        self._first: bytes | None = b""
        self._has_ended = False  # the first line

    def feed(self, text: bytes) -> Iterator[Source]:
        while text:
            piece = text if self._first is None else self._part_of_first(text)
            text = text[len(piece) :]
            try:
                for element in self._splitter.feed(piece):
                    self._first = None
                    yield Source(self._name, element, self._splitter.count)
            except BrokenArray as error:
                raise self._fault(error, text) from error

    def end(self) -> Iterator[Source]:
        try:
            self._splitter.end()
        except BrokenArray as error:
            raise self._fault(error, b"") from error
        return iter(())

    def _part_of_first(self, text: bytes) -> bytes:
        """The part of text that ends with the first line, if that goes on, else all of it."""
        assert self._first is not None
        if self._has_ended and not text.isspace():
            self._first = None
            return text
        if not self._has_ended:
            end = text.find(b"\n", 0 if self._first else text.index(b"[")) + 1
            self._has_ended = end > 0
            text = text[: end or len(text)]
        self._first = self._first + text if len(self._first) < _START_BYTES else None
        return text

    def _fault(self, error: BrokenArray, rest: bytes) -> Exception:
        if self._first is not None:
            return _BrokenFirstLine(self._first + rest)
        # Several arrays are what jq takes apart.
        fix = with_name("jq -c '.[]' FILE" if self._splitter.is_complete else "jq empty FILE", self._name)
        return BadInput(str(error), place=self._name, fix=fix)
