"""Options of `jobs`."""

from __future__ import annotations

from typing import Any

import click

from chatpipe.flags.output import decided
from chatpipe.flags.types import FILE, Count, Seconds, option_group
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
        click.option(
            "--max-wait", "max_wait_s", metavar="S", type=Seconds(), help="Wait no longer for the end of jobs"
        ),
        click.option(
            "--poll",
            "poll_s",
            metavar="S",
            type=Seconds(),
            default=60,
            show_default=True,
            help="Longest time between two looks at a job",
        ),
        click.option(
            "--window",
            metavar="TIME",
            default="24h",
            show_default=True,
            help="Time in which the provider has to answer",
        ),
        click.option(
            "--settle",
            "settle_s",
            metavar="S",
            type=Seconds(),
            default=120,
            show_default=True,
            help="Look so long for a job whose creation was not confirmed",
        ),
        click.option(
            "--limit", metavar="N", type=Count(1), default=20, show_default=True, help="Jobs that are listed"
        ),
    ],
    _read,
)
