"""The sockets of httpcore, with our rules for what is read from them.

httpcore knows no limit of what it receives beside a body, and under asyncio it declares a time-out before it
has looked at the socket once more: see timeouts.extension_s(). Its backends are replaced by these, which
have the same methods and use its own streams.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import httpx

from chatpipe.wire.http1 import BESIDE_BODY_BYTES, OverlongReply, size_text
from chatpipe.wire.timeouts import WaitLimits


class ByteLimit:
    """The bytes of one reply, whatever they are. max_body is the largest body, None for no limit."""

    def __init__(self) -> None:
        self.max_body: int | None = None

    def check(self, received: int) -> None:
        """Raise OverlongReply if a reply has far more bytes than the largest body needs."""
        if self.max_body is None:
            return
        beside = self.max_body + BESIDE_BODY_BYTES
        if received > self.max_body + beside:
            raise OverlongReply(
                f"more than {size_text(beside)} of chunk sizes and extensions", "raise --max-reply"
            )


class BlockingBackend:
    """The backend of a blocking transport."""

    def __init__(self, inner: Any, limit: ByteLimit) -> None:
        self._inner = inner
        self._limit = limit

    def connect_tcp(self, *args: Any, **options: Any) -> _BlockingStream:
        return _BlockingStream(self._inner.connect_tcp(*args, **options), self._limit)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._inner, name)


class _BlockingStream:
    def __init__(self, inner: Any, limit: ByteLimit) -> None:
        self._inner = inner
        self._limit = limit
        self._received = 0

    def read(self, max_bytes: int, timeout: float | None = None) -> bytes:
        data: bytes = self._inner.read(max_bytes, timeout)
        self._received += len(data)
        self._limit.check(self._received)
        return data

    def write(self, buffer: bytes, timeout: float | None = None) -> None:
        self._received = 0  # a request begins, or goes on
        self._inner.write(buffer, timeout)

    def start_tls(self, *args: Any, **options: Any) -> _BlockingStream:
        return _BlockingStream(self._inner.start_tls(*args, **options), self._limit)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._inner, name)


class AsyncioBackend:
    """The backend of a transport under asyncio."""

    def __init__(self, inner: Any, limit: ByteLimit) -> None:
        self._inner = inner
        self._limit = limit

    async def connect_tcp(self, *args: Any, timeout: float | None = None, **options: Any) -> _AsyncioStream:
        async with _patience(timeout, httpx.ConnectTimeout):
            return _AsyncioStream(await self._inner.connect_tcp(*args, **options), self._limit)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._inner, name)


class _AsyncioStream:
    def __init__(self, inner: Any, limit: ByteLimit) -> None:
        self._inner = inner
        self._limit = limit
        self._received = 0

    async def read(self, max_bytes: int, timeout: float | None = None) -> bytes:
        async with _patience(timeout, httpx.ReadTimeout):
            data: bytes = await self._inner.read(max_bytes)
        self._received += len(data)
        self._limit.check(self._received)
        return data

    async def write(self, buffer: bytes, timeout: float | None = None) -> None:
        self._received = 0  # a request begins, or goes on
        async with _patience(timeout, httpx.WriteTimeout):
            await self._inner.write(buffer)

    async def start_tls(self, *args: Any, timeout: float | None = None, **options: Any) -> _AsyncioStream:
        async with _patience(timeout, httpx.ConnectTimeout):
            return _AsyncioStream(await self._inner.start_tls(*args, **options), self._limit)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._inner, name)


@asynccontextmanager
async def _patience(timeout_s: float | None, late: type[httpx.TimeoutException]) -> AsyncIterator[None]:
    """Raise late if the block takes longer. What lies in the sockets is read before."""
    from chatpipe.wire.loop_timeout import loop_timeout  # imports asyncio

    limits = WaitLimits()
    limits.start_wait(timeout_s)
    try:
        async with loop_timeout(limits):
            yield
    except TimeoutError as error:
        raise late("") from error
