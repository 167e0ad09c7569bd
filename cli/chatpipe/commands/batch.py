"""`chatpipe batch`: many requests, in parallel."""

from __future__ import annotations

import os

import click

from chatpipe.flags import console as console_flags
from chatpipe.flags import output as output_flags
from chatpipe.flags import request as request_flags
from chatpipe.flags import run as run_flags
from chatpipe.flags.command import Command
from chatpipe.options.output import ConsoleOptions, OutputOptions
from chatpipe.options.request import RequestOptions
from chatpipe.options.run import InputOptions, RunOptions


@click.command(cls=Command)
@click.argument("source", nargs=-1, metavar="[FILE]", type=run_flags.LINE_FILE, callback=run_flags.read_file)
@run_flags.line_input
@request_flags.line_defaults
@run_flags.options
@output_flags.options
@console_flags.options
def batch(
    source: str,
    input: InputOptions,
    request: RequestOptions,
    run: RunOptions,
    output: OutputOptions,
    console: ConsoleOptions,
) -> int:
    """Send many requests in parallel, and write the results as JSONL.

    FILE or stdin has one request per line: a Batch API line, a request body, an object with "prompt",
    or a string.

    \b
    chatpipe batch prompts.jsonl -o answers.jsonl
    jq -c '{prompt: .q}' faq.jsonl | chatpipe batch -s "Be brief." -k -f string
    """
    from chatpipe.batch.items import RequestReader
    from chatpipe.batch.line_template import LineTemplate
    from chatpipe.batch.run import run_batch
    from chatpipe.batch.run_format import create_run_format
    from chatpipe.batch.run_spec import RunSpec
    from chatpipe.prepare import draft

    run_flags.refuse_idle_options(run, output)
    drafted = draft(request, console, os.environ, source, run.stdin_claims)
    prepared = drafted.defaults(lines_have_fields=not input.plain)
    template = LineTemplate(
        prepared.built,
        override=input.override,
        default_model=prepared.endpoint.model,
        removals=request.parameters.removals,
    )
    reader = RequestReader(template, plain=input.plain, check=request.check)
    run_format = create_run_format(run.results)
    return run_batch(RunSpec(source, input, reader, run_format, drafted, prepared, run, output))
