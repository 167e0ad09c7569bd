"""Options of `jobs`. `--help` imports this module, so it stays light."""

from __future__ import annotations

from chatpipe.named_tuple import NamedTuple
from chatpipe.options.output import OutputOptions

# The actions, the first word after `jobs`.
JOB_ACTIONS = ("submit", "list", "status", "wait", "results", "cancel")


class JobWaits(NamedTuple):
    """The waits for jobs at a provider.

    poll_s is the longest time between two queries of a job, and max_wait_s the time limit for all jobs to
    end, None for no limit. A job whose creation was not confirmed is searched for settle_s.
    """

    poll_s: float = 60.0
    max_wait_s: float | None = None
    settle_s: float = 120.0


class JobsOptions(NamedTuple):
    """The options of `jobs`.

    The provider has to answer within window. job_lines is the largest number of lines of a job, None for
    that of the provider. limit is the number of jobs to list. Results have the order of
    the lines in the file input, and go to output.
    """

    waits: JobWaits = JobWaits()
    window: str = "24h"
    job_lines: int | None = None
    limit: int = 20
    input: str | None = None
    output: OutputOptions = OutputOptions()
