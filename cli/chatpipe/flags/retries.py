"""The option that limits retries."""

from __future__ import annotations

from chatpipe.flags.option_groups import option_group, under
from chatpipe.flags.types import Count
from chatpipe.options.server import RetryPolicy
from chatpipe.wire.retry import BUSY, RETRYABLE, statuses_text

_STATUSES = statuses_text({status for status in RETRYABLE | BUSY if status < 500})

option = under("Pace and retries")

options = option_group(
    "retry",
    [
        option(
            "--retries",
            type=Count(0),
            default=RetryPolicy().retries,
            daily=("ask",),
            help=f"Retry up to N times after {_STATUSES}, 5xx, time-outs and lost connections",
        )
    ],
    RetryPolicy,
)
