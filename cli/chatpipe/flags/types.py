"""Types of the values of options: how a text is read, what an error says, and what completion offers."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    ParamType = click.ParamType[Any]
    ClickChoice = click.Choice[str]
else:
    ParamType, ClickChoice = click.ParamType, click.Choice  # generic in newer versions only


# What web pages and word processors put in place of the characters that a shell reads: hyphens, dashes, the
# minus sign and its wide forms; quotes of several languages.
TYPOGRAPHIC_DASHES = frozenset("\u2010\u2011\u2012\u2013\u2014\u2015\u2212\ufe58\ufe63\uff0d")
TYPOGRAPHIC_QUOTES = frozenset("\u2018\u2019\u201a\u201b\u201c\u201d\u201e\u201f\u00ab\u00bb")


class FileName(click.Path):
    """The name of a file. Opening it, and saying that it is missing (66), is for `inputs`.

    Completion offers the files with one of the suffixes. It offers all files if there are no suffixes, or
    if no file has one.
    """

    metavar = "FILE"

    def __init__(self, *suffixes: str) -> None:
        super().__init__(allow_dash=True, readable=False)
        self.suffixes = suffixes

    def shell_complete(self, ctx: click.Context, param: click.Parameter, incomplete: str) -> list[Any]:
        return self.offer(incomplete, self.suffixes)

    def offer(self, incomplete: str, suffixes: tuple[str, ...]) -> list[Any]:
        from click.shell_completion import CompletionItem

        return [CompletionItem(incomplete, type="file", suffixes=suffixes)]


def are_alike(name: str, other: str) -> bool:
    """Return True if one pattern may match both file names: they have the same suffix, or the same folder."""
    folder, _, file = name.rpartition("/")
    other_folder, _, other_file = other.rpartition("/")
    _, dot, suffix = file.rpartition(".")
    has_suffix = bool(dot) and other_file.endswith(f".{suffix}")
    return has_suffix or (bool(folder) and folder == other_folder)


FILE = FileName()
JSON = FileName("json")
JSONL = FileName("jsonl", "ndjson", "json", "jsonl.gz", "ndjson.gz")


# int() and float() alone also accept `1_000`, `nan` and the digits of other scripts.
# The patterns are compiled on first use, because --help and most command lines do not need them.
_INTEGER = r"[+-]?[0-9]+"
_NUMBER = r"[+-]?([0-9]+(\.[0-9]*)?|\.[0-9]+)([eE][+-]?[0-9]+)?"
_SIZE = r"(?P<number>[0-9]{1,15}(\.[0-9]{1,15})?) ?(?P<prefix>[kmg])?(?P<binary>(?<=[kmg])i)?b?"
_UNITS = {"ms": 0.001, "s": 1, "m": 60, "min": 60, "h": 3600, "d": 86400}
_WITH_UNIT = rf"([0-9]{{1,9}}(?:\.[0-9]+)?)({'|'.join(_UNITS)})"
_MAX_SIZE = 1 << 50
_LINE_ENDS = "\r\n"


class TextType(ParamType):
    """A type of values: parse() reads the text of one. A default may be such a text, or the value itself.

    A line end after the text is no part of it, as in variables of the environment: `$(cat FILE)` leaves the
    carriage return of Windows there.
    """

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        if not isinstance(value, str):
            return value
        text = value.rstrip(_LINE_ENDS)
        if value and not text:
            return self.fail("the value is only a line end.", param, ctx)
        try:
            return self.parse(text)
        except ValueError as error:
            return self.fail(f"{error}.", param, ctx)

    def parse(self, text: str) -> Any:
        """The value of a text. Raises ValueError, whose words name the text and say what is wanted."""
        return text


class Number(TextType):
    """A JSON number. An integer stays an integer, so that the number is sent as typed."""

    name = "number"

    def parse(self, text: str) -> int | float:
        if not re.fullmatch(_NUMBER, text) or math.isinf(float(text)):
            raise ValueError(f"'{text}' is not a number")
        return int(text) if re.fullmatch(_INTEGER, text) else float(text)


class Above0(Number):
    """A number above zero."""

    metavar = "N"

    def parse(self, text: str) -> int | float:
        number = super().parse(text)
        if number <= 0:
            raise ValueError(f"'{text}' is not a number above 0")
        return number


class Integer(TextType):
    """An integer of any size. The schema checks its range."""

    name = "integer"

    def parse(self, text: str) -> int:
        if not re.fullmatch(_INTEGER, text):
            raise ValueError(f"'{text}' is not a whole number")
        return int(text)


class Count(Integer):
    """A whole number, least or more."""

    metavar = "N"

    def __init__(self, least: int) -> None:
        self._least = least

    def parse(self, text: str) -> int:
        count = super().parse(text)
        if count < self._least:
            raise ValueError(f"'{text}' is less than {self._least}")
        return count


class Seconds(TextType):
    """A duration in seconds, above zero. takes_zero: none at all has a meaning, too."""

    name = "seconds"
    metavar = "S"

    def __init__(self, *, takes_zero: bool = False) -> None:
        self._takes_zero = takes_zero

    def parse(self, text: str) -> float:
        try:
            seconds = float(text)
        except ValueError:
            seconds = math.nan
        if not 0 <= seconds < math.inf or not (seconds or self._takes_zero):
            least = "(0 or more)" if self._takes_zero else "above 0"
            match = re.fullmatch(_WITH_UNIT, text)
            meant = float(match[1]) * _UNITS[match[2]] if match else 0
            such = f", such as {meant:g}" if meant else ""
            raise ValueError(f"'{text}' is not a number of seconds {least}{such}")
        return seconds


class Size(TextType):
    """A number of bytes above zero, with a unit or without: `500kB`, `64MB`, `1.5 GB`, `64MiB`."""

    name = "size"
    metavar = "SIZE"

    def parse(self, text: str) -> int:
        size = 0
        if (match := re.fullmatch(_SIZE, text, re.IGNORECASE)) is not None:
            base = 1024 if match["binary"] else 1000
            size = int(float(match["number"]) * base ** " kmg".index((match["prefix"] or " ").lower()))
        if not 0 < size <= _MAX_SIZE:
            raise ValueError(f"'{text}' is not a size above 0, such as 500kB or 64MB")
        return size


class Pair(TextType):
    """`KEY=VALUE` as a tuple; value is a number when numeric. form is the metavar, for errors."""

    name = "pair"

    def __init__(self, form: str, *, numeric: bool) -> None:
        self._form = form
        self._numeric = numeric

    def parse(self, text: str) -> tuple[str, str | int | float]:
        key, separator, value = text.partition("=")
        if not separator or not key:
            raise ValueError(f"'{text}' is not of the form {self._form}")
        return key, Number().parse(value) if self._numeric else value


class WrongChoice(click.BadParameter):
    """A value that is not among those of an option or operand. meant is the likely one, or None.

    fix says what to do about a value of which more is known. format is the value if it stands for a format
    that has no synonym here. Either may be empty.
    """

    meant: str | None = None
    fix: str = ""
    format: str = ""


class OneOf(ClickChoice):
    """A value that is one of a few words. A wrong one raises WrongChoice. Line ends are as in TextType."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        if isinstance(value, str):
            value = value.rstrip(_LINE_ENDS)
        try:
            return super().convert(value, param, ctx)
        except click.BadParameter as error:
            raise _wrong_choice(error, str(value), self.choices) from error


# Words that other tools have for formats and their like, each with those of ours, one of which a command has.
_SYNONYMS = {
    **dict.fromkeys(("plain", "txt", "md", "markdown", "content", "raw-text"), ("text",)),
    **dict.fromkeys(("json", "jsonl", "ndjson"), ("json", "jsonl", "problems", "body")),
    **dict.fromkeys(("raw", "stream", "jsonl-stream"), ("chunks",)),
    **dict.fromkeys(("events", "event-stream"), ("sse",)),
    **dict.fromkeys(("tools", "calls", "functions"), ("tool-calls",)),
    **dict.fromkeys(("tokens", "stats"), ("usage",)),
    **dict.fromkeys(("csv", "columns"), ("tsv",)),
    **dict.fromkeys(("http", "network", "input", "unsent", "error", "errors"), ("failed",)),
}
# Shells of their own, one letter away from those that have a completion script.
_NO_TYPOS = ("ash", "csh", "ksh", "dash")


def _wrong_choice(error: click.BadParameter, word: str, known: Iterable[str]) -> WrongChoice:
    from chatpipe.inputs.names import nearest  # for a wrong word only

    is_operand = isinstance(error.param, click.Argument)
    hint = str(error.param.name).upper() if is_operand and error.param else error.param_hint
    wrong = WrongChoice(error.message, error.ctx, error.param, hint)
    synonyms = (each for each in (word.lower(), *_SYNONYMS.get(word.lower(), ())) if each in known)
    wrong.meant = next(synonyms, None)
    if wrong.meant is None and error.param is not None and error.param.name == "format":
        wrong.format = word
    if wrong.meant is None and word not in _NO_TYPOS:
        wrong.meant = nearest(word, frozenset(known), least=3)
    return wrong


class Word(TextType):
    """One line, such as a name. Known words are completed but not enforced, because servers know more."""

    name = "text"

    def __init__(self, words: Iterable[str] = ()) -> None:
        self.words = tuple(words)

    def parse(self, text: str) -> Any:
        if ("\n" in text or "\r" in text) and not text.startswith("{"):  # not JSON, which may have any
            raise ValueError("the value has more than one line")  # it is not shown: it may be a key
        return text

    def known(self, ctx: click.Context) -> Iterable[str]:
        """The words that completion offers."""
        return self.words

    def shell_complete(self, ctx: click.Context, param: click.Parameter, incomplete: str) -> list[Any]:
        return _matching(self.known(ctx), incomplete)


class WordList(Word):
    """Words separated by commas. Completion offers those that are not typed yet."""

    def shell_complete(self, ctx: click.Context, param: click.Parameter, incomplete: str) -> list[Any]:
        before, comma, _ = incomplete.rpartition(",")
        left = (word for word in self.words if word not in before.split(","))
        return _matching((f"{before}{comma}{word}" for word in left), incomplete)


def _matching(words: Iterable[str], incomplete: str) -> list[Any]:
    from click.shell_completion import CompletionItem

    return [CompletionItem(word) for word in words if word.startswith(incomplete)]


def word_list(words: Iterable[str], fixes: Mapping[str, str] | None = None) -> dict[str, Any]:
    """The settings of a repeatable option that takes some of words, separated by commas, as a frozenset.

    fixes say what to do about certain other words.
    """
    known = sorted(words)

    def read(ctx: click.Context, param: click.Parameter, value: tuple[str, ...]) -> frozenset[str]:
        found = frozenset(name.strip() for text in value for name in text.split(",") if name.strip())
        if unknown := sorted(found.difference(known)):
            error = click.BadParameter(f"'{unknown[0]}' is not one of {', '.join(known)}.", ctx, param)
            wrong = _wrong_choice(error, unknown[0], known)
            wrong.fix = (fixes or {}).get(unknown[0].lower(), "")
            raise wrong
        if blank := [text for text in value if not text.strip(", ")]:
            raise click.BadParameter(f"'{blank[0]}' names none of {', '.join(known)}.", ctx, param)
        return found

    return {"multiple": True, "type": WordList(known), "callback": read}
