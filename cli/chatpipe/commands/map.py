"""`chatpipe map`: rows in, the same rows out, with an answer to each."""

from __future__ import annotations

import os

import click

from chatpipe.errors import UsageFault
from chatpipe.flags import check as checking
from chatpipe.flags import console as telling
from chatpipe.flags import output, parameters, prompt, retries, rows, run
from chatpipe.flags import server as connection
from chatpipe.flags import structured_output as structure
from chatpipe.flags import tool_commands as tooling
from chatpipe.flags.prompt import refuse_idle_detail
from chatpipe.flags.types import FILE, Command, words_of
from chatpipe.options.check import CheckOptions
from chatpipe.options.outcomes import RUN_ALLOWABLE
from chatpipe.options.output import FORMATS, MAP_FORMATS, ConsoleOptions, OutputOptions
from chatpipe.options.parameters import Parameters
from chatpipe.options.prompt import PromptOptions, RoleOption
from chatpipe.options.rows import RowOptions
from chatpipe.options.run import InputOptions, ReportOptions, ResumeOptions, RunLimits
from chatpipe.options.server import RetryPolicy, ServerOptions
from chatpipe.options.structured_output import SchemaOptions
from chatpipe.options.tool_commands import ToolOptions


@click.command(cls=Command)
@click.argument("operands", nargs=-1, metavar="TEMPLATE [FILE]", type=FILE)
@rows.options
@run.row_feeding
@prompt.row_defaults
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
    type=click.Choice(MAP_FORMATS),
    default=MAP_FORMATS[0],
    show_default=True,
    help="What to write",
)
@click.option(
    "--allow",
    multiple=True,
    metavar="OUTCOME,...",
    callback=words_of(RUN_ALLOWABLE),
    help="Count these outcomes as good",
)
@run.row_showing
@output.options
@telling.options
def map(
    operands: tuple[str, ...],
    carrying: RowOptions,
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
    allow: frozenset[str],
    showing: ReportOptions,
    target: OutputOptions,
    telling: ConsoleOptions,
) -> int:
    """Fill TEMPLATE from each row, and write the rows with the answers.

    {{name}} in TEMPLATE, and in -s, -u and -a, is the value of that field. FILE, or stdin, holds
    JSON objects, one a line, or what --csv, --tsv or --lines says.

    \b
    chatpipe map 'Classify: {{text}}' --into label reviews.jsonl
    chatpipe map -s 'Translate into French.' '{{title}}' --csv books.csv -o fr.csv
    """
    from chatpipe.batch.job import Job
    from chatpipe.batch.run import Run
    from chatpipe.batch.tables import writer
    from chatpipe.batch.tables.bodies import RowTemplate, read_image_field
    from chatpipe.batch.tables.row_items import RowReader
    from chatpipe.batch.tables.writer import AnswerFields, as_json, as_text_value
    from chatpipe.conversation.wanted import TurnOptions
    from chatpipe.flags.stdin import stdin
    from chatpipe.inputs.sources import STDIN_NAME, Sources
    from chatpipe.request.build import build
    from chatpipe.request.gather import gather_defaults
    from chatpipe.request.response_format import refuse_several_choices
    from chatpipe.schema.refuse import refuse_schema
    from chatpipe.server import endpoints, keys
    from chatpipe.system.console import Console

    template, source = _operands(operands, carrying)
    if carrying.image_field is None:
        refuse_idle_detail(prompt, fix="use it with --image or --image-field")
    console = Console(telling)
    sources = Sources(stdin(console))
    endpoint = endpoints.resolve(connection, os.environ, keys.header_lines(connection.header_file))
    prompt = prompt._replace(role_options=(*prompt.role_options, template))
    material = gather_defaults(prompt, parameters, sources, source, structure)
    console.warnings(refuse_schema(material.response_format, strict=checking.strict))
    built = build(material)
    refuse_several_choices(built.body, structure)
    table = writer.create_rows(carrying, STDIN_NAME if source == "-" else source)
    images = read_image_field(carrying.image_field, carrying.image_root, prompt.image_detail)
    filling = RowTemplate(built, images, default_model=endpoint.model)
    if not any(filling.placeholders):
        console.warning("no {{field}} in the template: every row asks the same")
    answers = AnswerFields(carrying, as_text_value if material.response_format is None else as_json)
    job = Job(
        file=source,
        reader=RowReader(table, filling, strict=checking.strict, unchecked=checking.off),
        run_format=writer.create_format(carrying, table, answers),
        only_requests=not FORMATS[shape].sends,
        reports_failures=carrying.target != "jsonl",
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
        defaults=built.body,
    )
    return Run(job).run(sources)


def _operands(operands: tuple[str, ...], carrying: RowOptions) -> tuple[RoleOption, str]:
    """The template, as a user message behind those of other options, and the input. Raises UsageFault."""
    words = list(operands)
    if carrying.template_file is not None:
        if len(words) > 1:
            fix = "leave out one of them; chatpipe map --template-file FILE [FILE]"
            raise UsageFault("TEMPLATE and --template-file at once", fix=fix)
        template = RoleOption("--template-file", "user", carrying.template_file, is_file=True)
    elif words:
        template = RoleOption("TEMPLATE", "user", words.pop(0), is_file=False)
    else:
        fix = "chatpipe map 'Classify: {{text}}' rows.jsonl"
        raise UsageFault("no template", fix=fix)
    if len(words) > 1:
        raise UsageFault(f"'{words[1]}' is one FILE too many", fix="concatenate them, or run once for each")
    return template, words[0] if words else "-"
