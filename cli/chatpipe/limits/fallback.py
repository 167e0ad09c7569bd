"""The servers of a call, of which the first that can be reached gets the request."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from chatpipe.exchange import Hooks, chain
from chatpipe.inputs.values import Value
from chatpipe.limits.route import Route
from chatpipe.server.identity import recorded_name
from chatpipe.wire.answer import Answer, Receiver
from chatpipe.wire.retry import FailedAttempt, GiveUp, GiveUpReason, RetryAfter


class Fallback:
    """Sends each request over the first of count routes whose server can be reached.

    routes are opened as they are needed. note is given a line for a server that is passed over. The last one
    is tried as often as the only server of a call.
    """

    def __init__(self, routes: Iterator[Route], count: int, note: Callable[[str], None]) -> None:
        self._routes = routes
        self._left = count - 1
        self._note = note
        self._route = next(routes)

    async def send(self, body: dict[str, Value], receiver: Receiver, hooks: Hooks) -> Answer:
        deadline: float | None = None
        while True:
            first = chain(_NoConnection(), hooks) if self._left else hooks
            answer = await self._route.send(body, receiver, first, deadline)
            fault = answer.fault
            if fault is None or fault.reached_server or not self._left:
                return answer
            deadline = self._route.deadline
            self._left -= 1
            self._route = next(self._routes)
            self._note(f"{fault.clause}: asking '{recorded_name(self._route.server.endpoint)}'")


class _NoConnection(Hooks):
    """Gives a server up that cannot be reached: another one is asked at once."""

    def decide(self, failure: FailedAttempt) -> RetryAfter | GiveUp | None:
        return GiveUp(GiveUpReason.NOT_RETRYABLE) if failure.is_unreached else None
