"""Many requests at a time under asyncio, behind httpx's interface: connections are kept and shared.

places.py says who may have a connection, connect.py opens one, link.py is one. httpx's own pool goes
through all its connections at each step: 256 requests at a time keep it busy for ever.
Proxies are not for here, see client.py.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from typing import TYPE_CHECKING

from chatpipe.wire.connect import Dialler
from chatpipe.wire.http1 import WRITE_BYTES, Head, outgoing, request_head
from chatpipe.wire.link import Link
from chatpipe.wire.origin import Origin, origin_of
from chatpipe.wire.places import Places
from chatpipe.wire.timeouts import IDLE_S, Waits

import httpx  # isort: skip - after chatpipe.wire, which keeps httpx's own command line out

if TYPE_CHECKING:
    from chatpipe.wire.origin import Context

_CLOSED = "the transport was closed"


class PoolTransport(httpx.AsyncBaseTransport):
    """Any number of requests at a time, max_connections of them on their way, the others in line.

    A reply that is not long and comes in one piece anyway (it is there with its head, or it has a
    Content-Length, or is JSON) is waited for: its stream is an httpx.ByteStream, to be joined
    without a loop, and its connection is free already. Any other reply is handed over at its head.
    It keeps its place until it is read to the end or closed.

    ssl_context is asked for at the first https URL; None is Python's default. idle_s is how long a
    connection is kept for the next request. For one event loop; not to be used after aclose().
    """

    def __init__(
        self,
        ssl_context: Context | None = None,
        *,
        max_connections: int | None = None,
        idle_s: float = IDLE_S,
    ) -> None:
        self._dialler = Dialler(ssl_context)
        self._places = Places(max_connections, idle_s)
        self._heads = _Heads()
        self._links: set[Link] = set()
        self._closed = False

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        """The reply, its head read. Raises httpx.TransportError, with the OSError as its cause."""
        if self._closed:
            raise RuntimeError(_CLOSED)
        waits = Waits.of(request)
        if waits.deadline is not None and time.monotonic() >= waits.deadline:
            raise httpx.ConnectTimeout(waits.why(""))
        origin = Origin(*origin_of(request.url))
        data = self._heads.with_body(request)
        # Only a body that can be sent again may meet a connection that is found to be dead.
        reuse = isinstance(request.stream, httpx.ByteStream)
        limit_s = request.extensions.get("timeout", {}).get("pool")
        link = await self._places.get(origin, reuse, limit_s, waits)
        try:
            if link is not None:
                try:
                    return await self._exchange(link, request, waits, data)
                except (httpx.NetworkError, httpx.RemoteProtocolError):
                    if not link.was_stale:
                        raise
                _drop(link)
            # Not another idle one: when a server restarts, all of them are dead.
            link = await self._open(origin, waits)
            return await self._exchange(link, request, waits, data)
        except BaseException:
            if link is not None:
                _drop(link)
            self._places.give()
            raise

    async def aclose(self) -> None:
        """Close every connection; requests that are on their way or in line end in httpx.CloseError."""
        self._closed = True
        self._places.close(_CLOSED)
        for link in list(self._links):
            link.close(httpx.CloseError(_CLOSED))
        self._dialler.stop()
        # A few turns of the loop; no peer has a say in it.
        while self._links or self._dialler.busy:
            await asyncio.sleep(0)
        for _ in range(3):  # for TLS, its transport and the socket to close one another
            await asyncio.sleep(0)

    async def _open(self, origin: Origin, waits: Waits) -> Link:
        if self._closed:
            raise httpx.CloseError(_CLOSED)
        try:
            link = await self._dialler.open(origin, waits, self._lost)
        except httpx.ConnectTimeout as error:
            if self._closed:
                raise httpx.CloseError(_CLOSED) from error
            raise
        if self._closed:  # in the very moment it was there
            link.close()
            raise httpx.CloseError(_CLOSED)
        self._links.add(link)
        return link

    async def _exchange(
        self, link: Link, request: httpx.Request, waits: Waits, data: bytes | None
    ) -> httpx.Response:
        """With the whole request as data, if it is small."""
        link.begin(request.method, waits, data)
        if data is None:
            await link.send(outgoing(request))
        head = await link.head()
        if not link.reply.done and _comes_whole(head):
            await link.whole()
        stream: httpx.AsyncByteStream
        if link.reply.done:
            stream = httpx.ByteStream(link.reply.take())
            self._finish(link)
        else:
            stream = _Body(link, self._finish)
        return httpx.Response(
            head.status,
            headers=head.headers,
            stream=stream,
            extensions={"http_version": head.http_version, "reason_phrase": head.reason},
            request=request,
        )

    def _finish(self, link: Link) -> None:
        """Keep a connection whose reply was read to its end, close any other."""
        if link.end():
            self._places.keep(link)
        else:
            link.close()
            self._places.give()

    def _lost(self, link: Link) -> None:
        self._links.discard(link)
        self._places.lost(link)


def _drop(link: Link) -> None:
    link.end()
    link.close()


def _comes_whole(head: Head) -> bool:
    """Whether a reply is in one piece for those who make it, so that its head alone is of no use."""
    kind = b""
    has_length = False
    for name, value in head.headers:
        if len(name) == 12 and name.lower() == b"content-type":
            kind = value.partition(b";")[0].strip().lower()
        elif len(name) == 14 and name.lower() == b"content-length":
            has_length = True
    return kind == b"application/json" or (has_length and kind != b"text/event-stream")


class _Heads:
    """The bytes of requests. In a batch all heads but for their lengths are alike: made once, 6 us less."""

    def __init__(self) -> None:
        self._like: object = None
        self._start = b""

    def with_body(self, request: httpx.Request) -> bytes | None:
        """The whole request, None if it is not small or its body comes in pieces."""
        if not isinstance(request.stream, httpx.ByteStream):
            return None
        body = b"".join(request.stream)
        if len(body) > WRITE_BYTES:
            return None
        return self._head(request, len(body)) + body

    def _head(self, request: httpx.Request, size: int) -> bytes:
        url = request.url
        # Values, not objects: httpx.Request copies headers and URL, and headers can be changed.
        like = (request.method, url.raw_host, url.port, url.raw_path, request.headers.raw)
        ending = b"Content-Length: %d\r\n\r\n" % size
        if like == self._like and size:
            return self._start + ending
        head = request_head(request, size)
        if head.endswith(ending) and "content-length" not in request.headers:
            self._like, self._start = like, head.removesuffix(ending)
        return head


class _Body(httpx.AsyncByteStream):
    """The body of a reply: what each read of the socket brought, as soon as it is there."""

    def __init__(self, link: Link, finish: Callable[[Link], None]) -> None:
        self._link: Link | None = link
        self._finish = finish

    def __aiter__(self) -> AsyncIterator[bytes]:
        if self._link is None:
            raise httpx.StreamClosed
        return _Pieces(self)

    async def next(self) -> bytes:
        """None is left when it is empty; by then the connection is somebody else's."""
        link = self._link
        if link is None:
            return b""
        try:
            data = await link.piece()
        except BaseException:
            await self.aclose()
            raise
        if not data:
            await self.aclose()
        return data

    async def aclose(self) -> None:
        # Once only: by the second call the connection may be busy with the next request.
        link, self._link = self._link, None
        if link is not None:
            self._finish(link)


class _Pieces:
    """Not an asynchronous generator: one that is left in mid-stream waits for the garbage collector."""

    def __init__(self, body: _Body) -> None:
        self._body = body

    def __aiter__(self) -> _Pieces:
        return self

    async def __anext__(self) -> bytes:
        data = await self._body.next()
        if not data:
            raise StopAsyncIteration
        return data
