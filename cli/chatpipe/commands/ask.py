"""`chatpipe ask`: one request, one answer."""

from __future__ import annotations

import os

import click

from chatpipe.flags import check as checking
from chatpipe.flags import console as telling
from chatpipe.flags import format as printing
from chatpipe.flags import limits, output, parameters, prompt, retries
from chatpipe.flags import server as connection
from chatpipe.flags import structured_output as structure
from chatpipe.flags import tool_commands as tooling
from chatpipe.flags.types import Command
from chatpipe.options.check import CheckOptions
from chatpipe.options.output import ConsoleOptions, FormatOptions, OutputOptions
from chatpipe.options.parameters import Parameters
from chatpipe.options.prompt import PromptOptions
from chatpipe.options.run import SharedLimits
from chatpipe.options.server import RetryPolicy, ServerOptions
from chatpipe.options.structured_output import SchemaOptions
from chatpipe.options.tool_commands import ToolOptions


@click.command(cls=Command)
@prompt.options
@parameters.options
@structure.options
@tooling.options
@checking.options
@connection.options
@retries.options
@limits.options
@printing.options
@output.options
@telling.options
def ask(
    prompt: PromptOptions,
    parameters: Parameters,
    structure: SchemaOptions,
    tooling: ToolOptions,
    checking: CheckOptions,
    connection: ServerOptions,
    policy: RetryPolicy,
    sharing: SharedLimits,
    printing: FormatOptions,
    target: OutputOptions,
    telling: ConsoleOptions,
) -> int:
    """Send one request and write the answer.

    PROMPT words are joined by spaces; what is piped in follows after a blank line.

    \b
    chatpipe ask -p echo "Hello"
    git diff | chatpipe ask -s "Write a commit message"
    """
    # The stages, and httpx with them, come in only now: --help and completion do without.
    from functools import partial

    from chatpipe.ask import Call
    from chatpipe.conversation import transcript
    from chatpipe.conversation.new_messages import new_messages, refuse_unstorable
    from chatpipe.conversation.wanted import TurnOptions
    from chatpipe.flags.stdin import stdin
    from chatpipe.inputs.sources import Sources
    from chatpipe.output.delivery import finish_output
    from chatpipe.output.formats import choose_format, decide_stream
    from chatpipe.output.target import open_target
    from chatpipe.request.build import build
    from chatpipe.request.gather import add_transcript, gather_request
    from chatpipe.request.response_format import refuse_several_choices
    from chatpipe.schema.refuse import refuse, refuse_schema
    from chatpipe.server import endpoints, keys
    from chatpipe.server.server import open_server
    from chatpipe.system.console import Console

    console = Console(telling)
    sources = Sources(stdin(console, is_taken=connection.key.descriptor == 0))
    endpoint = endpoints.resolve(connection, os.environ, keys.header_lines(connection.header_file))
    beside = [*connection.files, *([sharing.pace_file] if sharing.pace_file else [])]
    read = partial(transcript.read_messages, prompt.transcript, console.note)
    material = gather_request(prompt, parameters, sources, endpoint.model, structure, read)
    console.warnings(refuse_schema(material.response_format, strict=checking.strict))
    if prompt.transcript is not None:
        others = [*sources.names, *beside]
        transcript.refuse_shared(prompt.transcript, target, others, is_stdin_read=prompt.read_stdin)
    with transcript.open_transcript(prompt.transcript, console.note) as history:
        past = None if history is None else history.messages()
        built = build(add_transcript(material, prompt, past))
        if history is not None:
            refuse_unstorable(built)
        refuse_several_choices(built.body, structure)
        printing = choose_format(printing, target, built.body)
        decide_stream(built.body, printing, built.place("/stream"))
        if not checking.off:
            console.warnings(refuse(built, strict=checking.strict))
        server = open_server(endpoint, connection, os.environ)
        wanted = TurnOptions(tooling, material.response_format, structure.reask)
        asking = Call(server, policy, sharing, wanted, printing, console, os.environ)
        with open_target(target, sources.names, escape=printing.escape, beside=beside) as out:
            asked = asking.run(built.body, out)
            if history is not None and asked.is_worth_keeping:
                history.append([*new_messages(built, is_new_transcript=not past), *asked.messages])
            return finish_output(out, asked.fault)
