"""`chatpipe ask`: one request, one answer."""

from __future__ import annotations

import os

import click

from chatpipe.flags import checking, connection, output, parameters, printing, prompt, retries, telling
from chatpipe.flags.checking import Checking
from chatpipe.flags.types import Command
from chatpipe.output.options import Printing, Target, Telling
from chatpipe.request.parameters import Parameters
from chatpipe.request.prompt import Prompt
from chatpipe.wire.options import Connection
from chatpipe.wire.retry import Policy


@click.command(cls=Command)
@prompt.options
@parameters.options
@checking.options
@connection.options
@retries.options
@printing.options
@output.options
@telling.options
def ask(
    prompt: Prompt,
    parameters: Parameters,
    checking: Checking,
    connection: Connection,
    policy: Policy,
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
    from chatpipe import exchange
    from chatpipe.flags.stdin import stdin
    from chatpipe.inputs.sources import Sources
    from chatpipe.local import route
    from chatpipe.output import notices
    from chatpipe.output.delivery import Delivery, conclude
    from chatpipe.output.formats import decide_stream
    from chatpipe.output.notices import Notices
    from chatpipe.output.target import opened
    from chatpipe.request.build import build
    from chatpipe.request.material import gather
    from chatpipe.schema.refuse import refuse
    from chatpipe.wire import endpoints, keys, redact

    told = Notices(telling)
    sources = Sources(stdin(told, is_taken=connection.key.descriptor == 0))
    endpoint = endpoints.resolve(connection, os.environ, keys.header_lines(connection.header_file))
    built = build(gather(prompt, parameters, sources, endpoint.model))
    decide_stream(built.body, printing)
    if not checking.off:
        told.warnings(refuse(built, strict=checking.strict))
    key = keys.find(connection.key, endpoint.key_env, os.environ)
    headers = endpoints.authorized(endpoint, key, allow_http=connection.allow_http)
    for secret in redact.secrets(headers):
        notices.hide(secret)
    with opened(target, sources.names, escape=printing.escape) as out:
        delivery = Delivery(out, printing, told)
        with route.opened(endpoint, connection, os.environ, told) as world:
            request = route.request(endpoint.url, headers, built.body)
            answer = exchange.immediately(exchange.ask(request, world, delivery, connection.limits, policy))
        return conclude(out, delivery.finish(answer))
