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
from chatpipe.options.check import Checking
from chatpipe.options.output import ROW_SHAPES, RUN_ALLOWABLE, Target, Telling
from chatpipe.options.parameters import Parameters
from chatpipe.options.prompt import Prompt, Typed
from chatpipe.options.rows import Carrying
from chatpipe.options.run import Feeding, Pacing, Resuming, Showing
from chatpipe.options.server import Connection, Policy
from chatpipe.options.structured_output import Structure
from chatpipe.options.tool_commands import Tooling


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
    type=click.Choice(ROW_SHAPES),
    default=ROW_SHAPES[0],
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
    carrying: Carrying,
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
    allow: frozenset[str],
    showing: Showing,
    target: Target,
    telling: Telling,
) -> int:
    """Fill TEMPLATE from each row, and write the rows with the answers.

    {{name}} in TEMPLATE, and in -s, -u and -a, is the value of that field. FILE, or stdin, holds
    JSON objects, one a line, or what --csv, --tsv or --lines says.

    \b
    chatpipe map 'Classify: {{text}}' --into label reviews.jsonl
    chatpipe map -s 'Translate into French.' '{{title}}' --csv books.csv -o fr.csv
    """
    from chatpipe.batch.job import Job
    from chatpipe.batch.run import Running
    from chatpipe.batch.tables import writer
    from chatpipe.batch.tables.bodies import Filling, images_of
    from chatpipe.batch.tables.row_items import RowRequests
    from chatpipe.batch.tables.writer import Answers, as_it_came, as_json
    from chatpipe.conversation.wanted import Wanted
    from chatpipe.flags.stdin import stdin
    from chatpipe.inputs.sources import STDIN_NAME, Sources
    from chatpipe.request.build import build
    from chatpipe.request.gather import gather_defaults
    from chatpipe.request.response_format import refuse_choices
    from chatpipe.schema.refuse import refuse_form
    from chatpipe.server import endpoints, keys
    from chatpipe.system.console import Notices

    template, source = _operands(operands, carrying)
    if carrying.image_field is None:
        refuse_idle_detail(prompt, fix="use it with --image or --image-field")
    told = Notices(telling)
    sources = Sources(stdin(told))
    endpoint = endpoints.resolve(connection, os.environ, keys.header_lines(connection.header_file))
    prompt = prompt._replace(typed=(*prompt.typed, template))
    material = gather_defaults(prompt, parameters, sources, source, structure)
    told.warnings(refuse_form(material.form, strict=checking.strict))
    built = build(material)
    refuse_choices(built.body, structure)
    table = writer.rows_of(carrying, STDIN_NAME if source == "-" else source)
    images = images_of(carrying.image_field, carrying.image_root, prompt.image_detail)
    filling = Filling(built, images, default_model=endpoint.model)
    if not any(filling.placeholders):
        told.warning("no {{field}} in the template: every row asks the same")
    answers = Answers(carrying, as_it_came if material.form is None else as_json)
    job = Job(
        file=source,
        reader=RowRequests(table, filling, strict=checking.strict, unchecked=checking.off),
        writing=writer.writing(carrying, table, answers),
        only_requests=shape == "requests",
        tells_failures=carrying.target != "jsonl",
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
        defaults=built.body,
    )
    return Running(job).run(sources)


def _operands(operands: tuple[str, ...], carrying: Carrying) -> tuple[Typed, str]:
    """The template, as a user message behind those of other options, and the input. Raises UsageFault."""
    words = list(operands)
    if carrying.template_file is not None:
        if len(words) > 1:
            fix = "leave out one of them; chatpipe map --template-file FILE [FILE]"
            raise UsageFault("TEMPLATE and --template-file at once", fix=fix)
        template = Typed("--template-file", "user", carrying.template_file, is_file=True)
    elif words:
        template = Typed("TEMPLATE", "user", words.pop(0), is_file=False)
    else:
        fix = "chatpipe map 'Classify: {{text}}' rows.jsonl"
        raise UsageFault("no template", fix=fix)
    if len(words) > 1:
        raise UsageFault(f"'{words[1]}' is one FILE too many", fix="concatenate them, or run once for each")
    return template, words[0] if words else "-"
