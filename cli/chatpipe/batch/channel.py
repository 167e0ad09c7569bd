"""The channel of a run to one server: transport, limits, and the sender of its requests."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager

from chatpipe.batch.budget import Budget
from chatpipe.batch.failures import FailureNotice
from chatpipe.batch.run_spec import RunSpec
from chatpipe.batch.sender import Sender
from chatpipe.batch.shared_keys import SharedKeys
from chatpipe.exchange import ExchangeContext
from chatpipe.limits.run_pacer import RunPacer, RunWaits
from chatpipe.limits.shared import open_shared
from chatpipe.named_tuple import NamedTuple
from chatpipe.options.run import RunLimits
from chatpipe.server.server import Server
from chatpipe.system.lock import LockPatience
from chatpipe.wire.reply_memory import ReplyMemory
from chatpipe.wire.transports import open_transport


class ChannelSetup(NamedTuple):
    """The parts of a run that its channels share. limits apply to each channel."""

    spec: RunSpec
    limits: RunLimits
    waits: RunWaits
    budget: Budget
    notice: FailureNotice
    memory: ReplyMemory
    keys: SharedKeys


def channel_setup(
    spec: RunSpec, servers: Sequence[Server], budget: Budget, notice: FailureNotice
) -> ChannelSetup:
    """The shared parts of a run that begins."""
    waits = RunWaits(servers[0].ready)
    keys = SharedKeys(spec.server_options, spec.environ, spec.console.note_once)
    return ChannelSetup(spec, spec.limits, waits, budget, notice, ReplyMemory(), keys)


class Channel(NamedTuple):
    """The sender to one server, and its limits."""

    sender: Sender
    pacer: RunPacer


@asynccontextmanager
async def open_channel(setup: ChannelSetup, server: Server) -> AsyncIterator[Channel]:
    """Open the transport and the pace file for the length of a run.

    Raises MissingInput, BadInput, BadConfiguration and CannotWrite.
    """
    spec, waits = setup.spec, setup.waits
    limits, console = setup.limits, spec.console
    follows_gauges = limits.jobs.auto and not spec.options.recordings.is_offline
    metrics_url = server.endpoint.metrics_url if follows_gauges else None
    # One more than the requests: for the gauges, or to ask one of several servers for a sign of life.
    transport = open_transport(server, spec.environ, limits.jobs.limit + 1)
    patience = LockPatience(console.note, server.limits.deadline_s)
    later = asyncio.get_running_loop().call_later
    with open_shared(spec.limits.shared, server.origin, patience, later) as shared:
        detail = console.detail if console.options.verbose else None
        context = ExchangeContext(transport, waits.sleep, _no_note, detail, console.warn_once)
        budget = setup.budget
        pacer = RunPacer(context, waits, limits, shared, budget.estimator, budget.spend_lost)
        try:
            read_key = None
            if server.may_renew_key:
                read_key = setup.keys.reader(server, lambda: waits.has_stopped)
            sender = Sender(server, spec.retry_policy, pacer, setup.notice, setup.memory, read_key)
            async with pacer.bounded_by_gauges(metrics_url):
                yield Channel(sender, pacer)
        finally:
            waits.stop()  # ends the command of a key that nobody waits for any more, too
            await transport.aclose()


def _no_note(text: str) -> None:
    """A run prints no note for each attempt: the report counts them."""
