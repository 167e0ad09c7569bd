"""A command of Click that remembers the order of its options, refuses slips, and shows our own help."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import click

from chatpipe.flags.option_groups import Option, OptionalValue
from chatpipe.flags.types import TYPOGRAPHIC_DASHES, TYPOGRAPHIC_QUOTES, are_alike

_ORDER = "chatpipe.flags.order"
_TYPOGRAPHIC = TYPOGRAPHIC_DASHES | TYPOGRAPHIC_QUOTES


class Command(click.Command):
    """A command that remembers the order of its options.

    Click passes one list per option, so `-u Q -a A -u Q2` arrives as two lists, and their common order is
    lost. Click's parser knows it, and only this class asks the parser.
    """

    def __init__(self, *arguments: Any, **settings: Any) -> None:
        super().__init__(*arguments, **{**settings, "add_help_option": False})
        self.params += _help_options()

    def get_params(self, ctx: click.Context) -> list[click.Parameter]:
        """The parameters. Click's own method also searches for duplicates, each time; a test does it once."""
        return self.params

    def get_help(self, ctx: click.Context) -> str:
        from chatpipe.flags.help_page import command_page

        return command_page(self, ctx)

    def make_parser(self, ctx: click.Context) -> Any:
        parser: Any = super().make_parser(ctx)
        # Click first searches the long options for "-m", and prepares an error with suggestions: 2 ms.
        parser._long_opt.update(parser._short_opt)
        parse = parser.parse_args

        def parse_and_remember(args: list[str]) -> Any:
            if self._may_have_slip(args):
                from chatpipe.flags.slips import refuse_slips  # few command lines have one

                refuse_slips(ctx, args)
            may_be_empty = "" in args or any(word.endswith("=") for word in args)  # parse() empties args
            values, left, order = parse(self._with_empty_values(args))
            if may_be_empty:
                from chatpipe.flags.empty_values import refuse_empty_values

                refuse_empty_values(self.params, values)
            ctx.meta[_ORDER] = [parameter.name for parameter in order]
            return values, left, order

        parser.parse_args = parse_and_remember
        return parser

    def _may_have_slip(self, args: list[str]) -> bool:
        """Return False for ordinary arguments, so that the module that judges slips is not imported."""
        if any(map(_may_be_files, ("", *args), args, args[1:])):
            return True
        if pairs := [pair for pair in pairwise(args) if pair[0][:1] == pair[1][:1] == "-"]:
            valued = self._names(is_flag=False)
            names = valued | self._names(is_flag=True)
            if any(word in valued and after in names for word, after in pairs):
                return True
        flags: frozenset[str] = frozenset()
        if any(word.startswith("--") and "=" in word for word in args):
            flags = self._names(is_flag=True)
        seconds = [*args[2:], "", ""]
        return any(_may_be_slip(word, second, flags) for word, second in zip(args, seconds, strict=False))

    def _names(self, *, is_flag: bool) -> frozenset[str]:
        options = [each for each in self.params if isinstance(each, click.Option) and each.is_flag == is_flag]
        return frozenset(name for each in options for name in (*each.opts, *each.secondary_opts))

    def _with_empty_values(self, args: list[str]) -> list[str]:
        """The arguments, with `--option=` for each OptionalValue without a value."""
        options = [each for each in self.params if isinstance(each, click.Option)]
        optional = {name for each in options if isinstance(each, OptionalValue) for name in each.opts}
        if optional.isdisjoint(args):
            return args
        takes_next = {name for each in options if not each.is_flag for name in each.opts} - optional
        end = args.index("--") if "--" in args else len(args)
        return [
            f"{word}="
            if word in optional and at < end and (not at or args[at - 1] not in takes_next)
            else word
            for at, word in enumerate(args)
        ]


def in_order(given: dict[str, tuple[Any, ...]]) -> list[tuple[str, Any]]:
    """(option, value) of the repeatable options in given, in the order they were typed."""
    order = click.get_current_context().meta.get(_ORDER, [])
    left = {name: iter(values) for name, values in given.items()}
    return [(name, next(left[name])) for name in order if name in left]


def typed_options() -> list[str]:
    """The options of the command line, without values and defaults: `--report`, never `-j`, each once."""
    context = click.get_current_context()
    typed = frozenset(context.meta.get(_ORDER, ()))
    options = [each for each in context.command.params if isinstance(each, click.Option)]
    return [each.opts[0] for each in options if each.name in typed]


def _help_options() -> list[click.Parameter]:
    """The options `-h` and `--help`, which have a page each."""
    attributes: dict[str, Any] = {
        "heading": "Diagnostics",
        "is_flag": True,
        "is_eager": True,
        "expose_value": False,
        "callback": _show_help,
    }
    return [
        Option(["-h", "brief_help"], help="Show the most used options", **attributes),
        Option(["--help", "full_help"], help="Show all options", **attributes),
    ]


def _show_help(ctx: click.Context, param: click.Parameter, value: bool) -> None:
    if value and not ctx.resilient_parsing:
        from chatpipe.flags.help_page import command_page

        click.echo(command_page(ctx.command, ctx, brief=param.name == "brief_help"))
        ctx.exit()


def _may_be_files(before: str, value: str, after: str) -> bool:
    """Return True if a shell may have put value and after for a pattern that is the value of an option."""
    is_value = before[:1] == "-" or value[:2] == "--"
    return is_value and after[:1] != "-" and are_alike(value, after)


def _may_be_slip(word: str, second: str, flags: frozenset[str]) -> bool:
    """Return True for a word that Click may misread.

    second is the second word after it, or "". flags are the options without a value.
    """
    if word[:1] != "-":
        return word[:1] in _TYPOGRAPHIC
    if word == "-o":  # llm: -o temperature 0.5
        return second[:1].isdigit() or second in ("true", "false")
    if word[1:2] == "-":
        return "=" in word and (word.partition("=")[0] in flags or not TYPOGRAPHIC_QUOTES.isdisjoint(word))
    return len(word) > 2 and not word[2:].isdigit()
