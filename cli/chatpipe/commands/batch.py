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
from chatpipe.options.check import CheckOptions
from chatpipe.options.outcomes import RUN_ALLOWABLE
from chatpipe.options.output import FORMATS, RUN_FORMATS, ConsoleOptions, FormatOptions, OutputOptions
from chatpipe.options.parameters import Parameters
from chatpipe.options.prompt import PromptOptions
from chatpipe.options.run import InputOptions, ReportOptions, ResumeOptions, RunLimits
from chatpipe.options.server import RetryPolicy, ServerOptions
from chatpipe.options.structured_output import SchemaOptions
from chatpipe.options.tool_commands import ToolOptions


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
    type=click.Choice(RUN_FORMATS),
    default=RUN_FORMATS[0],
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
    feeding: InputOptions,
    prompt: PromptOptions,
    parameters: Parameters,
    structure: SchemaOptions,
    tooling: ToolOptions,
    checking: CheckOptions,
    connection: ServerOptions,
    policy: RetryPolicy,
    pacing: RunLimits,
    resuming: ResumeOptions,
    shape: str,
    null: bool,
    allow: frozenset[str],
    showing: ReportOptions,
    target: OutputOptions,
    telling: ConsoleOptions,
) -> int:
    """Answer many requests from JSONL, in parallel.

    FILE, or stdin, holds Batch lines, request bodies, rows with a "prompt", or strings, one a line.

    \b
    chatpipe batch prompts.jsonl -o answers.jsonl
    jq -c '{prompt: .question}' faq.jsonl | chatpipe batch -s "Be brief." -k -f string
    """
    from chatpipe.batch.items import LineTemplate, RequestReader
    from chatpipe.batch.job import Job
    from chatpipe.batch.run import Run
    from chatpipe.batch.run_format import create_run_format
    from chatpipe.conversation.wanted import TurnOptions
    from chatpipe.flags.stdin import stdin
    from chatpipe.inputs.sources import Sources
    from chatpipe.request.build import build
    from chatpipe.request.gather import gather_defaults
    from chatpipe.request.response_format import refuse_several_choices
    from chatpipe.schema.refuse import refuse_schema
    from chatpipe.server import endpoints, keys
    from chatpipe.system.console import Console

    console = Console(telling)
    sources = Sources(stdin(console))
    endpoint = endpoints.resolve(connection, os.environ, keys.header_lines(connection.header_file))
    material = gather_defaults(prompt, parameters, sources, source, structure)
    console.warnings(refuse_schema(material.response_format, strict=checking.strict))
    defaults = build(material)
    refuse_several_choices(defaults.body, structure)
    template = LineTemplate(defaults.body, override=feeding.override, default_model=endpoint.model)
    job = Job(
        file=source,
        reader=RequestReader(template, plain=feeding.plain, strict=checking.strict, unchecked=checking.off),
        run_format=create_run_format(FormatOptions(shape, null=ends_texts(null, shape))),
        only_requests=not FORMATS[shape].sends,
        reports_failures=False,
        endpoint=endpoint,
        connection=connection,
        policy=policy,
        input=feeding,
        limits=pacing,
        resume=resuming,
        report=showing,
        target=target,
        allow=allow,
        console=console,
        environ=os.environ,
        turns=TurnOptions(tooling, material.response_format, structure.reask),
        defaults=defaults.body,
    )
    return Run(job).run(sources)
