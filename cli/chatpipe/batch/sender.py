"""One item -> its answer, at the pace of the run: every try waits its turn, every reply is listened to.

    in line -> first in line -> room at the server -> a place in the timetables -> sent

Only the first in line asks for a place, when there is one: what an answer teaches of the size of
others, and what it gives back, is good for all that wait behind it.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Protocol

import httpx

from chatpipe import exchange
from chatpipe.batch.engine import RunRequest
from chatpipe.conversation.loop import converse
from chatpipe.conversation.rules import TurnRules
from chatpipe.errors import ChatpipeError, Status, UnfinishedConversation
from chatpipe.exchange import ExchangeContext, Hooks
from chatpipe.inputs import values
from chatpipe.inputs.values import Value
from chatpipe.limits.concurrency import ConcurrencyLimit
from chatpipe.limits.rate import RateLimiter, Schedule, wait_for_start
from chatpipe.limits.tokens import TokenEstimator, answer_limits
from chatpipe.options.server import RetryPolicy
from chatpipe.response.usage import Usage, usage_of
from chatpipe.server.server import Server
from chatpipe.wire import retry
from chatpipe.wire.answer import Answer
from chatpipe.wire.retry import FailedAttempt, GiveUp, GiveUpReason, RetryAfter


class Silent:
    """The receiver of a run: results are made of whole answers, so a try that broke off can be repeated."""

    started = False

    def raw(self, data: bytes) -> None:
        """Of no use here."""

    def chunk(self, payload: bytes, chunk: Mapping[str, Value]) -> None:
        """Of no use here."""


class Places(Protocol):
    """Places in flight that processes share."""

    def enter(self) -> float:
        """Take one: 0 when it is taken, else the seconds after which to ask again."""

    def leave(self) -> None:
        """Give one back."""


class Sender:
    """Sends the items of one run to one place. timetables say whose turn it is, each by its clock."""

    def __init__(
        self,
        *,
        server: Server,
        transport: httpx.AsyncBaseTransport,
        detail: Callable[[str], None] | None,
        policy: RetryPolicy,
        pace: RateLimiter,
        timetables: tuple[tuple[Schedule, Callable[[], float]], ...],
        capacity: ConcurrencyLimit,
        estimator: TokenEstimator,
        max_pause_s: float,
        share_pause: Callable[[float], None] | None = None,
        places: Places | None = None,
        rules: TurnRules | None = None,
        may_go_on: Callable[[RunRequest, Usage], ChatpipeError | None] | None = None,
    ) -> None:
        """timetables: that of the pace, then those that other processes share, and so are places.

        rules: what may follow an answer, None when it always is the last. may_go_on is asked before
        each further turn, with its body and the usage of those before it, for why there is none.
        """
        self._url = httpx.URL(server.completions_url)
        # httpx adds the header Host to requests with a body, but not to those with a stream.
        self._headers = httpx.Headers([("Host", self._url.netloc.decode()), *server.headers])
        self.context = ExchangeContext(transport, self.sleep, _silent, detail)
        self._limits = server.limits
        self._policy = policy
        self.pace = pace
        self.timetables = timetables
        self.capacity = capacity
        self.estimator = estimator
        self.max_pause_s = max_pause_s
        self.share_pause = share_pause
        self._places = places
        self._rules = rules
        self._may_go_on = may_go_on
        self._receiver = Silent()
        self._waiting: set[asyncio.Task[object]] = set()
        self._has_stopped = False
        self._line = asyncio.Lock()
        self._entrance = asyncio.Lock()
        self._first: asyncio.Future[None] | None = None  # what the first in line waits for
        self._under_way = 0  # tries at the server
        self._talks = 0  # lines whose conversation is not over
        self._held: set[asyncio.Future[None]] = set()  # those of them that wait for a part of the budget

    def stop(self) -> None:
        """Send nothing more: who waits for a turn, a pause or another try is let go."""
        self._has_stopped = True
        for task in self._waiting:
            task.cancel()
        self._wake()

    async def sleep(self, seconds: float) -> None:
        """A wait that ends with the run."""
        with self._may_be_let_go():
            await asyncio.sleep(seconds)

    @contextmanager
    def _may_be_let_go(self) -> Iterator[None]:
        task = asyncio.current_task()
        assert task is not None
        if self._has_stopped:
            raise asyncio.CancelledError
        self._waiting.add(task)
        try:
            yield
        finally:
            self._waiting.discard(task)

    async def begin(self, tokens: Callable[[], int]) -> int:
        """Come back when a try may be sent. tokens estimates it anew each time; what was booked is returned.

        A try that was refused and comes again is in line like all others: when the capacity has
        fallen below what is in flight, the server is not to see all of that again and again.
        """
        await self._come_first(self._line)
        try:
            booked = await self._booked(tokens)
            self._under_way += 1
            return booked
        finally:
            self._line.release()

    async def _come_first(self, line: asyncio.Lock) -> None:
        if line.locked():
            with self._may_be_let_go():
                await line.acquire()
        else:
            await line.acquire()

    async def _booked(self, tokens: Callable[[], int]) -> int:
        """The first in line: wait for room and for the turn, as they are told anew with every answer."""
        (_, clock), *shared = self.timetables
        due = clock()
        while True:
            wait_s: float | None = None
            if self._under_way < self.capacity.limit:
                booked, now = tokens(), clock()
                wait_s = self.pace.try_reserve(booked, now, due)
                if not wait_s:
                    break
                due = now + wait_s
            await self._until_moved(wait_s)
        for timetable, clock in shared:
            await wait_for_start(timetable, booked, clock, self.sleep)
        return booked

    async def _until_moved(self, seconds: float | None) -> None:
        """So long, or less if the line may move on earlier; None: however long that takes."""
        self._first = asyncio.get_running_loop().create_future()
        try:
            with self._may_be_let_go():
                await asyncio.wait([self._first], timeout=seconds)
        finally:
            self._first = None

    def move(self) -> None:
        """There may be room, or an earlier turn."""
        if self._first is not None and not self._first.done():
            self._first.set_result(None)

    def ended(self, booked: int, used: int | None) -> None:
        """A try is over. What it had booked and not used goes back; used None: nobody knows."""
        self._under_way -= 1
        for timetable, clock in self.timetables:
            timetable.settle(booked, used, clock())
        self.move()

    async def send(self, request: RunRequest) -> tuple[Answer, float]:
        """The last answer, and the seconds that its last try took."""
        assert request.body is not None
        if self._rules is None:
            return await self._ask(request.body)
        latency_s, tries = 0.0, 0
        used: Usage | None = None  # by the turns so far
        paid: list[Value] = []  # what the server said that each of them used

        async def ask(body: dict[str, Value]) -> Answer:
            nonlocal latency_s, tries, used
            if used is not None and (fault := await self._refused(request._replace(body=body), used)):
                return Answer(None, None, fault, attempts=0)
            answer, latency_s = await self._ask(body)
            tries += answer.attempts
            if answer.completion is not None:
                paid.append(answer.completion.get("usage"))
            used = (used or Usage()).plus(usage_of(answer.completion))
            return answer

        self._talks += 1
        try:
            talk = await converse(request.body, ask, self._rules.for_line(request.body))
        except asyncio.CancelledError:
            if not paid:
                raise
            # The run ends between two turns. The line has no answer, but what it cost is to be known.
            fault = UnfinishedConversation("the run was stopped between two turns")
            return Answer(None, None, fault, attempts=tries, earlier_usage=tuple(paid)), latency_s
        finally:
            self._talks -= 1
            self._wake()  # once the result is booked: nothing awaits in between
        return talk.answer, latency_s

    async def _refused(self, request: RunRequest, used: Usage) -> ChatpipeError | None:
        """Why there is no further turn. While others go on, which may free what it needs, it waits."""
        if self._may_go_on is None:
            return None
        while (fault := self._may_go_on(request, used)) is not None:
            if self._has_stopped or len(self._held) + 1 >= self._talks:
                return fault
            waits: asyncio.Future[None] = asyncio.get_running_loop().create_future()
            self._held.add(waits)
            try:
                await waits
            finally:
                self._held.discard(waits)
        self._wake()  # the turn before may have used less than was set aside for it
        return None

    def _wake(self) -> None:
        """Let those look again who wait for a part of the budget."""
        held, self._held = self._held, set()
        for waits in held:
            if not waits.done():
                waits.set_result(None)

    async def _ask(self, body: dict[str, Value]) -> tuple[Answer, float]:
        """One request, which has a place as long as it is at the server: a tool that runs may need one."""
        if self._places is None:
            return await self._ask_in_place(body)
        await self._enter(self._places)
        try:
            return await self._ask_in_place(body)
        finally:
            self._places.leave()

    async def _enter(self, places: Places) -> None:
        """Take a place. One of us asks at a time: they go to processes in turn."""
        await self._come_first(self._entrance)
        try:
            while wait_s := places.enter():
                await self.sleep(wait_s)
        finally:
            self._entrance.release()

    async def _ask_in_place(self, body: dict[str, Value]) -> tuple[Answer, float]:
        data = values.dumps(body)
        trip = _Trip(self, len(data), body)
        request = httpx.Request("POST", self._url, headers=self._headers, stream=httpx.ByteStream(data))
        try:
            answer = await exchange.ask(
                request, self.context, self._receiver, self._limits, self._policy, trip
            )
            return answer, trip.finished(answer)
        finally:
            trip.end(None)


def _silent(text: str) -> None:
    """A run prints no note for each attempt: the report counts them."""


class _Trip(Hooks):
    """The tries of one request: what each has booked, and what was heard."""

    __slots__ = ("_body", "_booked", "_bytes", "_sender", "_started")

    def __init__(self, sender: Sender, body_bytes: int, body: Mapping[str, Value]) -> None:
        self._sender = sender
        self._bytes = body_bytes
        self._body = body
        self._booked: int | None = None  # by the try that is under way
        self._started = 0.0

    async def before_attempt(self) -> None:
        """Wait for the turn of the next try."""
        self.end(0)  # the one before was refused
        self._booked = await self._sender.begin(self._tokens)
        self._started = self._sender.context.monotonic()

    def _tokens(self) -> int:
        sender = self._sender
        if len(sender.timetables) == 1 and sender.pace.is_unlimited:
            return 0
        return sender.estimator.estimate_to_reserve(self._bytes, *answer_limits(self._body))

    def on_reply(self, status: int, headers: Mapping[str, str]) -> None:
        """The head of a reply is there: what it says of limits holds for the whole run."""
        sender, now = self._sender, self._sender.context.monotonic()
        sender.pace.observe_reply(headers, status, now, sender.context.now(), started=self._started)
        if retry.is_busy(status):
            sender.capacity.record_finished(False, True, now - self._started, now)
            if sender.share_pause is not None:
                sender.share_pause(sender.pace.pause_left(now))

    def decide(self, failure: FailedAttempt) -> RetryAfter | GiveUp | None:
        """Of a busy server the run waits out the pause, which costs no try, up to its longest."""
        if retry.is_busy(failure.status) and retry.is_retryable(failure):
            if self._sender.pace.paused_s > self._sender.max_pause_s:
                return GiveUp(GiveUpReason.NO_ATTEMPTS_LEFT)
            left_s = self._sender.pace.pause_left(self._sender.context.monotonic())
            return RetryAfter(left_s, server_requested=True, uncounted=True)
        if failure.status is None:
            monotonic = self._sender.context.monotonic()
            self._sender.capacity.record_lost(monotonic - self._started, monotonic)
        return None

    def end(self, used: int | None) -> None:
        """The last try is over, if there was one."""
        booked, self._booked = self._booked, None
        if booked is not None:
            self._sender.ended(booked, used)

    def finished(self, answer: Answer) -> float:
        """Learn from the answer. Returns the seconds of the last try."""
        sender, now = self._sender, self._sender.context.monotonic()
        latency_s = now - self._started
        fault = answer.fault
        if fault is None or not retry.is_busy(fault.http_status):
            is_late = fault is not None and fault.status is Status.TRY_LATER
            sender.capacity.record_finished(fault is None, is_late, latency_s, now)
        if answer.completion is not None:
            usage = usage_of(answer.completion)
            sender.estimator.learn(self._bytes, usage.prompt or None, usage.completion or None)
            self.end(usage.total or None)
        return latency_s
