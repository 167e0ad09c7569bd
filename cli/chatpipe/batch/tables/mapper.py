"""A draft of `map` -> the run of it: the rows to read, the template to fill, and the rows to write."""

from __future__ import annotations

import re

from chatpipe.batch.run_spec import RunSpec
from chatpipe.batch.tables import writer
from chatpipe.batch.tables.bodies import RowTemplate, read_image_field
from chatpipe.batch.tables.row_items import ColumnRules, RowReader
from chatpipe.batch.tables.writer import AnswerFields, as_json, as_text_value
from chatpipe.errors import UsageFault
from chatpipe.inputs.sources import is_file
from chatpipe.options.output import OutputOptions
from chatpipe.options.prompt import RoleOption
from chatpipe.options.rows import MapOptions, RowOptions
from chatpipe.options.run import RunOptions
from chatpipe.prepare import Draft

_SINGLE_BRACES = r"\{\s*[A-Za-z_][\w.]*\s*\}"


def map_run(file: str, mapping: MapOptions, draft: Draft, run: RunOptions, output: OutputOptions) -> RunSpec:
    """The run that fills the template of the draft from each row of file.

    Raises UsageFault and BadInput for what every row would suffer from.
    """
    prepared = draft.defaults(lines_have_fields=False)
    rows, options = mapping.rows, draft.options
    table = writer.create_rows(rows)
    images = read_image_field(rows.image_field, rows.image_root, options.prompt.image_detail)
    template = RowTemplate(prepared.built, images, default_model=prepared.endpoint.model)
    _refuse_idle_template(template, draft.options.prompt.role_options[-1], file)
    answers = _answer_fields(rows, draft, run)
    rules = ColumnRules(answers.unpacked, answers.names(), is_keyed=rows.target == "jsonl")
    return RunSpec(
        file,
        mapping.input,
        RowReader(table, template, options.check, rules, skips_empty=rows.skip_empty),
        writer.create_format(rows, table, answers),
        draft,
        prepared,
        run,
        output,
        reports_failures=rows.target != "jsonl",
    )


def _refuse_idle_template(template: RowTemplate, typed: RoleOption, file: str) -> None:
    """Raise UsageFault if no text names a field, or if typed, the template itself, is meant as FILE."""
    names_fields = any(template.placeholders)
    word = typed.value
    if not typed.is_file and "{{" not in word:
        right_order = "TEMPLATE comes first: chatpipe map 'Classify: {{text}}' FILE"
        if "{{" in file and not is_file(file):
            raise UsageFault(f"'{file}' is in the place of FILE", place="TEMPLATE", fix=right_order)
        if is_file(word) and not (names_fields and is_file(file)):
            raise UsageFault(f"'{word}' is the name of a file", place="TEMPLATE", fix=right_order)
    if not names_fields:
        fix = "ask about each line with --lines '{{line}}', or send one prompt many times with chatpipe batch"
        if not typed.is_file and (single := re.search(_SINGLE_BRACES, word)):
            fix = f"a field has two braces on each side: '{{{single[0]}}}'"
        raise UsageFault("names no {{field}}: every row would ask the same", place=typed.option, fix=fix)


def _answer_fields(rows: RowOptions, draft: Draft, run: RunOptions) -> AnswerFields:
    """The fields for the answers. Raises UsageFault if --unpack has nothing to unpack, or no room for it."""
    form = draft.parts.response_format
    if rows.unpack is None:
        return AnswerFields(rows, as_text_value if form is None else as_json)
    properties = form.schema.value.get("properties") if form is not None else None
    if not isinstance(properties, dict) or not properties:
        what = "there is no schema" if form is None else f"{form.option} lists no properties"
        raise UsageFault(what, place="--unpack", fix="describe the fields with --schema-fields FIELDS")
    if torn := sorted(run.results.allow & writer.TORN):
        raise UsageFault(f"--allow {torn[0]} and --unpack contradict each other", fix="choose one")
    answers = AnswerFields(rows, as_json, tuple(properties))
    reason = rows.reason_field if rows.target == "jsonl" else rows.error_into
    others = {"--usage-into": rows.usage_into, "--error-into": reason}
    for option, name in others.items():
        if name in answers.unpacked:
            raise UsageFault(f"'{name}' is a property of the schema", place=option, fix="name another field")
    return answers
