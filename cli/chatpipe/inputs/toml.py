"""TOML -> its tables, and the line of every key.

The ordinary form of a settings file is read here: tables, arrays of tables, text without escapes, whole
numbers, true and false, arrays and inline tables. tomllib reads everything else and refuses what is wrong.
To import it takes 4 ms, and it keeps no lines. Source: TOML 1.0.0.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from chatpipe.named_tuple import NamedTuple

# The keys and indexes that lead to a value.
Path = tuple[str | int, ...]

_BARE = frozenset("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_-")
_WORDS = {"true": True, "false": False}
_MOST_DIGITS = 15
_QUOTES = "\u2018\u2019\u201c\u201d\u201e\u00ab\u00bb"


class Document(NamedTuple):
    """The tables of a text, and the line, from 1, on which each table, key and item begins."""

    tables: dict[str, Any]
    lines: Mapping[Path, int]

    def line(self, path: Path) -> int:
        """The line of the value at a path, or of its nearest parent."""
        while path and path not in self.lines:
            path = path[:-1]
        return self.lines.get(path, 1)


class NotTOML(ValueError):
    """Text that is not TOML. line counts from 1, fix says what to write and may be empty."""

    def __init__(self, line: int, what: str, fix: str = "") -> None:
        self.line, self.what, self.fix = line, what, fix
        super().__init__(what)


def read_document(text: str) -> Document:
    """Read a text. Raises NotTOML, which never quotes a value: it may be a key."""
    reader = _Reader(text.replace("\r\n", "\n"))
    try:
        reader.read()
        if reader.is_plain:
            return Document(reader.tables, reader.lines)
        return Document(_read_any(text, reader), reader.lines)
    except RecursionError as error:
        raise NotTOML(1, "its values are nested too deeply") from error


def _read_any(text: str, reader: _Reader) -> dict[str, Any]:
    import re
    import tomllib

    try:
        return tomllib.loads(text)
    except ValueError as error:  # also for a number with too many digits
        # The words of tomllib about the fault itself differ between its versions.
        found = re.search(r"\(at line (\d+), column \d+\)", str(error))
        line = int(found[1]) if found else min(reader.line(), text.rstrip().count("\n") + 1)
    if reader.repeated is not None and reader.repeated[2] <= line:
        name, first, line = reader.repeated
        raise NotTOML(line, f"{name} is on line {first} already", "leave one of the two out")
    if not found:
        raise NotTOML(line, "not TOML: the file ends too early", "close the bracket or the quote")
    raise NotTOML(line, "not TOML", _hint(text.split("\n")[line - 1]))


def _hint(line: str) -> str:
    """The likely remedy for a line that is not TOML."""
    key, equals, value = (part.strip() for part in line.partition("="))
    if any(quote in line for quote in _QUOTES):
        return 'write straight quotes, as in "text"'
    if key.startswith("["):
        return "" if line.count("[") == line.count("]") else "close the bracket"
    if not equals:
        return "write KEY = VALUE" if key else ""
    if value[:1] in "\"'" and value:
        if "\\" in value and value[0] == '"':
            return "write text with backslashes as 'text'"
        return "close the quote" if value.count(value[0]) % 2 else ""
    if value.lower() in _WORDS:
        return "write true or false in small letters"
    return "" if value[:1] in ("[", "{") else 'write text as "text"'


class _End(Exception):
    """The text continues in a way that is not read here."""


class _Reader:
    """A reader of text that may be wrong: is_plain is False unless tables are certain to be right.

    lines are right for any TOML. repeated is the first table or key that is defined twice: its name and both
    lines.
    """

    def __init__(self, text: str) -> None:
        self._text = text
        self._size = len(text)
        self._at = 0
        self._counted = (0, 1)  # a position, and its line
        self.tables: dict[str, Any] = {}
        self._heading: Path = ()
        self._table: dict[str, Any] | None = self.tables
        self._arrays: dict[Path, int] = {}  # of tables: their numbers of items
        self._defined: dict[Path, int] = {}
        self._members: set[Path] = set()  # what is defined by KEY = VALUE: no heading may add to it
        self.lines: dict[Path, int] = {}
        self.repeated: tuple[str, int, int] | None = None
        self.is_plain = True

    def read(self) -> None:
        try:
            while self._skip_lines():
                if self._text[self._at] == "[":
                    self._read_heading()
                else:
                    self._read_member(self._heading, self._table)
                self._end_line()
        except (_End, IndexError):
            self.is_plain = False

    def _read_heading(self) -> None:
        is_item = self._text.startswith("[[", self._at)
        line = self.line()
        self._at += 2 if is_item else 1
        keys = self._keys()
        close = "]]" if is_item else "]"
        if not self._text.startswith(close, self._at):
            raise _End
        self._at += len(close)
        path: Path = ()
        for key in keys[:-1]:
            path = self._last_item((*path, key))
            self.lines.setdefault(path, line)
        path = (*path, keys[-1])
        if is_item:
            self.lines.setdefault(path, line)
            self._arrays[path] = self._arrays.get(path, 0) + 1
            path = self._last_item(path)
        else:
            path = self._last_item(path)
            self._define(path, line, f"[{'.'.join(keys)}]")
        self.lines.setdefault(path, line)
        self._heading = path
        self.is_plain &= not any(path[:end] in self._members for end in range(len(path) + 1))
        self._table = self._new_table(keys, is_item=is_item)

    def _last_item(self, path: Path) -> Path:
        count = self._arrays.get(path)
        return path if count is None else (*path, count - 1)

    def _new_table(self, keys: list[str], *, is_item: bool) -> dict[str, Any] | None:
        """The table of a heading, None if it is not sure that there may be one."""
        if not self.is_plain:
            return None
        table: Any = self.tables
        for key in keys[:-1]:
            table = table.setdefault(key, {})
            if not isinstance(table, dict):
                self.is_plain = False
                return None
        new: dict[str, Any] = {}
        old = table.setdefault(keys[-1], [] if is_item else new)
        if is_item and isinstance(old, list) and len(old) == self._arrays[self._heading[:-1]] - 1:
            old.append(new)
        elif old is not new:
            self.is_plain = False
        return new

    def _read_member(self, parent: Path, table: dict[str, Any] | None) -> None:
        line = self.line()
        keys = self._keys()
        if self._text[self._at] != "=":
            raise _End
        self._at += 1
        path = parent
        for key in keys:
            path = (*path, key)
            self.lines.setdefault(path, line)
        self._define(path, line, f"'{'.'.join(keys)}'")
        self._members.add(path)
        self._skip_blanks()
        value = self._value(path)
        if len(keys) > 1:
            self.is_plain = False
        elif table is not None:
            table[keys[0]] = value

    def _define(self, path: Path, line: int, name: str) -> None:
        if path in self._defined:
            self.is_plain = False
            self.repeated = self.repeated or (name, self._defined[path], line)
        self._defined[path] = line

    def _keys(self) -> list[str]:
        """The parts of a dotted key, with the blanks after it."""
        keys = []
        while True:
            self._skip_blanks()
            start = self._at
            if self._text[start] in "\"'":
                keys.append(self._string())
            else:
                while self._text[self._at] in _BARE:
                    self._at += 1
                if self._at == start:
                    raise _End
                keys.append(self._text[start : self._at])
            self._skip_blanks()
            if self._text[self._at] != ".":
                return keys
            self._at += 1

    def _value(self, path: Path) -> Any:
        first = self._text[self._at]
        if first in "\"'":
            return self._string()
        if first == "[":
            return self._array(path)
        if first == "{":
            return self._inline_table(path)
        start = self._at
        while self._at < self._size and self._text[self._at] not in ",]}#\n":
            self._at += 1
        word = self._text[start : self._at].rstrip(" \t")
        if word in _WORDS:
            return _WORDS[word]
        if not (word.isascii() and word.isdecimal() and len(word) <= _MOST_DIGITS and word == str(int(word))):
            self.is_plain = False
            return None
        return int(word)

    def _array(self, path: Path) -> list[Any]:
        self._at += 1
        items: list[Any] = []
        while True:
            self._skip_lines()
            if self._text[self._at] == "]":
                self._at += 1
                return items
            own = (*path, len(items))
            self.lines.setdefault(own, self.line())
            items.append(self._value(own))
            self._skip_lines()
            if self._text[self._at] == ",":
                self._at += 1
            elif self._text[self._at] != "]":
                raise _End

    def _inline_table(self, path: Path) -> dict[str, Any]:
        start = self._at
        self._at += 1
        table: dict[str, Any] = {}
        self._skip_lines()
        while self._text[self._at] != "}":
            count = len(table)
            self._read_member(path, table)
            self.is_plain &= len(table) == count + 1
            self._skip_lines()
            if self._text[self._at] == ",":
                self._at += 1
                self._skip_lines()
                self.is_plain &= self._text[self._at] != "}"
            elif self._text[self._at] != "}":
                raise _End
        self._at += 1
        self.is_plain &= "\n" not in self._text[start : self._at]
        return table

    def _string(self) -> str:
        """The text of a string of any kind. One with escapes is not plain."""
        text, start = self._text, self._at
        quote = text[start]
        long = quote * 3
        if text.startswith(long, start):
            self.is_plain = False
            end = self._closing(long, start + 3)
            while text.startswith(quote, end + 3):  # up to two quotes may stand before the last three
                end += 1
            self._at = end + 3
            return text[start + 3 : end]
        end = self._closing(quote, start + 1)
        self._at = end + 1
        content = text[start + 1 : end]
        if "\n" in content:
            raise _End
        if not content.isprintable() or (quote == '"' and "\\" in content):
            self.is_plain = False
        return content

    def _closing(self, quotes: str, start: int) -> int:
        """The position of the closing quotes."""
        at = start
        while True:
            end = self._text.find(quotes, at)
            if end < 0:
                raise _End
            escape = self._text.find("\\", at, end) if quotes[0] == '"' else -1
            if escape < 0:
                return end
            at = escape + 2

    def _skip_blanks(self) -> None:
        while self._at < self._size and self._text[self._at] in " \t":
            self._at += 1

    def _skip_lines(self) -> bool:
        """Skip blanks, line ends and comments. False at the end of the text."""
        while self._at < self._size:
            first = self._text[self._at]
            if first == "#":
                self._skip_comment()
            elif first in " \t\n":
                self._at += 1
            else:
                return True
        return False

    def _skip_comment(self) -> None:
        end = self._text.find("\n", self._at)
        end = self._size if end < 0 else end
        if not self._text[self._at : end].replace("\t", " ").isprintable():
            self.is_plain = False
        self._at = end

    def _end_line(self) -> None:
        """Skip the rest of a line, which has to be blank or a comment."""
        self._skip_blanks()
        if self._at < self._size and self._text[self._at] == "#":
            self._skip_comment()
        if self._at < self._size and self._text[self._at] != "\n":
            raise _End

    def line(self) -> int:
        """The line that has been reached."""
        at, line = self._counted
        line += self._text.count("\n", at, self._at)
        self._counted = (self._at, line)
        return line
