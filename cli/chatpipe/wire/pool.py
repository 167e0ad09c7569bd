"""Connection pool: concurrent requests under asyncio, behind httpx's transport interface.

slots.py limits and queues the requests, connect.py opens connections, connection.py is one of them.
httpx's own pool scans all its connections at each step, and 256 concurrent requests keep it busy
forever. Proxies are not supported here; see proxy.py.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from typing import TYPE_CHECKING

import httpx

from chatpipe.server.request_extensions import DEADLINE, IN_PIECES
from chatpipe.wire.connect import Connector
from chatpipe.wire.connection import PooledConnection
from chatpipe.wire.http1 import WRITE_BYTES, Head, encode_head, encode_request
from chatpipe.wire.kept_connections import accepts_kept, may_repeat
from chatpipe.wire.light_messages import LightRequest, LightResponse
from chatpipe.wire.origin import Origin, origin_of
from chatpipe.wire.slots import ConnectionSlots
from chatpipe.wire.timeouts import MAX_IDLE_S, Timeouts

if TYPE_CHECKING:
    from chatpipe.wire.origin import Context

_CLOSED = "the transport was closed"


class PoolTransport(httpx.AsyncBaseTransport):
    """A transport for any number of requests. max_connections of them run at once; the others queue.

    A short reply in one piece is awaited completely: one that arrives with its head, or, without the
    extension IN_PIECES, has a Content-Length or is JSON. Its stream is an httpx.ByteStream, which can
    be joined without an event loop, and its connection is already free. Any other reply is returned
    after its head and holds its slot until it is read to the end or closed.

    A callable ssl_context runs at the first https URL; None means Python's default. An idle
    connection is kept for idle_s. The transport serves one event loop and is unusable after
    aclose().
    """

    def __init__(
        self,
        ssl_context: Context | None = None,
        *,
        max_connections: int | None = None,
        idle_s: float = MAX_IDLE_S,
    ) -> None:
        self._dialler = Connector(ssl_context)
        self._slots = ConnectionSlots(max_connections, idle_s)
        self._shared = _SharedParts()
        self._links: set[PooledConnection] = set()
        self._closed = False

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        """Return the reply after its head. Raises httpx.TransportError, with the OSError as its cause."""
        if self._closed:
            raise RuntimeError(_CLOSED)
        timeouts = self._shared.timeouts(request)
        if timeouts.deadline is not None and time.monotonic() >= timeouts.deadline:
            raise httpx.ConnectTimeout(timeouts.message(""))
        origin = self._shared.origin(request)
        data = self._shared.encode(request)
        reuse = accepts_kept(request)
        link = self._slots.take_idle(origin) if reuse else None
        if link is None:
            link = await self._slots.acquire(origin, reuse, timeouts)
        if link is not None and not link.is_clean():
            link.close()
            link = None
        try:
            if link is not None:
                try:
                    return await self._exchange(link, request, timeouts, data)
                except (httpx.NetworkError, httpx.RemoteProtocolError):
                    if not (link.is_stale_failure and may_repeat(request, was_sent=link.was_sent)):
                        raise
                _drop(link)
            # Do not try another idle connection: after a server restart all of them are dead.
            link = await self._open(origin, timeouts)
            return await self._exchange(link, request, timeouts, data)
        except BaseException:
            if link is not None:
                _drop(link)
            self._slots.release()
            raise

    async def aclose(self) -> None:
        """Close every connection. Requests in flight or in the queue end in httpx.CloseError."""
        self._closed = True
        self._slots.close(_CLOSED)
        for link in list(self._links):
            link.close(httpx.CloseError(_CLOSED))
        self._dialler.stop()
        # Takes a few iterations of the event loop; no peer can delay it.
        while self._links or self._dialler.busy:
            await asyncio.sleep(0)
        for _ in range(3):  # TLS, its transport and the socket close one another in turn
            await asyncio.sleep(0)

    async def _open(self, origin: Origin, timeouts: Timeouts) -> PooledConnection:
        if self._closed:
            raise httpx.CloseError(_CLOSED)
        try:
            link = await self._dialler.open(origin, timeouts, self._connection_lost)
        except httpx.ConnectTimeout as error:
            if self._closed:
                raise httpx.CloseError(_CLOSED) from error
            raise
        if self._closed:  # closed at the moment the connection was ready
            link.close()
            raise httpx.CloseError(_CLOSED)
        self._links.add(link)
        return link

    async def _exchange(
        self, link: PooledConnection, request: httpx.Request, timeouts: Timeouts, data: bytes | None
    ) -> httpx.Response:
        """Send the request and return the reply. data is the whole request if it is small, else None."""
        reply = link.start_exchange(request, timeouts, data)
        if data is None:
            await link.send(encode_request(request))
        head = await link.read_head()
        if not reply.done and _is_single_piece(head) and not request.extensions.get(IN_PIECES):
            await link.wait_until_complete()
        stream: httpx.AsyncByteStream
        if reply.done:
            stream = httpx.ByteStream(reply.take_body())
            self._finish(link)
        else:
            stream = _PooledBody(link, self._finish)
        extensions = {"http_version": head.http_version, "reason_phrase": head.reason}
        return LightResponse(head.status, head.headers, stream, request, extensions)

    def _finish(self, link: PooledConnection) -> None:
        """Keep the connection if its reply was read to the end, else close it."""
        if link.finish_exchange():
            self._slots.release_connection(link)
        else:
            link.close()
            self._slots.release()

    def _connection_lost(self, link: PooledConnection) -> None:
        self._links.discard(link)
        self._slots.connection_lost(link)


def _drop(link: PooledConnection) -> None:
    link.finish_exchange()
    link.close()


def _is_single_piece(head: Head) -> bool:
    """True if the server produces the body in one piece, so that the head alone is of no use."""
    content_type = b""
    has_length = False
    for name, value in head.headers:
        if len(name) == 12 and name.lower() == b"content-type":
            content_type = value.partition(b";")[0].strip().lower()
        elif len(name) == 14 and name.lower() == b"content-length":
            has_length = True
    return content_type == b"application/json" or (has_length and content_type != b"text/event-stream")


class _SharedParts:
    """The parts that a request shares with the one before it, made once for both. In a run nearly all do."""

    def __init__(self) -> None:
        self._limits: object = None
        self._timeouts = Timeouts(None, None, None, None)
        self._url: httpx.URL | None = None
        self._origin: Origin
        self._head_of: tuple[httpx.URL, httpx.Headers] | None = None
        self._head_start = b""  # up to the length of the body

    def timeouts(self, request: httpx.Request) -> Timeouts:
        limits, deadline = request.extensions.get("timeout"), request.extensions.get(DEADLINE)
        if limits is not self._limits or deadline != self._timeouts.deadline:
            self._limits, self._timeouts = limits, Timeouts.of(request)
        return self._timeouts

    def origin(self, request: httpx.Request) -> Origin:
        if request.url is not self._url:
            self._url, self._origin = request.url, origin_of(request.url)
        return self._origin

    def encode(self, request: httpx.Request) -> bytes | None:
        """The bytes of the whole request, or None if it is large or its body arrives in pieces."""
        if type(request) is LightRequest:
            size = len(request.body)
            if size > WRITE_BYTES:
                return None
            return b"%b%d\r\n\r\n%b" % (self._start_of_head(request), size, request.body)
        if not isinstance(request.stream, httpx.ByteStream):
            return None
        body = b"".join(request.stream)
        return None if len(body) > WRITE_BYTES else encode_head(request, len(body)) + body

    def _start_of_head(self, request: LightRequest) -> bytes:
        shared = self._head_of
        if shared is None or request.url is not shared[0] or request.headers is not shared[1]:
            self._head_start = encode_head(request, 0).removesuffix(b"0\r\n\r\n")
            self._head_of = request.url, request.headers
        return self._head_start


class _PooledBody(httpx.AsyncByteStream):
    """A reply body as a stream. Each read of the socket is passed on at once."""

    def __init__(self, link: PooledConnection, finish: Callable[[PooledConnection], None]) -> None:
        self._link: PooledConnection | None = link
        self._finish = finish

    def __aiter__(self) -> AsyncIterator[bytes]:
        if self._link is None:
            raise httpx.StreamClosed
        return _BodyIterator(self)

    async def next(self) -> bytes:
        """The next bytes, empty at the end. By then another request may own the connection."""
        link = self._link
        if link is None:
            return b""
        try:
            data = await link.read_body()
        except BaseException:
            await self.aclose()
            raise
        if not data:
            await self.aclose()
        return data

    async def aclose(self) -> None:
        # Only once: at a second call the connection may already serve the next request.
        link, self._link = self._link, None
        if link is not None:
            self._finish(link)


class _BodyIterator:
    """The iterator of a body.

    Not an asynchronous generator: one that is left in mid-stream waits for the garbage collector.
    """

    def __init__(self, body: _PooledBody) -> None:
        self._body = body

    def __aiter__(self) -> _BodyIterator:
        return self

    async def __anext__(self) -> bytes:
        data = await self._body.next()
        if not data:
            raise StopAsyncIteration
        return data
