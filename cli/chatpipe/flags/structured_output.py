"""The options for an answer that is JSON of a given form."""

from __future__ import annotations

from typing import Any

import click

from chatpipe.errors import UsageFault
from chatpipe.flags.types import FILE, Count, option_group
from chatpipe.options.structured_output import MAX_NAME_LENGTH, NAME_CHARACTERS, SchemaOptions


def _read(
    schema: str | None,
    schema_json: str | None,
    schema_fields: str | None,
    schema_name: str | None,
    schema_strict: bool | None,
    reask: int = 0,
) -> SchemaOptions:
    made = SchemaOptions(schema, schema_json, schema_fields, schema_name, schema_strict is not False, reask)
    if len(made.options) > 1:
        first, second, *_ = made.options
        raise UsageFault(f"{first} and {second} contradict each other", fix="choose one")
    if made.option is None:
        lonely = {
            "--schema-name": schema_name is not None,
            "--schema-strict": schema_strict is True,
            "--no-schema-strict": schema_strict is False,
            "--reask": reask > 0,
        }
        if given := [option for option, is_given in lonely.items() if is_given]:
            raise UsageFault("there is no schema", place=given[0], fix="name one with --schema FILE")
    return made


def _name(ctx: click.Context, param: click.Parameter, value: str | None) -> str | None:
    """A callback: the name as the API takes it, which with another answers status 400."""
    if value is not None and not (0 < len(value) <= MAX_NAME_LENGTH and NAME_CHARACTERS.issuperset(value)):
        raise click.BadParameter(
            f"'{value[: MAX_NAME_LENGTH + 1]}' is not of 1 to {MAX_NAME_LENGTH} characters a-z A-Z 0-9 _ -.",
            ctx,
            param,
        )
    return value


_WRITING: list[Any] = [
    click.option(
        "--schema", metavar="FILE", type=FILE, help="Ask for JSON that fits this JSON Schema, - for stdin"
    ),
    click.option("--schema-json", metavar="JSON", help="The same, the schema written here"),
    click.option(
        "--schema-fields",
        metavar="FIELDS",
        help="The same from names and types: 'mood good|bad, score int?'",
    ),
    click.option(
        "--schema-name",
        metavar="NAME",
        callback=_name,
        help="Name of the schema for the model; else from its title or file",
    ),
    click.option(
        "--schema-strict/--no-schema-strict",
        default=None,
        help="Have the server hold to the schema, as it does unless switched off",
    ),
]

options = option_group(
    "schema",
    [
        *_WRITING,
        click.option(
            "--reask",
            metavar="N",
            type=Count(0),
            default=0,
            show_default=True,
            help="Send an answer that does not fit back, up to N times",
        ),
    ],
    _read,
)

# The same where nothing is answered.
writing = option_group("schema", _WRITING, _read)
