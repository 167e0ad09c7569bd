"""Options of the messages on stderr."""

from __future__ import annotations

import click

from chatpipe.flags.types import OneOf, option_group
from chatpipe.options.output import ERROR_FORMATS, ConsoleOptions

options = option_group(
    "console",
    [
        click.option("--quiet", "-q", is_flag=True, help="No warnings and notes; errors are still told"),
        click.option(
            "--verbose", "-v", is_flag=True, help="Show requests, attempts and times, secrets redacted"
        ),
        click.option(
            "--error-format",
            type=OneOf(ERROR_FORMATS),
            default="text",
            show_default=True,
            help="How errors are told",
        ),
        click.option("--debug", is_flag=True, help="Show a traceback with an error"),
    ],
    ConsoleOptions,
)
