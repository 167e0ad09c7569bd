"""Wrong command lines -> one line that says what was meant. Imported only for a wrong one.

group is the table of commands (commands/table.py).
"""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from functools import cache

import click

from chatpipe.errors import UsageFault
from chatpipe.flags import foreign
from chatpipe.flags.server import key_refusal
from chatpipe.flags.slips import file_fault, long_name, read_words
from chatpipe.flags.types import TYPOGRAPHIC_DASHES, WrongChoice
from chatpipe.inputs.names import is_short_typo, nearest, or_list
from chatpipe.inputs.sources import is_file
from chatpipe.options.jobs import JOB_ACTIONS
from chatpipe.system.escape import shorten

# Options that make a call less safe, or pay for answers again. They are never suggested.
_UNSAFE = frozenset(
    {
        *("--insecure", "--allow-http", "--no-check", "--no-escape", "--no-schema-strict", "--allow"),
        *("--no-keep-journal", "--fresh", "--resend"),
    }
)
_MISSING = "chatpipe ask PROMPT sends a prompt, chatpipe --help shows all"
_LEAST_PREFIX = 5  # `--` and three letters
_MOST_NAMED = 3  # options that are named for one word
_LEAST_TYPO = 4  # letters
_SHORT = _LEAST_TYPO - 1  # letters of a word that is compared more strictly
_LEAST_FOREIGN = 7  # the dashes included
_MOST_WORD = 40  # characters of a word that is no command
_MOST_PROMPT = 72  # characters of a command line that is shown with its prompt

# Commands of other tools, without words that may begin a prompt.
_FOREIGN_COMMANDS = {
    word: command
    for command, words in {
        "ask": "chat complete completions prompt query gen generate chat.completions.create api llm",
        "batch": "run-batch parallel bulk batches",
        "build": "dry-run",
        "check": "validate lint",
        "map": "csv table",
        "serve": "mock stub fake-server",
        "show": "cat view fold",
    }.items()
    for word in words.split()
}
# Words for what commands of ours do. A prompt may begin with them, too.
_OWN_WORDS = {
    word: fix
    for words, fix in (
        *((action, f"chatpipe jobs {action}") for action in JOB_ACTIONS if action != "list"),
        ("list", "chatpipe models, or chatpipe jobs list"),
        ("report reports summary", "chatpipe batch and chatpipe map write one with --report FILE"),
        ("profiles providers", "chatpipe config show --profiles"),
        ("login auth key keys init setup configure doctor", "chatpipe config check"),
        ("resume retry rerun", "run the same command again: it continues where it stopped"),
    )
    for word in words.split()
}


def click_fault(group: click.Group, error: click.UsageError, arguments: Sequence[str]) -> UsageFault:
    """Click's usage error in our style: lower case, no full stop, and a pointer to the help."""
    if error.ctx is not None:
        command = error.ctx.command_path
    else:  # some errors of Click carry no context
        command = " ".join(("chatpipe", *(word for word in arguments[:1] if word in _options(group))))
    if isinstance(error, click.NoSuchOption):
        if is_file(error.option_name):
            return file_fault(error.option_name)
        return unknown_option(group, error.option_name, command.removeprefix("chatpipe").strip())
    text = " ".join(error.format_message().split()).removesuffix(".")
    fix = f"see {command} --help"
    if isinstance(error, WrongChoice):
        fix = _other_value(error, command.removeprefix("chatpipe").strip()) or fix
    return UsageFault(text[:1].lower() + text[1:], fix=fix)


def _other_value(wrong: WrongChoice, command: str) -> str:
    """The value that was meant, or the way to what was meant; empty if neither is known."""
    if wrong.fix:
        return wrong.fix
    if wrong.format:
        from chatpipe.flags.other_formats import format_remedy

        if remedy := format_remedy(wrong.format, command):
            return remedy
    return f"did you mean '{wrong.meant}'?" if wrong.meant else ""


def unknown_option(group: click.Group, name: str, command: str) -> UsageFault:
    """The fault for an option that command does not have. command is "" before one."""
    word, help_fix = foreign.normalize(name), f"see {f'chatpipe {command}'.strip()} --help"
    own = _options(group).get(command, frozenset())
    if word in foreign.KEY_WORDS and "--key-file" in own:
        return UsageFault(key_refusal(), fix=help_fix)
    found = _meant(group, word, command)
    what = f"no such option '{shorten(name, _MOST_WORD, is_ours=True)}'"
    if all(map(_is_option, found)):
        names = [f"'{each}'" for each in found]
        hint = f", did you mean {or_list(names)}?" if names else ""
        return UsageFault(what + hint, fix=help_fix)
    return UsageFault(what, fix=found[0])


def _meant(group: click.Group, word: str, command: str) -> list[str]:
    """The options that are meant by word, or one sentence."""
    own = _options(group).get(command, frozenset())
    if word in own - _UNSAFE:  # typed in capitals, or with `_`
        return [word]
    if found := _translated(group, word, command) or _elsewhere(group, word):
        return [found]
    if near := _near(word, own):
        return near
    slip = nearest(word, frozenset(foreign.table())) if len(word) >= _LEAST_FOREIGN else None
    found = _translated(group, slip, command) if slip else ""
    return [found] if found else []


def _is_option(text: str) -> bool:
    return text.startswith("-") and " " not in text


def _translated(group: click.Group, word: str, command: str) -> str:
    """The option of ours, or a sentence, for one of another tool; "" if there is none."""
    options = _options(group)
    remedies = foreign.find_remedies(word)
    own = options.get(command, frozenset())
    for remedy in remedies:
        if remedy.applies(command, own.__contains__):
            return remedy.text
    return next((_elsewhere(group, each.text) for each in remedies if each.is_option and len(word) > 2), "")


def _elsewhere(group: click.Group, option: str) -> str:
    """The commands that have option, as a sentence; "" if none has it."""
    having = [f"chatpipe {name}" for name, own in _options(group).items() if option in own - _UNSAFE]
    if not having:
        return ""
    *most, last = having
    return f"{', '.join(most)} and {last} have {option}" if most else f"{last} has {option}"


def _near(word: str, own: frozenset[str]) -> list[str]:
    """The options that word abbreviates, else those that it is likely a typo of."""
    by_name = {option.lstrip("-"): option for option in own - _UNSAFE if option.startswith("--")}
    name = word.lstrip("-")
    prefixed = sorted(option for option in by_name.values() if option.startswith(word))
    if len(word) >= _LEAST_PREFIX and 0 < len(prefixed) <= _MOST_NAMED:
        return prefixed
    if near := nearest(name, frozenset(by_name), least=_LEAST_TYPO):
        return [by_name[near]]
    if len(name) != _SHORT:
        return []
    short = [by_name[other] for other in sorted(by_name) if is_short_typo(name, other)]
    return short if len(short) <= _MOST_NAMED else []


@cache
def _options(group: click.Group) -> dict[str, frozenset[str]]:
    """The options of each command, long and short, without those that are refused."""
    context = click.Context(group, **group.context_settings)
    found = {}
    for name in group.list_commands(context):
        command = group.get_command(context, name)
        params = command.get_params(context) if command is not None else []
        shown = [each for each in params if isinstance(each, click.Option) and not each.hidden]
        found[name] = frozenset(option for each in shown for option in (*each.opts, *each.secondary_opts))
    return found


def no_command(group: click.Group, arguments: Sequence[str]) -> UsageFault:
    """The fault for a first word that is no command: a typo, another tool's command, or a prompt."""
    word = arguments[0] if arguments else ""
    if not word:
        return UsageFault("missing command", fix=_MISSING)
    if word[0] in TYPOGRAPHIC_DASHES and any(long_name(word) in own for own in _options(group).values()):
        return misplaced_option(group, [long_name(word), *arguments[1:]])
    if word == "help":
        command = next((each for each in arguments[1:] if each in _options(group)), "")
        return UsageFault("no command 'help'", fix=" ".join(filter(None, ("chatpipe", command, "--help"))))
    if word == "version":
        return UsageFault("no command 'version'", fix="chatpipe --version")
    near = nearest(word, frozenset(_options(group)), least=3) or _FOREIGN_COMMANDS.get(word.lower())
    if near:
        return UsageFault(f"no command '{word}', did you mean '{near}'?", fix="see chatpipe --help")
    fix = _as_prompt(arguments)
    if own := _OWN_WORDS.get(word):
        fix = f"{own}; as a prompt {fix}"
    return UsageFault(f"no command '{shorten(word, _MOST_WORD, is_ours=True)}'", fix=fix)


def _as_prompt(arguments: Sequence[str]) -> str:
    """The command line that sends the words as a prompt."""
    count = next((at for at, word in enumerate(arguments) if word.startswith("-")), len(arguments))
    line = shlex.join(["chatpipe", "ask", *arguments[:count]])
    if len(line) > _MOST_PROMPT or not line.isprintable():
        line = "chatpipe ask PROMPT"
    return line if count == len(arguments) else f"{line} ..."


def misplaced_option(group: click.Group, arguments: Sequence[str]) -> UsageFault:
    """The fault for an option, `-` or `--` before the command. A value may be a secret and is not shown."""
    if arguments[0] in ("-", "--"):
        return _after_dashes(group, arguments)
    word = arguments[0].partition("=")[0]
    is_long = len(word) > 2 and any(
        long_name(word) in names for names in (*_options(group).values(), foreign.KEY_WORDS)
    )
    option = long_name(word) if is_long else word if word.startswith("--") else word[:2]
    operands = [
        arguments[at] for at, _ in read_words(_click_options(group), arguments) if arguments[at][0] != "-"
    ]
    named = next((each for each in operands if each in _options(group)), None)
    if named is None and not operands:
        return unknown_option(group, option, "")
    command = named or "ask"
    if option not in _options(group)[command]:
        return unknown_option(group, option, command)
    what = f"option '{option}' comes before the command" if named else "missing command"
    return UsageFault(what, fix=f"chatpipe {command} {option} ...")


def _after_dashes(group: click.Group, arguments: Sequence[str]) -> UsageFault:
    """The fault for `-`, which stands for stdin elsewhere, or `--` where a command is wanted."""
    dashes, *rest = arguments
    if rest and rest[0] in _options(group):
        return UsageFault(f"'{dashes}' comes before the command", fix=f"chatpipe {rest[0]} ...")
    if rest:
        fix = "chatpipe ask -- ..." if rest[0].startswith("-") else _as_prompt(rest)
        return UsageFault("missing command", fix=fix)
    fix = "chatpipe ask sends stdin as a prompt, chatpipe --help shows all" if dashes == "-" else _MISSING
    return UsageFault("missing command", fix=fix)


def _click_options(group: click.Group) -> dict[str, click.Option]:
    """All options of all commands. Options of the same name agree on whether they take a value."""
    context = click.Context(group, **group.context_settings)
    commands = (group.get_command(context, name) for name in group.list_commands(context))
    params = [param for command in commands if command is not None for param in command.params]
    options = [each for each in params if isinstance(each, click.Option)]
    return {name: option for option in options for name in (*option.opts, *option.secondary_opts)}
