"""Writes the table from which the names of commands and options are completed. `make completions`."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import click

from chatpipe.commands.table import COMMANDS, cli
from chatpipe.flags import known_names

FILE = Path(known_names.__file__).with_name("known_names.tsv")


def table() -> str:
    """A section for the commands, and one for the options of each command, in the order of `--help`."""
    own = ["--help\tonce\tShow the commands", "--version\tonce\tShow the version"]
    sections = {"": [*(f"{name}\tonce\t{text}" for name, text in COMMANDS.items()), *own]}
    for name in COMMANDS:
        command = cli.get_command(click.Context(cli), name)
        assert command is not None
        sections[name] = list(_options(command))
    return "".join(f"[{name}]\n" + "".join(f"{row}\n" for row in rows) for name, rows in sections.items())


def _options(command: click.Command) -> Iterator[str]:
    for each in command.get_params(click.Context(command)):
        if isinstance(each, click.Option) and not each.hidden:
            names = " ".join([*each.opts, *each.secondary_opts])
            yield f"{names}\t{'many' if each.multiple else 'once'}\t{each.help}"


if __name__ == "__main__":
    FILE.write_text(table(), encoding="utf-8")
