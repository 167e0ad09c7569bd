"""Options of `map`: the formats of rows, and the fields that it adds to them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import click

from chatpipe.errors import UsageFault
from chatpipe.flags import run
from chatpipe.flags.option_groups import OptionalValue, bundle, option_group, under
from chatpipe.flags.prompt import refuse_idle_detail
from chatpipe.flags.types import FILE, JSONL, FileName, OneOf, Word
from chatpipe.options.prompt import PromptOptions, RoleOption
from chatpipe.options.rows import ROW_FORMATS, MapOptions, RowOptions

option = under("Input")
_output_option = under("Output")

_JSONL = "jsonl"


class _RowFile(FileName):
    """TEMPLATE, which has no completion, and FILE, whose suffixes follow from the format options."""

    def shell_complete(self, ctx: click.Context, param: click.Parameter, incomplete: str) -> list[Any]:
        given = ctx.params
        if not given.get("operands") and not given.get("template_file"):
            return []
        if given.get("lines"):
            return self.offer(incomplete, ())
        if given.get("csv") or given.get("delimiter"):
            return self.offer(incomplete, ("csv", "csv.gz"))
        return self.offer(incomplete, ("tsv", "tsv.gz") if given.get("tsv") else JSONL.suffixes)


ROW_FILE = _RowFile()


def _read(to: str | None, fields: str | None, delimiter: str | None, **others: Any) -> RowOptions:
    source = _source({name: others.pop(name) for name in ("csv", "tsv", "lines")}, delimiter)
    target = to or (_JSONL if source == "lines" else source)
    columns = None if fields is None else _columns(fields)
    rows = RowOptions(source, target, columns, _delimiter(delimiter), **others)
    if columns is not None:
        _refuse_columns(rows, columns)
    _refuse_names(rows)
    _refuse_idle(rows)
    return rows


def _refuse_idle(rows: RowOptions) -> None:
    """Raise UsageFault for an option that has no effect with the others."""
    if rows.csv_safe and rows.target == _JSONL:
        raise UsageFault(
            "rows are written as JSON", place="--csv-safe", fix="use it with --to csv or --to tsv"
        )
    if rows.unpack is not None and rows.into != RowOptions().into:
        raise UsageFault("--into and --unpack contradict each other", fix="choose one")
    if rows.image_root is not None and rows.image_field is None:
        raise UsageFault("there is no field of images", place="--image-root", fix="add --image-field NAME")


def _source(flags: Mapping[str, bool], delimiter: str | None) -> str:
    """The format of the input. A delimiter is one of CSV. Raises UsageFault for two formats."""
    named = [name for name, given in flags.items() if given]
    if delimiter is not None and "csv" not in named:
        named.append("delimiter")
    if len(named) > 1:
        raise UsageFault(f"--{named[0]} and --{named[1]} at once", fix="choose one")
    source = named[0] if named else _JSONL
    return "csv" if source == "delimiter" else source


def _delimiter(text: str | None) -> str | None:
    r"""The character between cells. A tab may be written as `\t`. Raises UsageFault."""
    if text is None:
        return None
    if text == r"\t":
        return "\t"
    is_text = not any("\ud800" <= character <= "\udfff" for character in text)  # else a byte, by PEP 383
    if len(text) != 1 or text in '"\r\n' or not is_text:
        fix = r"name one character, such as ';' or '\t'"
        raise UsageFault(f"'{text}' cannot separate cells", place="--delimiter", fix=fix)
    return text


def _columns(text: str) -> tuple[str, ...]:
    """Split column names as in the header line of a CSV file."""
    import csv  # for this rare case only

    from chatpipe.inputs.delimited import csv_fault

    try:
        names = next(csv.reader([text], strict=True), [])
    except csv.Error as error:
        raise UsageFault(csv_fault(error), place="--fields") from error
    if not names:
        raise UsageFault("no name in it", place="--fields")
    return tuple(names)


def _refuse_columns(rows: RowOptions, names: Sequence[str]) -> None:
    """Raise UsageFault if no format has columns, or for a name that comes twice in rows of JSON objects."""
    if rows.source == _JSONL:
        for at, name in enumerate(names):
            if name in names[:at]:
                raise UsageFault(f"'{name}' comes twice", place="--fields")
    if rows.source == "lines" or rows.source == rows.target == _JSONL:
        fix = "use it with --csv, --tsv or --to csv"
        raise UsageFault("there are no columns to name", place="--fields", fix=fix)


def _refuse_names(rows: RowOptions) -> None:
    """Raise UsageFault for added fields without a name, or with the same name."""
    given = [
        (option, name)
        for option, name in (
            ("--into", rows.into),
            ("--usage-into", rows.usage_into),
            ("--error-into", rows.error_into),
        )
        if name is not None
    ]
    for at, (option, name) in enumerate(given):
        if other := [before for before, taken in given[:at] if taken == name]:
            raise UsageFault(
                f"{other[0]} has the same name, '{name}'", place=option, fix="name another field"
            )
    if rows.target == _JSONL and rows.usage_into == rows.reason_field:
        fix = "name another field, or one for that with --error-into NAME"
        raise UsageFault(
            f"'{rows.usage_into}' is the field for the reason why a row failed", place="--usage-into", fix=fix
        )


_rows = option_group(
    "rows",
    [
        option("--csv", is_flag=True, daily=True, help="Read CSV; the first line has the column names"),
        option("--tsv", is_flag=True, daily=True, help="Read TSV; the first line has the column names"),
        option("--lines", is_flag=True, daily=True, help="Read each line as a row with the field 'line'"),
        option("--delimiter", metavar="C", help="Read CSV with C between the cells"),
        option("--fields", metavar="NAME,...", help="Column names, for input without a header line"),
        option("--skip-empty", is_flag=True, help="Skip rows whose fields are all empty"),
        _output_option(
            "--to",
            type=OneOf(ROW_FORMATS),
            default_text="the input format",
            daily=True,
            help="Format of the rows",
        ),
        _output_option(
            "--csv-safe", is_flag=True, help="Put ' before cells that a spreadsheet would run as formulas"
        ),
        option("--template-file", type=FILE, help="Read the template from FILE instead of TEMPLATE"),
        _output_option(
            "--into",
            metavar="NAME",
            type=Word(),
            default=RowOptions().into,
            daily=True,
            help="Field for the answer",
        ),
        _output_option(
            "--unpack",
            cls=OptionalValue,
            metavar="[=PREFIX]",
            daily=True,
            help="Write one field per property of the schema",
        ),
        _output_option("--usage-into", metavar="NAME", type=Word(), help="Field for the token counts"),
        _output_option(
            "--error-into",
            metavar="NAME",
            type=Word(),
            help="Field for the reason why a row failed, empty if it did not",
        ),
        option("--image-field", metavar="NAME", help="Field that names an image to send, as a path or URL"),
        option(
            "--image-root",
            metavar="DIR",
            type=FILE,
            help="Folder that must contain the files of --image-field",
        ),
    ],
    _read,
)

options = bundle("mapping", MapOptions, {"rows": _rows, "input": run.row_input})


def read_operands(
    operands: Sequence[str], rows: RowOptions, prompt: PromptOptions
) -> tuple[PromptOptions, str]:
    """Add the template to the prompt, as its last user message, and find the input file.

    Raises UsageFault.
    """
    words = list(operands)
    if rows.template_file is not None:
        if len(words) > 1:
            fix = "leave out one of them; chatpipe map --template-file FILE [FILE]"
            raise UsageFault("TEMPLATE and --template-file at once", fix=fix)
        template = RoleOption("--template-file", "user", rows.template_file, is_file=True)
    elif words:
        template = RoleOption("TEMPLATE", "user", words.pop(0), is_file=False)
    else:
        raise UsageFault("no template", fix="chatpipe map 'Classify: {{text}}' rows.jsonl")
    if len(words) > 1:
        fix = "concatenate them, or run once for each"
        if rows.unpack == "":
            fix = f"{fix}; a prefix is written --unpack=PREFIX"
        raise UsageFault(f"'{words[1]}' is one FILE too many", fix=fix)
    if rows.image_field is None:
        refuse_idle_detail(prompt, fix="use it with --image PATH or --image-field NAME")
    return prompt._replace(role_options=(*prompt.role_options, template)), words[0] if words else "-"
