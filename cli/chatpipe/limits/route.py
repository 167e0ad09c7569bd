"""The route of a call to one server: its requests are sent within the limits of the call, with its key."""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from typing import TYPE_CHECKING, Any

from chatpipe import exchange
from chatpipe.exchange import ExchangeContext, Hooks, chain
from chatpipe.inputs.values import Value
from chatpipe.options.server import RetryPolicy
from chatpipe.server.server import Server
from chatpipe.system.console import once
from chatpipe.wire import server_requests
from chatpipe.wire.answer import Answer, Receiver

_UNAUTHORIZED = 401

if TYPE_CHECKING:
    from chatpipe.limits.call_pacer import CallPacer
    from chatpipe.limits.turn_pause import TurnPause


class Route:
    """The route to one server. deadline is when the last request must end, None if it has none.

    renew gives the server its next key, None for a key that stays: see send().
    """

    def __init__(
        self,
        server: Server,
        context: ExchangeContext,
        policy: RetryPolicy,
        pacer: CallPacer | None,
        pause: TurnPause | None,
        renew: Callable[[Server], Server] | None,
    ) -> None:
        self.server = server
        self.deadline: float | None = None
        self._context = context
        self._policy = policy
        self._pacer = pacer
        self._pause = pause
        self._renew = renew
        self._report = once(context.detail)
        self._has_succeeded = False  # with this key

    async def send(
        self, body: dict[str, Value], receiver: Receiver, hooks: Hooks, deadline: float | None = None
    ) -> Answer:
        """Send one request. deadline is given if the request continues an earlier one, which had it.

        A key that is refused after it was taken for an earlier turn has expired: with renew the request is
        sent once more, with the next one.
        """
        answer = await self._send(body, receiver, hooks, deadline)
        if self._renew is None or answer.fault is None:
            self._has_succeeded = True
            return answer
        if answer.fault.refusal_status != _UNAUTHORIZED or not self._has_succeeded:
            return answer
        before = self.server.key
        self.server, self._has_succeeded = self._renew(self.server), False
        if before is not None and self.server.key is not None and before.text == self.server.key.text:
            return answer
        again = await self._send(body, receiver, hooks, self.deadline)
        return again._replace(attempts=answer.attempts + again.attempts)

    async def _send(
        self, body: dict[str, Value], receiver: Receiver, hooks: Hooks, deadline: float | None
    ) -> Answer:
        if self._pacer is not None:
            deadline = self._pacer.deadline = self._deadline() if deadline is None else deadline
        request = server_requests.completion_request(self.server, body, self._report, deadline)

        def send_with(hooks: Hooks) -> Coroutine[Any, Any, Answer]:
            limits = self.server.limits
            return exchange.send(request, self._context, receiver, limits, self._policy, hooks)

        try:
            if self._pacer is None:
                return await send_with(hooks if self._pause is None else chain(hooks, self._pause))
            size = len(request.content)
            answer, _ = await self._pacer.pace(body, size, lambda paced: send_with(chain(hooks, paced)))
            return answer
        finally:
            self.deadline = server_requests.deadline_of(request)

    def _deadline(self) -> float | None:
        """The deadline of a request whose waits for the pace count: its call begins now."""
        limit_s = self.server.limits.deadline_s
        return None if limit_s is None else self._context.monotonic() + limit_s
