"""The servers of a run, each with its own transport and limits, as one sender."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager

from chatpipe.batch.channel import open_channel
from chatpipe.batch.channel_setup import ChannelSetup
from chatpipe.batch.engine import Capacity
from chatpipe.batch.fleet.dispatcher import Dispatcher, DispatchSetup
from chatpipe.batch.fleet.health_checks import HealthChecks
from chatpipe.batch.fleet.member import FleetLimit, FleetPauses, Member
from chatpipe.batch.fleet.model_lists import ModelLists
from chatpipe.batch.fleet.run_rate import RunRate
from chatpipe.limits.balance import Balance
from chatpipe.limits.concurrency import ConcurrencyLimit
from chatpipe.named_tuple import NamedTuple
from chatpipe.server.identity import recorded_name
from chatpipe.server.server import Server


class Fleet(NamedTuple):
    """The sender to several servers, and their limits together."""

    sender: Dispatcher
    capacity: Capacity
    pauses: FleetPauses

    def states(self) -> dict[str, bool]:
        """True for each server that takes part, by name."""
        return {each.name: each.takes_part for each in self.sender.members}


@asynccontextmanager
async def open_fleet(
    setup: ChannelSetup, servers: Sequence[Server], *, has_lists: bool
) -> AsyncIterator[Fleet]:
    """Open the way to several servers. The limits per minute of the run are kept by all together.

    With has_lists the servers are asked for their models.
    Raises MissingInput, BadInput, BadConfiguration and CannotWrite.
    """
    jobs, waits, note = setup.limits.jobs, setup.waits, setup.console.note
    balance = Balance(len(servers))
    async with AsyncExitStack() as stack:
        members = []
        for server, load in zip(servers, balance.loads, strict=True):
            channel = open_channel(setup, server, keeps_rate=False)
            sender, pacer = await stack.enter_async_context(channel)
            members.append(Member(recorded_name(server.endpoint), server, sender, pacer, load))
        rate = RunRate(setup.limits.shared, setup.budget.estimator)
        context = members[0].pacer.context
        models = ModelLists(members, waits, note) if has_lists else None
        shares = DispatchSetup(context, waits, setup.retry_policy, rate, setup.notice, note, models)
        capacity = FleetLimit(members, jobs.limit) if jobs.auto else ConcurrencyLimit(jobs.limit)
        dispatcher = Dispatcher(members, balance, shares)
        checks = asyncio.create_task(HealthChecks(dispatcher).run())
        try:
            yield Fleet(dispatcher, capacity, FleetPauses(members))
        finally:
            checks.cancel()
            await asyncio.wait([checks])
            if models is not None:
                await models.close()
