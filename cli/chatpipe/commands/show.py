"""`chatpipe show`: recorded answers in any format."""

from __future__ import annotations

import os

import click

from chatpipe.flags import console as console_flags
from chatpipe.flags import format as format_flags
from chatpipe.flags import output as output_flags
from chatpipe.flags.command import Command
from chatpipe.flags.types import FILE
from chatpipe.options.output import ConsoleOptions, FormatOptions, OutputOptions


@click.command(cls=Command)
@click.argument("files", nargs=-1, metavar="[FILE]...", type=FILE)
@format_flags.show_options
@output_flags.options
@console_flags.options
def show(
    files: tuple[str, ...], format: FormatOptions, output: OutputOptions, console: ConsoleOptions
) -> int:
    """Convert recorded chunks, event streams, completions or results to any output format.

    \b
    chatpipe ask --raw "Hello" | tee chunks.jsonl | chatpipe show
    chatpipe show -f table results.jsonl
    chatpipe show -f usage results.jsonl | jq -s "map(.total_tokens) | add"
    """
    from chatpipe.output.show import show_files

    return show_files(files, format, output, console, os.environ)
