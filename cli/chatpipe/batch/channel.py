"""The channel of a run to one server: transport, limits, and the sender of its requests."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from chatpipe.batch.channel_setup import ChannelSetup
from chatpipe.batch.sender import Sender
from chatpipe.exchange import ExchangeContext
from chatpipe.limits.run_pacer import RunPacer
from chatpipe.limits.shared import open_shared
from chatpipe.named_tuple import NamedTuple
from chatpipe.options.run import SharedLimits
from chatpipe.server.server import Server
from chatpipe.system.lock import LockPatience
from chatpipe.wire.transports import open_transport


class Channel(NamedTuple):
    """The sender to one server, and its limits."""

    sender: Sender
    pacer: RunPacer


@asynccontextmanager
async def open_channel(
    setup: ChannelSetup, server: Server, *, keeps_rate: bool = True
) -> AsyncIterator[Channel]:
    """Open the transport and the pace file for the length of a run.

    With keeps_rate the channel keeps the limits per minute of the run, else the caller does.
    Raises MissingInput, BadInput, BadConfiguration and CannotWrite.
    """
    console, limits, waits, budget = setup.console, setup.limits, setup.waits, setup.budget
    own_limits = limits if keeps_rate else limits._replace(shared=SharedLimits())
    metrics_url = server.endpoint.metrics_url if setup.follows_gauges else None
    # One more than the requests: for the gauges, or to ask one of several servers for a sign of life.
    transport = open_transport(server, setup.environ, limits.jobs.limit + 1)
    patience = LockPatience(console.note, server.limits.deadline_s)
    later = asyncio.get_running_loop().call_later
    with open_shared(limits.shared, server.origin, patience, later) as shared:
        detail = console.detail if console.options.verbose else None
        context = ExchangeContext(transport, waits.sleep, _no_note, detail, console.warn_once)
        pacer = RunPacer(context, waits, own_limits, shared, budget.estimator, budget.spend_lost)
        try:
            read_key = None
            if server.may_renew_key:
                read_key = setup.keys.reader(server, lambda: waits.has_stopped)
            sender = Sender(server, setup.retry_policy, pacer, setup.notice, setup.memory, read_key)
            async with pacer.bounded_by_gauges(metrics_url):
                yield Channel(sender, pacer)
        finally:
            waits.stop()  # ends the command of a key that nobody waits for any more, too
            await transport.aclose()


def _no_note(text: str) -> None:
    """A run prints no note for each attempt: the report counts them."""
