"""mdoc(7) -> plain text, for machines without a program that formats manuals.

Only the macros that our pages use, which a test compares with mandoc(1). Source: mdoc(7) of mandoc 1.14.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator

_ESCAPES = {r"\-": "-", r"\e": "\\", r"\&": "", r"\:": "", r"\(aq": "'", r"\(dq": '"', r"\(ti": "~"}
_ESCAPE = re.compile("|".join(map(re.escape, _ESCAPES)))
_WORD = re.compile(r'"((?:[^"]|"")*)"|(\S+)')
_CLOSING = frozenset(".,:;)]?!")
_GLUE = "\0"  # joins what stands on both sides of it
_SIGNS = {"Ns": (_GLUE,), "Oo": ("[", _GLUE), "Oc": (_GLUE, "]"), "(": ("(", _GLUE), "[": ("[", _GLUE)}
_BODY, _SUBTITLE, _DISPLAY, _TAG = 5, 3, 6, 8  # columns of indent
_QUOTES = {
    "Ql": ("'", "'"),
    "Sq": ("'", "'"),
    "Dq": ('"', '"'),
    "Op": ("[", "]"),
    "Pq": ("(", ")"),
    "Bq": ("[", "]"),
    "Brq": ("{", "}"),
    "Aq": ("<", ">"),
}
_PLAIN = frozenset({"Ar", "Cm", "Ev", "Pa", "Va", "Sx", "Li", "Em", "Ic", "Sy", "Nm", "No", "Fl", "Xr"})


def render(source: str, width: int) -> str:
    """The text of a page, at most width columns wide where words and examples allow it."""
    page = _PageText(width)
    for line in source.splitlines():
        page.read(line)
    page.end_paragraph()
    return "\n".join(page.lines).strip("\n") + "\n"


class _OpenList:
    """A list that is open: its kind, the columns that its items are indented by, and how many there were."""

    def __init__(self, arguments: list[str], indent: int) -> None:
        self.kind = arguments[0].lstrip("-")
        self.is_compact = "-compact" in arguments
        self.indent = indent
        self.columns = [len(each) + 2 for each in arguments[1:]] if self.kind == "column" else []
        self.count = 0


class _PageText:
    def __init__(self, width: int) -> None:
        self.lines: list[str] = []
        self._width = width
        self._words: list[str] = []
        self._indent = 0
        self._lead = ""  # the mark of an item, before its first line
        self._lists: list[_OpenList] = []
        self._is_literal = False
        self._name = ""
        self._is_synopsis = False
        self._title = ""  # the last one of a subsection, below which no line is empty
        self._blocks: dict[str, Callable[[list[str]], None]] = {
            "Sh": self._section,
            "Ss": self._subsection,
            "Pp": self._blank,
            "Dl": self._literal_line,
            "Bl": self._begin_list,
            "It": self._item,
            "El": self._end_list,
            "Bd": self._begin_display,
            "Ed": self._end_display,
            "Nd": self._purpose,
            "Dt": self._head,
            **dict.fromkeys(("Dd", "Os"), lambda arguments: None),
        }

    def read(self, line: str) -> None:
        """Take one line of the source."""
        if line.startswith((r".\"", r"\"")) or line == ".":
            return
        if not line.startswith("."):
            text = _plain(line)
            if self._is_literal:
                self.lines.append(f"{'':{self._indent + _DISPLAY}}{text}".rstrip())
            else:
                self._words.append(text)
            return
        macro, *arguments = _words_of(line[1:])
        if macro == "Nm" and arguments and not self._name:
            self._name = _plain(arguments[0])
        elif macro == "Nm" and self._is_synopsis:  # each form of the command has a line of its own
            self.end_paragraph()
        if block := self._blocks.get(macro):
            block(arguments)
        else:
            self._words.append(self._inline([macro, *arguments]))

    def end_paragraph(self) -> None:
        """Write the words that were read, wrapped."""
        text = re.sub(rf" ?{_GLUE} ?", "", " ".join(self._words))
        self._words = []
        lead, self._lead = self._lead, ""
        if not text:
            return
        line = f"{'':{self._indent - len(lead)}}{lead}"
        for word in text.split():
            if len(line) > self._indent and len(line) + 1 + len(word) > self._width:
                self.lines.append(line)
                line = f"{'':{self._indent}}"
            line += word if len(line) <= self._indent else f" {word}"
        self.lines.append(line)

    def _blank(self, arguments: list[str] | None = None) -> None:
        self.end_paragraph()
        if self.lines and self.lines[-1] and self.lines[-1] != self._title:
            self.lines.append("")

    def _head(self, arguments: list[str]) -> None:
        self.lines += ["{}({})".format(*arguments), ""]

    def _section(self, arguments: list[str]) -> None:
        self._blank()
        self._is_synopsis = arguments == ["SYNOPSIS"]
        self.lines.append(_plain(" ".join(arguments)))
        self._indent = _BODY

    def _subsection(self, arguments: list[str]) -> None:
        self._blank()
        self._title = f"{'':{_SUBTITLE}}{_plain(' '.join(arguments))}"
        self.lines.append(self._title)
        self._indent = _BODY

    def _purpose(self, arguments: list[str]) -> None:
        self._words += ["-", _plain(" ".join(arguments))]

    def _literal_line(self, arguments: list[str]) -> None:
        self.end_paragraph()
        self.lines.append(f"{'':{self._indent + _DISPLAY}}{self._inline(arguments)}")

    def _begin_list(self, arguments: list[str]) -> None:
        self.end_paragraph()
        self._lists.append(_OpenList(arguments, self._indent))

    def _item(self, arguments: list[str]) -> None:
        this = self._lists[-1]
        self.end_paragraph()
        if not this.is_compact and this.kind != "column":
            self._blank()
        this.count += 1
        self._indent = this.indent
        if this.kind == "column":
            self.lines.append(self._row(arguments, this))
        elif this.kind == "tag":
            self._words = [self._inline(arguments)]
            self.end_paragraph()
            self._indent += _TAG
        else:
            self._indent += 4
            self._lead = f"{this.count}.  " if this.kind == "enum" else "-   "

    def _row(self, arguments: list[str], this: _OpenList) -> str:
        cells: list[list[str]] = [[]]
        for each in arguments:
            cells.append([]) if each == "Ta" else cells[-1].append(each)
        texts = [self._inline(cell) for cell in cells]
        widths = [*this.columns, *[0] * len(texts)]
        row = "".join(
            f"{text:{max(width, len(text) + 2)}}" for text, width in zip(texts, widths, strict=False)
        )
        return f"{'':{this.indent}}{row}".rstrip()

    def _end_list(self, arguments: list[str]) -> None:
        self.end_paragraph()
        self._indent = self._lists.pop().indent

    def _begin_display(self, arguments: list[str]) -> None:
        self._blank()
        self._is_literal = True

    def _end_display(self, arguments: list[str]) -> None:
        self._is_literal = False

    def _inline(self, words: list[str]) -> str:
        return re.sub(rf" ?{_GLUE} ?", "", " ".join(_pieces(words, self._name)))


def _pieces(words: list[str], name: str) -> Iterator[str]:
    """The pieces of a line of macros, with _GLUE where no space comes between two of them."""
    at = 0
    is_flag = False
    while at < len(words):
        word, rest, at = words[at], words[at + 1 :], at + 1
        if word in _QUOTES:
            yield from _quoted(word, rest, name)
            return
        if word == "Lk":
            yield f"{_plain(' '.join(rest[1:]))}: {rest[0]}"
            return
        if word == "Xr":
            yield f"{_plain(rest[0])}({rest[1]})"
            at += 2
        elif word in _PLAIN:
            is_flag = word == "Fl"
            if word == "Nm" and (not rest or rest[0] in _CLOSING or rest[0] in _PLAIN):
                yield name
        elif word in _SIGNS:
            yield from _SIGNS[word]
        elif word in _CLOSING:
            yield from (_GLUE, word)
        else:
            yield f"-{_plain(word)}" if is_flag and word != "|" else _plain(word)


def _quoted(macro: str, words: list[str], name: str) -> Iterator[str]:
    """The pieces of a macro that puts marks around the rest of its line, the punctuation at the end aside."""
    left, right = _QUOTES[macro]
    end = len(words)
    while end and words[end - 1] in _CLOSING:
        end -= 1
    yield from (left, _GLUE, *_pieces(words[:end], name), _GLUE, right)
    yield from _pieces(words[end:], name)


def _words_of(line: str) -> list[str]:
    return [quoted.replace('""', '"') or bare for quoted, bare in _WORD.findall(line)]


def _plain(text: str) -> str:
    return _ESCAPE.sub(lambda match: _ESCAPES[match[0]], text)
