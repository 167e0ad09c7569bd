"""Blocks of an input -> its lines, or the elements of its JSON array.

    bytes -> text in UTF-8 (text_decoder.py) -> lines
                                         -> elements (elements.py), if JSONL is expected

Every input that is read line by line passes through here, whoever reads its blocks.
"""

from __future__ import annotations

from collections.abc import Iterator
from enum import Enum, auto
from itertools import chain, count, repeat
from typing import TYPE_CHECKING

from chatpipe.inputs.place import MAX_LINE_BYTES, LineSplitter, Source, line_source
from chatpipe.inputs.text_decoder import TextDecoder

if TYPE_CHECKING:
    from chatpipe.inputs.elements import ElementSplitter

# Blank lines that may stand before an array.
_BLANK_BYTES = 1 << 20


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
        self._blank = b""  # what came, as long as it is white space
        self._splitter: _Lines | ElementSplitter | None = None
        if form in (InputForm.TEXT, InputForm.CELLS):
            self._splitter = _Lines(name)

    def feed(self, block: bytes) -> Iterator[Source]:
        """The lines that end in this block. Raises BadInput after the last of them."""
        return chain.from_iterable(map(self._split, self._text.feed(block)))

    def end(self) -> Iterator[Source]:
        """The rest, such as a line without a line ending. Raises BadInput after it."""
        for text in self._text.end():
            yield from self._split(text)
        if self._splitter is not None:
            yield from self._splitter.end()
            if not isinstance(self._splitter, _Lines):
                yield from self._broken_lines(self._splitter)
                yield from self._splitter.end()

    def _split(self, text: bytes) -> Iterator[Source]:
        if self._splitter is None:
            text = self._blank + text
            self._blank = b""
            self._splitter = self._choose(text)
        if self._splitter is None:
            self._blank = text
            return iter(())
        sources = self._splitter.feed(text)
        if isinstance(self._splitter, _Lines):
            return sources
        return chain(sources, self._broken_lines(self._splitter))

    def _choose(self, text: bytes) -> _Lines | ElementSplitter | None:
        """The splitter of an input that begins with text; None if nothing but blank lines has come."""
        first = text.lstrip()[:1]
        if first == b"[":
            from chatpipe.inputs.elements import ElementSplitter  # few inputs are arrays

            return ElementSplitter(self._name)
        if not first and len(text) < _BLANK_BYTES:
            return None
        return _JsonLines(self._name, allows_documents=self._form is InputForm.DOCUMENTS)

    def _broken_lines(self, elements: ElementSplitter) -> Iterator[Source]:
        """The lines of a text that is no array after all. There are none of an array."""
        if elements.broken_line is not None:
            self._splitter = _Lines(self._name)
            yield from self._splitter.feed(elements.broken_line)


class _Lines:
    """A splitter of text into physical lines."""

    def __init__(self, name: str) -> None:
        self._name = name
        self._number = 1
        self._splitter = LineSplitter(MAX_LINE_BYTES)
        self._has_cr = False

    def feed(self, text: bytes) -> Iterator[Source]:
        lines = self._splitter.feed(text)
        numbers = count(self._number)
        self._number += len(lines)
        self._has_cr = self._has_cr or b"\r" in text
        return map(line_source if self._has_cr else Source, repeat(self._name), lines, numbers)

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
                from chatpipe.inputs.not_jsonl import other_format_fault

                if (fault := other_format_fault(line, allows_documents=self._allows_documents)) is not None:
                    raise fault
            yield line
