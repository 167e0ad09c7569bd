"""`chatpipe batch`: many requests, in parallel."""

from __future__ import annotations

import os

import click

from chatpipe.batch.options import Feeding, Pacing, Resuming, Showing
from chatpipe.flags import checking, connection, output, parameters, prompt, retries, running, telling
from chatpipe.flags.checking import Checking
from chatpipe.flags.types import FILE, Command, words_of
from chatpipe.output.options import RESULTS, RUN_ALLOWABLE, RUN_SHAPES, Target, Telling
from chatpipe.request.parameters import Parameters
from chatpipe.request.prompt import Prompt
from chatpipe.wire.options import Connection
from chatpipe.wire.retry import Policy


@click.command(cls=Command)
@click.argument("source", default="-", metavar="[FILE]", type=FILE)
@running.feeding
@prompt.defaults
@parameters.options
@checking.options
@connection.options
@retries.options
@running.pacing
@running.resuming
@click.option(
    "--format",
    "-f",
    "shape",
    type=click.Choice(RUN_SHAPES),
    default=RESULTS,
    show_default=True,
    help="What to write",
)
@click.option("--null", "-0", is_flag=True, help="End each text with a NUL instead of a newline")
@click.option(
    "--allow",
    multiple=True,
    metavar="OUTCOME,...",
    callback=words_of(RUN_ALLOWABLE),
    help="Count these outcomes as good",
)
@running.showing
@output.options
@telling.options
def batch(
    source: str,
    feeding: Feeding,
    prompt: Prompt,
    parameters: Parameters,
    checking: Checking,
    connection: Connection,
    policy: Policy,
    pacing: Pacing,
    resuming: Resuming,
    shape: str,
    null: bool,
    allow: frozenset[str],
    showing: Showing,
    target: Target,
    telling: Telling,
) -> int:
    """Answer many requests from JSONL, in parallel.

    FILE, or stdin, holds Batch lines, request bodies, rows with a "prompt", or strings, one a line.

    \b
    chatpipe batch prompts.jsonl -o answers.jsonl
    jq -c '{prompt: .question}' faq.jsonl | chatpipe batch -s "Be brief." -k -f string
    """
    from chatpipe.flags.stdin import stdin
    from chatpipe.inputs.sources import Sources
    from chatpipe.local.running import Job
    from chatpipe.output.notices import Notices
    from chatpipe.request.build import build
    from chatpipe.request.material import gather_defaults
    from chatpipe.wire import endpoints, keys

    told = Notices(telling)
    sources = Sources(stdin(told))
    endpoint = endpoints.resolve(connection, os.environ, keys.header_lines(connection.header_file))
    defaults = build(gather_defaults(prompt, parameters, sources, source))
    job = Job(
        file=source,
        endpoint=endpoint,
        connection=connection,
        policy=policy,
        feeding=feeding,
        pacing=pacing,
        resuming=resuming,
        showing=showing,
        checking=(checking.strict, checking.off),
        target=target,
        shape=shape,
        null=null,
        allow=allow,
        told=told,
        environ=os.environ,
    )
    return job.run(defaults.body, sources)
