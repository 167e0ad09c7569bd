"""`chatpipe batch`: many requests, in parallel."""

from __future__ import annotations

import os

import click

from chatpipe.flags import check as checking
from chatpipe.flags import console as telling
from chatpipe.flags import output, parameters, prompt, retries, run
from chatpipe.flags import server as connection
from chatpipe.flags import structured_output as structure
from chatpipe.flags import tool_commands as tooling
from chatpipe.flags.format import ends_texts
from chatpipe.flags.types import FILE, Command, words_of
from chatpipe.options.check import Checking
from chatpipe.options.output import RESULTS, RUN_ALLOWABLE, RUN_SHAPES, Target, Telling
from chatpipe.options.parameters import Parameters
from chatpipe.options.prompt import Prompt
from chatpipe.options.run import Feeding, Pacing, Resuming, Showing
from chatpipe.options.server import Connection, Policy
from chatpipe.options.structured_output import Structure
from chatpipe.options.tool_commands import Tooling


@click.command(cls=Command)
@click.argument("source", default="-", metavar="[FILE]", type=FILE)
@run.feeding
@prompt.defaults
@parameters.options
@structure.options
@tooling.options
@checking.options
@connection.options
@retries.options
@run.pacing
@run.resuming
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
@run.showing
@output.options
@telling.options
def batch(
    source: str,
    feeding: Feeding,
    prompt: Prompt,
    parameters: Parameters,
    structure: Structure,
    tooling: Tooling,
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
    from chatpipe.batch.items import Requests, Template
    from chatpipe.batch.job import Job
    from chatpipe.batch.records import Parts
    from chatpipe.batch.run import Running
    from chatpipe.conversation.wanted import Wanted
    from chatpipe.flags.stdin import stdin
    from chatpipe.inputs.sources import Sources
    from chatpipe.request.build import build
    from chatpipe.request.gather import gather_defaults
    from chatpipe.request.response_format import refuse_choices
    from chatpipe.schema.refuse import refuse_form
    from chatpipe.server import endpoints, keys
    from chatpipe.system.console import Notices

    told = Notices(telling)
    sources = Sources(stdin(told))
    endpoint = endpoints.resolve(connection, os.environ, keys.header_lines(connection.header_file))
    material = gather_defaults(prompt, parameters, sources, source, structure)
    told.warnings(refuse_form(material.form, strict=checking.strict))
    defaults = build(material)
    refuse_choices(defaults.body, structure)
    template = Template(defaults.body, override=feeding.override, default_model=endpoint.model)
    job = Job(
        file=source,
        reader=Requests(template, plain=feeding.plain, strict=checking.strict, unchecked=checking.off),
        writing=Parts(shape, null=ends_texts(null, shape)),
        only_requests=shape == "requests",
        tells_failures=False,
        endpoint=endpoint,
        connection=connection,
        policy=policy,
        feeding=feeding,
        pacing=pacing,
        resuming=resuming,
        showing=showing,
        target=target,
        allow=allow,
        told=told,
        environ=os.environ,
        wanted=Wanted(tooling, material.form, structure.reask),
        defaults=defaults.body,
    )
    return Running(job).run(sources)
