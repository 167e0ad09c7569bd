"""Many exchanges at once: items in, results out as they come. The one place that has tasks.

    items -> answered before? -> a place in flight -> exchange -> result -> out

A run stops before its input ends for a signal, for a failure that would hit every line (no key, no
credit), a budget, a halt rule, or an output that cannot be written: soon, waiting for what is in
flight, or now. Whatever has come is handed on first.
"""

from __future__ import annotations

import asyncio
import signal
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import contextmanager
from typing import NamedTuple, Protocol

from chatpipe.batch.journal import Found
from chatpipe.batch.lines import Item
from chatpipe.batch.results import Maker, Result
from chatpipe.errors import ChatpipeError
from chatpipe.exchange import Answer

_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


class Stop(NamedTuple):
    """Why a run ends before its input does: a fault, or a signal's number."""

    fault: ChatpipeError | None = None
    now: bool = False
    number: int | None = None


class Known(Protocol):
    """What was answered before, and what is kept for the next time, numbered in input order from 0."""

    def fingerprint(self, item: Item) -> str: ...

    def answer(self, item: Item, fingerprint: str) -> Found | None: ...

    def keep(self, number: int, result: Result) -> None: ...


class Course(Protocol):
    """Follows a run and steers it: how many may be in flight, and whether it is to stop."""

    @property
    def places(self) -> int: ...

    def may_send(self, item: Item) -> Stop | None: ...

    def finished(self, result: Result) -> Stop | None: ...


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
        maker: Maker,
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
        self._feeder: asyncio.Task[None] | None = None
        self._freed = asyncio.Event()
        self._numbered = 0  # items so far
        self._emitted = 0  # of them handed on, when in order
        self._held: dict[int, Result] = {}
        self._followers: dict[str, list[tuple[int, Item]]] = {}
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
            if item.fault is not None:
                self._finish(number, self._maker.of_input(item))
                continue
            fingerprint = self._known.fingerprint(item)
            recorded = self._known.answer(item, fingerprint)
            if recorded is not None:
                self._finish(number, self._maker.of_record(item, recorded.line, recorded.outcome))
            elif self._may_not_send:
                self._finish(number, self._maker.of_unsent(item, fingerprint, "--no-send"))
            elif self._dedupe and fingerprint in self._followers:
                self._followers[fingerprint].append((number, item))
            else:
                await self._place()
                if (stop := self._course.may_send(item)) is not None:
                    self._halt(stop)
                    return
                self._start(number, item, fingerprint)

    async def _turn(self, number: int) -> None:
        """In order: wait while this item is too far ahead of the slowest. What is known waits, too."""
        while self._window is not None and number >= self._emitted + self._window:
            self._freed.clear()
            await self._freed.wait()

    async def _place(self) -> None:
        """Wait until one more may be in flight."""
        while len(self._tasks) >= self._course.places:
            self._freed.clear()
            await self._freed.wait()

    def _start(self, number: int, item: Item, fingerprint: str) -> None:
        if self._dedupe:
            self._followers[fingerprint] = []
        task = asyncio.create_task(self._one(number, item, fingerprint))
        self._tasks.add(task)
        task.add_done_callback(self._ended)

    async def _one(self, number: int, item: Item, fingerprint: str) -> None:
        answer, latency_s = await self._send(item)
        result = self._maker.of_answer(item, fingerprint, answer, latency_s)
        self._finish(number, result)
        for follower, same in self._followers.pop(fingerprint, ()):
            shared = self._maker.of_record(same, result.line, result.outcome)
            self._finish(follower, shared._replace(status=result.status))

    def _fed(self, task: asyncio.Task[None]) -> None:
        """The input is over, or cannot be gone on with."""
        if not task.cancelled() and (error := task.exception()) is not None:
            self._fail(error)

    def _ended(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        self._freed.set()
        if not task.cancelled() and (error := task.exception()) is not None:
            self._fail(error)

    def _finish(self, number: int, result: Result) -> None:
        """Keep a result, and hand it on, or hold it until those before it have come."""
        self._known.keep(number, result)
        if self._window is None:
            self._hand_on(result)
            return
        self._held[number] = result
        while (ready := self._held.pop(self._emitted, None)) is not None:
            self._emitted += 1
            self._hand_on(ready)

    def _hand_on(self, result: Result) -> None:
        self._deliver(result)
        stop = self._course.finished(result)
        if stop is not None:
            self._halt(stop)

    def _fail(self, error: BaseException) -> None:
        """What cannot be gone on from: a full disk, a reader that is gone, a bug."""
        self._fatal = self._fatal or error
        self._halt(Stop(now=True))

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
