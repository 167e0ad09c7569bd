"""`chatpipe serve`: a local server that answers as a provider does."""

from __future__ import annotations

import os

import click

from chatpipe.flags import console as console_flags
from chatpipe.flags import recordings as recordings_flags
from chatpipe.flags import serve as serve_flags
from chatpipe.flags.command import Command
from chatpipe.options.output import ConsoleOptions
from chatpipe.options.recordings import RecordingOptions
from chatpipe.options.serve import ServeOptions


@click.command(cls=Command)
@serve_flags.options
@recordings_flags.server_options
@console_flags.options
def serve(options: ServeOptions, recordings: RecordingOptions, console: ConsoleOptions) -> int:
    """Run a local server that answers like a provider, without a key. It prints its URL first.

    \b
    chatpipe serve --port 8080
    chatpipe serve --port 8080 --chunk-delay 20ms --log requests.jsonl
    """
    # It imports asyncio, which --help and completion must not wait for.
    from chatpipe.serve.service import Service
    from chatpipe.system.console import Console

    options = serve_flags.with_recordings(options, recordings)
    out = Console(console)
    script = None
    if options.script is not None:
        from chatpipe.serve.script import read_script  # most servers have none

        script = read_script(options.script, out)
    return Service(options, out, os.environ, script).run()
