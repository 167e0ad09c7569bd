"""`chatpipe map`: rows in, the same rows out, with an answer to each."""

from __future__ import annotations

import os

import click

from chatpipe.flags import console as console_flags
from chatpipe.flags import output as output_flags
from chatpipe.flags import request as request_flags
from chatpipe.flags import rows as row_flags
from chatpipe.flags import run as run_flags
from chatpipe.flags.command import Command
from chatpipe.options.output import ConsoleOptions, OutputOptions
from chatpipe.options.request import RequestOptions
from chatpipe.options.rows import MapOptions
from chatpipe.options.run import RunOptions


@click.command(cls=Command)
@click.argument("operands", nargs=-1, metavar="TEMPLATE [FILE]", type=row_flags.ROW_FILE)
@row_flags.options
@request_flags.row_defaults
@run_flags.row_options
@output_flags.options
@console_flags.options
def map(
    operands: tuple[str, ...],
    mapping: MapOptions,
    request: RequestOptions,
    run: RunOptions,
    output: OutputOptions,
    console: ConsoleOptions,
) -> int:
    """Fill TEMPLATE from each row, and write the rows with the answers.

    {{name}} in TEMPLATE, -s, -u and -a is the value of that field. FILE or stdin has JSON objects,
    one per line, unless --csv, --tsv or --lines is given.

    \b
    chatpipe map 'Classify: {{text}}' --into label reviews.jsonl
    chatpipe map -s 'Translate into French.' '{{title}}' --csv books.csv -o fr.csv
    """
    from chatpipe.batch.run import run_batch
    from chatpipe.batch.tables.mapper import map_run
    from chatpipe.batch.tables.misplaced_fields import misplaced_fields
    from chatpipe.prepare import draft

    run_flags.refuse_idle_options(run, output)
    prompt, file = row_flags.read_operands(operands, mapping.rows, request.prompt)
    request = request._replace(prompt=prompt)
    warnings = misplaced_fields(request, mapping.rows)
    drafted = draft(request, console, os.environ, file, run.stdin_claims)
    drafted.console.warnings(warnings)
    return run_batch(map_run(file, mapping, drafted, run, output))
