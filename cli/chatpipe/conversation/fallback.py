"""The server of a conversation: the first of several that can be reached, for this and all later turns."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, Protocol

from chatpipe.exchange import Hooks, chain
from chatpipe.wire.answer import Answer, Receiver
from chatpipe.wire.retry import FailedAttempt, GiveUp, GiveUpReason, RetryAfter


class RouteToServer(Protocol):
    """The way to one server. name is that of its base URL, deadline that of the last request."""

    @property
    def name(self) -> str: ...

    @property
    def deadline(self) -> float | None: ...

    async def send(
        self, body: dict[str, Any], receiver: Receiver, hooks: Hooks, deadline: float | None = None
    ) -> Answer: ...


class Fallback:
    """Sends each request over the first of count routes whose server can be reached.

    routes are opened as they are needed. note is given a line for a server that is passed over. The last one
    is tried as often as the only server of a call.
    """

    def __init__(self, routes: Iterator[RouteToServer], count: int, note: Callable[[str], None]) -> None:
        self._routes = routes
        self._left = count - 1
        self._note = note
        self._route = next(routes)

    async def send(self, body: dict[str, Any], receiver: Receiver, hooks: Hooks) -> Answer:
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
            self._note(f"{fault.what.removesuffix('.')}: asking '{self._route.name}'")


class _NoConnection(Hooks):
    """Gives a server up that cannot be reached: another one is asked at once."""

    def decide(self, failure: FailedAttempt) -> RetryAfter | GiveUp | None:
        return GiveUp(GiveUpReason.NOT_RETRYABLE) if failure.is_unreached else None
