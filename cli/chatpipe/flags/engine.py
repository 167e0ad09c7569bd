"""Options of the engine of a run: what sends its requests, and the waits for jobs at a provider."""

from __future__ import annotations

from typing import Any

import click

from chatpipe.errors import UsageFault
from chatpipe.flags import job_waits
from chatpipe.flags.option_groups import option_group, under
from chatpipe.flags.types import OneOf
from chatpipe.options.engines import CLUSTER_ENGINE, ENGINES, EngineOptions, is_cluster_address
from chatpipe.options.jobs import JobWaits

_batch_option = under("Batch")
_jobs_option = under("Batch API")


class _EngineType(OneOf):
    """The name of an engine; after that of a cluster its address may stand: `ray:head:6379`."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        name, colon, address = str(value).partition(":")
        if name == CLUSTER_ENGINE and colon:
            if not is_cluster_address(address):
                self.fail("the address of a cluster is HOST:PORT", param, ctx)
            return value
        return super().convert(value, param, ctx)


def _read_engine(
    engine: str,
    poll_s: float,
    max_wait_s: float | None,
    settle_s: float,
    job_lines: int | None,
    no_wait: bool,
) -> EngineOptions:
    name, _, address = engine.partition(":")
    if no_wait and max_wait_s is not None:
        raise UsageFault("--no-wait and --max-wait contradict each other", fix="choose one")
    waits = JobWaits(poll_s, max_wait_s, settle_s)
    return EngineOptions(name, waits, no_wait, job_lines, address or None)


options = option_group(
    "engine",
    [
        _batch_option(
            "--engine",
            type=_EngineType(ENGINES),
            metavar="local|batch-api|ray[:HOST:PORT]",
            default=EngineOptions().name,
            daily=True,
            help="Engine that sends the requests",
        ),
        job_waits.POLL,
        job_waits.MAX_WAIT,
        job_waits.JOB_LINES,
        job_waits.SETTLE,
        _jobs_option(
            "--no-wait", is_flag=True, help="Create the jobs and exit; a later run collects the results"
        ),
    ],
    _read_engine,
)
