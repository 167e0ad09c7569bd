"""Recorded answers -> the formats of `ask`, each answer as it is read."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from chatpipe.inputs.sources import process_sources, stdin_owner
from chatpipe.inputs.stdin import STDIN, is_stdin
from chatpipe.options.files import STDERR_USE, STDIN_USE, FileUse
from chatpipe.options.output import ConsoleOptions, FormatOptions, OutputOptions
from chatpipe.output.delivery import Delivery
from chatpipe.output.formats import choose_format, writer_class
from chatpipe.output.player import RecordingPlayer
from chatpipe.output.target import open_target, refuse_shared
from chatpipe.response.capture import read_capture
from chatpipe.system.console import Console
from chatpipe.system.terminal import named_columns, terminal_columns


def show_files(
    files: Sequence[str],
    format: FormatOptions,
    output: OutputOptions,
    console_options: ConsoleOptions,
    environ: Mapping[str, str],
) -> int:
    """Write the answers of recordings in a format. No file means stdin. The exit status."""
    console = Console(console_options)
    format = choose_format(format, output)._replace(columns=_columns(output, environ))
    stdin_owner(("FILE", file) for file in files)
    sources = process_sources(console.note, console.note_wait)
    names = [file for file in files if not is_stdin(file)]
    reads = [FileUse("FILE", name, "reads") for name in names]
    refuse_shared(output, [STDIN_USE, STDERR_USE, *reads])
    with open_target(output, names, escape=format.escape) as out:

        def begin() -> Delivery:
            if not out.started:
                out.write(writer_class(format.format).head(format))
            return Delivery(out, format, console, is_recorded=True)

        player = RecordingPlayer(begin)
        for file in files or (STDIN,):
            player.play(read_capture(sources.lines(file, "FILE")))
        return player.conclude(out, console)


def _columns(output: OutputOptions, environ: Mapping[str, str]) -> int:
    """The width of a table: the width of the terminal that it goes to, or COLUMNS, or 80."""
    known = named_columns(environ)
    return known if output.is_file else terminal_columns() or known
