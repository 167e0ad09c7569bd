"""Several turns for one request of a run, each within the budget.

request -> answer -> budget for another turn -> request -> ... -> last answer
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from chatpipe.batch.engine import RequestSender, RunRequest
from chatpipe.conversation.loop import converse
from chatpipe.conversation.turns import TurnRules
from chatpipe.errors import ChatpipeError, TryLater, UnfinishedConversation
from chatpipe.inputs.values import Value
from chatpipe.limits.run_pacer import RunWaits
from chatpipe.response.usage import Usage, reported_usage, usage_of
from chatpipe.wire.answer import Answer, TimedAnswer

# Reserves a part of the budget for a turn: the request with the body of that turn, and the usage of the
# turns before it. Returns the fault if not enough is left.
ReserveTurn = Callable[[RunRequest, Usage], ChatpipeError | None]


class TurnSender:
    """Sends each turn of a request with the sender of single requests.

    rules are those for further turns. reserve_turn is called before each of them.
    """

    def __init__(
        self, sender: RequestSender, waits: RunWaits, rules: TurnRules, reserve_turn: ReserveTurn
    ) -> None:
        self.turns = sender
        self._waits = waits
        self._rules = rules
        self._reserve_turn = reserve_turn
        self._conversations = 0  # in progress
        self._waiting_for_budget: set[asyncio.Future[None]] = set()  # one for each of them that waits

    def stop(self) -> None:
        """Send nothing more. This cancels what waits for a start, a pause or another attempt."""
        self.turns.stop()
        self._recheck_budget()

    async def send(self, request: RunRequest) -> TimedAnswer:
        """Send the turns of a conversation until an answer is final."""
        turns = _Turns(self, request)
        self._conversations += 1
        try:
            conversation = await converse(request.body, turns.send, self._rules.for_line(request.body))
        except (asyncio.CancelledError, TryLater):
            if not turns.paid:
                raise
            # The run stops between two turns. The line has no answer, but its cost must be recorded.
            fault = UnfinishedConversation("the run was stopped between two turns")
            answer = Answer(None, None, fault, attempts=turns.attempts, earlier_usage=tuple(turns.paid))
            return answer, turns.latency_s
        finally:
            self._conversations -= 1
            # Those that wait look again once the result is booked: nothing awaits in between.
            self._recheck_budget()
        return conversation.answer, turns.latency_s

    async def wait_for_budget(self, request: RunRequest, used: Usage) -> ChatpipeError | None:
        """Reserve a part of the budget for the next turn of a request. Returns the fault if there is none.

        While other conversations are in progress, their ends may free what this turn needs: it waits.
        """
        while (fault := self._reserve_turn(request, used)) is not None:
            if self._waits.has_stopped or len(self._waiting_for_budget) + 1 >= self._conversations:
                return fault
            freed: asyncio.Future[None] = asyncio.get_running_loop().create_future()
            self._waiting_for_budget.add(freed)
            try:
                await freed
            finally:
                self._waiting_for_budget.discard(freed)
        self._recheck_budget()  # the turn before may have used less than was reserved for it
        return None

    def _recheck_budget(self) -> None:
        """Let all turns that wait for a part of the budget look again."""
        waiting, self._waiting_for_budget = self._waiting_for_budget, set()
        for freed in waiting:
            if not freed.done():
                freed.set_result(None)


class _Turns:
    """The turns of one request so far. paid has the usage of each as the server reported it."""

    __slots__ = ("_request", "_sender", "_used", "attempts", "latency_s", "paid")

    def __init__(self, sender: TurnSender, request: RunRequest) -> None:
        self._sender = sender
        self._request = request
        self._used: Usage | None = None  # by all of them
        self.attempts = 0
        self.latency_s = 0.0  # of the last attempt
        self.paid: list[Value] = []

    async def send(self, body: dict[str, Value]) -> Answer:
        request = self._request._replace(body=body)
        if self._used is not None:
            fault = await self._sender.wait_for_budget(request, self._used)
            if fault is not None:
                return Answer(None, None, fault, attempts=0)
        answer, self.latency_s = await self._sender.turns.send(request)
        self.attempts += answer.attempts
        if answer.completion is not None:
            self.paid.append(reported_usage(answer.completion))
        self._used = (self._used or Usage()).plus(usage_of(answer.completion))
        return answer
