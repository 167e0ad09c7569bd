"""Options of `models`."""

from __future__ import annotations

import click

from chatpipe.errors import UsageFault
from chatpipe.flags.types import OneOf, option_group
from chatpipe.options.models import MODEL_FORMATS, ModelsOptions


def _read(format: str | None, json: bool, save: bool) -> ModelsOptions:
    if json and format not in (None, "json"):
        raise UsageFault(f"formats json and {format} at once", place="--format", fix="choose one")
    chosen = "json" if json else format
    if save and chosen is not None:
        raise UsageFault("the names are kept, not written", place="--save", fix="leave out the format")
    return ModelsOptions(chosen, save)


options = option_group(
    "listing",
    [
        click.option("--format", "-f", type=OneOf(MODEL_FORMATS), help="What to write  [default: text]"),
        click.option("--json", is_flag=True, help="Short for -f json"),
        click.option("--save", is_flag=True, help="Keep the names for completion of -m, and print where"),
    ],
    _read,
)
