"""The way of a run to one server: its transport, its limits and the sender of its requests."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial

from chatpipe.batch.failures import FailureNotice
from chatpipe.batch.job import Job
from chatpipe.batch.sender import Sender
from chatpipe.exchange import ExchangeContext
from chatpipe.limits.queue import RunPacer, RunWaits
from chatpipe.limits.shared import open_shared
from chatpipe.limits.tokens import TokenEstimator
from chatpipe.named_tuple import NamedTuple
from chatpipe.server.server import Server
from chatpipe.system.lock import LockPatience
from chatpipe.wire.transports import open_transport


class ChannelNeeds(NamedTuple):
    """The parts of a run that its channels share."""

    job: Job
    waits: RunWaits
    estimator: TokenEstimator
    notice: FailureNotice


class Channel(NamedTuple):
    """The sender to one server, and its limits."""

    sender: Sender
    pacer: RunPacer


@asynccontextmanager
async def open_channel(needs: ChannelNeeds, server: Server) -> AsyncIterator[Channel]:
    """Open the transport and the pace file for the length of a run.

    Raises MissingInput, BadInput, BadConfiguration and CannotWrite.
    """
    job, waits = needs.job, needs.waits
    limits, console = job.limits, job.console
    metrics_url = server.endpoint.metrics_url if limits.jobs.auto else None
    connections = limits.jobs.limit + (metrics_url is not None)
    transport = open_transport(server, job.environ, connections)
    patience = LockPatience(console.note, server.limits.deadline_s)
    later = asyncio.get_running_loop().call_later
    with open_shared(limits.shared, server.origin, patience, later) as shared:
        detail = console.detail if console.options.verbose else None
        context = ExchangeContext(transport, waits.sleep, _no_note, detail, console.warn_once)
        pacer = RunPacer(context, waits, limits, shared, needs.estimator)
        try:
            sender = Sender(server, job.policy, pacer, needs.notice)
            if server.may_renew_key:
                sender.renew_key(partial(job.open_server, lambda: waits.has_stopped))
            async with pacer.bounded_by_gauges(metrics_url):
                yield Channel(sender, pacer)
        finally:
            waits.stop()  # also the command of a key that nobody waits for any more
            await transport.aclose()


def _no_note(text: str) -> None:
    """A run prints no note for each attempt: the report counts them."""
