"""Options of `jobs`. `--help` imports this module, so it stays light."""

from __future__ import annotations

from chatpipe.named_tuple import NamedTuple
from chatpipe.options.output import OutputOptions

# The actions, the first word behind `jobs`.
JOB_ACTIONS = ("submit", "list", "status", "wait", "results", "cancel")


class JobsOptions(NamedTuple):
    """window is the time in which the provider has to answer; settle_s how long a lost job is looked for.

    poll_s is the longest time between two looks at a job, max_wait_s that until all have to have ended, None
    for no limit. limit is the number of jobs that are listed. input is the file whose order results have,
    output where they go.
    """

    window: str = "24h"
    settle_s: float = 120.0
    poll_s: float = 60.0
    max_wait_s: float | None = None
    limit: int = 20
    input: str | None = None
    output: OutputOptions = OutputOptions()
