"""Options of the messages on stderr."""

from __future__ import annotations

from chatpipe.flags.option_groups import option_group, under
from chatpipe.flags.types import OneOf
from chatpipe.options.output import ERROR_FORMATS, ConsoleOptions

option = under("Diagnostics")

options = option_group(
    "console",
    [
        option(
            "--quiet",
            "-q",
            is_flag=True,
            daily=True,
            help="Print errors only: no warnings, notes or progress",
        ),
        option(
            "--verbose",
            "-v",
            is_flag=True,
            daily=True,
            help="Print requests and attempts to stderr, never keys",
        ),
        option(
            "--error-format",
            type=OneOf(ERROR_FORMATS),
            default=ConsoleOptions().error_format,
            help="Print errors as text, or as one JSON object per line",
        ),
        option("--debug", is_flag=True, help="Print a traceback with an error"),
    ],
    ConsoleOptions,
)
