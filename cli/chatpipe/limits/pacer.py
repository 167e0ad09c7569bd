"""The limits that the attempts of a process keep, in one sequence for one call and for a run.

    slot -> start reserved -> attempt -> reply observed -> reservation settled -> slot released
                   ^                            |
                   +------ next attempt --------+

One call keeps only limits that processes share: `xargs -P` and `make -j` stay within one of them.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Awaitable, Callable, Coroutine, Mapping
from typing import Any

from chatpipe.errors import PausedTooLong
from chatpipe.exchange import ExchangeContext, Hooks
from chatpipe.inputs.values import Value
from chatpipe.limits.rate import RateLimiter, when_unlocked
from chatpipe.limits.shared import SharedPace
from chatpipe.limits.tokens import TokenEstimator, answer_limits, prompt_bytes
from chatpipe.response.usage import Usage, usage_of
from chatpipe.wire import retry
from chatpipe.wire.answer import Answer, TimedAnswer
from chatpipe.wire.retry import FailedAttempt, GiveUp, RetryAfter

# Gets the line, the body, its prompt_bytes() and the number of an attempt whose usage is unknown.
SpendLost = Callable[[int, Mapping[str, Value], int, int], None]


class Pacer(ABC):
    """The limits of one process at one server.

    rate follows what the replies report. shared is None if no process shares a limit with this one.
    Times of rate are those of context.monotonic(), times of shared those of context.now().
    """

    def __init__(
        self,
        context: ExchangeContext,
        rate: RateLimiter,
        shared: SharedPace | None,
        estimator: TokenEstimator,
    ) -> None:
        self.context = context
        self.rate = rate
        self.shared = shared
        self.estimator = estimator

    def pace(
        self,
        body: Mapping[str, Value],
        size_bytes: int,
        send: Callable[[Hooks], Awaitable[Answer]],
        line: int = 0,
    ) -> Coroutine[Any, Any, TimedAnswer]:
        """Send a request within the limits.

        send makes the exchange of body, which has size_bytes as JSON, with the hooks that it gets. The
        request has a slot while it is at the server and not during a tool call, which may need one. line is
        that of a run.
        """
        shared, attempts = self.shared, PacedAttempts(self, body, size_bytes, line)
        if shared is None or not self.takes_slots:
            return self._pace(attempts, send)
        return self._pace_in_slot(shared, attempts, send)

    async def _pace_in_slot(
        self, shared: SharedPace, attempts: PacedAttempts, send: Callable[[Hooks], Awaitable[Answer]]
    ) -> TimedAnswer:
        await self.acquire_slot(shared)
        answered = False
        try:
            answer, latency_s = await self._pace(attempts, send)
            answered = answer.fault is None
            return answer, latency_s
        finally:
            shared.release_slot(self.context.now(), answered=answered)

    @property
    def takes_slots(self) -> bool:
        """True if each request needs one of the slots that processes share."""
        return self.shared is not None and self.shared.has_slots

    async def _pace(self, attempts: PacedAttempts, send: Callable[[Hooks], Awaitable[Answer]]) -> TimedAnswer:
        try:
            answer = await send(attempts)
            return answer, attempts.finish(answer)
        except BaseException:  # it is cancelled
            if attempts.is_at_server:
                self.lose(attempts)
            raise
        finally:
            attempts.settle(None)
            self.end(attempts)

    @abstractmethod
    def lose(self, attempts: PacedAttempts) -> None:
        """The last of these attempts has no usage, or no whole reply, and may have been paid for."""

    @abstractmethod
    async def acquire_slot(self, shared: SharedPace) -> None:
        """Wait for a slot among those that processes share."""

    def start_now(self, attempts: PacedAttempts) -> int | None:
        """Start the next of these attempts if nothing has to be waited for.

        Returns the number of tokens reserved for it, or None if start() has to be awaited.
        """
        return None

    @abstractmethod
    async def start(self, attempts: PacedAttempts) -> int:
        """Wait until the next of these attempts may be sent. Returns the number of tokens reserved for it."""

    def settle(self, reserved: int, used: int | None) -> None:
        """End an attempt. Tokens that it reserved and did not use are returned; None: use unknown."""
        if self.shared is not None:
            self.shared.settle(reserved, used, self.context.now())

    def observe_headers(self, headers: Mapping[str, str]) -> None:
        """Learn from the head of a reply how much the server has left."""
        if retry.REPLAYED not in headers:
            self.rate.observe_headers(headers, self.context.monotonic(), self.context.now())

    def observe_answer(
        self, answer: Answer, usage: Usage | None, attempts: PacedAttempts, now: float
    ) -> None:
        """Learn from the end of a request at now. usage is None if there is no completion."""
        if answer.fault is None:
            self.rate.observe_success(now)

    def decide(self, failure: FailedAttempt, attempts: PacedAttempts) -> RetryAfter | GiveUp | None:
        """The retry decision, see Hooks.decide(). A busy server pauses all processes that share a limit.

        This is the only place that asks if a failure means that the server is busy.
        """
        if not (retry.is_busy(failure) and retry.is_retryable(failure)):
            self.observe_headers(failure.headers or {})
            return None
        if retry.is_replayed(failure):
            return self.decide_replayed(failure)
        now = self.context.monotonic()
        others = self.rate.others_at_refusal(self.others_at_server(), attempts.started)
        asked_s = self.rate.observe_refusal(failure, now, self.context.now(), others)
        self.share_pause()
        return self.decide_busy(others, asked_s, attempts)

    def others_at_server(self) -> int:
        """The number of requests of this process at the server, without the one that has just ended."""
        return 0

    def decide_busy(self, others: int, asked_s: float, attempts: PacedAttempts) -> RetryAfter | GiveUp | None:
        """The retry decision after a refusal by a busy server, which asks to wait for asked_s."""
        return None

    def decide_replayed(self, failure: FailedAttempt) -> RetryAfter | GiveUp | None:
        """The retry decision after a recorded refusal by a busy server: as decide_busy(), without a pause."""
        return None

    @abstractmethod
    def end(self, attempts: PacedAttempts) -> None:
        """No further one of these attempts will start."""

    async def check_shared_pause(self, shared: SharedPace, longest_s: float, *, fix: str) -> None:
        """Raise PausedTooLong if a pause of all processes lasts longer than this one waits."""
        _, left_s = await when_unlocked(shared.pause_left, self.context.now, self.context.sleep)
        if left_s > longest_s:
            what = f"the server asks all processes to wait {left_s:.0f} s"
            raise PausedTooLong(what, place="--pace-file", fix=fix)

    def share_pause(self) -> None:
        """Make the current pause, if there is one, a pause of all processes."""
        pause_s = self.rate.pause_left(self.context.monotonic())
        if self.shared is not None and pause_s > 0:
            self.shared.pause(pause_s, self.context.now())


class PacedAttempts(Hooks):
    """The attempts of one request: each reserves its start, and is settled when it has ended.

    sent counts them, and started is the time of the last one. refused_alone counts those that were refused
    with no other at the server.
    """

    __slots__ = ("_pacer", "_reserved", "body", "line", "refused_alone", "sent", "size_bytes", "started")

    def __init__(self, pacer: Pacer, body: Mapping[str, Value], size_bytes: int, line: int = 0) -> None:
        self._pacer = pacer
        self.line = line
        self.body = body
        self.size_bytes = prompt_bytes(body, size_bytes)
        self._reserved: int | None = None  # tokens, of the attempt in progress
        self.sent = 0
        self.started = 0.0
        self.refused_alone = 0

    def before_attempt(self) -> Awaitable[None] | None:
        reserved = self._pacer.start_now(self)
        if reserved is None:
            return self._wait_for_start()
        self._begin(reserved)
        return None

    async def _wait_for_start(self) -> None:
        self._begin(await self._pacer.start(self))

    def _begin(self, reserved: int) -> None:
        self._reserved = reserved
        self._pacer.rate.repeats += self.sent > 0
        self.sent += 1
        self.started = self._pacer.context.monotonic()

    @property
    def is_at_server(self) -> bool:
        """True while an attempt has begun and has not ended."""
        return self._reserved is not None

    def estimated_tokens(self) -> int:
        """The tokens to reserve for an attempt. Estimates improve, so it is called for each."""
        return self._pacer.estimator.estimate_to_reserve(self.size_bytes, *answer_limits(self.body))

    def on_reply(self, status: int, headers: Mapping[str, str]) -> None:
        if status < 400:  # decide() learns from the others: a delay that they ask for comes first
            self._pacer.observe_headers(headers)

    def decide(self, failure: FailedAttempt) -> RetryAfter | GiveUp | None:
        decision = self._pacer.decide(failure, self)
        self.settle(0)  # it is not at the server while it waits for another attempt
        return decision

    def settle(self, used: int | None) -> None:
        """Settle the last attempt, unless it is settled. used is None if the tokens are unknown."""
        reserved, self._reserved = self._reserved, None
        if reserved is not None:
            self._pacer.settle(reserved, used)

    def finish(self, answer: Answer) -> float:
        """Learn from the answer. Returns the seconds that the last attempt took."""
        now = self._pacer.context.monotonic()
        usage = None if answer.completion is None else usage_of(answer.completion)
        self._pacer.observe_answer(answer, usage, self, now)
        if usage is not None:
            self.settle(usage.total or None)
        return now - self.started
