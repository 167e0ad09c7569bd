"""One call: a request is sent, with all turns that follow, and the answer is written."""

from __future__ import annotations

from collections.abc import Coroutine, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING, Any

from chatpipe import exchange
from chatpipe.conversation.turns import Message, TurnOptions, TurnRules
from chatpipe.errors import ChatpipeError, Status
from chatpipe.exchange import (
    NO_HOOKS,
    ExchangeContext,
    Hooks,
    SendRequest,
    chain,
    run_without_loop,
    sleep_without_loop,
)
from chatpipe.named_tuple import NamedTuple
from chatpipe.options.output import FormatOptions
from chatpipe.options.run import CallOptions
from chatpipe.options.server import RetryPolicy
from chatpipe.output.delivery import Delivery, StderrOut
from chatpipe.output.target import OpenOutput
from chatpipe.server.server import Server
from chatpipe.system.console import Console, once
from chatpipe.wire.answer import Answer, Receiver
from chatpipe.wire.transports import open_transport

if TYPE_CHECKING:
    from chatpipe.limits.paced import CallPacer, TurnPause


class CallResult(NamedTuple):
    """The result of a call. fault is None for a good answer; steps are those of its Conversation."""

    answer: Answer
    fault: ChatpipeError | None
    steps: tuple[Message, ...] = ()

    @property
    def is_worth_keeping(self) -> bool:
        """True if a transcript keeps it: the answer is good, or its tool calls wait for their results."""
        return self.fault is None or self.fault.status is Status.TOOL_CALLS


class Route:
    """The way of the requests of a call to one server. See RouteToServer."""

    def __init__(
        self,
        server: Server,
        context: ExchangeContext,
        policy: RetryPolicy,
        pacer: CallPacer | None,
        pause: TurnPause | None,
    ) -> None:
        self.server = server
        self.deadline: float | None = None
        self._context = context
        self._policy = policy
        self._pacer = pacer
        self._pause = pause
        self._report = once(context.detail)

    @property
    def name(self) -> str:
        from chatpipe.server.identity import recorded_name  # only a call with several servers says it

        return recorded_name(self.server.endpoint)

    async def send(
        self, body: Message, receiver: Receiver, hooks: Hooks, deadline: float | None = None
    ) -> Answer:
        """Send one request. deadline is that of an earlier one which this continues."""
        request = exchange.completion_request(self.server, body, self._report)
        if deadline is not None:
            request.extensions["deadline"] = deadline

        def ask(hooks: Hooks) -> Coroutine[Any, Any, Answer]:
            limits = self.server.limits
            return exchange.ask(request, self._context, receiver, limits, self._policy, hooks)

        try:
            if self._pacer is None:
                return await ask(hooks if self._pause is None else chain(hooks, self._pause))
            size = len(request.content)
            answer, _ = await self._pacer.ask(body, size, lambda paced: ask(chain(hooks, paced)))
            return answer
        finally:
            self.deadline = request.extensions.get("deadline")


class Call(NamedTuple):
    """The environment of one call: everything but its request.

    The first of servers that can be reached gets it.
    """

    servers: tuple[Server, ...]
    options: CallOptions
    turns: TurnOptions
    format: FormatOptions
    console: Console
    environ: Mapping[str, str]

    def run(self, body: Message, out: OpenOutput) -> CallResult:
        """Send the request and write the answer, while it arrives if no further turn can follow."""
        details = _Details(self.console, out)
        with self._sender(details) as ask:
            if not self.turns.is_single_turn:
                return self._converse(body, ask, out)
            delivery = Delivery(out, self.format, self.console)
            answer = run_without_loop(ask(body, delivery, NO_HOOKS))
            result = CallResult(answer, delivery.finish(answer))
            details.flush()
            return result

    def _converse(self, body: Message, ask: SendRequest, out: OpenOutput) -> CallResult:
        """Send the turns of a conversation. Write nothing until the last answer and its verdict are known."""
        from chatpipe.conversation import setup
        from chatpipe.conversation.replay import converse_buffered

        names = frozenset(name for each in self.servers for name in each.endpoint.key_names)
        with setup.open_rules(self.turns, body, self.console, environ=self.environ, key_names=names) as rules:
            conversation, buffer = run_without_loop(converse_buffered(body, ask, rules or TurnRules()))
            fits = None if rules is None else rules.violation
        delivery = Delivery(out, self.format, self.console, fits)
        verdict = delivery.verdict(conversation.answer)
        if verdict is not None and verdict.status is Status.MISMATCH and not out.is_kept:
            is_audio = self.format.properties.is_audio  # stderr is for people
            format = self.format._replace(format="text") if is_audio else self.format
            delivery = Delivery(StderrOut(self.console), format, self.console, fits)
        buffer.replay(delivery)
        return CallResult(conversation.answer, delivery.finish(conversation.answer), conversation.steps)

    @contextmanager
    def _sender(self, details: _Details) -> Iterator[SendRequest]:
        """The function that sends one request to the first server that can be reached."""
        if len(self.servers) == 1:
            with self._route(self.servers[0], details) as route:
                yield route.send
            return
        from chatpipe.conversation.fallback import Fallback  # most calls have one server

        with ExitStack() as stack:
            opened = (stack.enter_context(self._route(server, details)) for server in self.servers)
            yield Fallback(opened, len(self.servers), self.console.note).send

    @contextmanager
    def _route(self, server: Server, details: _Details) -> Iterator[Route]:
        """The way to one server, within the limits of the pace file if there is one."""
        transport = open_transport(server, self.environ)
        context = ExchangeContext(
            transport,
            sleep_without_loop,
            self.console.note,
            details.add if self.console.options.verbose else None,
            self.console.warn_once,
        )

        pause = self._turn_pause(server, context)
        try:
            with self._pacer(server, context) as pacer:
                yield Route(server, context, self.options.retry, pacer, pause)
        finally:
            run_without_loop(transport.aclose())

    def _turn_pause(self, server: Server, context: ExchangeContext) -> TurnPause | None:
        """The pauses between turns, None if there is one turn. It is unused with a pace file."""
        if self.turns.is_single_turn:
            return None
        from chatpipe.limits.paced import TurnPause  # most calls have one turn

        longest_s, deadline_s = self.options.retry.max_delay_s, server.limits.deadline_s
        return TurnPause(context, longest_s if deadline_s is None else min(longest_s, deadline_s))

    @contextmanager
    def _pacer(self, server: Server, context: ExchangeContext) -> Iterator[CallPacer | None]:
        """The limits that other processes share with this call, None without a pace file."""
        if self.options.limits.pace_file is None:
            yield None
            return
        from chatpipe.limits.paced import open_call_pacer  # few calls share their limits

        with open_call_pacer(context, self.options.limits, server.origin, server.limits.deadline_s) as pacer:
            yield pacer


class _Details:
    """The lines of -v. They wait once the answer has begun, because the terminal is in mid-line."""

    def __init__(self, console: Console, out: OpenOutput) -> None:
        self._console = console
        self._out = out
        self._late: list[str] = []

    def add(self, text: str) -> None:
        if self._out.started:
            self._late.append(text)
        else:
            self._console.detail(text)

    def flush(self) -> None:
        for text in self._late:
            self._console.detail(text)
