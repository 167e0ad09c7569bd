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
from chatpipe.options.check import Checking
from chatpipe.options.output import Printing, Target, Telling
from chatpipe.options.parameters import Parameters
from chatpipe.options.prompt import Prompt
from chatpipe.options.run import Sharing
from chatpipe.options.server import Connection, Policy
from chatpipe.options.structured_output import Structure
from chatpipe.options.tool_commands import Tooling


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
    prompt: Prompt,
    parameters: Parameters,
    structure: Structure,
    tooling: Tooling,
    checking: Checking,
    connection: Connection,
    policy: Policy,
    sharing: Sharing,
    printing: Printing,
    target: Target,
    telling: Telling,
) -> int:
    """Send one request and write the answer.

    PROMPT words are joined by spaces; what is piped in follows after a blank line.

    \b
    chatpipe ask -p echo "Hello"
    git diff | chatpipe ask -s "Write a commit message"
    """
    # The stages, and httpx with them, come in only now: --help and completion do without.
    from functools import partial

    from chatpipe.ask import Asking
    from chatpipe.conversation import transcript
    from chatpipe.conversation.new_messages import new_messages, refuse_unfit
    from chatpipe.conversation.wanted import Wanted
    from chatpipe.flags.stdin import stdin
    from chatpipe.inputs.sources import Sources
    from chatpipe.output.delivery import conclude
    from chatpipe.output.formats import decide_stream, settle
    from chatpipe.output.target import opened
    from chatpipe.request.build import build
    from chatpipe.request.gather import continued, gather
    from chatpipe.request.response_format import refuse_choices
    from chatpipe.schema.refuse import refuse, refuse_form
    from chatpipe.server import endpoints, keys, proxies, redact
    from chatpipe.system import console
    from chatpipe.system.console import Notices

    told = Notices(telling)
    sources = Sources(stdin(told, is_taken=connection.key.descriptor == 0))
    endpoint = endpoints.resolve(connection, os.environ, keys.header_lines(connection.header_file))
    beside = [*connection.files, *([sharing.pace_file] if sharing.pace_file else [])]
    read = partial(transcript.read, prompt.transcript, told.note)
    material = gather(prompt, parameters, sources, endpoint.model, structure, read)
    told.warnings(refuse_form(material.form, strict=checking.strict))
    if prompt.transcript is not None:
        others = [*sources.names, *beside]
        transcript.refuse_shared(prompt.transcript, target, others, is_stdin_read=prompt.read_stdin)
    with transcript.opened(prompt.transcript, told.note) as history:
        past = None if history is None else history.messages()
        built = build(continued(material, prompt, past))
        if history is not None:
            refuse_unfit(built)
        refuse_choices(built.body, structure)
        printing = settle(printing, target, built.body)
        decide_stream(built.body, printing, built.place("/stream"))
        if not checking.off:
            told.warnings(refuse(built, strict=checking.strict))
        key = keys.find(connection.key, endpoint.key_env, os.environ)
        proxy = proxies.proxy_of(endpoint.url, connection, os.environ)
        headers = endpoints.authorized(endpoint, key, allow_http=connection.allow_http, proxy=proxy)
        for secret in redact.secrets(headers):
            console.hide(secret)
        wanted = Wanted(tooling, material.form, structure.reask)
        asking = Asking(endpoint, headers, connection, policy, sharing, wanted, printing, told, os.environ)
        with opened(target, sources.names, escape=printing.escape, beside=beside) as out:
            asked = asking.run(built.body, out)
            if history is not None and asked.is_worth_keeping:
                history.append([*new_messages(built, is_new_transcript=not past), *asked.messages])
            return conclude(out, asked.fault)
