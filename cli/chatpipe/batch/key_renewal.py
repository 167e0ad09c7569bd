"""The key of a run, renewed when the server no longer takes the one that a command printed.

    401 after successes -> the command runs once more, beside what is in flight -> sent again

A request that is refused meanwhile waits for the new key, and so does one that would be sent then. A 401 may
come before the answers to what was sent earlier: it waits for the first of them. A key that has never
succeeded is not renewed: the next would not be better.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping

import httpx

from chatpipe.errors import ChatpipeError, NoAccess
from chatpipe.exchange import NO_HOOKS, Hooks
from chatpipe.limits.run_pacer import RunPacer
from chatpipe.wire import faults
from chatpipe.wire.answer import Answer, TimedAnswer
from chatpipe.wire.retry import FailedAttempt, GiveUp, RetryAfter
from chatpipe.wire.timeouts import DEADLINE_PASSED, Timeouts

_UNAUTHORIZED = 401
# A request that so many keys were refused for is refused for itself, whatever others are answered.
_MOST_KEYS = 10

# Sends a request until its answer is final, with these hooks.
SendAttempts = Callable[[Hooks], Awaitable[Answer]]
# Calls it within the limits of the run.
Pace = Callable[[SendAttempts], Awaitable[TimedAnswer]]


class NoNewKey(NoAccess):
    """The command printed no other key after the server had refused the one before."""

    def __init__(self, fault: ChatpipeError) -> None:
        super().__init__(
            f"no new key after a 401: {fault.what}",
            place=fault.place,
            fix=fault.fix or "run again when it prints one",
        )
        self.refusal_status = _UNAUTHORIZED


class _DeadlinePassed(Exception):
    """The deadline of a request passed while it waited for a key."""


class _Key:
    """One key: the headers with it, the attempts with it that are at the server, and if one succeeded.

    first_success is what a 401 waits for. It is None as long as none does, and False if there is none.
    """

    __slots__ = ("at_server", "first_success", "has_succeeded", "headers")

    def __init__(self, headers: httpx.Headers) -> None:
        self.headers = headers
        self.has_succeeded = False
        self.at_server = 0
        self.first_success: asyncio.Future[bool] | None = None

    def enter(self) -> None:
        """Count an attempt that goes to the server."""
        self.at_server += 1

    def leave(self) -> None:
        """Count an attempt that is over."""
        self.at_server -= 1
        if not self.at_server:
            self.decide(has_succeeded=False)

    def decide(self, *, has_succeeded: bool) -> None:
        """Let what waits for the first success go on."""
        if self.first_success is not None and not self.first_success.done():
            self.first_success.set_result(has_succeeded)


class KeyRenewal:
    """The key of a run.

    read reads the headers with it again, in a thread. It raises ChatpipeError, and returns soon after the
    run has stopped.
    """

    def __init__(self, headers: httpx.Headers, read: Callable[[], httpx.Headers], pacer: RunPacer) -> None:
        self.key = _Key(headers)
        self._read = read
        self._waits = pacer.waits
        self._rate = pacer.rate
        self._failure: NoNewKey | None = None  # the command gave no key
        self._reading: asyncio.Task[None] | None = None

    async def send(self, request: httpx.Request, send: SendAttempts, pace: Pace) -> TimedAnswer:
        """Send a request with the current key, by send within the limits of pace."""
        refusals = 0
        while True:
            attempts = RenewedAttempts(self, request, refusals)
            try:
                answer, latency_s = await self._send(attempts, send, pace)
                is_refused = answer.fault is not None and answer.fault.refusal_status == _UNAUTHORIZED
                if not is_refused or not await self._may_repeat(attempts):
                    return answer, latency_s
            except NoNewKey as fault:
                return Answer(None, None, fault, attempts=attempts.tries), 0.0
            except _DeadlinePassed:
                late = faults.from_exception(httpx.ReadTimeout(DEADLINE_PASSED), str(request.url))
                return Answer(None, None, late, attempts=attempts.tries), 0.0
            refusals = attempts.refusals
            self._rate.repeats += 1

    async def _send(self, attempts: RenewedAttempts, send: SendAttempts, pace: Pace) -> TimedAnswer:
        def send_renewed(hooks: Hooks) -> Awaitable[Answer]:
            attempts.inner = hooks
            return send(attempts)

        try:
            answer, latency_s = await pace(send_renewed)
            if answer.fault is None:
                self._succeed(attempts.key)
        finally:
            attempts.end()
        return answer, latency_s

    def begin(self, used: _Key) -> bool:
        """Begin to renew the key after a 401 for a request with the key used, unless that was done.

        Returns False if the 401 is final: nothing has succeeded with this key, or there was no other.
        """
        if self._waits.has_stopped or self._failure is not None:
            return False
        if used is not self.key:
            return True
        if not _is_pending(self._reading) and used.has_succeeded:
            self._reading = asyncio.create_task(self._renew())
            self._reading.add_done_callback(_mark_retrieved)
        return _is_pending(self._reading)

    async def ready(self, deadline: float | None) -> None:
        """Wait while the key is renewed.

        Raises NoNewKey, _DeadlinePassed, and CancelledError if the run stops.
        """
        while True:
            wait = next(filter(_is_pending, (self.key.first_success, self._reading)), None)
            if wait is None:
                return
            await self._wait(wait, deadline)

    async def _wait(self, future: asyncio.Future[bool] | asyncio.Task[None], deadline: float | None) -> None:
        timeout = None if deadline is None else max(deadline - asyncio.get_running_loop().time(), 0.0)
        with self._waits.until_stop():
            await asyncio.wait([future], timeout=timeout)
        if not future.done():
            raise _DeadlinePassed
        future.result()

    async def _may_repeat(self, attempts: RenewedAttempts) -> bool:
        """Return True if a request whose 401 was final may be sent again after all.

        That is if others succeed with its key: it waits for the first, while there may be one.
        Raises NoNewKey if the command gave none: that says more than the 401.
        """
        key = attempts.key
        if self._waits.has_stopped or attempts.refusals >= _MOST_KEYS:
            return False
        if not key.has_succeeded and key.at_server:
            key.first_success = key.first_success or asyncio.get_running_loop().create_future()
            await self._wait(key.first_success, attempts.deadline)
        if self._failure is not None:
            raise self._failure.with_traceback(None)  # each raise adds to the one it has
        return self.begin(key)

    def _succeed(self, key: _Key) -> None:
        if not key.has_succeeded:
            key.has_succeeded = True
            if key.first_success is not None:
                self.begin(key)  # now: the next line is sent before those that wait come to it
            key.decide(has_succeeded=True)

    async def _renew(self) -> None:
        try:
            self.key = _Key(await asyncio.to_thread(self._read))
        except ChatpipeError as fault:
            self._failure = NoNewKey(fault)
            raise self._failure from fault


class RenewedAttempts(Hooks):
    """The attempts of one request, each with the current key. inner are the hooks of the pace.

    key went with the last attempt. tries counts the attempts that use up a try, refusals the keys refused.
    """

    __slots__ = ("_is_at_server", "_renewal", "_request", "inner", "key", "refusals", "tries")

    def __init__(self, renewal: KeyRenewal, request: httpx.Request, refusals: int) -> None:
        self._renewal = renewal
        self._request = request
        self._is_at_server = False
        self.inner = NO_HOOKS
        self.key = renewal.key
        self.tries = 1
        self.refusals = refusals

    @property
    def deadline(self) -> float | None:
        """The deadline of the request, None before its first attempt."""
        return Timeouts.of(self._request).deadline

    async def before_attempt(self) -> None:
        await self._renewal.ready(self.deadline)
        if (wait := self.inner.before_attempt()) is not None:
            await wait
        self.key = self._renewal.key
        self._request.headers = self.key.headers
        self._is_at_server = True
        self.key.enter()

    def end(self) -> None:
        """End the attempt at the server, if there is one."""
        if self._is_at_server:
            self._is_at_server = False
            self.key.leave()

    def on_reply(self, status: int, headers: Mapping[str, str]) -> None:
        self.inner.on_reply(status, headers)

    def decide(self, failure: FailedAttempt) -> RetryAfter | GiveUp | None:
        self.end()
        decision = self.inner.decide(failure)  # in any case: the attempt has ended
        if failure.status == _UNAUTHORIZED:
            self.refusals += 1
            if self.refusals < _MOST_KEYS and self._renewal.begin(self.key):
                return RetryAfter(0.0, server_requested=False, uncounted=True)
        if not (isinstance(decision, RetryAfter) and decision.uncounted):
            self.tries += 1
        return decision


def _is_pending(future: asyncio.Future[bool] | asyncio.Task[None] | None) -> bool:
    return future is not None and not future.done()


def _mark_retrieved(task: asyncio.Task[None]) -> None:
    """Let asyncio not report an exception that nobody waited for: the run had stopped."""
    if not task.cancelled():
        task.exception()
