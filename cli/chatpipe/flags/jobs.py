"""Options of `jobs`."""

from __future__ import annotations

import re
from typing import Any

from chatpipe.flags import job_waits
from chatpipe.flags.option_groups import option_group, under
from chatpipe.flags.output import decided
from chatpipe.flags.types import FILE, JSONL, Count, Word
from chatpipe.options.jobs import JobsOptions, JobWaits
from chatpipe.options.output import OutputOptions

option = under("Batch API")
_output_option = under("Output")

_DEFAULTS = JobsOptions()


class Window(Word):
    """A number of hours or days."""

    name = "time"

    def parse(self, text: str) -> str:
        if not re.fullmatch(r"[1-9][0-9]{0,3}[hd]", text):
            raise ValueError(f"'{text}' is not a time such as 24h or 7d")
        return text


def _read(
    output: str | None, poll_s: float, max_wait_s: float | None, settle_s: float, **others: Any
) -> JobsOptions:
    target = OutputOptions(output)
    waits = JobWaits(poll_s, max_wait_s, settle_s)
    return JobsOptions(waits, output=decided(target) if target.is_file else target, **others)


options = option_group(
    "jobs",
    [
        _output_option(
            "--output", "-o", type=FILE, daily=True, help="Write to FILE; it changes only if the status is 0"
        ),
        option(
            "--input",
            type=JSONL,
            daily=True,
            help="Write the results in the order of the lines in FILE, and report missing ones",
        ),
        job_waits.MAX_WAIT,
        job_waits.POLL,
        option(
            "--window",
            metavar="TIME",
            type=Window(("24h",)),
            default=_DEFAULTS.window,
            daily=True,
            help="Time within which the provider has to answer",
        ),
        job_waits.JOB_LINES,
        job_waits.SETTLE,
        option("--limit", type=Count(1), default=_DEFAULTS.limit, daily=True, help="List at most N jobs"),
    ],
    _read,
)
