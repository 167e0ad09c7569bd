"""Options of the output format of an answer."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from chatpipe.errors import UsageFault
from chatpipe.flags.option_groups import Decorator, option_group, under
from chatpipe.flags.types import OneOf, word_list
from chatpipe.options.outcomes import ALLOWABLE
from chatpipe.options.output import ANSWER_FORMATS, FORMATS, REASONING, SHOW_FORMATS, FormatOptions

option = under("Output")


def _read(
    format: str | None, json: bool, raw: bool, null: bool, no_escape: bool, reasoning: str, **others: Any
) -> FormatOptions:
    named = {name for name, typed in ((format, format), ("json", json), ("chunks", raw)) if name and typed}
    if len(named) > 1:
        raise UsageFault(f"formats {' and '.join(sorted(named))} at once", place="--format", fix="choose one")
    chosen = next(iter(named), "text")
    null = ends_texts(null, chosen)
    if reasoning == "only" and not FORMATS[chosen].can_be_reasoning:
        what = f"format '{chosen}' cannot be limited to the reasoning"
        raise UsageFault(what, place="--reasoning", fix="use it with -f text, or -f string")
    return FormatOptions(
        format=chosen,
        is_format_given=bool(named),
        null=null,
        escape=not no_escape,
        reasoning=reasoning,
        **others,
    )


def ends_texts(null: bool, format: str) -> bool:
    """Return null. Raises UsageFault if it is set for a format that has no text to end."""
    if null and not FORMATS[format].is_text:
        raise UsageFault(f"format '{format}' has no text to end", place="--null", fix="use it with -f text")
    return null


def _options(formats: Sequence[str]) -> Decorator:
    return option_group(
        "format",
        [
            option(
                "--format",
                "-f",
                type=OneOf(formats),
                daily=True,
                default_text="text",
                help="Format of the output",
            ),
            option("--json", is_flag=True, help="The same as -f json"),
            option("--raw", is_flag=True, help="The same as -f chunks"),
            option("--usage", is_flag=True, help="Print the token counts to stderr as one line of JSON"),
            option(
                "--reasoning",
                type=OneOf(REASONING),
                default=FormatOptions().reasoning,
                help="Drop the reasoning, print it to stderr, or write only the reasoning",
            ),
            option("--null", "-0", is_flag=True, help="End each text with a NUL byte instead of a newline"),
            option("--no-escape", is_flag=True, help="Write control characters to a terminal unescaped"),
            option(
                "--allow",
                metavar="OUTCOME,...",
                **word_list(ALLOWABLE),
                help="Treat these outcomes as success",
            ),
        ],
        _read,
    )


options = _options(ANSWER_FORMATS)
show_options = _options(SHOW_FORMATS)
