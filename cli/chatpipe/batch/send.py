"""One item -> its answer, at the pace of the run: every try waits its turn, every reply is listened to."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping

from chatpipe import exchange
from chatpipe.batch.capacity import Capacity
from chatpipe.batch.course import answer_limits
from chatpipe.batch.lines import Item
from chatpipe.batch.pace import Pace, Timetable, turn
from chatpipe.batch.tally import usage_of
from chatpipe.batch.tokens import Estimator
from chatpipe.dialogue.converse import Rules, converse
from chatpipe.errors import Status
from chatpipe.exchange import Answer, World
from chatpipe.inputs import values
from chatpipe.inputs.values import Value
from chatpipe.wire import retry
from chatpipe.wire.options import Limits
from chatpipe.wire.retry import Failure, GiveUp, Policy, Reason, Wait

import httpx  # isort: skip - after chatpipe.wire, which keeps httpx's own command line out

# The server is too busy for all of us, not for this one line: the whole run waits, and no try is used up.
_BUSY = (429, 503)


class Silent:
    """The receiver of a run: results are made of whole answers, so a try that broke off can be repeated."""

    started = False

    def raw(self, data: bytes) -> None:
        """Of no use here."""

    def chunk(self, payload: bytes, chunk: Mapping[str, Value]) -> None:
        """Of no use here."""


class Sender:
    """Sends the items of one run to one place. timetables say whose turn it is, each by its clock."""

    def __init__(
        self,
        *,
        url: str,
        headers: httpx.Headers,
        world: World,
        limits: Limits,
        policy: Policy,
        pace: Pace,
        timetables: tuple[tuple[Timetable, Callable[[], float]], ...],
        capacity: Capacity,
        estimator: Estimator,
        max_pause_s: float,
        share_pause: Callable[[float], None] | None = None,
        rules: Rules | None = None,
    ) -> None:
        """rules: what may follow an answer, None when it always is the last."""
        self._url = httpx.URL(url)
        self._headers = headers
        self.world = world
        self._limits = limits
        self._policy = policy
        self.pace = pace
        self.timetables = timetables
        self.capacity = capacity
        self.estimator = estimator
        self.max_pause_s = max_pause_s
        self.share_pause = share_pause
        self._rules = rules
        self._receiver = Silent()
        self._waiting: set[asyncio.Task[object]] = set()
        self._has_stopped = False

    def stop(self) -> None:
        """Send nothing more: who waits for a turn, a pause or another try is let go."""
        self._has_stopped = True
        for task in self._waiting:
            task.cancel()

    async def sleep(self, seconds: float) -> None:
        """A wait that ends with the run."""
        task = asyncio.current_task()
        assert task is not None
        if self._has_stopped:
            raise asyncio.CancelledError
        self._waiting.add(task)
        try:
            await asyncio.sleep(seconds)
        finally:
            self._waiting.discard(task)

    async def send(self, item: Item) -> tuple[Answer, float]:
        """The last answer, and the seconds that its last try took."""
        assert item.body is not None
        if self._rules is None:
            return await self._ask(item.body)
        latency_s = 0.0

        async def ask(body: dict[str, Value]) -> Answer:
            nonlocal latency_s
            answer, latency_s = await self._ask(body)
            return answer

        talk = await converse(item.body, ask, self._rules.of(item.body))
        return talk.answer, latency_s

    async def _ask(self, body: dict[str, Value]) -> tuple[Answer, float]:
        data = values.dumps(body)
        trip = _Trip(self, len(data), body)
        request = httpx.Request("POST", self._url, headers=self._headers, stream=httpx.ByteStream(data))
        world = self.world._replace(
            sleep=self.sleep, before=trip.before, heard=trip.heard, decide=trip.decide
        )
        try:
            answer = await exchange.ask(request, world, self._receiver, self._limits, self._policy)
            return answer, trip.finished(answer)
        finally:
            trip.settle(None)


class _Trip:
    """The tries of one request: its places in the timetables, and what was heard."""

    __slots__ = ("_body", "_bytes", "_reserved", "_sender", "_started")

    def __init__(self, sender: Sender, body_bytes: int, body: Mapping[str, Value]) -> None:
        self._sender = sender
        self._bytes = body_bytes
        self._body = body
        self._reserved: int | None = None
        self._started = 0.0

    async def before(self) -> None:
        """Wait for the turn of the next try."""
        self.settle(0)  # the one before was refused
        sender, world = self._sender, self._sender.world
        tokens = 0
        if len(sender.timetables) > 1 or not sender.pace.is_unlimited:
            tokens = sender.estimator.estimate(self._bytes, *answer_limits(self._body))
        self._reserved = tokens
        for timetable, clock in sender.timetables:
            await turn(timetable, tokens, clock, sender.sleep)
        self._started = world.monotonic()

    def heard(self, status: int, headers: Mapping[str, str]) -> None:
        """The head of a reply is there: what it says of limits holds for the whole run."""
        sender, now = self._sender, self._sender.world.monotonic()
        sender.pace.hear(headers, status, now, sender.world.now(), started=self._started)
        if status in _BUSY:
            sender.capacity.finished(False, True, now - self._started, now)
            if sender.share_pause is not None:
                sender.share_pause(sender.pace.pause_left(now))

    def decide(
        self, tries: int, failure: Failure, policy: Policy, *, now: float, random: Callable[[], float]
    ) -> Wait | GiveUp:
        """Of a busy server the run waits out the pause, which costs no try, up to its longest."""
        if failure.status in _BUSY and retry.is_retryable(failure):
            if self._sender.pace.paused_s > self._sender.max_pause_s:
                return GiveUp(Reason.TRIES_USED_UP)
            left_s = self._sender.pace.pause_left(self._sender.world.monotonic())
            return Wait(left_s, asked=True, free=True)
        return retry.decide(tries, failure, policy, now=now, random=random)

    def settle(self, used: int | None) -> None:
        """Give back what the last try had booked and not used."""
        reserved, self._reserved = self._reserved, None
        if reserved is None:
            return
        for timetable, clock in self._sender.timetables:
            timetable.settle(reserved, used, clock())

    def finished(self, answer: Answer) -> float:
        """Learn from the answer. Returns the seconds of the last try."""
        sender, now = self._sender, self._sender.world.monotonic()
        latency_s = now - self._started
        fault = answer.fault
        if fault is None or fault.http_status not in _BUSY:
            is_late = fault is not None and fault.status is Status.TRY_LATER
            sender.capacity.finished(fault is None, is_late, latency_s, now)
        if answer.completion is not None:
            usage = usage_of(answer.completion)
            sender.estimator.learn(self._bytes, usage.prompt or None, usage.completion or None)
            self.settle(usage.total or None)
        return latency_s
