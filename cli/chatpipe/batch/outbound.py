"""The outbound side of a live run: the sender, with its transport, its limits and its budget."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial

from chatpipe.batch.budget import Budget, open_budget
from chatpipe.batch.failures import FailureNotice
from chatpipe.batch.job import Job
from chatpipe.batch.journal.answers import AnswerIndex
from chatpipe.batch.sender import Sender
from chatpipe.conversation.turns import TurnRules
from chatpipe.exchange import ExchangeContext
from chatpipe.limits.queue import RunPacer, RunWaits
from chatpipe.limits.shared import open_shared
from chatpipe.limits.tokens import TokenEstimator
from chatpipe.named_tuple import NamedTuple
from chatpipe.server.server import Server
from chatpipe.system.descriptor import raise_descriptor_limit
from chatpipe.system.lock import LockPatience
from chatpipe.wire.transports import open_transport


class Outbound(NamedTuple):
    """The sender of a run, and what it shares with the engine and the stop rules."""

    sender: Sender
    pacer: RunPacer
    budget: Budget


@asynccontextmanager
async def open_outbound(
    job: Job,
    server: Server,
    rules: TurnRules | None,
    recorded: AnswerIndex | None,
    notice: FailureNotice,
) -> AsyncIterator[Outbound]:
    """Open the transport and the pace file for the length of a run.

    Raises MissingInput, BadInput, BadConfiguration and CannotWrite.
    """
    limits = job.limits
    raise_descriptor_limit(limits.jobs.limit)
    estimator = TokenEstimator()
    budget = open_budget(limits, estimator, recorded, job.console.note)
    metrics_url = server.endpoint.metrics_url if limits.jobs.auto else None
    connections = limits.jobs.limit + (metrics_url is not None)
    transport = open_transport(server, job.environ, connections)
    patience = LockPatience(job.console.note, server.limits.deadline_s)
    later = asyncio.get_running_loop().call_later
    with open_shared(limits.shared, server.origin, patience, later) as shared:
        waits = RunWaits()
        detail = job.console.detail if job.console.options.verbose else None
        context = ExchangeContext(transport, waits.sleep, _no_note, detail, job.console.warn_once)
        pacer = RunPacer(context, waits, limits, shared, estimator)
        try:
            sender = Sender(server, job.policy, pacer, rules, budget.reserve_turn, notice)
            if server.may_renew_key:
                sender.renew_key(partial(job.open_server, lambda: waits.has_stopped))
            async with pacer.bounded_by_gauges(metrics_url):
                yield Outbound(sender, pacer, budget)
        finally:
            waits.stop()  # also the command of a key that nobody waits for any more
            await transport.aclose()


def _no_note(text: str) -> None:
    """A run prints no note for each attempt: the report counts them."""
