"""`chatpipe map`: rows in, the same rows out, with an answer to each."""

from __future__ import annotations

import os

import click

from chatpipe.errors import UsageFault
from chatpipe.flags import console as console_flags
from chatpipe.flags import output as output_flags
from chatpipe.flags import request as request_flags
from chatpipe.flags import rows as row_flags
from chatpipe.flags import run as run_flags
from chatpipe.flags.prompt import refuse_idle_detail
from chatpipe.flags.types import FILE, Command
from chatpipe.options.output import ConsoleOptions, OutputOptions
from chatpipe.options.prompt import PromptOptions, RoleOption
from chatpipe.options.request import RequestOptions
from chatpipe.options.rows import MapOptions
from chatpipe.options.run import RunOptions


@click.command(cls=Command)
@click.argument("operands", nargs=-1, metavar="TEMPLATE [FILE]", type=FILE)
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

    {{name}} in TEMPLATE, and in -s, -u and -a, is the value of that field. FILE, or stdin, holds
    JSON objects, one a line, or what --csv, --tsv or --lines says.

    \b
    chatpipe map 'Classify: {{text}}' --into label reviews.jsonl
    chatpipe map -s 'Translate into French.' '{{title}}' --csv books.csv -o fr.csv
    """
    from chatpipe.batch.run import Run
    from chatpipe.batch.tables.mapper import map_job
    from chatpipe.prepare import draft

    template, file = _operands(operands, mapping.rows.template_file)
    if mapping.rows.image_field is None:
        refuse_idle_detail(request.prompt, fix="use it with --image or --image-field")
    request = request._replace(prompt=_with_template(request.prompt, template))
    drafted = draft(request, console, os.environ, file)
    return Run(map_job(file, mapping, drafted, run, output)).run(drafted.sources)


def _with_template(prompt: PromptOptions, template: RoleOption) -> PromptOptions:
    return prompt._replace(role_options=(*prompt.role_options, template))


def _operands(operands: tuple[str, ...], template_file: str | None) -> tuple[RoleOption, str]:
    """Return the template, as the last user message, and the input file. Raises UsageFault."""
    words = list(operands)
    if template_file is not None:
        if len(words) > 1:
            fix = "leave out one of them; chatpipe map --template-file FILE [FILE]"
            raise UsageFault("TEMPLATE and --template-file at once", fix=fix)
        template = RoleOption("--template-file", "user", template_file, is_file=True)
    elif words:
        template = RoleOption("TEMPLATE", "user", words.pop(0), is_file=False)
    else:
        fix = "chatpipe map 'Classify: {{text}}' rows.jsonl"
        raise UsageFault("no template", fix=fix)
    if len(words) > 1:
        raise UsageFault(f"'{words[1]}' is one FILE too many", fix="concatenate them, or run once for each")
    return template, words[0] if words else "-"
