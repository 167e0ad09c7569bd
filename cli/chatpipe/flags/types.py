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

    Completion offers those with one of the suffixes; without a suffix, or without such a file, all.
    """

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
    """An option with what its help says beside the text.

    heading is the one that it stands under. daily is True if `-h` shows it, not `--help` alone, or names
    the commands that do. variables are those of the environment that set it, too. default_text is the
    default in words, where Click does not know it. may_be_empty is True if an empty value means something.
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
        super().__init__(declarations, **others)
        self.heading: Heading = heading
        self.daily = daily
        self.variables = variables
        self.default_text = default_text
        self.may_be_empty = may_be_empty


def under(heading: Heading) -> Callable[..., Decorator]:
    """Make a click.option() for the options under heading. They take the keywords of Option."""
    return partial(click.option, cls=Option, heading=heading)


class OptionalValue(Option):
    """An option whose value may be omitted, which is then empty: `--unpack` and `--unpack=PREFIX`.

    The next word is never its value. Click itself would take a file name that follows it.
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


# Not int() and float() alone: they take `1_000`, `nan` and the digits of other scripts.
# Patterns are compiled when they are used: --help and most command lines have no use for them.
_INTEGER = r"[+-]?[0-9]+"
_NUMBER = r"[+-]?([0-9]+(\.[0-9]*)?|\.[0-9]+)([eE][+-]?[0-9]+)?"
_SIZE = r"(?P<number>[0-9]{1,15}(\.[0-9]{1,15})?) ?(?P<prefix>[kmg])?(?P<binary>(?<=[kmg])i)?b?"
_MAX_SIZE = 1 << 50


class Number(ParamType):
    """A JSON number. An integer stays an integer, so that the number is sent as typed."""

    name = "number"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        if not isinstance(value, str):
            return value
        if not re.fullmatch(_NUMBER, value) or math.isinf(float(value)):
            return self.fail(f"'{value}' is not a number.", param, ctx)
        return int(value) if re.fullmatch(_INTEGER, value) else float(value)


class Integer(ParamType):
    """An integer of any size. The schema checks its range."""

    name = "integer"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        if isinstance(value, str) and not re.fullmatch(_INTEGER, value):
            return self.fail(f"'{value}' is not a whole number.", param, ctx)
        return int(value)


class Count(Integer):
    """A whole number, least or more."""

    def __init__(self, least: int) -> None:
        self._least = least

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        count = super().convert(value, param, ctx)
        if count < self._least:
            self.fail(f"'{value}' is less than {self._least}.", param, ctx)
        return count


class Above0(Number):
    """A number above zero."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        number = super().convert(value, param, ctx)
        if number <= 0:
            self.fail(f"'{value}' is not a number above 0.", param, ctx)
        return number


class Seconds(ParamType):
    """A duration in seconds, above zero. takes_zero: none at all has a meaning, too."""

    name = "seconds"

    def __init__(self, *, takes_zero: bool = False) -> None:
        self.takes_zero = takes_zero

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        try:
            seconds = float(value)
        except ValueError:
            seconds = math.nan
        if not 0 <= seconds < math.inf or not (seconds or self.takes_zero):
            least = "from 0 on" if self.takes_zero else "above 0"
            self.fail(f"'{value}' is not a number of seconds {least}.", param, ctx)
        return seconds


class Size(ParamType):
    """A number of bytes above zero, with a unit or without: `500kB`, `64MB`, `1.5 GB`, `64MiB`."""

    name = "size"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        if not isinstance(value, str):
            return value
        match = re.fullmatch(_SIZE, value, re.IGNORECASE)
        size = 0
        if match is not None:
            base = 1024 if match["binary"] else 1000
            size = int(float(match["number"]) * base ** " kmg".index((match["prefix"] or " ").lower()))
        if not 0 < size <= _MAX_SIZE:
            self.fail(f"'{value}' is not a size above 0, such as 500kB or 64MB.", param, ctx)
        return size


class Pair(ParamType):
    """`KEY=VALUE` as a tuple; value is a number when numeric."""

    name = "pair"

    def __init__(self, *, numeric: bool) -> None:
        self.numeric = numeric

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        if not isinstance(value, str):
            return value
        key, separator, text = value.partition("=")
        if not separator or not key:
            self.fail(f"'{value}' is not of the form {param.metavar if param else 'KEY=VALUE'}.", param, ctx)
        return key, Number().convert(text, param, ctx) if self.numeric else text


class WrongChoice(click.BadParameter):
    """A value that is not among those of an option or operand. meant is the likely one, None without one."""

    meant: str | None = None


class OneOf(ClickChoice):
    """A value that is one of a few words. A wrong one raises WrongChoice."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        try:
            return super().convert(value, param, ctx)
        except click.BadParameter as error:
            raise _wrong_choice(error, str(value), self.choices) from error


def _wrong_choice(error: click.BadParameter, word: str, known: Iterable[str]) -> WrongChoice:
    from chatpipe.inputs.names import nearest  # for a wrong word only

    is_operand = isinstance(error.param, click.Argument)
    hint = str(error.param.name).upper() if is_operand and error.param else error.param_hint
    wrong = WrongChoice(error.message, error.ctx, error.param, hint)
    wrong.meant = nearest(word, frozenset(known), least=3)
    return wrong


class Word(ParamType):
    """Text for which some words are known. They are completed but not enforced, because servers know more."""

    name = "text"

    def __init__(self, words: tuple[str, ...]) -> None:
        self.words = words

    def shell_complete(self, ctx: click.Context, param: click.Parameter, incomplete: str) -> list[Any]:
        from click.shell_completion import CompletionItem

        return [CompletionItem(word) for word in self.words if word.startswith(incomplete)]


class WordList(Word):
    """Words separated by commas. Completion offers those that are not typed yet; words_of() checks them."""

    def __init__(self, words: Iterable[str]) -> None:
        super().__init__(tuple(sorted(words)))

    def shell_complete(self, ctx: click.Context, param: click.Parameter, incomplete: str) -> list[Any]:
        before, comma, last = incomplete.rpartition(",")
        typed = before.split(",")
        left = tuple(f"{before}{comma}{word}" for word in self.words if word not in typed)
        return Word(left).shell_complete(ctx, param, f"{before}{comma}{last}")


def words_of(allowed: Iterable[str]) -> Callable[..., frozenset[str]]:
    """Make a callback for a repeatable option whose values are names from allowed, separated by commas."""
    known = sorted(allowed)

    def read(ctx: click.Context, param: click.Parameter, value: tuple[str, ...]) -> frozenset[str]:
        found = frozenset(name.strip() for text in value for name in text.split(",") if name.strip())
        if unknown := sorted(found.difference(known)):
            error = click.BadParameter(f"'{unknown[0]}' is not one of {', '.join(known)}.", ctx, param)
            raise _wrong_choice(error, unknown[0], known)
        return found

    return read
