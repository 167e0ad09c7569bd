"""`chatpipe completion SHELL`: the completion script of a shell."""

from __future__ import annotations

import os

import click

from chatpipe.flags.command import Command
from chatpipe.flags.option_groups import under
from chatpipe.flags.shells import CLASSES
from chatpipe.flags.types import OneOf

option = under("Output")


@click.command(cls=Command)
@click.argument("shell", metavar="[SHELL]", required=False, type=OneOf(list(CLASSES)))
@option(
    "--install",
    is_flag=True,
    daily=True,
    help="Put the script where the shell looks for it, and print the file name",
)
def completion(shell: str | None, install: bool) -> int:
    """Write the completion script of SHELL: bash, zsh or fish.

    With --install, SHELL may be left out; it is then the shell that you log in with. No start-up
    file of a shell is ever changed.

    \b
    chatpipe completion --install
    chatpipe completion zsh > ~/.zfunc/_chatpipe
    """
    from chatpipe.output.target import write_stdout
    from chatpipe.system.completion_scripts import choose_shell, install_script

    shell = choose_shell(shell, CLASSES, os.environ, install=install)
    text = script(shell)
    if install:
        text = install_script(shell, text, os.environ)
    write_stdout(text.encode("utf-8", "surrogateescape"), escape=False)
    return 0


def script(shell: str) -> str:
    """The script. It asks the installed chatpipe, so an upgrade needs no new script."""
    from chatpipe.commands.table import cli

    return CLASSES[shell](cli, {}, "chatpipe", "_CHATPIPE_COMPLETE").source()
