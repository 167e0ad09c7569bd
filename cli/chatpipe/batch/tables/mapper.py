"""A draft of `map` -> its job: the rows to read, the template to fill, and the rows to write."""

from __future__ import annotations

from chatpipe.batch.job import Job
from chatpipe.batch.tables import writer
from chatpipe.batch.tables.bodies import RowTemplate, read_image_field
from chatpipe.batch.tables.row_items import RowReader
from chatpipe.batch.tables.writer import AnswerFields, as_json, as_text_value
from chatpipe.inputs.sources import STDIN, STDIN_NAME
from chatpipe.options.output import OutputOptions
from chatpipe.options.rows import MapOptions
from chatpipe.options.run import RunOptions
from chatpipe.prepare import Draft


def map_job(file: str, mapping: MapOptions, draft: Draft, run: RunOptions, output: OutputOptions) -> Job:
    """The job that fills the template of the draft from each row of file.

    Raises UsageFault and BadInput for what every row would suffer from.
    """
    prepared = draft.defaults()
    rows, options = mapping.rows, draft.options
    table = writer.create_rows(rows, STDIN_NAME if file == STDIN else file)
    images = read_image_field(rows.image_field, rows.image_root, options.prompt.image_detail)
    template = RowTemplate(prepared.built, images, default_model=prepared.endpoint.model)
    if not any(template.placeholders):
        draft.console.warning("no {{field}} in the template: every row asks the same")
    answers = AnswerFields(rows, as_text_value if draft.parts.response_format is None else as_json)
    return Job(
        file,
        mapping.input,
        RowReader(table, template, options.check),
        writer.create_format(rows, table, answers),
        draft,
        prepared,
        run,
        output,
        reports_failures=rows.target != "jsonl",
    )
