"""Options for the waits of jobs at a provider, of `jobs` and of runs."""

from __future__ import annotations

from chatpipe.flags.option_groups import under
from chatpipe.flags.types import Count, Seconds
from chatpipe.options.jobs import JobWaits

option = under("Batch API")

_DEFAULTS = JobWaits()

MAX_WAIT = option(
    "--max-wait",
    "max_wait_s",
    type=Seconds(takes_zero=True),
    daily=("jobs",),
    help="Wait at most S seconds for the jobs",
)
POLL = option(
    "--poll",
    "poll_s",
    type=Seconds(),
    default=_DEFAULTS.poll_s,
    daily=("jobs",),
    help="Query each job at least every S seconds",
)
JOB_LINES = option(
    "--job-lines",
    type=Count(1),
    daily=("jobs",),
    help="Put at most N lines into a job",
)
SETTLE = option(
    "--settle",
    "settle_s",
    type=Seconds(),
    default=_DEFAULTS.settle_s,
    help="Search for S seconds for a job whose creation was not confirmed",
)
