"""Options of Click with what their help says, groups of options that make records, and types of values."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import partial, wraps
from typing import TYPE_CHECKING, Any, Literal

import click

if TYPE_CHECKING:
    ParamType = click.ParamType[Any]
    ClickChoice = click.Choice[str]
else:
    ParamType, ClickChoice = click.ParamType, click.Choice  # generic in newer versions only

Decorator = Callable[[Any], Any]

# What web pages and word processors put in place of the characters that a shell reads: hyphens, dashes, the
# minus sign and its wide forms; quotes of several languages.
TYPOGRAPHIC_DASHES = frozenset("\u2010\u2011\u2012\u2013\u2014\u2015\u2212\ufe58\ufe63\uff0d")
TYPOGRAPHIC_QUOTES = frozenset("\u2018\u2019\u201a\u201b\u201c\u201d\u201e\u201f\u00ab\u00bb")

# Headings of options, in the order of `--help`.
Heading = Literal[
    "Input",
    "Messages",
    "Parameters",
    "Structured output",
    "Tools",
    "Server",
    "Replies",
    "Limits and faults",
    "Connection",
    "Pace and retries",
    "Batch",
    "Resume",
    "Batch API",
    "Recordings",
    "Output",
    "Diagnostics",
]


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


class Option(click.Option):
    """An option, with the facts that its help shows.

    The help lists it under heading. daily is True if `-h` shows it as `--help` does, or names the commands
    where `-h` does. variables are environment variables that set it, too. default_text is the default in
    words; without it the default itself is shown, if the option takes a value. may_be_empty is True if an
    empty value means something. A type may name its values: then an option needs no metavar.
    """

    def __init__(
        self,
        declarations: Sequence[str],
        *,
        heading: Heading,
        daily: bool | tuple[str, ...] = False,
        variables: tuple[str, ...] = (),
        default_text: str | None = None,
        may_be_empty: bool = False,
        **others: Any,
    ) -> None:
        if others.get("metavar") is None:
            others["metavar"] = getattr(others.get("type"), "metavar", None)
        super().__init__(declarations, **others)
        default = None if others.get("is_flag") else others.get("default")
        if default_text is None and default is not None:
            default_text = f"{default:g}" if isinstance(default, float) else str(default)
        self.heading: Heading = heading
        self.daily = daily
        self.variables = variables
        self.default_text = default_text
        self.may_be_empty = may_be_empty


def under(heading: Heading) -> Callable[..., Decorator]:
    """Make a click.option() for the options under heading. They take the keywords of Option."""
    return partial(click.option, cls=Option, heading=heading)


class OptionalValue(Option):
    """An option whose value may be omitted: `--unpack` and `--unpack=PREFIX`. An omitted value is empty.

    The next word is never its value. Click's own optional value would swallow a file name that follows.
    """


def option_group(name: str, options: Iterable[Decorator], read: Callable[..., Any]) -> Decorator:
    """Make a decorator that adds options to a command, and passes their values as one record called name.

    read takes the options' values as keyword arguments and returns the record.
    """
    decorators = list(options)

    def decorate(command: Any) -> Any:
        @wraps(command)
        def run(**values: Any) -> Any:
            given = {key: values.pop(key) for key in names}
            return command(**{name: read(**given)}, **values)

        before = len(getattr(command, "__click_params__", []))
        run.__dict__["__click_params__"] = list(getattr(command, "__click_params__", []))
        result = run
        for decorator in reversed(decorators):
            result = decorator(result)
        ours = result.__dict__["__click_params__"][before:]
        names = [parameter.name for parameter in ours if parameter.expose_value]
        return result

    return decorate


def bundle(name: str, record: Callable[..., Any], groups: Mapping[str, Decorator]) -> Decorator:
    """Make a decorator that joins groups of options, in their order, to one record called name.

    The keys of groups are the names of the groups, and the fields of record.
    """

    def decorate(command: Any) -> Any:
        @wraps(command)
        def run(**values: Any) -> Any:
            return command(**{name: record(**{field: values.pop(field) for field in groups})}, **values)

        result = run
        for group in reversed(list(groups.values())):
            result = group(result)
        return result

    return decorate


# int() and float() alone also accept `1_000`, `nan` and the digits of other scripts.
# The patterns are compiled on first use, because --help and most command lines do not need them.
_INTEGER = r"[+-]?[0-9]+"
_NUMBER = r"[+-]?([0-9]+(\.[0-9]*)?|\.[0-9]+)([eE][+-]?[0-9]+)?"
_SIZE = r"(?P<number>[0-9]{1,15}(\.[0-9]{1,15})?) ?(?P<prefix>[kmg])?(?P<binary>(?<=[kmg])i)?b?"
_MAX_SIZE = 1 << 50


class TextType(ParamType):
    """A type of values: parse() reads the text of one. A default may be such a text, or the value itself."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        if not isinstance(value, str):
            return value
        try:
            return self.parse(value)
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
            least = "from 0 on" if self._takes_zero else "above 0"
            raise ValueError(f"'{text}' is not a number of seconds {least}")
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

    format is the value if it stands for a format that has no synonym here, else empty.
    """

    meant: str | None = None
    format: str = ""


class OneOf(ClickChoice):
    """A value that is one of a few words. A wrong one raises WrongChoice."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
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
    """Text for which some words are known. They are completed but not enforced, because servers know more."""

    name = "text"

    def __init__(self, words: Iterable[str] = ()) -> None:
        self.words = tuple(words)

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


def word_list(words: Iterable[str]) -> dict[str, Any]:
    """The settings of a repeatable option that takes some of words, separated by commas, as a frozenset."""
    known = sorted(words)

    def read(ctx: click.Context, param: click.Parameter, value: tuple[str, ...]) -> frozenset[str]:
        found = frozenset(name.strip() for text in value for name in text.split(",") if name.strip())
        if unknown := sorted(found.difference(known)):
            error = click.BadParameter(f"'{unknown[0]}' is not one of {', '.join(known)}.", ctx, param)
            raise _wrong_choice(error, unknown[0], known)
        return found

    return {"multiple": True, "type": WordList(known), "callback": read}
