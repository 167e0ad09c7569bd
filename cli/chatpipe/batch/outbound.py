"""The outbound side of a live run: the sender of its requests, its limits and its budget."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager

from chatpipe.batch.budget import Budget, open_budget
from chatpipe.batch.channel import open_channel
from chatpipe.batch.channel_setup import channel_setup
from chatpipe.batch.engine import Capacity, RequestSender
from chatpipe.batch.failures import FailureNotice
from chatpipe.batch.journal.answers import AnswerIndex
from chatpipe.batch.run_spec import RunSpec
from chatpipe.conversation.turns import TurnRules
from chatpipe.limits.rate import Pauses
from chatpipe.limits.run_pacer import RunWaits
from chatpipe.named_tuple import NamedTuple
from chatpipe.server.server import Server


class Outbound(NamedTuple):
    """The sender of a run, and what it shares with the engine, the stop rules and the progress.

    states returns which of several servers take part, by name.
    """

    sender: RequestSender
    capacity: Capacity
    pauses: Pauses
    budget: Budget
    states: Callable[[], Mapping[str, bool]] | None = None


@asynccontextmanager
async def open_outbound(
    spec: RunSpec,
    servers: Sequence[Server],
    rules: TurnRules | None,
    recorded: AnswerIndex | None,
    notice: FailureNotice,
) -> AsyncIterator[Outbound]:
    """Open the channels to the servers for the length of a run.

    Raises MissingInput, BadInput, BadConfiguration and CannotWrite.
    """
    turns = 2 if spec.turns.tools.commands else 1
    budget = open_budget(spec.limits, recorded, spec.console.note, turns=turns)
    setup = channel_setup(spec, servers, budget, notice)
    if len(servers) > 1:
        from chatpipe.batch.fleet.fleet import open_fleet  # most runs have one server

        # A recording has no lists, and a loopback address is another one for each worker of a cluster.
        has_lists = not (spec.options.recordings.are_used or spec.options.engine.is_cluster)
        async with open_fleet(setup, servers, has_lists=has_lists) as fleet:
            sender = _with_turns(fleet.sender, setup.waits, rules, budget)
            yield Outbound(sender, fleet.capacity, fleet.pauses, budget, fleet.states)
        return
    async with open_channel(setup, servers[0]) as (sender, pacer):
        yield Outbound(_with_turns(sender, setup.waits, rules, budget), pacer.concurrency, pacer.rate, budget)


def _with_turns(
    sender: RequestSender, waits: RunWaits, rules: TurnRules | None, budget: Budget
) -> RequestSender:
    """The sender of whole conversations. With rules None each request takes one turn."""
    if rules is None:
        return sender
    from chatpipe.batch.turn_sender import TurnSender  # most runs have one turn a line

    return TurnSender(sender, waits, rules, budget.reserve_turn)
