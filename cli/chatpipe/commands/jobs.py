"""`chatpipe jobs`: the provider's Batch API by hand."""

from __future__ import annotations

import os

import click

from chatpipe.flags import console as console_flags
from chatpipe.flags import jobs as job_flags
from chatpipe.flags import retries as retry_flags
from chatpipe.flags import server as server_flags
from chatpipe.flags.command import Command
from chatpipe.flags.idle_options import idle_in_jobs, refuse_idle
from chatpipe.flags.types import OneOf
from chatpipe.options.jobs import JOB_ACTIONS, JobsOptions
from chatpipe.options.output import ConsoleOptions
from chatpipe.options.server import RetryPolicy, ServerOptions


@click.command(cls=Command)
@click.argument("action", metavar="ACTION", type=OneOf(JOB_ACTIONS))
@click.argument("operands", metavar="[ID|FILE]...", nargs=-1, type=click.Path())
@job_flags.options
@server_flags.job_options
@retry_flags.options
@console_flags.options
def jobs(
    action: str,
    operands: tuple[str, ...],
    jobs: JobsOptions,
    server: ServerOptions,
    retry: RetryPolicy,
    console: ConsoleOptions,
) -> int:
    """Use the Batch API of a provider: submit requests, wait, and get the results.

    ACTION is submit, list, status, wait, results or cancel.

    \b
    chatpipe jobs submit requests.jsonl
    chatpipe jobs wait requests.jsonl
    chatpipe jobs results requests.jsonl -o results.jsonl
    """
    from chatpipe.jobs.jobs_command import JobsCommand
    from chatpipe.models.connections import Connections
    from chatpipe.system.console import Console

    refuse_idle(idle_in_jobs(action))
    command = JobsCommand(action, operands, jobs, server)
    out = Console(console)
    return command.run(Connections(server._replace(uses_jobs=True), retry, out, os.environ), out)
