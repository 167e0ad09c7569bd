"""Slips that Click would not notice: `-model`, `-m=gpt`, `-o --json`, `--image *.png`, files, odd dashes.

`-model gpt` would ask the model 'odel', and `\u2014model gpt` would be a prompt. The module is imported only
for a command line with a word that may be a slip.
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Callable, Iterator, Mapping, Sequence

import click

from chatpipe.errors import UsageFault
from chatpipe.flags import foreign
from chatpipe.flags.option_groups import OptionalValue
from chatpipe.flags.types import TYPOGRAPHIC_DASHES, TYPOGRAPHIC_QUOTES, FileName, are_alike
from chatpipe.named_tuple import NamedTuple
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


class _GivenWord(NamedTuple):
    """A word of the command line: an option, or an operand.

    option is the one that it names, following are the words after it, options all options by their names.
    """

    text: str
    option: click.Option | None
    following: Sequence[str]
    options: Mapping[str, click.Option]
    context: click.Context

    @property
    def has_one_dash(self) -> bool:
        """True for an option of letters, or what looks like one."""
        return self.text[0] == "-" and self.text[1:2] not in ("", "-")

    @property
    def is_of_prompt_command(self) -> bool:
        return self.context.command.name in _PROMPT_COMMANDS


def refuse_slips(context: click.Context, arguments: Sequence[str]) -> None:
    """Raise UsageFault for the first slip, or NoSuchOption for a misspelled option of another tool."""
    options = {
        name: option
        for option in context.command.get_params(context)
        if isinstance(option, click.Option)
        for name in (*option.opts, *option.secondary_opts)
    }
    for at, option in read_words(options, arguments):
        word = _GivenWord(arguments[at], option, arguments[at + 1 :], options, context)
        for refuse in _CHECKS:
            refuse(word)


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


def _refuse_dash(word: _GivenWord) -> None:
    """Refuse an option that begins with a typographic dash."""
    if TYPOGRAPHIC_DASHES.isdisjoint(word.text[:2]):
        return
    name = word.text.lstrip(_DASHES).partition("=")[0]
    right = f"-{name}" if len(name) == 1 else long_name(word.text)
    _refuse_foreign(right, word)
    if right in word.options:
        shown = word.text.partition("=")[0]
        raise UsageFault(f"'{shown}' begins with a typographic dash", fix=f"write {right}")


def _refuse_file(word: _GivenWord) -> None:
    """Refuse `-sketch.png`, which a shell makes of `*`: it would be a system message, or no option at all."""
    if not word.has_one_dash or (len(word.text) == 2 and word.text in word.options):
        return
    from chatpipe.inputs.sources import is_file

    if is_file(word.text):
        letter = word.text[:2]
        otherwise = f", or {letter} and its value as two words" if letter in word.options else ""
        raise file_fault(word.text, otherwise)


def file_fault(word: str, otherwise: str = "") -> UsageFault:
    """The fault for the name of a file where it would be an option."""
    return UsageFault(
        f"'{word}' is a file, not an option", fix=f"write {shlex.quote(f'./{word}')}{otherwise}"
    )


def _refuse_single_dash(word: _GivenWord) -> None:
    """Refuse the name of a long option after one dash."""
    if not word.has_one_dash:
        return
    right = long_name(word.text)
    if len(right) > _LEAST_FOREIGN:
        _refuse_foreign(right, word)
    if right in word.options and len(right) > 3:
        raise UsageFault(f"'{word.text.partition('=')[0]}' has one dash", fix=f"write {right}")


def _refuse_foreign(name: str, word: _GivenWord) -> None:
    """Raise NoSuchOption for a long option of another tool, or one that would take a key."""
    is_foreign = name not in word.options and foreign.find_remedies(name)
    if len(name) > 2 and (name in foreign.KEY_WORDS or is_foreign):
        raise click.NoSuchOption(name, ctx=word.context)


def _refuse_equals(word: _GivenWord) -> None:
    """Refuse `-m=gpt`, whose value would be `=gpt`. The value may be a secret and is not shown."""
    if not word.has_one_dash:
        return
    letters, separator, _ = word.text[1:].partition("=")
    *flags, option = (word.options.get(f"-{letter}") for letter in letters or " ")
    if not separator or option is None or not _takes_value(option):
        return
    if all(flag is not None and not _takes_value(flag) for flag in flags):
        letter, metavar = f"-{letters[-1]}", option.metavar or "VALUE"
        fix = f"write {letter} {metavar} or {option.opts[0]}={metavar}"
        raise UsageFault(f"the value of '{letter}=' would begin with '='", fix=fix)


def _refuse_flag_value(word: _GivenWord) -> None:
    """Refuse `--stream=false` and `--json=true`."""
    option, (name, separator, value) = word.option, word.text.partition("=")
    if option is None or not name.startswith("--") or not separator:
        return
    if _takes_value(option) or isinstance(option, OptionalValue):
        return
    fix = f"write {name}"
    if value.lower() in _FALSE:
        others = option.opts if name in option.secondary_opts else option.secondary_opts
        fix = f"write {others[0]}" if others else "leave it out"
    raise UsageFault(f"'{name}' takes no value", fix=fix)


def _refuse_option_as_value(word: _GivenWord) -> None:
    """Refuse `-o --json`, which a shell makes of `-o $OUT --json` if OUT is empty."""
    option, value = word.option, "".join(word.following[:1])
    if option is None or not _takes_value(option) or option.opts[0] in _MAY_BE_OPTION:
        return
    if word.text in word.options and value in word.options:
        fix = f"give it a value, or write {option.opts[0]}={value}"
        raise UsageFault(f"'{value}' is an option", place=option.opts[0], fix=fix)


def _refuse_second_file(word: _GivenWord) -> None:
    """Refuse `--image *.png`, where only the first file is the value, and the others are words of the prompt.

    A word of a prompt that names a file is rare, and one of the same kind as the value rarer.
    """
    option = word.option
    if option is None or not isinstance(option.type, FileName) or not _takes_value(option):
        return
    if not word.is_of_prompt_command:
        return
    value = _attached_value(option, word.text)
    values = [value] if value else []
    first, second = (*values, *word.following, "", "")[:2]
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


def _refuse_quoted_value(word: _GivenWord) -> None:
    """Refuse typographic quotes around the value of an option."""
    option = word.option
    if option is None or not _takes_value(option):
        return
    _, separator, value = word.text.partition("=")
    following = word.following
    if not separator:
        value, following = "".join(following[:1]), following[1:]
    is_in_quotes = _is_quote(value, ()) and option.opts[0] not in _FREE_TEXT
    ends_later = not value.endswith(tuple(TYPOGRAPHIC_QUOTES)) and _is_quote(value, following)
    if is_in_quotes or ends_later:
        raise _quote_fault(value, option.opts[0])


def _refuse_quoted_operand(word: _GivenWord) -> None:
    """Refuse typographic quotes around an operand, which is no prompt."""
    if word.option is None and not word.is_of_prompt_command and _is_quote(word.text, word.following):
        raise _quote_fault(word.text)


def _is_quote(word: str, following: Sequence[str]) -> bool:
    """Return True if a word begins with a typographic quote, and it or a later word ends with one.

    A word with a space stood in quotes that the shell has read.
    """
    if _OPENING.isdisjoint(word[:1]) or len(word.split()) != 1:
        return False
    ends = (word[1:][-1:], *(each[-1:] for each in following))
    return not TYPOGRAPHIC_QUOTES.isdisjoint(ends)


def _quote_fault(word: str, place: str = "") -> UsageFault:
    return UsageFault(f"{word[0]} is not a shell quote", place=place, fix="write ' or \" instead")


def _refuse_parameter(word: _GivenWord) -> None:
    """Refuse `-o temperature 0.5`, as llm has it, which would write to a file called temperature."""
    if word.text != "-o" or len(word.following) < 2:
        return
    file, value = word.following[:2]
    name = foreign.normalize(file)
    if _PARAMETER_VALUE.fullmatch(value) and name in [parameter.option for parameter in TABLE]:
        fix = f"write --{name} {value}, or -o ./{file} for the file"
        raise UsageFault(f"'{file}' is the name of a parameter", place="-o", fix=fix)


# In their order: the first that knows a word reports it.
_CHECKS: tuple[Callable[[_GivenWord], None], ...] = (
    _refuse_dash,
    _refuse_file,
    _refuse_single_dash,
    _refuse_equals,
    _refuse_flag_value,
    _refuse_option_as_value,
    _refuse_quoted_value,
    _refuse_second_file,
    _refuse_quoted_operand,
    _refuse_parameter,
)
