"""`chatpipe check`: every problem in requests, Batch lines or rows, with its place."""

from __future__ import annotations

import click

from chatpipe.errors import MissingInput, Status
from chatpipe.flags import console as console_flags
from chatpipe.flags.types import FILE, Command
from chatpipe.options.output import PROBLEM_FORMATS, ConsoleOptions, OutputOptions


@click.command(cls=Command)
@click.argument("files", nargs=-1, metavar="[FILE]...", type=FILE)
@click.option(
    "--format",
    "-f",
    type=click.Choice(PROBLEM_FORMATS),
    default="text",
    show_default=True,
    help="How to tell",
)
@click.option("--strict", is_flag=True, help="Warnings and unknown fields are errors, too")
@console_flags.options
def check(files: tuple[str, ...], format: str, strict: bool, console: ConsoleOptions) -> int:
    """Find every problem in requests, Batch lines or rows, before a server does.

    Each FILE, or stdin, holds one request, or one a line.

    \b
    chatpipe check prompts.jsonl
    chatpipe check -f problems prompts.jsonl | jq -r .line
    """
    from chatpipe.inputs.sources import STDIN, Sources
    from chatpipe.inputs.stdin import process_stdin
    from chatpipe.output.problems import format_problem
    from chatpipe.output.target import open_target
    from chatpipe.schema.documents import Checker, split_documents
    from chatpipe.system.console import Console

    notices = Console(console)
    sources = Sources(process_stdin(notices.note))
    status = Status.OK
    with open_target(OutputOptions(), (), escape=True) as out:
        for file in files or (STDIN,):
            checker = Checker(strict=strict)
            try:
                lines = split_documents(sources.lines(file, "FILE"))
                for located in (each for line in lines for each in checker.problems(line)):
                    if located.problem.severity == "error":
                        status = Status.BAD_INPUT
                    elif console.quiet:
                        continue
                    out.write(format_problem(format, located))
            except MissingInput as fault:  # the other files are still looked at
                notices.error(fault)
                status = status or Status.NO_INPUT
        out.replace()
    return status
