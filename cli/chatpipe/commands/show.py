"""`chatpipe show`: recorded answers in any format."""

from __future__ import annotations

import click

from chatpipe.flags import console as telling
from chatpipe.flags import format as printing
from chatpipe.flags import output
from chatpipe.flags.types import FILE, Command
from chatpipe.options.output import ConsoleOptions, FormatOptions, OutputOptions


@click.command(cls=Command)
@click.argument("files", nargs=-1, metavar="[FILE]...", type=FILE)
@printing.options
@output.options
@telling.options
def show(
    files: tuple[str, ...], printing: FormatOptions, target: OutputOptions, telling: ConsoleOptions
) -> int:
    """Turn recorded chunks, event streams, completions or results into any output format.

    \b
    chatpipe ask --raw "Hello" | tee chunks.jsonl | chatpipe show
    chatpipe show -f usage results.jsonl | jq -s "map(.total_tokens) | add"
    """
    from chatpipe.flags.stdin import stdin
    from chatpipe.inputs.sources import STDIN, Sources, stdin_owner
    from chatpipe.output.delivery import Delivery
    from chatpipe.output.formats import choose_format
    from chatpipe.output.show import RecordingPlayer
    from chatpipe.output.target import open_target
    from chatpipe.response.capture import read_capture
    from chatpipe.system.console import Console

    console = Console(telling)
    printing = choose_format(printing, target)
    stdin_owner(("FILE", file) for file in files)
    sources = Sources(stdin(console))
    with open_target(target, [file for file in files if file != STDIN], escape=printing.escape) as out:
        shown = RecordingPlayer(lambda: Delivery(out, printing, console))
        for file in files or (STDIN,):
            shown.play(read_capture(sources.lines(file, "FILE")))
        return shown.conclude(out, console)
