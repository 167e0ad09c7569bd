"""`chatpipe show`: recorded answers in any format."""

from __future__ import annotations

import click

from chatpipe.flags import console as console_flags
from chatpipe.flags import format as format_flags
from chatpipe.flags import output as output_flags
from chatpipe.flags.types import FILE, Command
from chatpipe.options.output import ConsoleOptions, FormatOptions, OutputOptions


@click.command(cls=Command)
@click.argument("files", nargs=-1, metavar="[FILE]...", type=FILE)
@format_flags.options
@output_flags.options
@console_flags.options
def show(
    files: tuple[str, ...], format: FormatOptions, output: OutputOptions, console: ConsoleOptions
) -> int:
    """Turn recorded chunks, event streams, completions or results into any output format.

    \b
    chatpipe ask --raw "Hello" | tee chunks.jsonl | chatpipe show
    chatpipe show -f usage results.jsonl | jq -s "map(.total_tokens) | add"
    """
    from chatpipe.inputs.sources import STDIN, Sources, stdin_owner
    from chatpipe.inputs.stdin import process_stdin
    from chatpipe.output.delivery import Delivery
    from chatpipe.output.formats import choose_format
    from chatpipe.output.show import RecordingPlayer
    from chatpipe.output.target import open_target
    from chatpipe.response.capture import read_capture
    from chatpipe.system.console import Console

    notices = Console(console)
    format = choose_format(format, output)
    stdin_owner(("FILE", file) for file in files)
    sources = Sources(process_stdin(notices.note))
    with open_target(output, [file for file in files if file != STDIN], escape=format.escape) as out:
        player = RecordingPlayer(lambda: Delivery(out, format, notices))
        for file in files or (STDIN,):
            player.play(read_capture(sources.lines(file, "FILE")))
        return player.conclude(out, notices)
