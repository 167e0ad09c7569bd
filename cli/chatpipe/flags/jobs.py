"""Options of `jobs`."""

from __future__ import annotations

from typing import Any

import click

from chatpipe.flags import job_waits
from chatpipe.flags.output import decided
from chatpipe.flags.types import FILE, Count, option_group
from chatpipe.options.jobs import JobsOptions
from chatpipe.options.output import OutputOptions


def _read(output: str | None, **others: Any) -> JobsOptions:
    target = OutputOptions(output)
    return JobsOptions(output=decided(target) if target.is_file else target, **others)


options = option_group(
    "jobs",
    [
        click.option(
            "--output", "-o", metavar="FILE", type=FILE, help="Write the results to FILE, when they are whole"
        ),
        click.option(
            "--input", metavar="FILE", type=FILE, help="Order the results as this file, mark missing ones"
        ),
        job_waits.MAX_WAIT,
        job_waits.POLL,
        click.option(
            "--window",
            metavar="TIME",
            default="24h",
            show_default=True,
            help="Time in which the provider has to answer",
        ),
        job_waits.SETTLE,
        click.option(
            "--limit", metavar="N", type=Count(1), default=20, show_default=True, help="Jobs that are listed"
        ),
    ],
    _read,
)
