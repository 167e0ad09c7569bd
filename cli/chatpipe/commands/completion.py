"""`chatpipe completion SHELL`: the completion script of a shell."""

from __future__ import annotations

import click
from click.shell_completion import get_completion_class

from chatpipe.flags.bash import BashLines
from chatpipe.flags.types import Command, OneOf

SHELLS = ("bash", "zsh", "fish")


@click.command(cls=Command)
@click.argument("shell", type=OneOf(SHELLS))
def completion(shell: str) -> int:
    """Write the completion script of SHELL.

    \b
    chatpipe completion bash > ~/.local/share/bash-completion/completions/chatpipe
    """
    from chatpipe.options.output import OutputOptions
    from chatpipe.output.target import open_target

    with open_target(OutputOptions(), (), escape=False) as out:
        out.write(script(shell).encode())
        out.replace()
    return 0


def script(shell: str) -> str:
    """The script. It asks the installed chatpipe, so an upgrade needs no new script."""
    from chatpipe.commands.table import cli

    found = BashLines if shell == "bash" else get_completion_class(shell)
    if found is None:
        raise click.UsageError(f"no completion for '{shell}'")
    return found(cli, {}, "chatpipe", "_CHATPIPE_COMPLETE").source()
