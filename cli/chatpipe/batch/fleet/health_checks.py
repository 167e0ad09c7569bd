"""Asks servers for a sign of life: those that could not be reached, and those that have fallen silent.

    down, and its wait is over     -> GET -> a reply: it gets an attempt on trial
    silent although it has requests -> GET -> no reply: it is left out, and others get its lines

Any reply will do, whatever its status.
"""

from __future__ import annotations

import asyncio

from chatpipe import exchange
from chatpipe.batch.fleet.dispatcher import Dispatcher
from chatpipe.batch.fleet.member import Member
from chatpipe.errors import BrokenAnswer, Unreachable
from chatpipe.options.server import ExchangeLimits, RetryPolicy
from chatpipe.wire import server_requests

_PERIOD_S = 0.25
# A busy server may be slow to reply.
_TIMEOUT_S = 5.0
_ROUTE = "/models"


class HealthChecks:
    """The checks of the servers of a run, each of which has at most one under way."""

    def __init__(self, dispatcher: Dispatcher) -> None:
        self._dispatcher = dispatcher
        self._checks: dict[int, asyncio.Task[None]] = {}  # by the index of the server

    async def run(self) -> None:
        """Check until the task is cancelled, or the run stops."""
        members = self._dispatcher.members
        try:
            while True:
                await members[0].pacer.context.sleep(_PERIOD_S)
                for member in members:
                    check = self._checks.get(member.index)
                    if (check is None or check.done()) and self._wants_check(member):
                        self._checks[member.index] = asyncio.create_task(self._check(member))
        finally:
            for check in self._checks.values():
                check.cancel()

    def _wants_check(self, member: Member) -> bool:
        now = member.pacer.context.monotonic()
        return member.health.wants_check(now) or self._is_quiet(member, now)

    def _is_quiet(self, member: Member, now: float) -> bool:
        """True if others have answered, and this one says nothing."""
        longest_s = self._dispatcher.longest_s
        return longest_s > 0 and member.health.is_quiet(member.silent_s(now), longest_s)

    async def _check(self, member: Member) -> None:
        health, clock = member.health, member.pacer.context.monotonic
        is_there = await _replies(member)
        if health.is_down:
            health.check(clock(), is_there=is_there)
            if is_there:
                self._dispatcher.update()
        elif self._is_quiet(member, clock()):
            if is_there:
                health.be_patient()
            else:
                silent = Unreachable(f"no answer for {member.silent_s(clock()):.0f} s")
                self._dispatcher.leave_out(member, silent, is_down=True)
                member.abandon()


async def _replies(member: Member) -> bool:
    request = server_requests.get_request(member.server, member.server.endpoint.url(_ROUTE))
    limits = ExchangeLimits(_TIMEOUT_S, _TIMEOUT_S, _TIMEOUT_S)
    answer = await exchange.fetch(request, member.pacer.context, limits, RetryPolicy(retries=0))
    fault = answer.fault
    return fault is None or fault.http_status is not None or isinstance(fault, BrokenAnswer)
