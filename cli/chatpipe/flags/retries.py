"""The option that limits retries."""

from __future__ import annotations

import click

from chatpipe.flags.types import option_group
from chatpipe.options.server import RetryPolicy

options = option_group(
    "retry",
    [
        click.option(
            "--retries",
            metavar="N",
            type=click.IntRange(min=0),
            default=RetryPolicy().retries,
            show_default=True,
            help="Tries after the first, for 408, 409, 429, 5xx, time-outs and lost connections",
        )
    ],
    RetryPolicy,
)
