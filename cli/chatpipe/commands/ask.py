"""`chatpipe ask`: one request, one answer."""

from __future__ import annotations

import os

import click

from chatpipe.flags import console as console_flags
from chatpipe.flags import format as format_flags
from chatpipe.flags import limits as call_flags
from chatpipe.flags import output as output_flags
from chatpipe.flags import request as request_flags
from chatpipe.flags.command import Command
from chatpipe.options.output import ConsoleOptions, FormatOptions, OutputOptions
from chatpipe.options.request import RequestOptions
from chatpipe.options.run import CallOptions


@click.command(cls=Command)
@request_flags.options
@call_flags.options
@format_flags.options
@output_flags.options
@console_flags.options
def ask(
    request: RequestOptions,
    call: CallOptions,
    format: FormatOptions,
    output: OutputOptions,
    console: ConsoleOptions,
) -> int:
    """Send one request and write the answer.

    PROMPT words are joined by spaces. Piped input follows them after a blank line.

    \b
    chatpipe ask -p echo "Hello"
    git diff | chatpipe ask -s "Write a commit message"
    """
    # The stages import httpx, which --help and completion must not wait for.
    from chatpipe.ask import answer
    from chatpipe.prepare import draft

    return answer(draft(request, console, os.environ, others=call.stdin_claims), call, format, output)
