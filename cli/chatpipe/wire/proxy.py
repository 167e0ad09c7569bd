"""Transports through a proxy: those of httpx (httpcore) with our deadline and our error messages.

One works without an event loop, for one request at a time. The other works under asyncio, for any
number. Both take the same extensions and raise the same errors.
"""

from __future__ import annotations

import contextlib
import importlib
import os
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AbstractAsyncContextManager
from typing import TYPE_CHECKING, Any, TypeAlias

import httpx

from chatpipe.errors import BadConfiguration
from chatpipe.server import redact
from chatpipe.server.request_extensions import MAX_REPLY
from chatpipe.system.causes import root_os_error, system_message
from chatpipe.system.extras import installation
from chatpipe.wire import proxy_refusals
from chatpipe.wire.proxied_streams import AsyncioBackend, BlockingBackend, ByteLimit
from chatpipe.wire.timeouts import DEADLINE_PASSED, Timeouts, WaitLimits, format_seconds, within_text

if TYPE_CHECKING:
    import ssl

# Ends a step at the deadline, because httpcore has no deadlines.
DeadlineGuard: TypeAlias = Callable[[WaitLimits], AbstractAsyncContextManager[object]]


def parse_proxy_url(proxy: str, place: str) -> httpx.URL:
    """Parse a URL of proxies.proxy_for(). Raises BadConfiguration for SOCKS without its package."""
    url = httpx.URL(proxy)
    if _is_socks(url):
        try:
            importlib.import_module("socksio")
        except ImportError as error:
            what = f"no support for SOCKS proxies like '{redact.url(proxy)}'"
            raise BadConfiguration(what, place=place, fix=installation("socks")) from error
    return url


def open_blocking(proxy: httpx.URL, context: ssl.SSLContext | None) -> ProxiedTransport:
    """A transport whose awaits never suspend. context comes from tls.tls_context, None for plain http."""
    transport, limit = httpx.HTTPTransport(**_settings(proxy, context)), ByteLimit()
    _replace_backend(transport, BlockingBackend, limit)
    return ProxiedTransport(_SyncAdapter(transport), _no_guard, limit, is_socks=_is_socks(proxy))


def open_concurrent(proxy: httpx.URL, context: ssl.SSLContext | None) -> ProxiedTransport:
    """A transport for asyncio. It keeps as many connections as there were concurrent requests.

    The caller limits their number. httpcore never stops counting a connection whose handshake
    behind the proxy failed, so its own limit would end in waiting forever.
    """
    limits = httpx.Limits(max_connections=None, max_keepalive_connections=None)
    transport, limit = httpx.AsyncHTTPTransport(**_settings(proxy, context), limits=limits), ByteLimit()
    _replace_backend(transport, AsyncioBackend, limit)
    return ProxiedTransport(transport, _asyncio_guard, limit, is_socks=_is_socks(proxy))


def _is_socks(proxy: httpx.URL) -> bool:
    return proxy.scheme.startswith("socks")


def _replace_backend(transport: Any, backend: Callable[[Any, ByteLimit], object], limit: ByteLimit) -> None:
    """Let the connections of a transport of httpx use this backend.

    httpcore takes one as a parameter of its pools, but httpx has no way to pass it on (0.28).
    """
    pool = transport._pool
    pool._network_backend = backend(pool._network_backend, limit)


def _settings(proxy: httpx.URL, context: ssl.SSLContext | None) -> dict[str, Any]:
    import ssl

    return {
        "proxy": httpx.Proxy(proxy, ssl_context=context if proxy.scheme == "https" else None),
        # Plain http needs none, but httpx would load certifi's list; this context is empty and trusts nobody.
        "verify": context or ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT),
    }


def _no_guard(limits: WaitLimits) -> AbstractAsyncContextManager[object]:
    """No guard: httpcore waits at most for the time left at the start, so it is late by at most that."""
    return contextlib.nullcontext()


def _asyncio_guard(limits: WaitLimits) -> AbstractAsyncContextManager[object]:
    from chatpipe.wire.loop_timeout import loop_timeout  # imports asyncio

    return loop_timeout(limits)


class ProxiedTransport(httpx.AsyncBaseTransport):
    """An httpx transport with our deadline and our errors. limit applies to its replies."""

    def __init__(
        self,
        transport: httpx.AsyncBaseTransport,
        guard: DeadlineGuard,
        limit: ByteLimit | None = None,
        *,
        is_socks: bool = False,
    ) -> None:
        self._transport = transport
        self._is_socks = is_socks
        self._guard = guard
        self._limit = limit or ByteLimit()

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        """Return the reply after its head. Raises httpx.TransportError, with the OSError among its causes."""
        timeouts = Timeouts.of(request)
        limited = _with_time_limits(request, timeouts)
        if not self._is_socks and request.url.scheme == "http":
            # The absolute form of the URL: httpcore (1.0) leaves out the brackets of IPv6.
            limited.extensions["target"] = b"http://%b%b" % (request.url.netloc, request.url.raw_path)
        self._limit.max_body = request.extensions.get(MAX_REPLY)  # the same for all requests
        limits = WaitLimits(timeouts.deadline)
        with _converted_errors(timeouts):
            async with self._guard(limits):
                response = await self._transport.handle_async_request(limited)
        assert isinstance(response.stream, httpx.AsyncByteStream)
        return httpx.Response(
            response.status_code,
            headers=response.headers,
            stream=_ProxiedBody(response.stream, timeouts, limits, self._guard),
            extensions=response.extensions,
            request=request,
        )

    async def aclose(self) -> None:
        await self._transport.aclose()


def _with_time_limits(request: httpx.Request, timeouts: Timeouts) -> httpx.Request:
    """A copy with time-outs for httpcore. The original keeps its time-outs for the next attempt."""
    try:
        limits = {
            "connect": timeouts.capped(timeouts.connect),
            "read": timeouts.capped(timeouts.read),
            "write": timeouts.capped(timeouts.write),
            "pool": None,
        }
    except TimeoutError as error:
        raise httpx.ConnectTimeout(DEADLINE_PASSED) from error
    limited = httpx.Request(
        request.method,
        request.url,
        headers=request.headers,
        stream=request.stream,
        extensions={**request.extensions, "timeout": limits},
    )
    if isinstance(request.stream, httpx.ByteStream):  # our own transports add it themselves
        limited.headers["Content-Length"] = str(sum(map(len, request.stream)))
    return limited


class _ProxiedBody(httpx.AsyncByteStream):
    def __init__(
        self, stream: httpx.AsyncByteStream, timeouts: Timeouts, limits: WaitLimits, guard: DeadlineGuard
    ) -> None:
        self._stream = stream
        self._timeouts = timeouts
        self._limits = limits
        self._guard = guard

    async def __aiter__(self) -> AsyncIterator[bytes]:
        pieces = aiter(self._stream)
        while True:
            with _converted_errors(self._timeouts, in_body=True):
                if self._limits.deadline_has_passed():  # ends a stream that never pauses
                    raise TimeoutError
                async with self._guard(self._limits):
                    data = await anext(pieces, None)
            if data is None:
                return
            yield data

    async def aclose(self) -> None:
        await self._stream.aclose()


@contextlib.contextmanager
def _converted_errors(timeouts: Timeouts, *, in_body: bool = False) -> Iterator[None]:
    """Convert errors of httpcore to those that our own transports raise in the same case."""
    try:
        yield
    except TimeoutError as error:
        raise httpx.ReadTimeout(DEADLINE_PASSED) from error
    except httpx.TimeoutException as error:
        raise _timed_out(error, timeouts) from error
    except httpx.ReadError as error:
        if not in_body:
            raise
        raise httpx.RemoteProtocolError(f"{_system_text(error)} before the end of the reply") from error
    except httpx.ConnectError as error:
        cause = root_os_error(error)
        if cause is None or hasattr(cause, "library"):
            raise
        # Only the proxy gets a TCP connection. A server behind it fails in its TLS handshake or elsewhere.
        raise httpx.ProxyError(f"the proxy itself cannot be reached: {_system_text(error)}") from error
    except Exception as error:
        if type(error).__module__.partition(".")[0] != "socksio":
            raise
        raise httpx.ProxyError(proxy_refusals.NO_SOCKS) from error


def _timed_out(error: httpx.TimeoutException, timeouts: Timeouts) -> httpx.TimeoutException:
    if isinstance(error, httpx.ConnectTimeout):
        return httpx.ConnectTimeout(timeouts.message(f"no connection{within_text(timeouts.connect)}"))
    if isinstance(error, httpx.WriteTimeout):
        return httpx.WriteTimeout(timeouts.message(f"nothing taken for {format_seconds(timeouts.write)}"))
    return httpx.ReadTimeout(timeouts.message(f"no byte for {format_seconds(timeouts.read)}"))


def _system_text(error: httpx.TransportError) -> str:
    """The system's message, in lower case."""
    cause = _first_cause(error)
    if cause is None:
        return (str(error) or "connection lost").lower()
    # asyncio replaces the system's message by the address. An unknown host name has no positive errno.
    errno = cause.errno or 0
    return (os.strerror(errno) if errno > 0 else system_message(cause)).lower()


def _first_cause(error: BaseException) -> OSError | None:
    """The innermost OSError. anyio adds another one for "all addresses failed"."""
    cause = root_os_error(error)
    while cause is not None:
        previous = cause.__cause__ or cause.__context__
        if isinstance(previous, BaseExceptionGroup):
            previous = previous.exceptions[0]
        inner = root_os_error(previous)
        if inner is None:
            break
        cause = inner
    return cause


class _SyncAdapter(httpx.AsyncBaseTransport):
    """A blocking httpx transport behind the asynchronous interface."""

    def __init__(self, transport: httpx.HTTPTransport) -> None:
        self._transport = transport

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        response = self._transport.handle_request(request)
        assert isinstance(response.stream, httpx.SyncByteStream)
        return httpx.Response(
            response.status_code,
            headers=response.headers,
            stream=_SyncBody(response.stream),
            extensions=response.extensions,
        )

    async def aclose(self) -> None:
        self._transport.close()


class _SyncBody(httpx.AsyncByteStream):
    def __init__(self, stream: httpx.SyncByteStream) -> None:
        self._stream = stream

    async def __aiter__(self) -> AsyncIterator[bytes]:
        for data in self._stream:
            yield data

    async def aclose(self) -> None:
        self._stream.close()
