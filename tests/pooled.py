"""The many-connections transport in tests: a run of an event loop that ends clean, or fails the test."""

from __future__ import annotations

import asyncio
import gc
import ssl
import time
from collections.abc import Awaitable, Callable
from typing import Any, TypeVar

import loopback
from chatpipe.wire.pool import PoolTransport

import httpx  # isort: skip - after chatpipe.wire, which keeps httpx's own command line out

# What pytest and httpx brought is looked at no more: each gc.collect() below takes 1 ms and not 30.
gc.collect()
gc.freeze()

T = TypeVar("T")
LIMITS = {"connect": 10.0, "read": 10.0, "write": 10.0, "pool": 10.0}
_LONGEST_S = 20.0


class Pool:
    """Sends through one transport."""

    def __init__(self, transport: PoolTransport) -> None:
        self.transport = transport

    async def open(
        self, url: str, body: bytes = b"{}", method: str = "POST", **extensions: Any
    ) -> httpx.Response:
        """The reply as the transport gives it. extensions are time-outs by name, and deadline."""
        deadline = extensions.pop("deadline", None)
        request = httpx.Request(
            method,
            url,
            stream=httpx.ByteStream(body),
            extensions={"timeout": {**LIMITS, **extensions}, "deadline": deadline},
        )
        return await self.transport.handle_async_request(request)

    async def __call__(self, url: str, body: bytes = b"{}", **extensions: Any) -> tuple[int, bytes]:
        """Status and body; the reply is closed, however it ends."""
        response = await self.open(url, body, **extensions)
        try:
            return response.status_code, await read(response)
        finally:
            await response.aclose()

    @property
    def held(self) -> int:
        """Places that are taken by requests and idle connections."""
        return self.transport._slots.taken

    @property
    def idle(self) -> int:
        return sum(map(len, self.transport._slots._idle.values()))


async def read(response: httpx.Response) -> bytes:
    assert isinstance(response.stream, httpx.AsyncByteStream)
    return b"".join([piece async for piece in response.stream])


def run(main: Callable[[Pool], Awaitable[T]], ssl_context: Any = None, **options: Any) -> T:
    """The result of main(pool), by when nothing is left: no place, no socket, no exception in a corner."""
    stray: list[dict[str, Any]] = []

    async def whole() -> T:
        asyncio.get_running_loop().set_exception_handler(lambda _, context: stray.append(context))
        pool = Pool(PoolTransport(ssl_context or client_context, **options))
        try:
            async with asyncio.timeout(_LONGEST_S):
                result = await main(pool)
        finally:
            await pool.transport.aclose()
        assert pool.held == pool.idle == 0, (pool.held, pool.idle)
        assert asyncio.all_tasks() == {asyncio.current_task()}
        return result

    try:
        return asyncio.run(whole())
    finally:
        gc.collect()  # a socket left open is a ResourceWarning now, and so an error of the test
        assert stray == []


def client_context() -> ssl.SSLContext:
    return loopback.tls_contexts().client


async def until(condition: Callable[[], object], limit_s: float = 10.0) -> None:
    """Wait for what happens in another thread, or on another connection."""
    end = time.monotonic() + limit_s
    while not condition():
        if time.monotonic() > end:
            raise TimeoutError("what the test waits for did not happen")
        await asyncio.sleep(0.001)


async def turns(count: int, pause_s: float = 0.0) -> None:
    """Let the loop turn so many times, the server's thread being given some time before each."""
    for _ in range(count):
        if pause_s:
            time.sleep(pause_s)  # the loop is to stand still
        await asyncio.sleep(0)
