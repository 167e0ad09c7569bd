"""The spine: one request in, one answer out. Read this first.

    request -> attempt -> reply -> chunks -> completion
                  ^         |
                  +-- wait <+   while a retry can help and nothing was written yet

Written once, as coroutines over a transport and a sleep that are passed in. A run of many requests
drives it with an event loop; a single one needs none: over a transport that blocks, no await ever
suspends, and `immediately` runs the coroutine to its end.
"""

import math
import random
import time
from collections.abc import Awaitable, Callable, Coroutine, Mapping
from typing import Any, NamedTuple, TypeVar

from chatpipe.errors import TryLater
from chatpipe.inputs.values import Value
from chatpipe.wire import redact, retry
from chatpipe.wire.answer import Answer, Receiver, answer_from_error, headers_by_name, read_reply
from chatpipe.wire.options import Limits
from chatpipe.wire.retry import Failure, GiveUp, Policy, Wait

import httpx  # isort: skip - after chatpipe.wire, which keeps httpx's own command line out

_T = TypeVar("_T")
_REDIRECTS = 5


class World(NamedTuple):
    """What an exchange needs of the world: a way to send, to wait, to tell the time and to tell people.

    detail is None when nobody wants details. A run of many adds what they share: before() is
    awaited before each try, heard() gets the status and headers of each reply, and decide() stands
    in for retry.decide.
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
    decide: Callable[..., Wait | GiveUp] = retry.decide


# Asks with a body, everything else known: the receiver is told of the answer as it comes.
Ask = Callable[[dict[str, Value], World, Receiver], Coroutine[Any, Any, Answer]]


def immediately(coroutine: Coroutine[Any, Any, _T]) -> _T:
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
    request: httpx.Request, world: World, receiver: Receiver, limits: Limits, policy: Policy
) -> Answer:
    """Send until there is an answer, or no retry can help; the fault of the last try is then in the Answer.

    What the receiver raises (a full disk, a reader that went away) passes through, the connection closed.
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
        if deadline is None:  # waiting for the first turn is no time of the server's
            deadline = world.monotonic() + limits.deadline_s if limits.deadline_s is not None else math.inf
            request.extensions["deadline"] = None if limits.deadline_s is None else deadline
        answer, failure = await _try(request, world, receiver)
        answer = answer._replace(tries=tries)
        if answer.fault is None:
            return answer
        decision = _decide(answer, failure, receiver, world, policy)
        if not isinstance(decision, Wait) or world.monotonic() + decision.seconds >= deadline:
            return _given_up(answer, decision)
        if not decision.free:
            how = f"trying again in {decision.seconds:.1f} s ({tries} of {policy.retries})"
            world.note(f"{answer.fault.what}: {how}")
            tries += 1
        await world.sleep(decision.seconds)


def _decide(
    answer: Answer, failure: Failure | None, receiver: Receiver, world: World, policy: Policy
) -> Wait | GiveUp | None:
    """Whether to try again; None where nobody is to be asked: bytes are out already, or the fault is ours."""
    if failure is None or receiver.started:
        return None
    return world.decide(answer.tries, failure, policy, now=world.now(), random=world.random)


def _given_up(answer: Answer, decision: Wait | GiveUp | None) -> Answer:
    """The answer as it is, its fault saying how much was tried."""
    fault = answer.fault
    assert fault is not None
    if isinstance(decision, GiveUp) and decision.asked_s is not None:
        longer = TryLater(
            f"{fault.what}, and to wait {decision.asked_s:.0f} s", place=fault.place, fix="try again then"
        )
        longer.http_status, longer.request_id, longer.body = fault.http_status, fault.request_id, fault.body
        fault = longer
    elif answer.tries > 1:
        fault.what += f", after {answer.tries} tries"
    return answer._replace(fault=fault)


async def _try(request: httpx.Request, world: World, receiver: Receiver) -> tuple[Answer, Failure | None]:
    """Send once. The Failure is for a retry to judge, None where none can help."""
    started = world.monotonic()
    try:
        response = await _sent(request, world)
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


async def _sent(request: httpx.Request, world: World) -> httpx.Response:
    """The reply, its head read, redirects within the origin followed."""
    for _ in range(_REDIRECTS):
        _show_request(request, world)
        response = await world.transport.handle_async_request(request)
        target = _redirected(response, request.url)
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
    raise httpx.TooManyRedirects(f"more than {_REDIRECTS} redirects", request=request)


def _redirected(response: httpx.Response, url: httpx.URL) -> httpx.URL | None:
    """Where a redirect leads, if it is one to follow: nobody who was not named gets the key or the prompt.

    That is 307 or 308, which keep the POST a POST, within the same origin.
    """
    if response.status_code not in (307, 308) or "location" not in response.headers:
        return None
    try:
        target = url.join(response.headers["location"])
    except httpx.InvalidURL:
        return None
    same = (target.scheme, target.host, target.port) == (url.scheme, url.host, url.port)
    return target if same else None


def _show_request(request: httpx.Request, world: World) -> None:
    if world.detail is None:
        return
    world.detail(f"> {request.method} {redact.url(str(request.url))}")
    for name, value in request.headers.items():
        world.detail(f"> {name}: {redact.header(name, value)}")


def _show_reply(response: httpx.Response, world: World, started: float) -> None:
    if world.detail is None:
        return
    world.detail(f"< {response.status_code} after {world.monotonic() - started:.3f} s")
    for name, value in response.headers.items():
        world.detail(f"< {name}: {redact.header(name, value)}")
