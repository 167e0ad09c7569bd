"""Slips that Click would not notice: `-model`, `-m=gpt`, `-o --json`, `--image *.png`, files, odd dashes.

`-model gpt` would ask the model 'odel', and `\u2014model gpt` would be a prompt. The module is imported only
for a command line with a word that may be a slip.
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator, Mapping, Sequence

import click

from chatpipe.errors import UsageFault
from chatpipe.flags import foreign
from chatpipe.flags.types import TYPOGRAPHIC_DASHES, TYPOGRAPHIC_QUOTES, FileName, OptionalValue, are_alike
from chatpipe.options.parameters import TABLE

_FALSE = ("false", "no", "off", "0")
_DASHES = "".join(("-", *TYPOGRAPHIC_DASHES))
_PARAMETER_VALUE = re.compile(r"[0-9][0-9.]*|true|false")
_LEAST_FOREIGN = 4  # characters: `-in` may be -i and its value
_OPENING = TYPOGRAPHIC_QUOTES - {"\u2019"}  # an apostrophe, mostly
_PROMPT_COMMANDS = ("ask", "build")  # their operands may be any text
# The value of these may be any text, so a word in typographic quotes may be what the user wants.
_FREE_TEXT = ("--system", "--developer", "--user", "--assistant", "--tool-result", "--stop", "--set")
# The value of these may look like an option. A whole message that does is a value that was dropped.
_MAY_BE_OPTION = ("--stop", "--set")


def refuse_slips(context: click.Context, arguments: Sequence[str]) -> None:
    """Raise UsageFault for the first slip, or NoSuchOption for a misspelled option of another tool."""
    options = {
        name: option
        for option in context.command.get_params(context)
        if isinstance(option, click.Option)
        for name in (*option.opts, *option.secondary_opts)
    }
    for at, option in read_words(options, arguments):
        word = arguments[at]
        if not TYPOGRAPHIC_DASHES.isdisjoint(word[:2]):
            _refuse_dash(word, options, context)
        if word[0] == "-" and word[1:2] not in ("", "-"):
            _refuse_file(word, options)
            _refuse_single_dash(word, options, context)
            _refuse_equals(word, options)
        if option is not None and word.startswith("--") and "=" in word:
            _refuse_flag_value(word, option)
        if option is not None and _takes_value(option):
            _refuse_option_as_value(option, arguments[at : at + 2], options)
            _refuse_quoted_value(option, arguments, at)
            if isinstance(option.type, FileName) and context.command.name in _PROMPT_COMMANDS:
                _refuse_second_file(option, arguments, at)
        elif option is None and context.command.name not in _PROMPT_COMMANDS and _is_quote(arguments, at):
            raise _quote_fault(word)
        if word == "-o":
            _refuse_parameter(arguments[at + 1 : at + 3])


def read_words(
    options: Mapping[str, click.Option], arguments: Sequence[str]
) -> Iterator[tuple[int, click.Option | None]]:
    """The position of each option and operand up to `--`, with the option that it names. Values are skipped.

    A word of several letters, such as `-vn`, names the last one. An option that is not in options takes no
    value.
    """
    at = 0
    while at < len(arguments) and arguments[at] != "--":
        word = arguments[at]
        option, takes_next = None, False
        if word.startswith("--"):
            option = options.get(word.partition("=")[0])
            takes_next = option is not None and _takes_value(option) and "=" not in word
        elif word.startswith("-"):
            for end, letter in enumerate(word[1:], 2):
                option = options.get(f"-{letter}")
                if option is None or _takes_value(option):
                    takes_next = option is not None and end == len(word)
                    break
        if word:
            yield at, option
        at += 2 if takes_next else 1


def _takes_value(option: click.Option) -> bool:
    return not (option.is_flag or option.count or isinstance(option, OptionalValue))


def long_name(word: str) -> str:
    """The long option in a word with any dashes: `--max-tokens` for `-max_tokens=3`."""
    return f"--{foreign.normalize(word.lstrip(_DASHES).partition('=')[0])}"


def _refuse_dash(word: str, options: Mapping[str, click.Option], context: click.Context) -> None:
    """Refuse an option that begins with a typographic dash."""
    name = word.lstrip(_DASHES).partition("=")[0]
    right = f"-{name}" if len(name) == 1 else long_name(word)
    _refuse_foreign(right, options, context)
    if right in options:
        shown = word.partition("=")[0]
        raise UsageFault(f"'{shown}' begins with a typographic dash", fix=f"write {right}")


def _refuse_file(word: str, options: Mapping[str, click.Option]) -> None:
    """Refuse `-sketch.png`, which a shell makes of `*`: it would be a system message, or no option at all."""
    if len(word) == 2 and word in options:
        return
    from chatpipe.inputs.sources import is_file

    if is_file(word):
        raise file_fault(word, f", or {word[:2]} and its value as two words" if word[:2] in options else "")


def file_fault(word: str, otherwise: str = "") -> UsageFault:
    """The fault for the name of a file where it would be an option."""
    return UsageFault(
        f"'{word}' is a file, not an option", fix=f"write {shlex.quote(f'./{word}')}{otherwise}"
    )


def _refuse_single_dash(word: str, options: Mapping[str, click.Option], context: click.Context) -> None:
    """Refuse the name of a long option after one dash."""
    right = long_name(word)
    if len(right) > _LEAST_FOREIGN:
        _refuse_foreign(right, options, context)
    if right in options and len(right) > 3:
        raise UsageFault(f"'{word.partition('=')[0]}' has one dash", fix=f"write {right}")


def _refuse_foreign(name: str, options: Mapping[str, click.Option], context: click.Context) -> None:
    """Raise NoSuchOption for a long option of another tool, or one that would take a key."""
    if len(name) > 2 and (name in foreign.KEY_WORDS or (name not in options and foreign.find_remedies(name))):
        raise click.NoSuchOption(name, ctx=context)


def _refuse_equals(word: str, options: Mapping[str, click.Option]) -> None:
    """Refuse `-m=gpt`, whose value would be `=gpt`. The value may be a secret and is not shown."""
    letters, separator, _ = word[1:].partition("=")
    *flags, option = (options.get(f"-{letter}") for letter in letters or " ")
    if not separator or option is None or not _takes_value(option):
        return
    if all(flag is not None and not _takes_value(flag) for flag in flags):
        letter, metavar = f"-{letters[-1]}", option.metavar or "VALUE"
        fix = f"write {letter} {metavar} or {option.opts[0]}={metavar}"
        raise UsageFault(f"the value of '{letter}=' would begin with '='", fix=fix)


def _refuse_flag_value(word: str, option: click.Option) -> None:
    """Refuse `--stream=false` and `--json=true`."""
    name, _, value = word.partition("=")
    if _takes_value(option) or isinstance(option, OptionalValue):
        return
    fix = f"write {name}"
    if value.lower() in _FALSE:
        others = option.opts if name in option.secondary_opts else option.secondary_opts
        fix = f"write {others[0]}" if others else "leave it out"
    raise UsageFault(f"'{name}' takes no value", fix=fix)


def _refuse_option_as_value(
    option: click.Option, words: Sequence[str], options: Mapping[str, click.Option]
) -> None:
    """Refuse `-o --json`, which a shell makes of `-o $OUT --json` if OUT is empty."""
    name, *values = words
    if name in options and values and values[0] in options and option.opts[0] not in _MAY_BE_OPTION:
        fix = f"give it a value, or write {option.opts[0]}={values[0]}"
        raise UsageFault(f"'{values[0]}' is an option", place=option.opts[0], fix=fix)


def _refuse_second_file(option: click.Option, arguments: Sequence[str], at: int) -> None:
    """Refuse `--image *.png`, where only the first file is the value, and the others are words of the prompt.

    A word of a prompt that names a file is rare, and one of the same kind as the value rarer.
    """
    value = _attached_value(option, arguments[at])
    values = [value] if value else []
    first, second = (*values, *arguments[at + 1 :], "", "")[:2]
    if second[:1] in ("", "-") or not are_alike(first, second):
        return
    from chatpipe.inputs.sources import is_file

    if is_file(second):
        name = option.opts[0]
        single = f"write -- {shlex.quote(second)} for that word"
        fix = f"write {shlex.quote(f'{name}={second}')}, or {single}" if option.multiple else single
        raise UsageFault(f"takes one file, and '{second}' would be a word of the prompt", place=name, fix=fix)


def _attached_value(option: click.Option, word: str) -> str:
    """The value in the word of an option, as in `--file=a` and `-ra`; "" if it is the next word."""
    mark = "=" if word.startswith("--") else next(name[1] for name in option.opts if len(name) == 2)
    return word.partition(mark)[2]


def _refuse_quoted_value(option: click.Option, arguments: Sequence[str], at: int) -> None:
    """Refuse typographic quotes around the value of an option."""
    _, separator, value = arguments[at].partition("=")
    if not separator:
        at += 1
        value = "".join(arguments[at : at + 1])
    if _is_quote((value,), 0) and option.opts[0] not in _FREE_TEXT:
        raise _quote_fault(value, option.opts[0])
    if not value.endswith(tuple(TYPOGRAPHIC_QUOTES)) and _is_quote((value, *arguments[at + 1 :]), 0):
        raise _quote_fault(value, option.opts[0])


def _is_quote(words: Sequence[str], at: int) -> bool:
    """Return True if words[at] begins with a typographic quote, and it or a later word ends with one.

    A word with a space stood in quotes that the shell has read.
    """
    word = words[at]
    if _OPENING.isdisjoint(word[:1]) or len(word.split()) != 1:
        return False
    ends = (word[1:][-1:], *(each[-1:] for each in words[at + 1 :]))
    return not TYPOGRAPHIC_QUOTES.isdisjoint(ends)


def _quote_fault(word: str, place: str = "") -> UsageFault:
    return UsageFault(f"{word[0]} is no quote for a shell", place=place, fix="write ' or \" instead")


def _refuse_parameter(following: Sequence[str]) -> None:
    """Refuse `-o temperature 0.5`, as llm has it, which would write to a file called temperature."""
    if len(following) < 2 or not _PARAMETER_VALUE.fullmatch(following[1]):
        return
    name = foreign.normalize(following[0])
    if name in [parameter.option for parameter in TABLE]:
        fix = f"write --{name} {following[1]}, or -o ./{following[0]} for the file"
        raise UsageFault(f"'{following[0]}' is the name of a parameter", place="-o", fix=fix)
