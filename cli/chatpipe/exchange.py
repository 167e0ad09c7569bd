"""The core: one request in, one answer out. Read this first.

    request -> attempt -> reply -> chunks -> completion
                  ^         |
                  +-- wait <+   while a retry can help and nothing has been written

The code exists once, as coroutines over a transport and a sleep that are passed in. A run of many
requests drives them with an event loop. A single request needs none: over a blocking transport no
await ever suspends, and `immediately` runs the coroutine to its end.
"""

import math
import random
import time
from collections.abc import Awaitable, Callable, Coroutine, Mapping
from typing import Any, NamedTuple, TypeVar

import httpx

from chatpipe.errors import TryLater
from chatpipe.inputs.values import Value
from chatpipe.options.server import RetryPolicy, TimeLimits
from chatpipe.server import redact
from chatpipe.wire import retry
from chatpipe.wire.answer import Answer, Receiver, answer_from_error, headers_by_name, read_reply
from chatpipe.wire.retry import FailedAttempt, GiveUp, RetryAfter

_T = TypeVar("_T")
_MAX_REDIRECTS = 5


class ExchangeContext(NamedTuple):
    """The outside world of an exchange: transport, sleep, clocks, random numbers and messages to the user.

    note() prints a message. detail() prints a line of -v and is None without -v. A run of many
    requests adds hooks: before() is awaited before each attempt, heard() gets the status and
    headers of each reply, and decide() replaces retry.decide.
    """

    transport: httpx.AsyncBaseTransport
    sleep: Callable[[float], Awaitable[None]]
    note: Callable[[str], None]
    detail: Callable[[str], None] | None = None
    monotonic: Callable[[], float] = time.monotonic
    now: Callable[[], float] = time.time
    random: Callable[[], float] = random.random
    before: Callable[[], Awaitable[None]] | None = None
    heard: Callable[[int, Mapping[str, str]], None] | None = None
    decide: Callable[..., RetryAfter | GiveUp] = retry.decide


# Sends one request body. The receiver gets the answer as it arrives.
SendRequest = Callable[[dict[str, Value], ExchangeContext, Receiver], Coroutine[Any, Any, Answer]]


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


async def ask(
    request: httpx.Request,
    world: ExchangeContext,
    receiver: Receiver,
    limits: TimeLimits,
    policy: RetryPolicy,
) -> Answer:
    """Send the request until an answer arrives or no retry can help. Answer.fault is the last attempt's.

    An exception of the receiver (a full disk, a closed pipe) closes the connection and propagates.
    """
    deadline: float | None = None
    request.extensions["timeout"] = {
        "connect": limits.connect_s,
        "read": limits.between_bytes_s,
        "write": limits.between_bytes_s,
        "pool": limits.connect_s,
    }
    tries = 1
    while True:
        if world.before is not None:
            await world.before()
        if deadline is None:  # the wait before the first attempt does not count
            deadline = world.monotonic() + limits.deadline_s if limits.deadline_s is not None else math.inf
            request.extensions["deadline"] = None if limits.deadline_s is None else deadline
        answer, failure = await _attempt(request, world, receiver)
        answer = answer._replace(attempts=tries)
        if answer.fault is None:
            return answer
        decision = _decide(answer, failure, receiver, world, policy)
        if not isinstance(decision, RetryAfter) or world.monotonic() + decision.seconds >= deadline:
            return _final_answer(answer, decision)
        if not decision.uncounted:
            retry_text = f"trying again in {decision.seconds:.1f} s ({tries} of {policy.retries})"
            world.note(f"{answer.fault.what}: {retry_text}")
            tries += 1
        await world.sleep(decision.seconds)


def _decide(
    answer: Answer,
    failure: FailedAttempt | None,
    receiver: Receiver,
    world: ExchangeContext,
    policy: RetryPolicy,
) -> RetryAfter | GiveUp | None:
    """The retry decision. None if output has already been written or no retry can help."""
    if failure is None or receiver.started:
        return None
    return world.decide(answer.attempts, failure, policy, now=world.now(), random=world.random)


def _final_answer(answer: Answer, decision: RetryAfter | GiveUp | None) -> Answer:
    """The final answer after a failure. Its fault says how many attempts were made."""
    fault = answer.fault
    assert fault is not None
    if isinstance(decision, GiveUp) and decision.requested_s is not None:
        later = TryLater(
            f"{fault.what}, and to wait {decision.requested_s:.0f} s", place=fault.place, fix="try again then"
        )
        later.http_status, later.request_id, later.body = fault.http_status, fault.request_id, fault.body
        fault = later
    elif answer.attempts > 1:
        fault.what += f", after {answer.attempts} tries"
    return answer._replace(fault=fault)


async def _attempt(
    request: httpx.Request, world: ExchangeContext, receiver: Receiver
) -> tuple[Answer, FailedAttempt | None]:
    """Send the request once. The Failure is the input of the retry decision, None if no retry can help."""
    started = world.monotonic()
    try:
        response = await _send(request, world)
    except (httpx.HTTPError, httpx.InvalidURL) as error:
        return answer_from_error(error, request)
    _show_reply(response, world, started)
    headers = headers_by_name(response.headers.raw)
    stream = response.stream
    assert isinstance(stream, httpx.AsyncByteStream)
    try:
        if world.heard is not None:
            world.heard(response.status_code, headers)
        answer, failure = await read_reply(response, headers, request, receiver)
        return answer._replace(request_id=headers.get("x-request-id")), failure
    finally:
        await stream.aclose()
        if world.detail is not None:
            world.detail(f"< end after {world.monotonic() - started:.3f} s")


async def _send(request: httpx.Request, world: ExchangeContext) -> httpx.Response:
    """Send the request, follow redirects within the origin, and return the reply after its head."""
    for _ in range(_MAX_REDIRECTS):
        _show_request(request, world)
        response = await world.transport.handle_async_request(request)
        target = _redirect_target(response, request.url)
        if target is None:
            return response
        await response.aclose()
        request = httpx.Request(
            request.method,
            target,
            headers=request.headers,
            stream=request.stream,
            extensions=request.extensions,
        )
    raise httpx.TooManyRedirects(f"more than {_MAX_REDIRECTS} redirects", request=request)


def _redirect_target(response: httpx.Response, url: httpx.URL) -> httpx.URL | None:
    """The target of a redirect that may be followed, else None.

    Only 307 and 308 are followed, because they keep the method POST, and only within the same
    origin, so that no other server gets the key or the prompt.
    """
    if response.status_code not in (307, 308) or "location" not in response.headers:
        return None
    try:
        target = url.join(response.headers["location"])
    except httpx.InvalidURL:
        return None
    is_same_origin = (target.scheme, target.host, target.port) == (url.scheme, url.host, url.port)
    return target if is_same_origin else None


def _show_request(request: httpx.Request, world: ExchangeContext) -> None:
    if world.detail is None:
        return
    world.detail(f"> {request.method} {redact.url(str(request.url))}")
    for name, value in request.headers.items():
        world.detail(f"> {name}: {redact.header(name, value)}")


def _show_reply(response: httpx.Response, world: ExchangeContext, started: float) -> None:
    if world.detail is None:
        return
    world.detail(f"< {response.status_code} after {world.monotonic() - started:.3f} s")
    for name, value in response.headers.items():
        world.detail(f"< {name}: {redact.header(name, value)}")
