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
from chatpipe.options.check import Checking
from chatpipe.options.output import REQUEST_SHAPES, Target, Telling
from chatpipe.options.parameters import Parameters
from chatpipe.options.prompt import Prompt
from chatpipe.options.server import Connection
from chatpipe.options.structured_output import Structure


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
    type=click.Choice(REQUEST_SHAPES),
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
    prompt: Prompt,
    parameters: Parameters,
    structure: Structure,
    checking: Checking,
    connection: Connection,
    shape: str,
    custom_id: str,
    target: Target,
    telling: Telling,
) -> int:
    """Write the request that ask would send: as its body, a Batch line, or a curl command.

    \b
    chatpipe build -m gpt-4o-mini "Hello" | jq .
    chatpipe build "Hello" | chatpipe ask -p echo -r - --raw | chatpipe show
    """
    from functools import partial

    from chatpipe.conversation import transcript
    from chatpipe.conversation.new_messages import refuse_unfit
    from chatpipe.flags.stdin import stdin
    from chatpipe.inputs.sources import Sources
    from chatpipe.output.curl import written
    from chatpipe.output.target import opened
    from chatpipe.request.build import build as build_body
    from chatpipe.request.gather import continued, gather
    from chatpipe.schema.refuse import refuse, refuse_form
    from chatpipe.server import endpoints, keys
    from chatpipe.system.console import Notices

    told = Notices(telling)
    sources = Sources(stdin(told, is_taken=connection.key.descriptor == 0))
    endpoint = endpoints.resolve(connection, os.environ, keys.header_lines(connection.header_file))
    read = partial(transcript.read, prompt.transcript, told.note)
    material = gather(prompt, parameters, sources, endpoint.model, structure, read)
    history = read()
    if history and prompt.transcript:
        sources.names.append(prompt.transcript)
    built = build_body(continued(material, prompt, history))
    if history is not None:
        refuse_unfit(built)
    if not checking.off:
        # A body may still get its model from whoever sends it; a Batch line or a curl command may not.
        told.warnings(refuse(built, strict=checking.strict, without_model=shape == "body"))
        told.warnings(refuse_form(material.form, strict=checking.strict))
    text = written(shape, built.body, custom_id, endpoint, connection, os.environ)
    with opened(target, sources.names, escape=True, beside=connection.files) as out:
        out.write(text)
        out.replace()
    return 0
