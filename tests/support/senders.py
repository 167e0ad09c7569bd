"""Transports in tests: senders of requests, and a run of an event loop that ends clean or fails the test."""

from __future__ import annotations

import asyncio
import gc
import ssl
import time
from collections.abc import Callable, Coroutine, Iterator, Mapping
from contextlib import contextmanager
from typing import Any, TypeVar

import httpx

from chatpipe.exchange import run_without_loop
from chatpipe.options.server import ServerOptions
from chatpipe.server.endpoints import resolve_endpoints
from chatpipe.server.server import with_key
from chatpipe.wire.pool import PoolTransport
from chatpipe.wire.sync import BlockingTransport
from chatpipe.wire.transports import open_transport
from support.patience import PATIENCE_S
from support.servers import loopback

T = TypeVar("T")
HI = (200, b"hi")
LIMITS = dict.fromkeys(("connect", "read", "write", "pool"), PATIENCE_S)
NO_LIMITS = dict.fromkeys(LIMITS)


def transport_to(
    url: str, environ: Mapping[str, str] | None = None, max_connections: int | None = None, **options: Any
) -> httpx.AsyncBaseTransport:
    """The transport to the server at url, with these options of ServerOptions and without a key."""
    made = ServerOptions(base_urls=(url,), **options)
    server = with_key(resolve_endpoints(made, environ or {})[0], made, environ or {}, None)
    return open_transport(server, environ or {}, max_connections)


class AsyncSender:
    """Sends through one transport. host_header adds the header Host, which httpcore does not add."""

    def __init__(self, transport: httpx.AsyncBaseTransport, host_header: bool = False) -> None:
        self.transport = transport
        self._host_header = host_header

    async def open(
        self,
        url: str,
        body: bytes | httpx.AsyncByteStream = b"{}",
        method: str = "POST",
        headers: Mapping[str, str] | None = None,
        **extensions: Any,
    ) -> httpx.Response:
        """The reply as the transport gives it. extensions are time-outs by name, and deadline.

        The transport must leave the request as it is, except for marks in its extensions: a retry sends
        the same one.
        """
        stream = httpx.ByteStream(body) if isinstance(body, bytes) else body
        deadline = extensions.pop("deadline", None)
        made = {"timeout": {**LIMITS, **extensions}, "deadline": deadline}
        request = httpx.Request(method, url, headers=headers, stream=stream, extensions=made)
        if self._host_header and "host" not in request.headers:
            request.headers["Host"] = request.url.netloc.decode()
        before = list(request.headers.raw)
        try:
            return await self.transport.handle_async_request(request)
        finally:
            assert made == {"timeout": {**LIMITS, **extensions}, "deadline": deadline}
            assert request.headers.raw == before

    async def __call__(self, url: str, *body: Any, **extensions: Any) -> tuple[int, bytes]:
        """Status and body; the reply is closed, however it ends."""
        response = await self.open(url, *body, **extensions)
        try:
            return response.status_code, await read(response)
        finally:
            await response.aclose()

    async def at_once(self, count: int, url: str, *body: Any, **extensions: Any) -> list[tuple[int, bytes]]:
        return await asyncio.gather(*(self(url, *body, **extensions) for _ in range(count)))

    @property
    def links(self) -> set[Any]:
        assert isinstance(self.transport, BlockingTransport | PoolTransport)
        return set(self.transport._links)

    @property
    def held(self) -> int:
        """The number of connections, and of places for them: those of requests and idle ones."""
        if isinstance(self.transport, PoolTransport):
            return self.transport._slots.used
        return len(self.links)

    @property
    def idle(self) -> int:
        if isinstance(self.transport, PoolTransport):
            return sum(map(len, self.transport._slots._idle.values()))
        assert isinstance(self.transport, BlockingTransport)
        return int(self.transport._idle is not None)


def collect_garbage() -> None:
    """Collect what a test left: a socket that is open is a ResourceWarning now, and so an error of the test.

    What lives on is kept out of the next collection. There are a million objects in a whole test run, and a
    collection of all of them takes half a second.
    """
    gc.collect()
    gc.freeze()


async def read(response: httpx.Response) -> bytes:
    if isinstance(response.stream, httpx.ByteStream):
        return b"".join(response.stream)
    assert isinstance(response.stream, httpx.AsyncByteStream)
    return b"".join([piece async for piece in response.stream])


class Sender:
    """An AsyncSender without its `await`s; run drives a coroutine to its end."""

    def __init__(
        self, asynchronous: AsyncSender, run: Callable[[Coroutine[Any, Any, Any]], Any] = run_without_loop
    ) -> None:
        self.asynchronous = asynchronous
        self.run = run

    @property
    def transport(self) -> httpx.AsyncBaseTransport:
        return self.asynchronous.transport

    @property
    def blocks(self) -> bool:
        return self.run is run_without_loop

    def open(self, url: str, *body: Any, **extensions: Any) -> httpx.Response:
        response = self.run(self.asynchronous.open(url, *body, **extensions))
        assert isinstance(response, httpx.Response)
        return response

    def __call__(self, url: str, *body: Any, **extensions: Any) -> tuple[int, bytes]:
        status, data = self.run(self.asynchronous(url, *body, **extensions))
        return status, data

    def at_once(self, count: int, url: str, *body: Any) -> list[tuple[int, bytes]]:
        """The replies to `count` requests that are sent at the same time."""
        replies: list[tuple[int, bytes]] = self.run(self.asynchronous.at_once(count, url, *body))
        return replies

    def read(self, response: httpx.Response) -> bytes:
        data = self.run(read(response))
        assert isinstance(data, bytes)
        return data

    def next(self, pieces: Any) -> bytes | None:
        """The next piece of a stream, None at its end."""

        async def piece() -> bytes | None:
            return await anext(pieces, None)

        data: bytes | None = self.run(piece())
        return data

    def close(self, response: httpx.Response | None = None) -> None:
        """Close a reply, or else the transport."""
        self.run((response or self.transport).aclose())

    def until(self, condition: Callable[[], object], limit_s: float = PATIENCE_S) -> None:
        """Wait for an event in the server's thread, or in the loop."""
        end = time.monotonic() + limit_s
        while not condition():
            if time.monotonic() > end:
                raise TimeoutError("the condition of the test did not become true")
            self.pause(0.001)

    def pause(self, seconds: float) -> None:
        """Let time pass, in the loop if there is one."""
        if self.blocks:
            time.sleep(seconds)
        else:
            self.run(asyncio.sleep(seconds))

    @property
    def links(self) -> set[Any]:
        return self.asynchronous.links

    @property
    def held(self) -> int:
        return self.asynchronous.held

    @property
    def idle(self) -> int:
        return self.asynchronous.idle


@contextmanager
def event_loop() -> Iterator[Callable[[Coroutine[Any, Any, Any]], Any]]:
    """A function that runs a coroutine in one loop. No task and no exception may be left at its end."""
    stray: list[dict[str, Any]] = []

    async def limited(coroutine: Coroutine[Any, Any, Any]) -> Any:
        async with asyncio.timeout(PATIENCE_S):
            return await coroutine

    async def clean() -> None:
        assert asyncio.all_tasks() == {asyncio.current_task()}

    try:
        with asyncio.Runner() as runner:
            runner.get_loop().set_exception_handler(lambda _, context: stray.append(context))
            yield lambda coroutine: runner.run(limited(coroutine))
            runner.run(clean())
    finally:
        collect_garbage()
        assert stray == []


def run(main: Callable[[AsyncSender], Coroutine[Any, Any, T]], ssl_context: Any = None, **options: Any) -> T:
    """The result of main(sender of a pool), when nothing is left: no place, no socket, no exception."""

    async def whole() -> T:
        send = AsyncSender(PoolTransport(ssl_context or client_context, **options))
        try:
            result = await main(send)
        finally:
            await send.transport.aclose()
        assert send.held == send.idle == 0, (send.held, send.idle)
        return result

    with event_loop() as run_in_loop:
        result: T = run_in_loop(whole())
        return result


def client_context() -> ssl.SSLContext:
    return loopback.tls_contexts().client


async def until(condition: Callable[[], object], limit_s: float = PATIENCE_S) -> None:
    """Wait for an event in another thread, or on another connection."""
    end = time.monotonic() + limit_s
    while not condition():
        if time.monotonic() > end:
            raise TimeoutError("the condition of the test did not become true")
        await asyncio.sleep(0.001)


async def turns(count: int, pause_s: float = 0.0) -> None:
    """Let the loop turn `count` times, and give the server's thread some time before each turn."""
    for _ in range(count):
        if pause_s:
            time.sleep(pause_s)  # the loop is to stand still
        await asyncio.sleep(0)
