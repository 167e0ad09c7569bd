"""The core: one request in, one answer out. Read this first.

    request -> attempt -> reply -> chunks -> completion
                  ^         |
                  +-- wait <+   while a retry can help and nothing has been written

Others take part through hooks: see `Hooks` and `chain`.

The code exists once, as coroutines over a transport and a sleep that are passed in. A run of many
requests drives them with an event loop. A single request needs none: over a blocking transport no
await ever suspends, and `run_without_loop` runs the coroutine to its end.
"""

from __future__ import annotations

import math
import random
import time
from collections.abc import Awaitable, Callable, Coroutine, Mapping
from functools import cache, partial
from typing import Any, TypeVar

import httpx

from chatpipe.errors import NotRecorded, TryLater, quantity
from chatpipe.inputs.values import Value
from chatpipe.named_tuple import NamedTuple
from chatpipe.options.server import ExchangeLimits, RetryPolicy
from chatpipe.server import redact
from chatpipe.server.request_extensions import DEADLINE, MAX_REPLY
from chatpipe.wire import retry
from chatpipe.wire.answer import Answer, AttemptResult, Receiver, answer_from_error
from chatpipe.wire.key_filter import CleanResult, read_arrived_without_secrets, read_without_secrets
from chatpipe.wire.light_messages import headers_by_name
from chatpipe.wire.retry import FailedAttempt, GiveUp, RetryAfter
from chatpipe.wire.server_requests import was_replayed

_T = TypeVar("_T")


class ExchangeContext(NamedTuple):
    """The environment of an exchange: transport, sleep, clocks, random numbers, messages to the user.

    It is built once for a call or a run. note() prints a message. detail() prints a line of -v and
    is None without -v. warn() prints warnings, each only once.
    """

    transport: httpx.AsyncBaseTransport
    sleep: Callable[[float], Awaitable[None]]
    note: Callable[[str], None]
    detail: Callable[[str], None] | None = None
    warn: Callable[[tuple[str, ...]], None] | None = None
    monotonic: Callable[[], float] = time.monotonic
    now: Callable[[], float] = time.time
    random: Callable[[], float] = random.random


class Hooks:
    """Hooks of one request. Those of this class do nothing.

        before_attempt -> attempt -> on_reply -> answer, or a failure -> decide -> sleep -> ...

    An exception of a hook ends the exchange and propagates.
    """

    def before_attempt(self) -> Awaitable[None] | None:
        """Prepare for the next attempt. Returns a wait until it may be sent, None if it may be sent now."""
        return None

    def on_reply(self, status: int, headers: Mapping[str, str]) -> None:
        """Learn from the head of a reply, before its body is read. Header names are lower case.

        The status says little: the body of a 200 may be an error. See decide().
        """

    def decide(self, failure: FailedAttempt) -> RetryAfter | GiveUp | None:
        """Learn from a failed attempt, and decide whether to retry it.

        None leaves the decision to retry.decide(). The decision has no effect once part of the answer
        is written.
        """
        return None


class _Chain(Hooks):
    def __init__(self, hooks: tuple[Hooks, ...]) -> None:
        self._hooks = hooks

    async def before_attempt(self) -> None:
        for hooks in self._hooks:
            if (wait := hooks.before_attempt()) is not None:
                await wait

    def on_reply(self, status: int, headers: Mapping[str, str]) -> None:
        for hooks in self._hooks:
            hooks.on_reply(status, headers)

    def decide(self, failure: FailedAttempt) -> RetryAfter | GiveUp | None:
        decisions = (hooks.decide(failure) for hooks in self._hooks)
        return next((decision for decision in decisions if decision is not None), None)


def chain(*hooks: Hooks) -> Hooks:
    """Several hooks as one, called in this order. The first decision that is not None holds.

        of a conversation  discard the pieces of the attempt before        conversation/answer_buffer.py
        of the pace        one call: wait for a start in the pace file      limits/call_pacer.py
                           a run: wait in its queue, for its concurrency,
                           its own rate limit, then the pace file           limits/run_pacer.py
        no hook            retry.decide(), unless the pace has decided: a
                           run waits out the pause of a busy server

    The wait for the pace comes last, so that an attempt is sent as soon as it may start.
    """
    return hooks[0] if len(hooks) == 1 else _Chain(hooks)


NO_HOOKS = Hooks()

# Sends one request body. The receiver gets the answer as it arrives.
SendRequest = Callable[[dict[str, Value], Receiver, Hooks], Coroutine[Any, Any, Answer]]


def run_without_loop(coroutine: Coroutine[Any, Any, _T]) -> _T:
    """Run a coroutine that never suspends, without an event loop."""
    try:
        coroutine.send(None)
    except StopIteration as done:
        result: _T = done.value
        return result
    finally:
        coroutine.close()
    raise RuntimeError("a transport that blocks was expected, and it suspended")


async def sleep_without_loop(seconds: float) -> None:
    """The sleep of a context whose coroutines run without an event loop."""
    time.sleep(seconds)


async def send(
    request: httpx.Request,
    context: ExchangeContext,
    receiver: Receiver,
    limits: ExchangeLimits,
    policy: RetryPolicy,
    hooks: Hooks = NO_HOOKS,
) -> Answer:
    """Send the request until an answer arrives or no retry can help. Returns the answer of the last attempt.

    In a replay that is the last attempt that was recorded, even if a retry could help.
    An exception of the receiver (a full disk, a closed pipe) closes the connection and propagates.
    """
    request.extensions.update({"timeout": _timeouts(limits), MAX_REPLY: limits.max_reply_bytes})
    deadline: float | None = request.extensions.get(DEADLINE)  # of a request that is sent again
    tries = 1
    failed: Answer | None = None
    while True:
        if (wait := hooks.before_attempt()) is not None:
            await wait
        if deadline is None:  # the wait before the first attempt does not count
            deadline = _set_deadline(request, limits, context)
        answer, failure = await _attempt(request, context, receiver, hooks)
        if failed is not None and isinstance(answer.fault, NotRecorded):  # the recording ends with a failure
            return _final_answer(failed, None)
        answer = answer if tries == 1 else answer._replace(attempts=tries)
        if answer.fault is None:
            return answer
        decision = failure and _decide(tries, failure, receiver, context, policy, hooks)
        if not isinstance(decision, RetryAfter):
            return _final_answer(answer, decision)
        decision = decision._replace(seconds=0.0) if was_replayed(request) else decision
        if context.monotonic() + decision.seconds >= deadline:
            return _final_answer(answer, decision)
        if not decision.uncounted:
            context.note(f"{answer.fault.clause}: {decision.notice} ({tries} of {policy.retries})")
            tries += 1
        failed = answer
        await context.sleep(decision.seconds)


def _decide(
    tries: int,
    failure: FailedAttempt,
    receiver: Receiver,
    context: ExchangeContext,
    policy: RetryPolicy,
    hooks: Hooks,
) -> RetryAfter | GiveUp | None:
    """The decision after a failed attempt. None if part of the answer is written."""
    decision = hooks.decide(failure)  # which also learns from it
    if decision is None and not receiver.started:
        decision = retry.decide(tries, failure, policy, now=context.now(), random=context.random)
    return None if receiver.started else decision


def _set_deadline(request: httpx.Request, limits: ExchangeLimits, context: ExchangeContext) -> float:
    """Begin the time of a request for all of its attempts. Returns its end, infinity without one."""
    if limits.deadline_s is None:
        request.extensions[DEADLINE] = None
        return math.inf
    deadline = context.monotonic() + limits.deadline_s
    request.extensions[DEADLINE] = deadline
    return deadline


async def fetch(
    request: httpx.Request,
    context: ExchangeContext,
    limits: ExchangeLimits,
    policy: RetryPolicy,
    hooks: Hooks = NO_HOOKS,
) -> Answer:
    """Send a request for anything but a completion, as send() does. Answer.body is its JSON, else None."""
    from chatpipe.wire.json_body import JsonBodyReceiver  # `ask` and `batch` do without it

    return await send(request, context, JsonBodyReceiver(), limits, policy, hooks)


@cache  # all requests of a run share them
def _timeouts(limits: ExchangeLimits) -> dict[str, float]:
    """The time limits under the names of httpx."""
    connect_s, between_bytes_s = limits.connect_s, limits.between_bytes_s
    return {"connect": connect_s, "read": between_bytes_s, "write": between_bytes_s, "pool": connect_s}


def _final_answer(answer: Answer, decision: RetryAfter | GiveUp | None) -> Answer:
    """The final answer after a failure. Its fault says how many attempts were made.

    decision is a RetryAfter if the next attempt would come after the deadline.
    """
    fault = answer.fault
    assert fault is not None
    if isinstance(decision, GiveUp) and decision.requested_s is not None:
        what = f"{fault.clause}, and the server asks for a wait of {decision.requested_s:.0f} s"
        fault = TryLater(what, place=fault.place, fix="try again then").with_reply_of(fault)
    elif answer.attempts > 1:
        fault.what = f"{fault.clause}, after {quantity(answer.attempts, 'try')}"
    if isinstance(decision, RetryAfter):
        fault.fix = "raise --deadline"
    return answer._replace(fault=fault)


async def _attempt(
    request: httpx.Request, context: ExchangeContext, receiver: Receiver, hooks: Hooks
) -> AttemptResult:
    """Send the request once. The FailedAttempt is for the retry decision, None if no retry can help."""
    if context.detail is not None:
        _show_request(request, context.detail)
    started = context.monotonic()
    try:
        response = await context.transport.handle_async_request(request)
        if 300 <= response.status_code < 400:
            from chatpipe.wire.redirects import follow_redirects  # few servers have any

            response = await follow_redirects(response, request, partial(_send_shown, context))
    except (httpx.HTTPError, httpx.InvalidURL) as error:
        return answer_from_error(error, request)
    if context.detail is not None:
        _show_reply(response, context.detail, context.monotonic() - started)
    headers = headers_by_name(response)
    stream = response.stream
    assert isinstance(stream, httpx.AsyncByteStream)
    try:
        hooks.on_reply(response.status_code, headers)
        # In a run nearly all replies have come whole with their heads, and need no coroutine.
        read = None
        if receiver.takes == "nothing":
            read = read_arrived_without_secrets(response, headers, request)
        if read is None:
            read = await _read_reply(response, headers, request, receiver)
        answer, failure, has_key = read
        if has_key and context.warn is not None:
            context.warn(("the server sent the key back in its answer: it is replaced by '***'",))
        return answer, failure
    finally:
        if type(stream) is not httpx.ByteStream:  # it holds nothing
            await stream.aclose()
        if context.detail is not None:
            context.detail(f"< end after {context.monotonic() - started:.3f} s")


async def _send_shown(context: ExchangeContext, request: httpx.Request) -> httpx.Response:
    if context.detail is not None:
        _show_request(request, context.detail)
    return await context.transport.handle_async_request(request)


async def _read_reply(
    response: httpx.Response, headers: Mapping[str, str], request: httpx.Request, receiver: Receiver
) -> CleanResult:
    """Read a reply, after its head. A receiver of bodies is for a reply that is no completion."""
    if receiver.takes == "body":
        from chatpipe.wire.json_body import read_json_body  # see fetch()

        return await read_json_body(response, headers, request)
    return await read_without_secrets(response, headers, request, receiver)


def _show_request(request: httpx.Request, detail: Callable[[str], None]) -> None:
    detail(f"> {request.method} {redact.url(str(request.url))}")
    for name, value in request.headers.items():
        detail(f"> {name}: {redact.header(name, value)}")


def _show_reply(response: httpx.Response, detail: Callable[[str], None], after_s: float) -> None:
    detail(f"< {response.status_code} after {after_s:.3f} s")
    for name, value in response.headers.items():
        detail(f"< {redact.shown_header(name, value)}")
