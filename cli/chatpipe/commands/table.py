"""The table of commands. A command is imported when it runs; its line of help stands here."""

from __future__ import annotations

import importlib
from collections.abc import Sequence
from typing import Any

import click

from chatpipe import __version__
from chatpipe.errors import UsageFault

COMMANDS = {
    "ask": "Send one request and write the answer",
    "batch": "Send many requests in parallel, lose none, pay for none twice",
    "build": "Write the request instead of sending it",
    "check": "Find every problem in requests, before a server does",
    "completion": "Write the completion script of a shell",
    "map": "Fill a template from each row, put the answer into a new field",
    "show": "Turn recorded answers into any output format",
}


class Table(click.Group):
    """A group that imports the module of a command on demand."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in COMMANDS:
            return None
        module = importlib.import_module(f"chatpipe.commands.{cmd_name}")
        command: click.Command = getattr(module, cmd_name)
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the table, so that `chatpipe --help` imports no command."""
        with formatter.section("Commands"):
            formatter.write_dl(list(COMMANDS.items()))

    def shell_complete(self, ctx: click.Context, incomplete: str) -> list[Any]:
        """Complete from the table. Click's own method would import every command."""
        from click.shell_completion import CompletionItem

        return [
            CompletionItem(name, help=text) for name, text in COMMANDS.items() if name.startswith(incomplete)
        ] or [
            CompletionItem(option)
            for option in ("--help", "--version")
            if incomplete and option.startswith(incomplete)
        ]

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        name = args[0]
        if name not in COMMANDS and not name.startswith("-"):
            from difflib import get_close_matches

            near = get_close_matches(name, COMMANDS, 1)
            ctx.fail(f"no command '{name}'" + (f", did you mean '{near[0]}'?" if near else ""))
        return super().resolve_command(ctx, args)


def refuse_misplaced(arguments: Sequence[str]) -> None:
    """Raise UsageFault for an option before the command. Its value may be a secret and is not shown."""
    option = arguments[0].partition("=")[0] if arguments else ""
    if not option.startswith("-") or option in ("-h", "--help", "--version"):
        return
    command = next((word for word in arguments if word in COMMANDS), None)
    if command is not None:
        raise UsageFault(
            f"option '{option}' stands before the command", fix=f"chatpipe {command} {option} ..."
        )


@click.command(
    cls=Table,
    no_args_is_help=False,  # a call without a command is an error of one line
    context_settings={"help_option_names": ["-h", "--help"]},
    epilog="chatpipe COMMAND --help tells more, and man chatpipe tells all.",
)
@click.version_option(__version__, message="chatpipe %(version)s")
def cli() -> None:
    """A Unix filter for Chat Completions.

    \b
    chatpipe ask -p echo "Hello"
    git diff | chatpipe ask -s "Write a commit message"
    """
