"""`chatpipe show`: recorded answers in any format."""

from __future__ import annotations

import click

from chatpipe.flags import console as telling
from chatpipe.flags import format as printing
from chatpipe.flags import output
from chatpipe.flags.types import FILE, Command
from chatpipe.options.output import Printing, Target, Telling


@click.command(cls=Command)
@click.argument("files", nargs=-1, metavar="[FILE]...", type=FILE)
@printing.options
@output.options
@telling.options
def show(files: tuple[str, ...], printing: Printing, target: Target, telling: Telling) -> int:
    """Turn recorded chunks, event streams, completions or results into any output format.

    \b
    chatpipe ask --raw "Hello" | tee chunks.jsonl | chatpipe show
    chatpipe show -f usage results.jsonl | jq -s "map(.total_tokens) | add"
    """
    from chatpipe.flags.stdin import stdin
    from chatpipe.inputs.sources import STDIN, Sources, one_owner
    from chatpipe.output.delivery import Delivery
    from chatpipe.output.formats import settle
    from chatpipe.output.show import Show
    from chatpipe.output.target import opened
    from chatpipe.response.capture import steps
    from chatpipe.system.console import Notices

    told = Notices(telling)
    printing = settle(printing, target)
    one_owner(("FILE", file) for file in files)
    sources = Sources(stdin(told))
    with opened(target, [file for file in files if file != STDIN], escape=printing.escape) as out:
        shown = Show(lambda: Delivery(out, printing, told))
        for file in files or (STDIN,):
            shown.play(steps(sources.lines(file, "FILE")))
        return shown.conclude(out, told)
