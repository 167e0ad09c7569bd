"""The sockets of httpcore, with our rules for what is read from them.

httpcore knows no limit of what it receives besides a body, and under asyncio it declares a time-out before it
has looked at the socket once more: see timeouts.extension_s(). While a proxy opens the way to a server it
waits as long as for an answer (CONNECT) or forever (SOCKS), takes a proxy that hangs up for the server, and
leaves the socket open after a SOCKS or TLS handshake that failed. Its backends are replaced by these, which
have the same methods and use its own streams.
"""

from __future__ import annotations

import re
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from typing import Any

import httpcore
import httpx

from chatpipe.system.causes import root_os_error, system_message
from chatpipe.wire import proxy_refusals
from chatpipe.wire.http1 import BESIDE_BODY_BYTES, OverlongReply, size_text
from chatpipe.wire.timeouts import ONE_LOOK_S, WaitLimits

# The time-out of a step that is given none: only the SOCKS handshake of httpcore has such steps.
_NONE_GIVEN: Any = object()


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


class ProxyHandshake:
    """The steps in which a proxy opens the way to a server. They end when the time to connect is over."""

    def __init__(self, connect_s: float | None) -> None:
        self._ends_at = None if connect_s is None else time.monotonic() + connect_s
        self._asked = b""  # what the proxy has to answer, empty outside these steps
        self._is_first = False
        self._is_late_at_end = False  # the time to connect is over before the time-out of the step
        self.is_socks = False

    def begin(self, data: bytes, timeout: float | None) -> bytes:
        """Note what is written, and return it as it should be."""
        if not data:  # the end of a request without a body
            return data
        self._is_first = True
        self.is_socks = timeout is _NONE_GIVEN
        is_step = self.is_socks or data.startswith(b"CONNECT ")
        self._asked = data if is_step else b""
        return data if self.is_socks else _with_brackets(data)

    def time_limit(self, timeout: float | None) -> float | None:
        """Seconds that the next step may take. timeout is what httpcore passes, for all other steps."""
        if not self._asked or self._ends_at is None:
            return None if timeout is _NONE_GIVEN else timeout
        # At 0 a socket would not wait at all, and fail with EAGAIN in place of a time-out.
        left_s = max(ONE_LOOK_S, self._ends_at - time.monotonic())
        self._is_late_at_end = timeout is _NONE_GIVEN or timeout is None or left_s < timeout
        return left_s if self._is_late_at_end else timeout

    def check(self, data: bytes) -> None:
        """Raise ProxyError for the answer of a proxy that opens no way, or that is none."""
        if not self._asked:
            return
        if not data:
            raise httpx.ProxyError(proxy_refusals.HUNG_UP)
        if self.is_socks:
            if refusal := proxy_refusals.socks_refusal(self._asked, data):
                raise httpx.ProxyError(refusal)
        elif self._is_first and not data.startswith(b"H"):
            raise httpx.ProxyError(proxy_refusals.NO_HTTP)
        self._is_first = False

    @contextmanager
    def faults(self) -> Iterator[None]:
        """Convert faults of the steps to those of the proxy. Others are left alone."""
        try:
            yield
        except (httpcore.TimeoutException, httpx.TimeoutException) as error:
            if not self._asked or not self._is_late_at_end:
                raise
            raise httpx.ConnectTimeout("") from error
        except httpcore.NetworkError as error:
            if not self._asked:
                raise
            raise httpx.ProxyError(f"{system_message(root_os_error(error)).lower()}") from error


def _with_brackets(data: bytes) -> bytes:
    """The head of a CONNECT with an IPv6 address in brackets, as RFC 3986, 3.2.2 wants it.

    httpcore (1.0) leaves them out there and in its Host.
    """
    found = re.match(rb"CONNECT ([^\s/\[]*:[^\s/\[]*:[^\s/\[]*)", data)
    if found is None:
        return data
    host, _, port = found[1].rpartition(b":")
    return data.replace(found[1], b"[%b]:%b" % (host, port), 2)


class BlockingBackend:
    """The backend of a blocking transport."""

    def __init__(self, inner: Any, limit: ByteLimit) -> None:
        self._inner = inner
        self._limit = limit

    def connect_tcp(self, *args: Any, timeout: float | None = None, **options: Any) -> _BlockingStream:
        handshake = ProxyHandshake(timeout)
        stream = self._inner.connect_tcp(*args, timeout=timeout, **options)
        return _BlockingStream(stream, self._limit, handshake)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._inner, name)


class _BlockingStream:
    def __init__(self, inner: Any, limit: ByteLimit, handshake: ProxyHandshake) -> None:
        self._inner = inner
        self._limit = limit
        self._handshake = handshake
        self._received = 0

    def read(self, max_bytes: int, timeout: float | None = _NONE_GIVEN) -> bytes:
        with self._closed_after_faults():
            data: bytes = self._inner.read(max_bytes, self._handshake.time_limit(timeout))
            self._handshake.check(data)
        self._received += len(data)
        self._limit.check(self._received)
        return data

    def write(self, buffer: bytes, timeout: float | None = _NONE_GIVEN) -> None:
        self._received = 0  # a request begins, or goes on
        buffer = self._handshake.begin(buffer, timeout)
        with self._closed_after_faults():
            self._inner.write(buffer, self._handshake.time_limit(timeout))

    @contextmanager
    def _closed_after_faults(self) -> Iterator[None]:
        try:
            with self._handshake.faults():
                yield
        except BaseException:
            if self._handshake.is_socks:
                self._inner.close()
            raise

    def start_tls(
        self, ssl_context: Any, server_hostname: str | None = None, timeout: float | None = None
    ) -> _BlockingStream:
        stream = self._inner.start_tls(ssl_context, server_hostname, timeout)
        return _BlockingStream(stream, self._limit, ProxyHandshake(timeout))

    def __getattr__(self, name: str) -> Any:
        return getattr(self._inner, name)


class AsyncioBackend:
    """The backend of a transport under asyncio."""

    def __init__(self, inner: Any, limit: ByteLimit) -> None:
        self._inner = inner
        self._limit = limit

    async def connect_tcp(self, *args: Any, timeout: float | None = None, **options: Any) -> _AsyncioStream:
        handshake = ProxyHandshake(timeout)
        async with _patience(timeout, httpx.ConnectTimeout):
            return _AsyncioStream(await self._inner.connect_tcp(*args, **options), self._limit, handshake)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._inner, name)


class _AsyncioStream:
    def __init__(self, inner: Any, limit: ByteLimit, handshake: ProxyHandshake) -> None:
        self._inner = inner
        self._limit = limit
        self._handshake = handshake
        self._received = 0

    async def read(self, max_bytes: int, timeout: float | None = _NONE_GIVEN) -> bytes:
        async with self._closed_after_faults():
            async with _patience(self._handshake.time_limit(timeout), httpx.ReadTimeout):
                data: bytes = await self._inner.read(max_bytes)
            self._handshake.check(data)
        self._received += len(data)
        self._limit.check(self._received)
        return data

    async def write(self, buffer: bytes, timeout: float | None = _NONE_GIVEN) -> None:
        self._received = 0  # a request begins, or goes on
        buffer = self._handshake.begin(buffer, timeout)
        limit_s = self._handshake.time_limit(timeout)
        async with self._closed_after_faults(), _patience(limit_s, httpx.WriteTimeout):
            await self._inner.write(buffer)

    @asynccontextmanager
    async def _closed_after_faults(self) -> AsyncIterator[None]:
        try:
            with self._handshake.faults():
                yield
        except BaseException:
            if self._handshake.is_socks:
                await self._inner.aclose()
            raise

    async def start_tls(
        self, ssl_context: Any, server_hostname: str | None = None, timeout: float | None = None
    ) -> _AsyncioStream:
        try:
            async with _patience(timeout, httpx.ConnectTimeout):
                stream = await self._inner.start_tls(ssl_context, server_hostname)
        except BaseException:
            await self._inner.aclose()
            raise
        return _AsyncioStream(stream, self._limit, ProxyHandshake(timeout))

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
