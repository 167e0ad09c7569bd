"""The key of a run, renewed once: when the server no longer takes the one that a command printed.

    401 after successes -> the command runs once more, beside what is in flight -> sent again

A request that is refused meanwhile waits for the new key, and so does one that would be sent then. A 401 may
come before the answers to what was sent earlier: it waits for the first of them.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping

import httpx

from chatpipe.errors import ChatpipeError, NoAccess
from chatpipe.exchange import NO_HOOKS, Hooks
from chatpipe.limits.queue import RunWaits
from chatpipe.wire.answer import Answer
from chatpipe.wire.retry import FailedAttempt, GiveUp, RetryAfter

_UNAUTHORIZED = 401

# Sends a request until its answer is final, with these hooks.
SendAttempts = Callable[[Hooks], Awaitable[Answer]]
# Calls it within the limits of the run. Returns the answer, and the seconds that its last attempt took.
Pace = Callable[[SendAttempts], Awaitable[tuple[Answer, float]]]


class NoNewKey(NoAccess):
    """The command printed no other key after the server had refused the first one."""

    def __init__(self, fault: ChatpipeError) -> None:
        super().__init__(
            f"no new key after a 401: {fault.what}",
            place=fault.place,
            fix=fault.fix or "run again when it prints one",
        )
        self.refusal_status = _UNAUTHORIZED


class KeyRenewal:
    """The headers of a run, with its key.

    read reads them again, in a thread. It raises ChatpipeError, and returns soon after the run has stopped.
    """

    def __init__(self, headers: httpx.Headers, read: Callable[[], httpx.Headers], waits: RunWaits) -> None:
        self.headers = headers
        self._read = read
        self._waits = waits
        self._has_succeeded = False
        self._at_server = 0  # attempts
        self._first_success: asyncio.Future[bool] | None = None  # a 401 waits for it; False if there is none
        self._reading: asyncio.Task[None] | None = None

    async def ask(self, request: httpx.Request, send: SendAttempts, pace: Pace) -> tuple[Answer, float]:
        """Send a request with the current key, by send within the limits of pace. Returns as Pacer.ask()."""
        answer, latency_s = await self._ask(request, send, pace)
        is_refused = answer.fault is not None and answer.fault.refusal_status == _UNAUTHORIZED
        if is_refused and await self._others_succeed() and self.begin(request.headers):
            return await self._ask(request, send, pace)
        return answer, latency_s

    async def _ask(self, request: httpx.Request, send: SendAttempts, pace: Pace) -> tuple[Answer, float]:
        attempts = RenewedAttempts(self, request)

        def send_renewed(hooks: Hooks) -> Awaitable[Answer]:
            attempts.inner = hooks
            return send(attempts)

        try:
            answer, latency_s = await pace(send_renewed)
            if answer.fault is None:
                self._succeed()
        except NoNewKey as fault:
            return Answer(None, None, fault, attempts=attempts.tries), 0.0
        finally:
            attempts.end()
        return answer, latency_s

    def begin(self, used: httpx.Headers) -> bool:
        """Begin to renew the key after a 401 for a request with the headers used, unless that was done.

        Returns False if the 401 is final: nothing has succeeded, or there was no other key.
        """
        if self._waits.has_stopped:
            return False
        if used is not self.headers:
            return True
        if self._reading is None and self._has_succeeded:
            self._reading = asyncio.create_task(self._renew())
            self._reading.add_done_callback(_mark_retrieved)
        return _is_pending(self._reading)

    async def ready(self) -> None:
        """Wait while the key is renewed. Raises NoNewKey, and CancelledError if the run stops."""
        for wait in (self._first_success, self._reading):
            if wait is not None and not wait.done():
                with self._waits.until_stop():
                    await asyncio.shield(wait)

    def enter(self) -> None:
        """Count an attempt that goes to the server."""
        self._at_server += 1

    def leave(self) -> None:
        """Count an attempt that is over."""
        self._at_server -= 1
        if not self._at_server:
            self._decide(has_succeeded=False)

    async def _others_succeed(self) -> bool:
        """Wait for the first success of the run, while requests that may bring it are at the server."""
        if self._reading is not None or self._waits.has_stopped:
            return False
        if self._has_succeeded or not self._at_server:
            return self._has_succeeded
        self._first_success = self._first_success or asyncio.get_running_loop().create_future()
        with self._waits.until_stop():
            return await asyncio.shield(self._first_success)

    def _succeed(self) -> None:
        if not self._has_succeeded:
            self._has_succeeded = True
            if self._first_success is not None:
                self.begin(self.headers)  # now: the next line is sent before those that wait come to it
            self._decide(has_succeeded=True)

    def _decide(self, *, has_succeeded: bool) -> None:
        if self._first_success is not None and not self._first_success.done():
            self._first_success.set_result(has_succeeded)

    async def _renew(self) -> None:
        try:
            self.headers = await asyncio.to_thread(self._read)
        except ChatpipeError as fault:
            raise NoNewKey(fault) from fault


class RenewedAttempts(Hooks):
    """The attempts of one request, each with the current key. inner are the hooks of the pace.

    tries is the number of attempts that count.
    """

    __slots__ = ("_is_at_server", "_renewal", "_request", "inner", "tries")

    def __init__(self, renewal: KeyRenewal, request: httpx.Request) -> None:
        self._renewal = renewal
        self._request = request
        self._is_at_server = False
        self.inner = NO_HOOKS
        self.tries = 1

    async def before_attempt(self) -> None:
        await self._renewal.ready()
        await self.inner.before_attempt()
        self._request.headers = self._renewal.headers
        self._is_at_server = True
        self._renewal.enter()

    def end(self) -> None:
        """End the attempt at the server, if there is one."""
        if self._is_at_server:
            self._is_at_server = False
            self._renewal.leave()

    def on_reply(self, status: int, headers: Mapping[str, str]) -> None:
        self.inner.on_reply(status, headers)

    def decide(self, failure: FailedAttempt) -> RetryAfter | GiveUp | None:
        self.end()
        decision = self.inner.decide(failure)  # in any case: the attempt has ended
        if failure.status == _UNAUTHORIZED and self._renewal.begin(self._request.headers):
            return RetryAfter(0.0, server_requested=False, uncounted=True)
        if not (isinstance(decision, RetryAfter) and decision.uncounted):
            self.tries += 1
        return decision


def _is_pending(task: asyncio.Task[None] | None) -> bool:
    return task is not None and not task.done()


def _mark_retrieved(task: asyncio.Task[None]) -> None:
    """Let asyncio not report an exception that nobody waited for: the run had stopped."""
    if not task.cancelled():
        task.exception()
