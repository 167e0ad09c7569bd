"""The option that limits retries."""

from __future__ import annotations

import click

from chatpipe.flags.types import Count, option_group
from chatpipe.options.server import RetryPolicy
from chatpipe.wire.retry import BUSY, RETRYABLE, statuses_text

_STATUSES = statuses_text({status for status in RETRYABLE | BUSY if status < 500})

options = option_group(
    "retry",
    [
        click.option(
            "--retries",
            metavar="N",
            type=Count(0),
            default=RetryPolicy().retries,
            show_default=True,
            help=f"Tries after the first: {_STATUSES}, 5xx, time-outs, lost connections",
        )
    ],
    RetryPolicy,
)
