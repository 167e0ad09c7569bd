"""Options of the check before a request is sent."""

import click

from chatpipe.errors import UsageFault
from chatpipe.flags.types import option_group
from chatpipe.options.check import CheckOptions


def _read(strict: bool, no_check: bool) -> CheckOptions:
    if strict and no_check:
        raise UsageFault("--strict and --no-check contradict each other", fix="choose one")
    return CheckOptions(strict, no_check)


options = option_group(
    "check",
    [
        click.option("--strict", is_flag=True, help="Warnings and unknown fields are errors, too"),
        click.option("--no-check", is_flag=True, help="Send the request as it is"),
    ],
    _read,
)
