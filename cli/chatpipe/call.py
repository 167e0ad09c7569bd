"""One call: a request is sent, with all turns that follow, and the answer is written."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING

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


class Call(NamedTuple):
    """The environment of one call: everything but its request."""

    server: Server
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

        with setup.open_rules(
            self.turns, body, self.console, environ=self.environ, key_names=self.server.endpoint.key_names
        ) as rules:
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
        """The function that sends one request, within the limits of the pace file if there is one."""
        server = self.server
        transport = open_transport(server, self.environ)
        context = ExchangeContext(
            transport,
            sleep_without_loop,
            self.console.note,
            details.add if self.console.options.verbose else None,
            self.console.warn_once,
        )

        report = once(context.detail)

        async def send(body: Message, receiver: Receiver, hooks: Hooks) -> Answer:
            request = exchange.completion_request(server, body, report)
            limits, policy = server.limits, self.options.retry
            if pacer is None:
                hooks = hooks if pause is None else chain(hooks, pause)
                return await exchange.ask(request, context, receiver, limits, policy, hooks)
            answer, _ = await pacer.ask(
                body,
                len(request.content),
                lambda paced: exchange.ask(request, context, receiver, limits, policy, chain(hooks, paced)),
            )
            return answer

        pause = self._turn_pause(context)
        try:
            with self._pacer(context) as pacer:
                yield send
        finally:
            run_without_loop(transport.aclose())

    def _turn_pause(self, context: ExchangeContext) -> TurnPause | None:
        """The pauses between turns, None if there is one turn. It is unused with a pace file."""
        if self.turns.is_single_turn:
            return None
        from chatpipe.limits.paced import TurnPause  # most calls have one turn

        longest_s, deadline_s = self.options.retry.max_delay_s, self.server.limits.deadline_s
        return TurnPause(context, longest_s if deadline_s is None else min(longest_s, deadline_s))

    @contextmanager
    def _pacer(self, context: ExchangeContext) -> Iterator[CallPacer | None]:
        """The limits that other processes share with this call, None without a pace file."""
        if self.options.limits.pace_file is None:
            yield None
            return
        from chatpipe.limits.paced import open_call_pacer  # few calls share their limits

        server = self.server
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
