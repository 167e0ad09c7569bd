"""One request of a run -> its final answer, within the limits of the run. It may take several turns.

request -> answer -> budget for another turn -> request -> ... -> last answer
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Mapping
from functools import partial
from typing import TYPE_CHECKING, Any, Literal

import httpx

from chatpipe import exchange
from chatpipe.batch.engine import RunRequest
from chatpipe.batch.failures import FailureNotice
from chatpipe.conversation.loop import converse
from chatpipe.conversation.turns import TurnRules
from chatpipe.errors import ChatpipeError, TryLater, UnfinishedConversation
from chatpipe.exchange import Hooks
from chatpipe.inputs import values
from chatpipe.inputs.values import Value
from chatpipe.limits.queue import RunPacer
from chatpipe.options.server import RetryPolicy
from chatpipe.response.usage import Usage, reported_usage, usage_of
from chatpipe.server.server import Server
from chatpipe.wire.answer import Answer
from chatpipe.wire.reply_memory import ReplyMemory

if TYPE_CHECKING:
    from chatpipe.batch.key_renewal import KeyRenewal

# Reserves a part of the budget for a turn: the request with the body of that turn, and the usage of the
# turns before it. Returns the fault if not enough is left.
ReserveTurn = Callable[[RunRequest, Usage], ChatpipeError | None]


class NullReceiver:
    """The receiver of a run. Results need whole answers, so an interrupted attempt can be repeated."""

    started = False
    takes: Literal["nothing"] = "nothing"

    def raw(self, data: bytes) -> None:
        """Discard data."""

    def chunk(self, payload: bytes, chunk: Mapping[str, Value]) -> None:
        """Discard a chunk."""

    def expect_end(self) -> None:
        """Do nothing: no chunk waits."""


class Sender:
    """Sends the requests of one run to one server.

    rules are those for further turns, None if each request takes one turn. reserve_turn is called
    before each further turn. notice gets failed tries that are repeated.
    """

    def __init__(
        self,
        server: Server,
        policy: RetryPolicy,
        pacer: RunPacer,
        rules: TurnRules | None,
        reserve_turn: ReserveTurn,
        notice: FailureNotice,
    ) -> None:
        self._endpoint = server.endpoint
        self._url = httpx.URL(server.completions_url())
        # httpx adds the header Host to requests with a body, but not to those with a stream.
        self._headers = self._headers_of(server)
        self._renewal: KeyRenewal | None = None
        self._limits = server.limits
        self._policy = policy
        self._pacer = pacer
        self._rules = rules
        self._reserve_turn = reserve_turn
        self._notice = notice
        self._receiver = NullReceiver()
        self._extensions = ReplyMemory().extensions
        self._conversations = 0  # in progress
        self._waiting_for_budget: set[asyncio.Future[None]] = set()  # one for each of them that waits

    def renew_key(self, read: Callable[[], Server]) -> None:
        """Let the key be renewed, see KeyRenewal: read returns the server with its key of then."""
        from chatpipe.batch.key_renewal import KeyRenewal  # few keys come from a command

        def read_headers() -> httpx.Headers:
            return self._headers_of(read())

        self._renewal = KeyRenewal(self._headers, read_headers, self._pacer.waits)

    def _headers_of(self, server: Server) -> httpx.Headers:
        return httpx.Headers([("Host", self._url.netloc.decode()), *server.headers])

    def _url_for(self, model: Value) -> httpx.URL:
        return httpx.URL(self._endpoint.url(self._endpoint.profile.path, model))

    def stop(self) -> None:
        """Send nothing more. This cancels what waits for a start, a pause or another attempt."""
        self._pacer.waits.stop()
        self._recheck_budget()

    def send(self, request: RunRequest) -> Coroutine[Any, Any, tuple[Answer, float]]:
        """Ask until an answer is final. Returns it, and the seconds that its last attempt took."""
        return self.ask(request) if self._rules is None else self._converse(request, self._rules)

    async def _converse(self, request: RunRequest, rules: TurnRules) -> tuple[Answer, float]:
        turns = _Turns(self, request)
        self._conversations += 1
        try:
            conversation = await converse(request.body, turns.ask, rules.for_line(request.body))
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

    async def ask(self, request: RunRequest) -> tuple[Answer, float]:
        """Send one request, as often as the retry policy permits."""
        body, context = request.body, self._pacer.context
        data = values.dumps(exchange.body_to_send(body, self._endpoint.patches, context.detail))
        post = httpx.Request(
            "POST",
            self._url_for(body.get("model")) if self._endpoint.url_names_model else self._url,
            headers=self._headers,
            stream=httpx.ByteStream(data),
            extensions={**exchange.extensions_of(body), **self._extensions},
        )
        if self._notice.wants_tries:
            context = context._replace(note=partial(self._notice.try_failed, request.line))

        def send(hooks: Hooks) -> Coroutine[Any, Any, Answer]:
            return exchange.ask(post, context, self._receiver, self._limits, self._policy, hooks)

        if self._renewal is None:
            return await self._pacer.ask(body, len(data), send)
        return await self._renewal.ask(post, send, partial(self._pacer.ask, body, len(data)))

    async def wait_for_budget(self, request: RunRequest, used: Usage) -> ChatpipeError | None:
        """Reserve a part of the budget for the next turn of a request. Returns the fault if there is none.

        While other conversations are in progress, their ends may free what this turn needs: it waits.
        """
        while (fault := self._reserve_turn(request, used)) is not None:
            if self._pacer.waits.has_stopped or len(self._waiting_for_budget) + 1 >= self._conversations:
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

    def __init__(self, sender: Sender, request: RunRequest) -> None:
        self._sender = sender
        self._request = request
        self._used: Usage | None = None  # by all of them
        self.attempts = 0
        self.latency_s = 0.0  # of the last attempt
        self.paid: list[Value] = []

    async def ask(self, body: dict[str, Value]) -> Answer:
        request = self._request._replace(body=body)
        if self._used is not None:
            fault = await self._sender.wait_for_budget(request, self._used)
            if fault is not None:
                return Answer(None, None, fault, attempts=0)
        answer, self.latency_s = await self._sender.ask(request)
        self.attempts += answer.attempts
        if answer.completion is not None:
            self.paid.append(reported_usage(answer.completion))
        self._used = (self._used or Usage()).plus(usage_of(answer.completion))
        return answer
