"""One call: a request is sent, with all turns that follow, and the answer is written."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import AbstractContextManager

from chatpipe.conversation.turns import Message, TurnOptions, TurnRules
from chatpipe.errors import ChatpipeError, Interrupted, Status
from chatpipe.exchange import NO_HOOKS, SendRequest, run_without_loop
from chatpipe.limits.call_route import RouteSetup, open_routes
from chatpipe.named_tuple import NamedTuple
from chatpipe.options.output import FormatOptions
from chatpipe.options.run import CallOptions
from chatpipe.output.delivery import Delivery, StderrOut
from chatpipe.output.target import OpenOutput
from chatpipe.server.server import Server
from chatpipe.system.console import Console
from chatpipe.system.signals import release_signals
from chatpipe.wire.answer import Answer


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
        with self._sender(details, out) as send:
            if not self.turns.is_single_turn:
                return self._converse(body, send, out)
            delivery = Delivery(out, self.format, self.console)
            try:
                answer = run_without_loop(send(body, delivery, NO_HOOKS))
            except Interrupted as interruption:
                delivery.keep_part(interruption.completion)
                raise
            _release_unkept(out)
            result = CallResult(answer, delivery.finish(answer))
            details.flush()
            return result

    def _converse(self, body: Message, send: SendRequest, out: OpenOutput) -> CallResult:
        """Send the turns of a conversation. Write nothing until the last answer and its verdict are known."""
        from chatpipe.conversation import setup
        from chatpipe.conversation.answer_buffer import AnswerBuffer, converse_buffered

        names = frozenset(name for each in self.servers for name in each.endpoint.key_names)
        with setup.open_rules(self.turns, body, self.console, environ=self.environ, key_names=names) as rules:
            buffer = AnswerBuffer()
            try:
                conversation = run_without_loop(converse_buffered(body, send, rules or TurnRules(), buffer))
            except Interrupted as interruption:
                delivery = Delivery(out, self.format, self.console)
                if interruption.completion is not None and out.is_kept:
                    buffer.replay(delivery)
                delivery.keep_part(interruption.completion)
                raise
            violation_of = None if rules is None else rules.violation
        _release_unkept(out)
        delivery = Delivery(out, self.format, self.console, violation_of)
        verdict = delivery.verdict(conversation.answer)
        if verdict is not None and verdict.has_mismatch and not out.is_kept:
            is_audio = self.format.properties.is_audio  # stderr is for people
            format = self.format._replace(format="text") if is_audio else self.format
            delivery = Delivery(StderrOut(self.console), format, self.console, violation_of)
        buffer.replay(delivery)
        return CallResult(conversation.answer, delivery.finish(conversation.answer), conversation.steps)

    def _sender(self, details: _Details, out: OpenOutput) -> AbstractContextManager[SendRequest]:
        """The function that sends one request to the first server that can be reached."""
        detail = details.add if self.console.options.verbose else None
        has_turns = not self.turns.is_single_turn
        setup = RouteSetup(
            self.options, self.console, self.environ, detail, has_turns, has_turns or out.is_kept
        )
        return open_routes(self.servers, setup)


def _release_unkept(out: OpenOutput) -> None:
    """Let a signal that came after the answer end the call, unless a file keeps the answer."""
    if not out.is_kept:
        release_signals()


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
