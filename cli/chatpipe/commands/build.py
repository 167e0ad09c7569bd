"""`chatpipe build`: the request that `ask` would send, written instead."""

from __future__ import annotations

import os

import click

from chatpipe.flags import console as console_flags
from chatpipe.flags import output as output_flags
from chatpipe.flags import request as request_flags
from chatpipe.flags.command import Command
from chatpipe.flags.option_groups import under
from chatpipe.flags.types import OneOf, Word
from chatpipe.options.output import REQUEST_FORMATS, ConsoleOptions, OutputOptions
from chatpipe.options.prompt import utf8_argument
from chatpipe.options.request import RequestOptions

option = under("Output")


@click.command(cls=Command)
@request_flags.unsent
@option(
    "--format",
    "-f",
    type=OneOf(list(REQUEST_FORMATS)),
    default=next(iter(REQUEST_FORMATS)),
    daily=True,
    help="Format of the output",
)
@option("--custom-id", metavar="ID", type=Word(), default_text="line-1", help="The custom_id in -f batch")
@output_flags.options
@console_flags.options
def build(
    request: RequestOptions,
    format: str,
    custom_id: str | None,
    output: OutputOptions,
    console: ConsoleOptions,
) -> int:
    """Write the request that ask would send: as its body, a Batch line, or a curl command.

    \b
    chatpipe build -m gpt-4o-mini "Hello" | jq .
    chatpipe build "Hello" | chatpipe ask -p echo -r - --raw | chatpipe show
    """
    from chatpipe.output.curl import UnsentRequest, format_request, refuse_custom_id, refuse_several
    from chatpipe.output.target import open_target, refuse_shared
    from chatpipe.prepare import draft

    if custom_id is not None:
        refuse_custom_id(format)
    drafted = draft(request, console, os.environ)
    refuse_several(format, drafted.endpoints)
    prepared = drafted.prepare(drafted.read_transcript())
    drafted.check(prepared, needs_model=REQUEST_FORMATS[format].needs_model)
    custom_id = utf8_argument(custom_id or "line-1", "--custom-id")
    unsent = UnsentRequest(prepared.body, custom_id, prepared.endpoint, request.server, drafted.environ)
    text = format_request(format, unsent, drafted.console.note)
    refuse_shared(output, request.reads(drafted.sources.files))
    with open_target(output, drafted.sources.names, escape=True) as out:
        out.write(text)
        out.replace()
    return 0
