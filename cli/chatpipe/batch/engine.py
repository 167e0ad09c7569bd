"""Many exchanges at once: items in, results out as they come. The one place that has tasks.

    items -> answered before? -> in line -> a place in flight -> exchange -> result -> out

Some items are made ready before there is a place for them. Replies come in bursts, and the next item
is sent in the very turn of the event loop in which an answer has come: no server waits for us to
read the answers of all others first.

A run stops before its input ends for a signal, for a failure that would hit every line (no key, no
credit), a budget, a halt rule, or an output that cannot be written: soon, waiting for what is in
flight, or now. Whatever has come is handed on first.
"""

from __future__ import annotations

import asyncio
import signal
from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import contextmanager
from typing import NamedTuple, Protocol

from chatpipe.batch.items import Item
from chatpipe.batch.journal.answers import RecordedAnswer
from chatpipe.batch.result import Result, ResultBuilder
from chatpipe.errors import ChatpipeError, MissingInput
from chatpipe.inputs.values import Value
from chatpipe.wire.answer import Answer

_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
# Items made ready beside those in flight: one for each place, for the worst of bursts, but no more
# than so many; and characters of them, as of large ones (images) one is enough.
_READY = 256
_READY_SIZE = 4 << 20
_FOLLOWERS = 10_000


class Stop(NamedTuple):
    """Why a run ends before its input does: a fault, or a signal's number."""

    fault: ChatpipeError | None = None
    now: bool = False
    number: int | None = None


class _Ready(NamedTuple):
    """An item that is to be sent, in line for a place. size: about its characters."""

    number: int
    item: Item
    fingerprint: str
    size: int


class Known(Protocol):
    """What was answered before, and what is kept for the next time, numbered in input order from 0."""

    def fingerprint(self, item: Item) -> str: ...

    def find_answer(self, item: Item, fingerprint: str) -> RecordedAnswer | None: ...

    def record(self, number: int, result: Result) -> None: ...


class Course(Protocol):
    """Follows a run and steers it: how many may be in flight, and whether it is to stop."""

    @property
    def places(self) -> int: ...

    def may_send(self, item: Item) -> Stop | None: ...

    def arrived(self, result: Result) -> Stop | None:
        """It has come, and is kept; in an ordered output others may have to be handed on before it."""

    def handed_on(self, result: Result) -> None:
        """It is on disk or on stdout, and may be counted."""


class Engine:
    """One run. send answers one item; deliver gets each result; let_go ends the waits before sending.

    Results come as they are ready, or in input order when there is a window: the most items that
    may wait for the one before them.
    """

    def __init__(
        self,
        *,
        send: Callable[[Item], Awaitable[tuple[Answer, float]]],
        deliver: Callable[[Result], None],
        known: Known,
        course: Course,
        maker: ResultBuilder,
        let_go: Callable[[], None],
        window: int | None = None,
        dedupe: bool = False,
        no_send: bool = False,
        grace_s: float = 20.0,
    ) -> None:
        self._send = send
        self._deliver = deliver
        self._known = known
        self._course = course
        self._maker = maker
        self._let_go = let_go
        self._window = window
        self._dedupe = dedupe
        self._may_not_send = no_send
        self._grace_s = grace_s
        self._tasks: set[asyncio.Task[None]] = set()
        self._in_flight = 0
        self._ready: deque[_Ready] = deque()
        self._ready_size = 0
        self._feeder: asyncio.Task[None] | None = None
        self._freed = asyncio.Event()
        self._numbered = 0  # items so far
        self._emitted = 0  # of them handed on, when in order
        self._held: dict[int, Result] = {}
        self._followers: dict[str, list[tuple[int, Item]]] = {}
        self._following = 0  # all of these together
        self._fatal: BaseException | None = None
        self.stop: Stop | None = None

    async def run(self, items: AsyncIterator[Item]) -> None:
        """To the end of items, or of what is in flight when it stops. Raises what deliver raised."""
        self._feeder = asyncio.create_task(self._feed(items))
        self._feeder.add_done_callback(self._fed)
        with self._signals():
            await asyncio.wait([self._feeder])
            await self._drain()
        if self._fatal is not None:
            raise self._fatal

    async def _feed(self, items: AsyncIterator[Item]) -> None:
        async for item in items:
            if self.stop is not None:  # a result that was at hand has stopped the run
                return
            if not item.is_ours:
                if item.fault is None:
                    self._known.fingerprint(item)  # repeated bodies are counted over all shards
                continue
            number = self._numbered
            self._numbered += 1
            await self._turn(number)
            fingerprint = "" if item.fault is not None else self._known.fingerprint(item)
            await self._until_few_follow(fingerprint)
            result = self._at_hand(item, fingerprint)
            if result is not None:
                # In its turn: a halt rule that counts it must have seen those before it on their way.
                await self._until_ready(0)
                self._finish(number, result)
            elif self._dedupe and fingerprint in self._followers:
                self._followers[fingerprint].append((number, item))
                self._following += 1
            else:
                await self._line_up(number, item, fingerprint)

    async def _turn(self, number: int) -> None:
        """In order: wait while this item is too far ahead of the slowest. What is known waits, too."""
        while self._window is not None and number >= self._emitted + self._window:
            self._freed.clear()
            await self._freed.wait()

    async def _until_few_follow(self, fingerprint: str) -> None:
        """Wait while so many have the question of one in flight that they would fill the memory."""
        while self._following >= _FOLLOWERS and fingerprint in self._followers:
            self._freed.clear()
            await self._freed.wait()

    def _at_hand(self, item: Item, fingerprint: str) -> Result | None:
        """The result of an item that is not to be sent."""
        if item.fault is not None:
            return self._maker.of_input(item)
        recorded = self._known.find_answer(item, fingerprint)
        if recorded is not None:
            return self._maker.of_record(item, recorded.line, recorded.outcome)
        return self._maker.of_unsent(item, fingerprint, "--no-send") if self._may_not_send else None

    async def _line_up(self, number: int, item: Item, fingerprint: str) -> None:
        """Send an item as soon as there is a place, and come back when another may be made ready."""
        assert item.body is not None
        if self._dedupe:
            self._followers[fingerprint] = []
        ready = _Ready(number, item, fingerprint, _size(item.body.get("messages")))
        self._ready.append(ready)
        self._ready_size += ready.size
        self._start()
        await self._until_ready(min(self._course.places, _READY) - 1)

    async def _until_ready(self, count: int) -> None:
        """Wait until no more than so many items are ready, and those not too large."""
        while len(self._ready) > count or self._ready_size > _READY_SIZE:
            self._freed.clear()
            await self._freed.wait()

    def _start(self) -> None:
        """Put what is ready in flight, as far as there are places."""
        while (ready := self._next()) is not None:
            task = asyncio.create_task(self._place(ready))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

    def _next(self) -> _Ready | None:
        """Take the first in line into flight, if there is a place and the run goes on."""
        if not self._ready or self.stop is not None or self._in_flight >= self._course.places:
            return None
        if (stop := self._course.may_send(self._ready[0].item)) is not None:
            # What is in flight may come to less than was set aside for it: its answers are waited for.
            if not self._in_flight:
                self._halt(stop)
            return None
        ready = self._ready.popleft()
        self._ready_size -= ready.size
        self._in_flight += 1
        return ready

    async def _place(self, ready: _Ready) -> None:
        """A place in flight: one item after the other, until it is one too many or none is ready."""
        following: _Ready | None = ready
        try:
            while following is not None:
                await self._one(following)
                following = self._next()
                self._start()  # there may be more places now
        except asyncio.CancelledError:
            raise
        except BaseException as error:
            # Here, not when the task is over: the next task to run has an answer and would send another.
            self._fail(error)

    async def _one(self, ready: _Ready) -> None:
        number, item, fingerprint, _ = ready
        try:
            answer, latency_s = await self._send(item)
        finally:
            self._in_flight -= 1
        result = self._maker.of_answer(item, fingerprint, answer, latency_s)
        self._finish(number, result)
        followers = self._followers.pop(fingerprint, [])
        self._following -= len(followers)
        for follower, same in followers:
            shared = self._maker.of_record(same, result.line, result.outcome)
            self._finish(follower, shared._replace(status=result.status))
        self._freed.set()

    def _fed(self, task: asyncio.Task[None]) -> None:
        """The input is over, or cannot be gone on with."""
        if not task.cancelled() and (error := task.exception()) is not None:
            # What is in flight has nothing to do with an input that cannot be read.
            self._fail(error, now=not isinstance(error, MissingInput))

    def _finish(self, number: int, result: Result) -> None:
        """Keep a result, and hand it on, or hold it until those before it have come.

        Whether the run goes on is decided now: an answer in front of this one may be long in coming.
        """
        self._known.record(number, result)
        stop = self._course.arrived(result)
        if self._window is None:
            self._hand_on(result)
        else:
            self._held[number] = result
            while (ready := self._held.pop(self._emitted, None)) is not None:
                self._emitted += 1
                self._hand_on(ready)
        if stop is not None:
            self._halt(stop)

    def _hand_on(self, result: Result) -> None:
        self._deliver(result)
        self._course.handed_on(result)

    def _fail(self, error: BaseException, *, now: bool = True) -> None:
        """What cannot be gone on from: a full disk, a reader that is gone, a bug."""
        self._fatal = self._fatal or error
        self._halt(Stop(now=now))

    def _halt(self, stop: Stop) -> None:
        """No new requests; with now, none at all. The first reason is the one that is told."""
        if self.stop is None or (stop.number is not None and self.stop.number is None):
            self.stop = stop
        if self._feeder is not None:
            self._feeder.cancel()
        self._let_go()
        if stop.now:
            for task in self._tasks:
                task.cancel()

    async def _drain(self) -> None:
        """Wait for what is in flight: after a signal for the grace only."""
        while self._tasks:
            limit_s = self._grace_s if self.stop is not None and self.stop.number is not None else None
            done, _ = await asyncio.wait(self._tasks, timeout=limit_s)
            if not done:
                self._halt(Stop(now=True))
        # What was held for its turn is handed on all the same: it was paid for.
        for number in sorted(self._held):
            self._hand_on(self._held.pop(number))

    @contextmanager
    def _signals(self) -> Iterator[None]:
        loop = asyncio.get_running_loop()
        taken = [number for number in _SIGNALS if signal.getsignal(number) is not signal.SIG_IGN]
        before = {number: signal.getsignal(number) for number in taken}
        for number in taken:
            loop.add_signal_handler(number, self._signalled, number)
        try:
            yield
        finally:
            for number in taken:
                loop.remove_signal_handler(number)
                signal.signal(number, before[number])

    def _signalled(self, number: int) -> None:
        """The first: no new requests, and what is in flight has its grace. The second: now."""
        self._halt(Stop(number=number, now=self.stop is not None))
        asyncio.get_running_loop().call_later(self._grace_s, self._halt, Stop(now=True))


def _size(value: Value) -> int:
    """About as many characters as it has: what a request holds in memory."""
    if isinstance(value, str):
        return len(value)
    if isinstance(value, dict):
        return sum(map(_size, value.values()))
    return sum(map(_size, value)) if isinstance(value, list) else 1
