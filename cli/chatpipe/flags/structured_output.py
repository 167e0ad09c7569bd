"""The options for an answer that is JSON of a given form."""

from __future__ import annotations

from typing import Any

import click

from chatpipe.errors import UsageFault
from chatpipe.flags.option_groups import option_group, under
from chatpipe.flags.types import JSON, Count, Word
from chatpipe.options.structured_output import MAX_NAME_LENGTH, NAME_CHARACTERS, SchemaOptions

option = under("Structured output")


def _read(
    schema: str | None,
    schema_json: str | None,
    schema_fields: str | None,
    schema_name: str | None,
    schema_strict: bool | None,
    reask: int | None = None,
) -> SchemaOptions:
    is_strict = schema_strict is not False
    made = SchemaOptions(schema, schema_json, schema_fields, schema_name, is_strict, reask or 0)
    if len(made.options) > 1:
        first, second, *_ = made.options
        raise UsageFault(f"{first} and {second} contradict each other", fix="choose one")
    if made.option is None:
        lonely = {
            "--schema-name": schema_name is not None,
            "--schema-strict": schema_strict is True,
            "--no-schema-strict": schema_strict is False,
            "--reask": made.reask > 0,
        }
        if given := [option for option, is_given in lonely.items() if is_given]:
            raise UsageFault("there is no schema", place=given[0], fix="name one with --schema FILE")
    return made


def _name(ctx: click.Context, param: click.Parameter, value: str | None) -> str | None:
    """A callback: check the name. The API answers status 400 to any that it does not accept."""
    if value is not None and not (len(value) <= MAX_NAME_LENGTH and NAME_CHARACTERS.issuperset(value)):
        raise click.BadParameter(
            f"'{value[: MAX_NAME_LENGTH + 1]}' is not of 1 to {MAX_NAME_LENGTH} characters a-z A-Z 0-9 _ -.",
            ctx,
            param,
        )
    return value


_WRITING: list[Any] = [
    option("--schema", type=JSON, daily=("ask", "build"), help="JSON Schema that the answer must fit"),
    option("--schema-json", metavar="JSON", help="JSON Schema as text instead of a file"),
    option(
        "--schema-fields", metavar="FIELDS", daily=True, help="One-line schema: 'mood good|bad, score int?'"
    ),
    option(
        "--schema-name",
        metavar="NAME",
        type=Word(),
        callback=_name,
        help="Name of the schema, instead of its title or file name",
    ),
    option(
        "--schema-strict/--no-schema-strict",
        default=None,
        help="Make the server enforce the schema, which is the default, or not",
    ),
]

options = option_group(
    "schema",
    [
        *_WRITING,
        option(
            "--reask", type=Count(0), help="Send an answer that does not fit back to the model, up to N times"
        ),
    ],
    _read,
)

# The same for commands that send nothing.
writing = option_group("schema", _WRITING, _read)
