"""Empty values on the command line, as `--journal "$UNSET"` leaves them. Imported only if there is one.

An empty value of an option is refused, because an unset variable is not the wish to leave the option out.
Options that an empty value means something to say so (Option.may_be_empty).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import click

from chatpipe.errors import UsageFault
from chatpipe.flags.option_groups import Option, OptionalValue


def refuse_empty_values(parameters: Sequence[click.Parameter], values: Mapping[str, Any]) -> None:
    """Raise UsageFault for the first option with an empty value.

    values are the words that Click's parser found, by parameter: one, or several. An empty operand is for
    the command, because a template, a prompt and a file are empty in different ways.
    """
    for parameter in parameters:
        given = values.get(str(parameter.name))
        is_empty = "" in given if isinstance(given, list | tuple) else given == ""
        if is_empty and isinstance(parameter, Option) and not _may_be_empty(parameter):
            raise UsageFault("the value is empty", place=parameter.opts[0], fix="give one, or leave it out")


def _may_be_empty(option: Option) -> bool:
    """Return True if an empty value means something, or a hidden option has words of its own for it."""
    return option.may_be_empty or option.hidden or isinstance(option, OptionalValue)
