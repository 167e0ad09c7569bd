"""The text of an answer -> its first fenced code block, as CommonMark defines it.

Lines are read one by one. Each begins with the marks of the quotes and list items that it stands in, and
what follows these is an opening fence, a line of the block, or its closing fence. HTML blocks are not
told apart: models put fences into them that are meant as such.
"""

from __future__ import annotations

import re

# A line at the left that may be or open something.
_START = r"(?:\A|(?<=[\n\r])) {0,3}[-+*>0-9`~]"
_LINE = r"[^\n\r]*(?:\r\n|\n|\r)|[^\n\r]+\Z"
# After backticks the info string has no backtick, so that "```code```" is a code span and no fence.
_OPENING = r"(?:(`{3,})[^`\n\r]*|(~{3,})[^\n\r]*)(?:[\n\r]|\Z)"
_MARKER = r"(?:[-+*]|[0-9]{1,9}[.)])(?=[ \t\n\r]|\Z)"
_BREAK = r"([-*_])[ \t]*(?:\1[ \t]*){2,}(?:[\n\r]|\Z)"
_FENCE_INDENT = 3  # one more makes an indented code block, or continues a paragraph
_TAB_STOP = 4
_QUOTE = 0  # among containers; any other number is the indentation of the content of a list item
_MAX_DEPTH = 10  # each line is compared with all containers that are open


def first_code_block(text: str) -> str | None:
    """The content of the first fenced code block, None if there is none.

    A block without a closing fence ends with the text, or with its quote. Lines keep their ends; they lose
    the indentation of their list item and of the opening fence, or all that they have. A block with a line
    that is not in its list item ends there for CommonMark. Models mean one block: it continues, and keeps
    the indentation that the item has.

    Source: CommonMark 0.31.2, sections 4.5, 5.1 and 5.2.
    """
    if "```" not in text and "~~~" not in text:
        return None
    whole_line, opening = re.compile(_LINE), re.compile(_OPENING)
    containers: list[int] = []
    end = 0
    while True:
        begin = end if containers else _start(text, end)
        found = whole_line.match(text, begin)
        if found is None:
            return None
        line, end = _LineCursor(found[0]), found.end()
        del containers[_continued(line, containers) :]
        while len(containers) < _MAX_DEPTH and (container := _opened(line)) is not None:
            containers.append(container)
        indent, at = line.look()
        if indent <= _FENCE_INDENT and (fence := opening.match(line.text, at)):
            return _content(text, end, containers, fence[1] or fence[2], indent)


def _start(text: str, end: int) -> int:
    """The position of the next line that may be or open something. That of the end if there is none."""
    found = re.compile(_START).search(text, end)
    return len(text) if found is None else found.start()


class _LineCursor:
    """A cursor in a line with its end. It moves from the left to the right."""

    def __init__(self, text: str) -> None:
        self.text = text
        self._at = 0
        self._column = 0
        self._spaces = 0  # columns of a tab that is only partly read

    def look(self) -> tuple[int, int]:
        """The columns of white space that follow, and the position of the first character after it."""
        at, column = self._at, self._column + self._spaces
        while self.text[at : at + 1] in (" ", "\t"):
            column += 1 if self.text[at] == " " else _TAB_STOP - column % _TAB_STOP
            at += 1
        return column - self._column, at

    def is_blank(self) -> bool:
        """True if nothing but white space follows."""
        return self.text[self.look()[1] :] in ("", "\n", "\r", "\r\n")

    def skip(self, columns: int) -> None:
        """Read as many columns of white space, or all that there are."""
        while columns:
            if not self._spaces:
                if self.text[self._at : self._at + 1] not in (" ", "\t"):
                    return
                self._spaces = 1 if self.text[self._at] == " " else _TAB_STOP - self._column % _TAB_STOP
                self._at += 1
            step = min(columns, self._spaces)
            self._spaces -= step
            self._column += step
            columns -= step

    def take(self, characters: int) -> None:
        """Read characters that are not white space."""
        self._at += characters
        self._column += characters

    def rest(self) -> str:
        return " " * self._spaces + self.text[self._at :]


def _continued(line: _LineCursor, containers: list[int]) -> int:
    """Read the marks of the containers. Returns the number of those that the line is a part of."""
    for depth, container in enumerate(containers):
        if container == _QUOTE:
            if not _takes_quote_mark(line):
                return depth
        elif line.look()[0] >= container:
            line.skip(container)
        elif not line.is_blank():
            return depth
    return len(containers)


def _takes_quote_mark(line: _LineCursor) -> bool:
    """Read the mark of a quote, and return True, if there is one."""
    indent, at = line.look()
    if indent > _FENCE_INDENT or line.text[at : at + 1] != ">":
        return False
    line.skip(indent)
    line.take(1)
    line.skip(1)
    return True


def _opened(line: _LineCursor) -> int | None:
    """Read the mark that opens another container, None if there is none."""
    if _takes_quote_mark(line):
        return _QUOTE
    indent, at = line.look()
    marker = re.compile(_MARKER).match(line.text, at)
    if indent > _FENCE_INDENT or marker is None or re.compile(_BREAK).match(line.text, at):
        return None
    line.skip(indent)
    line.take(len(marker[0]))
    inner = line.look()[0]
    if inner > _TAB_STOP or line.is_blank():  # the item begins with an indented code block, or a line below
        inner = 1
    line.skip(inner)
    return indent + len(marker[0]) + inner


def _content(text: str, start: int, containers: list[int], fence: str, indent: int) -> str:
    """The lines of a block, up to its closing fence or to the end of the quote that it stands in."""
    closing = re.compile(rf"{fence[0]}{{{len(fence)},}}[ \t]*(?:[\n\r]|\Z)")
    inside: list[str] = []
    outside: list[str] = []  # the same lines, in case that the block is not in its list item
    is_inside = True
    for found in re.compile(_LINE).finditer(text, start):
        line = _LineCursor(found[0])
        entered = _entered(line, containers)
        columns, at = line.look()
        if entered is None or (columns <= _FENCE_INDENT and closing.match(line.text, at)):
            break
        rest, fits = entered
        is_inside = is_inside and fits
        line.skip(indent)
        inside.append(line.rest())
        outside.append(rest)
    return "".join(inside if is_inside else outside)


def _entered(line: _LineCursor, containers: list[int]) -> tuple[str, bool] | None:
    """Read the marks of the containers as far as they are there, None if that of a quote is not.

    Returns the line after its last mark of a quote, and True if it has the indentation of all items.
    """
    rest, fits = line.text, True
    for container in containers:
        if container != _QUOTE:
            fits = fits and (line.look()[0] >= container or line.is_blank())
            line.skip(container)
        elif _takes_quote_mark(line):
            rest = line.rest()
        else:
            return None
    return rest, fits
