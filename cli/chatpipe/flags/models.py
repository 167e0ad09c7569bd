"""Options of `models`."""

from __future__ import annotations

from chatpipe.errors import UsageFault
from chatpipe.flags.option_groups import option_group, under
from chatpipe.flags.types import OneOf
from chatpipe.options.models import MODEL_FORMATS, ModelsOptions

option = under("Output")


def _read(format: str | None, json: bool, save: bool) -> ModelsOptions:
    if json and format not in (None, "json"):
        raise UsageFault(f"formats json and {format} at once", place="--format", fix="choose one")
    chosen = "json" if json else format
    if save and chosen is not None:
        raise UsageFault(
            "it prints the name of the saved file, not the list", place="--save", fix="leave out the format"
        )
    return ModelsOptions(chosen, save)


options = option_group(
    "listing",
    [
        option(
            "--format",
            "-f",
            type=OneOf(MODEL_FORMATS),
            daily=True,
            default_text="text",
            help="Format of the output",
        ),
        option("--json", is_flag=True, help="The same as -f json"),
        option(
            "--save",
            is_flag=True,
            daily=True,
            help="Save the names for the completion of -m, and print the file name",
        ),
    ],
    _read,
)
