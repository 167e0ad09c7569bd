"""`chatpipe build`: the request that `ask` would send, written instead."""

from __future__ import annotations

import os

import click

from chatpipe.flags import check as checking
from chatpipe.flags import console as telling
from chatpipe.flags import output, parameters, prompt
from chatpipe.flags import server as connection
from chatpipe.flags import structured_output as structure
from chatpipe.flags.types import Command
from chatpipe.options.check import CheckOptions
from chatpipe.options.output import REQUEST_FORMATS, ConsoleOptions, OutputOptions
from chatpipe.options.parameters import Parameters
from chatpipe.options.prompt import PromptOptions
from chatpipe.options.server import ServerOptions
from chatpipe.options.structured_output import SchemaOptions


@click.command(cls=Command)
@prompt.options
@parameters.options
@structure.writing
@checking.options
@connection.options
@click.option(
    "--format",
    "-f",
    "shape",
    type=click.Choice(REQUEST_FORMATS),
    default="body",
    show_default=True,
    help="What to write",
)
@click.option(
    "--custom-id", metavar="ID", default="line-1", show_default=True, help="The custom_id of -f batch"
)
@output.options
@telling.options
def build(
    prompt: PromptOptions,
    parameters: Parameters,
    structure: SchemaOptions,
    checking: CheckOptions,
    connection: ServerOptions,
    shape: str,
    custom_id: str,
    target: OutputOptions,
    telling: ConsoleOptions,
) -> int:
    """Write the request that ask would send: as its body, a Batch line, or a curl command.

    \b
    chatpipe build -m gpt-4o-mini "Hello" | jq .
    chatpipe build "Hello" | chatpipe ask -p echo -r - --raw | chatpipe show
    """
    from functools import partial

    from chatpipe.conversation import transcript
    from chatpipe.conversation.new_messages import refuse_unstorable
    from chatpipe.flags.stdin import stdin
    from chatpipe.inputs.sources import Sources
    from chatpipe.output.curl import format_request
    from chatpipe.output.target import open_target
    from chatpipe.request.build import build as build_body
    from chatpipe.request.gather import add_transcript, gather_request
    from chatpipe.schema.refuse import refuse, refuse_schema
    from chatpipe.server import endpoints, keys
    from chatpipe.system.console import Console

    console = Console(telling)
    sources = Sources(stdin(console, is_taken=connection.key.descriptor == 0))
    endpoint = endpoints.resolve(connection, os.environ, keys.header_lines(connection.header_file))
    read = partial(transcript.read_messages, prompt.transcript, console.note)
    material = gather_request(prompt, parameters, sources, endpoint.model, structure, read)
    history = read()
    if history and prompt.transcript:
        sources.names.append(prompt.transcript)
    built = build_body(add_transcript(material, prompt, history))
    if history is not None:
        refuse_unstorable(built)
    if not checking.off:
        # A body may still get its model from whoever sends it; a Batch line or a curl command may not.
        console.warnings(refuse(built, strict=checking.strict, without_model=shape == "body"))
        console.warnings(refuse_schema(material.response_format, strict=checking.strict))
    text = format_request(shape, built.body, custom_id, endpoint, connection, os.environ)
    with open_target(target, sources.names, escape=True, beside=connection.files) as out:
        out.write(text)
        out.replace()
    return 0
