"""The table of commands. A command is imported when it runs; its line of help stands here."""

from __future__ import annotations

import importlib
from collections.abc import Mapping, Sequence

import click

from chatpipe import __version__
from chatpipe.errors import UsageFault
from chatpipe.flags.shell_answers import Candidate

# The commands by heading, as `chatpipe --help` lists them.
_GROUPS = {
    "One request": {
        "ask": "Send a request and write the answer",
        "build": "Write the request instead of sending it",
        "show": "Convert recorded answers to any output format",
    },
    "Many requests": {
        "batch": "Send many requests in parallel, and resume after any failure",
        "map": "Fill a template from each row, and add the answer to the row",
        "check": "Find all problems in requests before they are sent",
        "jobs": "Use the provider's Batch API: submit, wait, get results",
    },
    "Servers": {
        "config": "Show the settings of a call, and where each comes from",
        "models": "List the models that a server offers",
        "serve": "Run a local server that answers without a key",
    },
    "Setup": {
        "completion": "Write or install the completion script of a shell",
        "man": "Show a page of the manual",
    },
}
COMMANDS = dict(sorted(pair for commands in _GROUPS.values() for pair in commands.items()))


class Table(click.Group):
    """A group that imports the module of a command on demand."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in COMMANDS:
            return None
        module = importlib.import_module(f"chatpipe.commands.{cmd_name}")
        command: click.Command = getattr(module, cmd_name)
        command.help = command.help or COMMANDS[cmd_name]  # `python -OO` keeps no docstring
        return command

    def get_help(self, ctx: click.Context) -> str:
        """The commands in their groups. Only the table is read: no command is imported."""
        from chatpipe.flags.help_page import program_page

        return program_page(self.help or "A Unix filter for Chat Completions.", _GROUPS)


def refuse_first_word(arguments: Sequence[str], environ: Mapping[str, str]) -> None:
    """Raise UsageFault if the first word is neither a command nor an option of all."""
    first = arguments[0] if arguments else ""
    if first in COMMANDS or first in ("-h", "--help", "--version"):
        return
    from chatpipe.flags.usage import misplaced_option, no_command
    from chatpipe.server.stray_keys import hide_stray_keys

    hide_stray_keys(environ, arguments)  # before the word is cut, which would leave a part of a key
    raise (misplaced_option if first.startswith("-") else no_command)(cli, arguments)


@click.command(
    cls=Table,
    no_args_is_help=False,  # a call without a command is an error of one line
    context_settings={"help_option_names": ["-h", "--help"]},
)
@click.version_option(__version__, message="chatpipe %(version)s")
def cli() -> None:
    """A Unix filter for Chat Completions.

    \b
    chatpipe ask -p echo "Hello"
    git diff | chatpipe ask -s "Write a commit message"
    """


def value_candidates(words: list[str], incomplete: str) -> list[Candidate]:
    """The values of an option or operand that incomplete, the word after words, may become."""
    from click.shell_completion import ShellComplete

    found = ShellComplete(cli, {}, "chatpipe", "").get_completions(words, incomplete)
    return [Candidate(each.value, each.help or "", each.type, each.suffixes or ()) for each in found]


def usage_fault(error: click.UsageError, arguments: Sequence[str], environ: Mapping[str, str]) -> UsageFault:
    """The fault for an error of Click, with what was meant."""
    from chatpipe.flags.usage import click_fault
    from chatpipe.server.stray_keys import hide_stray_keys

    hide_stray_keys(environ, arguments)  # as above
    return click_fault(cli, error, arguments)
