"""The limits of a run: its attempts queue, and only the first in the queue waits for a start.

    queue -> below the concurrency limit, in the window -> the run's rate limit -> the pace file -> sent

Those behind the first reserve nothing yet. They profit from what the answers teach about the size of
others, and from the tokens that these return. A retry queues like all others, but for one: an attempt that
was refused with no other at the server is the next that is sent.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager

from chatpipe.errors import ReplyTooLong, Status
from chatpipe.exchange import ExchangeContext
from chatpipe.limits.concurrency import AdaptiveLimit, ConcurrencyLimit
from chatpipe.limits.first_attempts import FirstAttempts
from chatpipe.limits.pacer import PacedAttempts, Pacer, SpendLost
from chatpipe.limits.rate import RateLimiter, wait_for_start
from chatpipe.limits.shared import SharedPace
from chatpipe.limits.tokens import TokenEstimator
from chatpipe.limits.window import RefusalWindow
from chatpipe.options.run import RunLimits
from chatpipe.response.usage import Usage
from chatpipe.wire.answer import Answer
from chatpipe.wire.retry import FailedAttempt, GiveUp, GiveUpReason, RetryAfter, delay_asked_for

# The HTTP statuses of a fault that is a time-out: ours, which has none, and that of the server.
_TIME_OUTS = (None, 408)
# A request that was refused alone is sent next, so many times; then it queues. Some servers refuse the first
# attempts of each request: with another request each time, none of a run would come to its last attempt. Some
# refuse one request forever, as larger than their limit of tokens: it must not hold up the others.
_MOST_FIRST = 4


class RunWaits:
    """The waits of a run. All of them end when the run stops: the waiting tasks are cancelled.

    ready returns a wait until something can be sent at all, None if it can now; without ready it always can.
    An attempt that is paced before that would go out late, together with those behind it.
    """

    def __init__(self, ready: Callable[[], Awaitable[None] | None] | None = None) -> None:
        self._ready = ready
        self._tasks: set[asyncio.Task[object]] = set()
        self.has_stopped = False

    @property
    def may_wait_for_start(self) -> bool:
        """True if an attempt may have to wait until anything can be sent, or if the run has stopped."""
        return self._ready is not None or self.has_stopped

    def stop(self) -> None:
        self.has_stopped = True
        for task in self._tasks:
            task.cancel()

    @contextmanager
    def until_stop(self) -> Iterator[None]:
        """A block in which the current task is cancelled if the run stops, or has stopped."""
        task = asyncio.current_task()
        assert task is not None
        if self.has_stopped:
            raise asyncio.CancelledError
        self._tasks.add(task)
        try:
            yield
        finally:
            self._tasks.discard(task)

    async def sleep(self, seconds: float) -> None:
        with self.until_stop():
            await asyncio.sleep(seconds)

    async def acquire(self, queue: asyncio.Lock) -> None:
        if queue.locked():
            with self.until_stop():
                await queue.acquire()
        else:
            await queue.acquire()
        if self._ready is not None and (wait := self._ready()) is not None:
            try:
                with self.until_stop():
                    await wait
            except BaseException:
                queue.release()
                raise


class RunPacer(Pacer):
    """The limits of a run: concurrency, rate, and those that it shares with other processes."""

    def __init__(
        self,
        context: ExchangeContext,
        waits: RunWaits,
        limits: RunLimits,
        shared: SharedPace | None,
        estimator: TokenEstimator,
        spend_lost: SpendLost = lambda line, body, size_bytes, number: None,
    ) -> None:
        super().__init__(context, RateLimiter(limits.shared.rpm, limits.shared.tpm), shared, estimator)
        self.waits = waits
        self._spend_lost = spend_lost
        self.max_pause_s = limits.max_pause_s
        jobs = limits.jobs
        self.concurrency = AdaptiveLimit(jobs.limit) if jobs.auto else ConcurrencyLimit(jobs.limit)
        self.window = RefusalWindow(jobs.limit)
        self._first_attempts = FirstAttempts()
        self._needs_tokens = shared is not None or not self.rate.is_unlimited
        self._queue = asyncio.Lock()
        self._queued = 0  # attempts in the queue, with the first
        self._slot_queue = asyncio.Lock()
        self._moved: asyncio.Future[None] | None = None  # the first in the queue waits for it
        self._next: PacedAttempts | None = None  # it goes before the first in the queue
        self._in_flight = 0  # attempts at the server

    @asynccontextmanager
    async def bounded_by_gauges(self, metrics_url: str | None) -> AsyncIterator[None]:
        """A block in which the gauges at metrics_url bound the number in flight.

        Nothing is read with None, or if that number is fixed.
        """
        if metrics_url is None or not isinstance(self.concurrency, AdaptiveLimit):
            yield
            return
        from chatpipe.limits.metrics import follow_gauges  # most servers are not the user's own

        task = asyncio.create_task(
            follow_gauges(metrics_url, self.context, self.concurrency, lambda: self._in_flight)
        )
        try:
            yield
        finally:
            task.cancel()
            await asyncio.wait([task])

    async def acquire_slot(self, shared: SharedPace) -> None:
        """Wait for a slot. One request of the run asks at a time: processes get slots in turn."""
        await self.waits.acquire(self._slot_queue)
        try:
            while wait_s := shared.acquire_slot(self.context.now()):
                await self.waits.sleep(wait_s)
        finally:
            self._slot_queue.release()

    def start_now(self, attempts: PacedAttempts) -> int | None:
        """Start an attempt that nothing holds up: nobody queues, no limit is reached, none is shared."""
        if self._queued or self._next is not None or self.shared is not None or self.waits.may_wait_for_start:
            return None
        if self.rate.paused_s or self._in_flight >= min(self.concurrency.limit, self.window.limit):
            return None
        reserved, now = attempts.estimated_tokens() if self._needs_tokens else 0, self.context.monotonic()
        if self.rate.try_reserve(reserved, now, now):
            return None
        self._in_flight += 1
        return reserved

    async def start(self, attempts: PacedAttempts) -> int:
        """Wait until the next of these attempts may be sent. Returns the number of tokens reserved for it.

        Raises PausedTooLong when the pauses are longer than --max-pause.

        A retry queues like all others. When the limit has fallen below the number in flight, the
        server does not see all of these attempts again and again.
        """
        if attempts is self._next:
            return await self._start_next(attempts)
        self._queued += 1
        try:
            await self.waits.acquire(self._queue)
            try:
                return await self._admitted(await self._reserve(attempts))
            finally:
                self._queue.release()
        finally:
            self._queued -= 1

    async def _start_next(self, attempts: PacedAttempts) -> int:
        """Start an attempt that does not queue: the first in the queue waits for it."""
        try:
            while wait_s := self.rate.opens_in_s(self.context.monotonic()):
                await self.waits.sleep(wait_s)
            reserved, now = attempts.estimated_tokens() if self._needs_tokens else 0, self.context.monotonic()
            self.rate.reserve(reserved, now)
            return await self._admitted(reserved)
        finally:
            self.end(attempts)

    async def _admitted(self, reserved: int) -> int:
        """Wait for the limits that processes share, then count an attempt that reserved so many tokens."""
        if self.shared is not None:
            await self.check_shared_pause(self.shared, self.max_pause_s, fix="wait, or raise --max-pause")
            await wait_for_start(self.shared, reserved, self.context.now, self.waits.sleep)
        self._in_flight += 1
        return reserved

    def end(self, attempts: PacedAttempts) -> None:
        """Let the first in the queue start again, if these attempts were to go before it."""
        if attempts is self._next:
            self._next = None
            self.move()

    async def _reserve(self, attempts: PacedAttempts) -> int:
        """Wait until the concurrency and the rate admit an attempt. Every answer may change both."""
        clock = self.context.monotonic
        due: float | None = None
        while True:
            if (fault := self.rate.pause_fault(self.max_pause_s)) is not None:
                raise fault
            wait_s = None if self._next is not None else self._wait_for_window_s(self._in_flight)
            if wait_s == 0:
                reserved, now = attempts.estimated_tokens() if self._needs_tokens else 0, clock()
                wait_s = self.rate.try_reserve(reserved, now, now if due is None else due)
                if not wait_s:
                    return reserved
                due = now + wait_s
            else:
                due = None
            await self._wait_for_move(wait_s)

    def room_in_s(self, in_flight: int) -> float | None:
        """Seconds until one more than in_flight may be sent, 0 for now. None: when one of them has ended."""
        if self.shared is not None and self.shared.jobs is not None and in_flight >= self.shared.jobs:
            return None
        wait_s = self._wait_for_window_s(in_flight)
        if wait_s is None:
            return None
        if self.shared is not None:
            wait_s = max(wait_s, self.shared.pause_left_or_lock(self.context.now()))
        return max(wait_s, self.rate.opens_in_s(self.context.monotonic()))

    def _wait_for_window_s(self, in_flight: int) -> float | None:
        """Seconds until one more than in_flight may start, 0 for now. None: not before an attempt ends."""
        if in_flight >= self.concurrency.limit:
            return None
        if in_flight >= self.window.limit:
            now = self.context.monotonic()
            wait_s = self.window.patience_s(now)
            if wait_s != 0:
                return wait_s
            self.window.probe(now)
        return 0.0

    async def _wait_for_move(self, seconds: float | None) -> None:
        """Wait this long, or less if an attempt may start earlier. None waits for move() only."""
        self._moved = asyncio.get_running_loop().create_future()
        try:
            with self.waits.until_stop():
                await asyncio.wait([self._moved], timeout=seconds)
        finally:
            self._moved = None

    def move(self) -> None:
        """Let the first in the queue look again: the limits may admit it, or admit it earlier."""
        if self._moved is not None and not self._moved.done():
            self._moved.set_result(None)

    def settle(self, reserved: int, used: int | None) -> None:
        self._in_flight -= 1
        self.rate.settle(reserved, used, self.context.monotonic())
        if self.shared is not None:
            super().settle(reserved, used)
        self.move()

    def decide(self, failure: FailedAttempt, attempts: PacedAttempts) -> RetryAfter | GiveUp | None:
        decision = super().decide(failure, attempts)
        if failure.status is None and decision is None:
            now = self.context.monotonic()
            self.concurrency.record_lost(now - attempts.started, now)
            if not (failure.is_unreached or failure.has_lost_kept):
                self.lose(attempts)
        return decision

    def lose(self, attempts: PacedAttempts) -> None:
        self._spend_lost(attempts.line, attempts.body, attempts.size_bytes, attempts.sent)

    def others_at_server(self) -> int:
        return self._in_flight - 1

    def decide_busy(self, others: int, asked_s: float, attempts: PacedAttempts) -> RetryAfter | GiveUp | None:
        """Queue again, up to --max-pause. It counts as no attempt."""
        now = self.context.monotonic()
        self._first_attempts.refuse(attempts.sent)
        if self._first_attempts.are_refused:
            self.rate.forget_learned()
        else:
            self.window.refuse(others, asked_s, now)
            self.concurrency.record_overload(now - attempts.started, now)
        if self.rate.pause_fault(self.max_pause_s) is not None:
            return GiveUp(GiveUpReason.NO_ATTEMPTS_LEFT)
        if not others and self._next is None:
            attempts.refused_alone += 1
            if attempts.refused_alone % (_MOST_FIRST + 1):
                self._next = attempts
        return RetryAfter(self.rate.pause_left(now), server_requested=bool(asked_s), uncounted=True)

    def decide_replayed(self, failure: FailedAttempt) -> RetryAfter | GiveUp | None:
        """Ask again at once. A pause beyond --max-pause ends the run, as it did."""
        unix_now = self.context.now()
        if (delay_asked_for(failure, unix_now) or 0.0) > self.max_pause_s:
            self.rate.observe_refusal(failure, self.context.monotonic(), unix_now, 0)
            return GiveUp(GiveUpReason.NO_ATTEMPTS_LEFT)
        return RetryAfter(0.0, server_requested=False, uncounted=True)

    def observe_answer(
        self, answer: Answer, usage: Usage | None, attempts: PacedAttempts, now: float
    ) -> None:
        super().observe_answer(answer, usage, attempts, now)
        fault, latency_s = answer.fault, now - attempts.started
        if fault is None:
            self._first_attempts.answer(attempts.sent)
            self.window.answer(self._in_flight, latency_s, now)
            if self._first_attempts.are_refused:
                self.rate.forget_learned()
                self.window.reopen(now)
        if fault is not None and fault.status is Status.TRY_LATER and fault.http_status in _TIME_OUTS:
            self.concurrency.record_overload(latency_s, now)
        else:
            self.concurrency.record_finished(latency_s, self._in_flight, now, is_good=fault is None)
        if (fault is None or isinstance(fault, ReplyTooLong)) and not (usage and usage.total):
            self.lose(attempts)
        if usage is not None:
            self.estimator.learn(attempts.size_bytes, usage.prompt or None, usage.generated or None)
