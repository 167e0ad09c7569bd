"""The route of a call to its servers, within the limits that it shares with other processes."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Coroutine, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING, Any

from chatpipe import exchange
from chatpipe.exchange import (
    ExchangeContext,
    Hooks,
    SendRequest,
    chain,
    run_without_loop,
    sleep_without_loop,
)
from chatpipe.inputs.values import Value
from chatpipe.named_tuple import NamedTuple
from chatpipe.options.run import CallOptions
from chatpipe.options.server import KeyWaits, RetryPolicy
from chatpipe.server.server import Server, renewed
from chatpipe.system.console import Console, once
from chatpipe.wire.answer import Answer, Receiver
from chatpipe.wire.retry import FailedAttempt, GiveUp, GiveUpReason, RetryAfter
from chatpipe.wire.transports import open_transport

_UNAUTHORIZED = 401

if TYPE_CHECKING:
    from chatpipe.limits.call_pacer import CallPacer
    from chatpipe.limits.turn_pause import TurnPause


class RouteSetup(NamedTuple):
    """The parts of a call that its routes share. detail prints a line of -v, None without.

    With buffers_answer nothing is written to standard output before the end of the answer.
    """

    options: CallOptions
    console: Console
    environ: Mapping[str, str]
    detail: Callable[[str], None] | None
    has_turns: bool
    buffers_answer: bool = False
    sleep: Callable[[float], Awaitable[None]] = sleep_without_loop


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
        request = exchange.completion_request(self.server, body, self._report, deadline)

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
            self.deadline = exchange.deadline_of(request)

    def _deadline(self) -> float | None:
        """The deadline of a request whose waits for the pace count: its call begins now."""
        limit_s = self.server.limits.deadline_s
        return None if limit_s is None else self._context.monotonic() + limit_s


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
        from chatpipe.server.identity import recorded_name  # most calls have one server

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


@contextmanager
def open_routes(servers: Sequence[Server], setup: RouteSetup) -> Iterator[SendRequest]:
    """The function that sends a request to the first server that can be reached.

    On a terminal a line says what a long call waits for. Raises MissingInput, BadInput, BadConfiguration
    and CannotWrite.
    """
    if setup.console.on_terminal and not setup.console.options.quiet and setup.environ.get("TERM") != "dumb":
        from chatpipe.limits.call_wait import CallWait  # a call off a terminal needs no thread
        from chatpipe.system.status_line import StatusLine

        wait = CallWait(StatusLine(80), buffers_answer=setup.buffers_answer)
        with wait.shown(), _open_all(servers, setup._replace(sleep=wait.sleep)) as send:
            yield wait.watch(send)
        return
    with _open_all(servers, setup) as send:
        yield send


@contextmanager
def _open_all(servers: Sequence[Server], setup: RouteSetup) -> Iterator[SendRequest]:
    if len(servers) == 1:
        with _open_route(servers[0], setup) as route:
            yield route.send
        return
    with ExitStack() as stack:
        opened = (stack.enter_context(_open_route(server, setup)) for server in servers)
        yield Fallback(opened, len(servers), setup.console.note).send


@contextmanager
def _open_route(server: Server, setup: RouteSetup) -> Iterator[Route]:
    """Open the route to one server, within the limits of the pace file if there is one."""
    console = setup.console
    transport = open_transport(server, setup.environ)
    context = ExchangeContext(transport, setup.sleep, console.note, setup.detail, console.warn_once)
    pause = _turn_pause(server, context, setup)
    try:
        with _open_pacer(server, context, setup.options) as pacer:
            yield Route(server, context, setup.options.retry, pacer, pause, _renewal(server, setup))
    finally:
        run_without_loop(transport.aclose())


def _renewal(server: Server, setup: RouteSetup) -> Callable[[Server], Server] | None:
    """The function that gives a server its next key, None for a key that stays or a call of one turn."""
    if not setup.has_turns or not server.may_renew_key:
        return None
    waits = KeyWaits(setup.console.note_once)
    return lambda server: renewed(server, setup.environ, waits)


def _turn_pause(server: Server, context: ExchangeContext, setup: RouteSetup) -> TurnPause | None:
    """The pauses between turns, None if there is one turn. It is unused with a pace file."""
    if not setup.has_turns:
        return None
    from chatpipe.limits.turn_pause import TurnPause  # most calls have one turn

    longest_s, deadline_s = setup.options.retry.max_delay_s, server.limits.deadline_s
    return TurnPause(context, longest_s if deadline_s is None else min(longest_s, deadline_s))


@contextmanager
def _open_pacer(server: Server, context: ExchangeContext, options: CallOptions) -> Iterator[CallPacer | None]:
    """The limits that other processes share with this call, None without a pace file."""
    if options.limits.pace_file is None or options.recordings.is_offline:
        yield None
        return
    from chatpipe.limits.call_pacer import open_call_pacer  # few calls share their limits

    with open_call_pacer(context, options.limits, server.origin, server.limits.deadline_s) as pacer:
        yield pacer
