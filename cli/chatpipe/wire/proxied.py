"""Through a proxy: httpx's own transports, and so httpcore, made to behave like ours.

One at a time without an event loop, or any number under asyncio: what they are told, and what their
errors mean, is the same.
"""

from __future__ import annotations

import contextlib
import importlib
import os
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AbstractAsyncContextManager
from typing import TYPE_CHECKING, Any, TypeAlias

from chatpipe.errors import BadConfiguration
from chatpipe.wire import redact
from chatpipe.wire.causes import system_error, system_message
from chatpipe.wire.timeouts import DEADLINE, Waits, spell, within

import httpx  # isort: skip - after chatpipe.wire, which keeps httpx's own command line out

if TYPE_CHECKING:
    import ssl

# What ends a step when the deadline comes: httpcore knows no deadlines.
Cutting: TypeAlias = Callable[[Waits], AbstractAsyncContextManager[object]]


def checked(proxy: str, place: str) -> httpx.URL:
    """The URL of a proxy that can be used. Raises BadConfiguration, and shows no password."""
    shown = redact.url(proxy)
    malformed = BadConfiguration(
        f"'{shown}' is not the URL of a proxy", place=place, fix="http://, https:// or socks5://HOST:PORT"
    )
    try:
        url = httpx.URL(proxy)
    except (httpx.InvalidURL, ValueError) as error:
        raise malformed from error
    if not url.host:
        raise BadConfiguration(f"'{shown}' names no host", place=place)
    if url.scheme in ("socks5", "socks5h"):
        try:
            importlib.import_module("socksio")
        except ImportError as error:
            what = f"no support for SOCKS proxies like '{shown}'"
            raise BadConfiguration(what, place=place, fix="install chatpipe[socks]") from error
    elif url.scheme not in ("http", "https"):
        raise malformed
    return url


def one_at_a_time(proxy: httpx.URL, context: ssl.SSLContext | None) -> ProxiedTransport:
    """A transport none of whose awaits suspends; context as in client.tls_context, None for plain http."""
    return ProxiedTransport(_Blocking(httpx.HTTPTransport(**_settings(proxy, context))), _no_cut)


def many(proxy: httpx.URL, context: ssl.SSLContext | None) -> ProxiedTransport:
    """A transport for asyncio. It keeps as many connections as there were requests at a time.

    How many those are is for the caller to limit: httpcore counts a connection whose handshake
    behind the proxy has failed for ever, and would wait for a free one in vain.
    """
    limits = httpx.Limits(max_connections=None, max_keepalive_connections=None)
    transport = httpx.AsyncHTTPTransport(**_settings(proxy, context), limits=limits)
    return ProxiedTransport(transport, _cut_by_asyncio)


def _settings(proxy: httpx.URL, context: ssl.SSLContext | None) -> dict[str, Any]:
    import ssl

    return {
        "proxy": httpx.Proxy(proxy, ssl_context=context if proxy.scheme == "https" else None),
        # Not for use over plain http, but httpx would load certifi's list for it: this one trusts nobody.
        "verify": context or ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT),
    }


def _no_cut(waits: Waits) -> AbstractAsyncContextManager[object]:
    """The time that was left at the start is the longest wait of httpcore: late by that at most."""
    return contextlib.nullcontext()


def _cut_by_asyncio(waits: Waits) -> AbstractAsyncContextManager[object]:
    import asyncio  # one request at a time does without

    return asyncio.timeout(waits.cut(None))


class ProxiedTransport(httpx.AsyncBaseTransport):
    """Puts our deadline and our errors around a transport of httpx's."""

    def __init__(self, transport: httpx.AsyncBaseTransport, cutting: Cutting) -> None:
        self._transport = transport
        self._cutting = cutting

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        """The reply, its head read. Raises httpx.TransportError, with the OSError among its causes."""
        waits = Waits.of(request)
        limited = _limited(request, waits)
        with _retold(waits):
            async with self._cutting(waits):
                response = await self._transport.handle_async_request(limited)
        assert isinstance(response.stream, httpx.AsyncByteStream)
        return httpx.Response(
            response.status_code,
            headers=response.headers,
            stream=_Body(response.stream, waits, self._cutting),
            extensions=response.extensions,
            request=request,
        )

    async def aclose(self) -> None:
        await self._transport.aclose()


def _limited(request: httpx.Request, waits: Waits) -> httpx.Request:
    """A copy with all that httpcore has to be told; the next try needs the time-outs as they were."""
    try:
        limits = {
            "connect": waits.cut(waits.connect),
            "read": waits.cut(waits.read),
            "write": waits.cut(waits.write),
            "pool": None,
        }
    except TimeoutError as error:
        raise httpx.ConnectTimeout(DEADLINE) from error
    limited = httpx.Request(
        request.method,
        request.url,
        headers=request.headers,
        stream=request.stream,
        extensions={**request.extensions, "timeout": limits},
    )
    if isinstance(request.stream, httpx.ByteStream):  # our own transports find that out by themselves
        limited.headers["Content-Length"] = str(sum(map(len, request.stream)))
    return limited


class _Body(httpx.AsyncByteStream):
    def __init__(self, stream: httpx.AsyncByteStream, waits: Waits, cutting: Cutting) -> None:
        self._stream = stream
        self._waits = waits
        self._cutting = cutting

    async def __aiter__(self) -> AsyncIterator[bytes]:
        pieces = aiter(self._stream)
        while True:
            with _retold(self._waits, in_body=True):
                self._waits.cut(None)  # a stream that never pauses ends here
                async with self._cutting(self._waits):
                    data = await anext(pieces, None)
            if data is None:
                return
            yield data

    async def aclose(self) -> None:
        await self._stream.aclose()


@contextlib.contextmanager
def _retold(waits: Waits, *, in_body: bool = False) -> Iterator[None]:
    """What httpcore says in its way, or does not tell apart, as our own transports say it."""
    try:
        yield
    except TimeoutError as error:
        raise httpx.ReadTimeout(DEADLINE) from error
    except httpx.TimeoutException as error:
        raise _timed_out(error, waits) from error
    except httpx.ReadError as error:
        if not in_body:
            raise
        raise httpx.RemoteProtocolError(f"{_said(error)} before the end of the reply") from error
    except httpx.ConnectError as error:
        cause = system_error(error)
        if cause is None or hasattr(cause, "library"):
            raise
        # Only the proxy is connected to; a server behind it fails in its TLS handshake or not here.
        raise httpx.ProxyError(f"the proxy itself cannot be reached: {_said(error)}") from error


def _timed_out(error: httpx.TimeoutException, waits: Waits) -> httpx.TimeoutException:
    if isinstance(error, httpx.ConnectTimeout):
        return httpx.ConnectTimeout(waits.why(f"no connection{within(waits.connect)}"))
    if isinstance(error, httpx.WriteTimeout):
        return httpx.WriteTimeout(waits.why(f"nothing taken for {spell(waits.write)}"))
    return httpx.ReadTimeout(waits.why(f"no byte for {spell(waits.read)}"))


def _said(error: httpx.TransportError) -> str:
    """What the system said, in lower case."""
    cause = _first_cause(error)
    if cause is None:
        return (str(error) or "connection lost").lower()
    # asyncio puts the address where the system's words belong; a name that is not known has no number.
    number = cause.errno or 0
    return (os.strerror(number) if number > 0 else system_message(cause)).lower()


def _first_cause(error: BaseException) -> OSError | None:
    """The OSError that was there first: anyio has one of its own for "all addresses failed"."""
    found = system_error(error)
    while found is not None:
        below = found.__cause__ or found.__context__
        if isinstance(below, BaseExceptionGroup):
            below = below.exceptions[0]
        deeper = system_error(below)
        if deeper is None:
            break
        found = deeper
    return found


class _Blocking(httpx.AsyncBaseTransport):
    """httpx's blocking transport where an asynchronous one is expected."""

    def __init__(self, transport: httpx.HTTPTransport) -> None:
        self._transport = transport

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        response = self._transport.handle_request(request)
        assert isinstance(response.stream, httpx.SyncByteStream)
        return httpx.Response(
            response.status_code,
            headers=response.headers,
            stream=_BlockingBody(response.stream),
            extensions=response.extensions,
        )

    async def aclose(self) -> None:
        self._transport.close()


class _BlockingBody(httpx.AsyncByteStream):
    def __init__(self, stream: httpx.SyncByteStream) -> None:
        self._stream = stream

    async def __aiter__(self) -> AsyncIterator[bytes]:
        for data in self._stream:
            yield data

    async def aclose(self) -> None:
        self._stream.close()
