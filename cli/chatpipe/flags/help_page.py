"""The pages of `-h` and `--help`, and the table of options that they and the manual are made from."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from inspect import cleandoc
from itertools import groupby
from typing import get_args

import click

from chatpipe.flags.help_layout import definitions, meaning_column, page_width, wrap
from chatpipe.flags.option_groups import Heading, Option
from chatpipe.flags.types import WordList
from chatpipe.named_tuple import NamedTuple

HEADINGS: tuple[Heading, ...] = get_args(Heading)
_MOST_CHOICES = 5  # that stand in place of the name of a value


class OptionRow(NamedTuple):
    """An option as the help and the manual show it.

    names begins with the short name and ends with those that switch the option off. metavar names the
    value, and is None for a flag. choices are the possible words. default is None if none is shown.
    variables are environment variables that set the option, too.
    """

    heading: Heading
    names: tuple[str, ...]
    metavar: str | None
    help: str
    choices: tuple[str, ...]
    default: str | None
    variables: tuple[str, ...]
    is_repeatable: bool
    is_daily: bool

    @property
    def signature(self) -> str:
        """The names and the value: `-n, --n N`, `--[no-]store`, `--unpack[=PREFIX]`."""
        names = list(self.names)
        if len(names) == 2 and names[1][2:] == f"no-{names[0][2:]}":
            names = [f"--[no-]{names[0][2:]}"]
        indent = "" if len(names[0]) == 2 else "    "
        value = self.metavar or ""
        return f"{indent}{', '.join(names)}{'' if value.startswith('[=') or not value else ' '}{value}"

    @property
    def short_meaning(self) -> str:
        """The help text with the default."""
        return self.help if self.default is None else f"{self.help} [default: {self.default}]"

    @property
    def meaning(self) -> str:
        """The help text with the words that the value can be, the default, and the variables."""
        named = self.metavar is not None and "|" in self.metavar
        words = f": {', '.join(self.choices)}" if self.choices and not named else ""
        variables = f" [env: {', '.join(self.variables)}]" if self.variables else ""
        return self._replace(help=self.help + words).short_meaning + variables


def option_rows(command: click.Command) -> list[OptionRow]:
    """The options of a command by heading, in the order of `--help`. Hidden ones are left out."""
    options = [each for each in command.params if isinstance(each, Option) and not each.hidden]
    options.sort(key=lambda option: HEADINGS.index(option.heading))
    return [_row(option, command.name or "") for option in options]


def _row(option: Option, command: str) -> OptionRow:
    choices: tuple[str, ...] = ()
    if isinstance(option.type, click.Choice):
        choices = tuple(option.type.choices)
    elif isinstance(option.type, WordList):
        choices = option.type.words
    return OptionRow(
        option.heading,
        (*sorted(option.opts, key=len), *option.secondary_opts),
        None if option.is_flag else _metavar(option, choices),
        option.help or "",
        choices,
        option.default_text,
        option.variables,
        option.multiple,
        option.daily if isinstance(option.daily, bool) else command in option.daily,
    )


def _metavar(option: Option, choices: tuple[str, ...]) -> str:
    if option.metavar:
        return option.metavar
    if choices:
        return "|".join(choices) if len(choices) <= _MOST_CHOICES else max(option.opts, key=len)[2:].upper()
    return option.type.name.upper()


def command_page(command: click.Command, ctx: click.Context, *, brief: bool = False) -> str:
    """The help of a command: all options, or those of daily use."""
    width = page_width()
    usage = " ".join(["Usage:", ctx.command_path, *command.collect_usage_pieces(ctx)])
    lines = [*wrap(usage, width), ""]
    lines += _introduction(command.help or "", width)
    rows = option_rows(command)
    lines += _brief_sections(rows, width) if brief else _sections(rows, width)
    return "\n".join([*lines, *_pointers(ctx, width, brief=brief)])


def _introduction(text: str, width: int) -> list[str]:
    """The purpose of the command, what its operands are, and examples."""
    lines: list[str] = []
    for paragraph, is_example in _paragraphs(text):
        if is_example:
            lines += ["Examples:", *(f"  {line}" for line in paragraph.splitlines()), ""]
        else:
            lines += [*wrap(paragraph, width), ""]
    return lines


def _paragraphs(text: str) -> Iterator[tuple[str, bool]]:
    r"""The paragraphs of a docstring, with True for those of examples, which begin with a line of `\b`."""
    for paragraph in cleandoc(text).split("\n\n"):
        yield paragraph.removeprefix("\b\n"), paragraph.startswith("\b\n")


def _sections(rows: Sequence[OptionRow], width: int) -> list[str]:
    column = meaning_column(row.signature for row in rows)
    lines: list[str] = []
    for heading, group in groupby(rows, lambda row: row.heading):
        pairs = [(row.signature, row.meaning) for row in group]
        lines += [f"{heading}:", *definitions(pairs, width, column), ""]
    return lines


def _brief_sections(rows: Iterable[OptionRow], width: int) -> list[str]:
    """The same for the options of daily use, without empty lines and details: it has to fit on one screen."""
    daily = [row for row in rows if row.is_daily]
    column = meaning_column(row.signature for row in daily)
    lines: list[str] = []
    for heading, group in groupby(daily, lambda row: row.heading):
        pairs = [(row.signature, row.short_meaning) for row in group]
        lines += [f"{heading}:", *definitions(pairs, width, column)]
    return [*lines, ""] if lines else []


def _pointers(ctx: click.Context, width: int, *, brief: bool) -> list[str]:
    path = ctx.command_path
    all_options = f"All options: {path} --help. " if brief else ""
    return wrap(f"{all_options}Manual: chatpipe man {ctx.info_name}.", width)


def program_page(help_text: str, groups: Mapping[str, Mapping[str, str]]) -> str:
    """The help of the program: the commands by heading, each with what it does."""
    width = page_width()
    lines = [
        *wrap("Usage: chatpipe COMMAND [OPTIONS] [OPERANDS]", width),
        "",
        *_introduction(help_text, width),
    ]
    options = {"-h, --help": "Show this page", "--version": "Show the version"}
    column = meaning_column(name for pairs in (*groups.values(), options) for name in pairs)
    for heading, pairs in {**groups, "Options": options}.items():
        lines += [f"{heading}:", *definitions(list(pairs.items()), width, column), ""]
    pointers = (
        "Most used options: chatpipe COMMAND -h. All options: chatpipe COMMAND --help. Manual: chatpipe man."
    )
    return "\n".join([*lines, *wrap(pointers, width)])
