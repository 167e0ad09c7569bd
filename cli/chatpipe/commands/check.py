"""`chatpipe check`: every problem in requests, Batch lines or rows, with its place."""

from __future__ import annotations

import os

import click

from chatpipe.flags import console as console_flags
from chatpipe.flags.command import Command
from chatpipe.flags.option_groups import under
from chatpipe.flags.types import JSONL, OneOf
from chatpipe.options.output import PROBLEM_FORMATS, ConsoleOptions

option = under("Output")
_diagnostics = under("Diagnostics")


@click.command(cls=Command)
@click.argument("files", nargs=-1, metavar="[FILE]...", type=JSONL)
@option(
    "--format",
    "-f",
    type=OneOf(PROBLEM_FORMATS),
    default="text",
    daily=True,
    help="Format of the output",
)
@_diagnostics("--strict", is_flag=True, daily=True, help="Treat warnings and unknown fields as errors")
@console_flags.options
def check(files: tuple[str, ...], format: str, strict: bool, console: ConsoleOptions) -> int:
    """Find all problems in requests, Batch lines or rows before they are sent.

    Each FILE, or stdin, has one request, or one per line.

    \b
    chatpipe check prompts.jsonl
    chatpipe check -f problems prompts.jsonl | jq -r .line
    """
    from chatpipe.output.problems import report_problems

    def hide_keys() -> None:
        from chatpipe.server.stray_keys import hide_stray_keys  # most files can be read

        hide_stray_keys(os.environ, files)

    return report_problems(files, format, console, strict=strict, before_fault=hide_keys)
