"""Options for the waits of jobs at a provider, of `jobs` and of runs."""

from __future__ import annotations

import click

from chatpipe.flags.types import Seconds

MAX_WAIT = click.option(
    "--max-wait", "max_wait_s", metavar="S", type=Seconds(), help="Wait no longer for the end of jobs"
)
POLL = click.option(
    "--poll",
    "poll_s",
    metavar="S",
    type=Seconds(),
    default=60,
    show_default=True,
    help="Longest time between two looks at a job",
)
SETTLE = click.option(
    "--settle",
    "settle_s",
    metavar="S",
    type=Seconds(),
    default=120,
    show_default=True,
    help="Look so long for a job whose creation was not confirmed",
)
