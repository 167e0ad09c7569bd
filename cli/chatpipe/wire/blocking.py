"""One request at a time over a blocking socket, behind httpx's interface for asynchronous transports.

No await in here ever suspends, so a coroutine that awaits nothing else is driven to its end by one
`send(None)`, without an event loop: asyncio costs a one-shot command twice the start-up of Python.
Proxies are not for here, see client.py.
"""

from __future__ import annotations

import select
import socket
import time
from collections.abc import AsyncIterator, Callable
from typing import TYPE_CHECKING

import httpx

from chatpipe.wire.causes import system_message
from chatpipe.wire.http1 import READ_BYTES, WRITE_BYTES, ReplyParser, outgoing
from chatpipe.wire.origin import origin_of
from chatpipe.wire.timeouts import IDLE_S, RACE_S, Waits, spell, within

if TYPE_CHECKING:
    import ssl

    from chatpipe.wire.origin import Context


class BlockingTransport(httpx.AsyncBaseTransport):
    """Each request on a connection of its own, or on the last one if that is still good.

    ssl_context is asked for at the first https URL; None is Python's default. aclose() closes
    whatever is open, also after KeyboardInterrupt in the middle of a wait.
    """

    def __init__(self, ssl_context: Context | None = None) -> None:
        self._ssl_context = ssl_context
        self._links: set[_Link] = set()
        self._idle: _Link | None = None

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        """The reply, its head read. Raises httpx.TransportError, with the OSError as its cause."""
        waits = Waits.of(request)
        link = self._take_idle(request)
        if link is not None:
            try:
                return await self._exchange(link, request, waits)
            except (httpx.NetworkError, httpx.RemoteProtocolError):
                if not link.was_stale:
                    raise
        link = self._connect(request.url, waits)
        return await self._exchange(link, request, waits)

    async def aclose(self) -> None:
        self._idle = None
        for link in list(self._links):
            self._close(link)

    def _take_idle(self, request: httpx.Request) -> _Link | None:
        """The kept connection if it leads there and is clean; else it is closed."""
        link, self._idle = self._idle, None
        if link is None:
            return None
        # Only a body that can be sent again may meet a connection that is found to be dead.
        if isinstance(request.stream, httpx.ByteStream) and link.leads_to(request.url) and link.is_clean():
            return link
        self._close(link)
        return None

    def _connect(self, url: httpx.URL, waits: Waits) -> _Link:
        if url.scheme not in ("http", "https"):
            raise httpx.UnsupportedProtocol(f"'{url.scheme}' is not http or https")
        link = _Link(url)
        self._links.add(link)
        try:
            until = None if waits.connect is None else time.monotonic() + waits.connect
            link.connect(waits, until)
            if url.scheme == "https":
                link.start_tls(self._context(), waits, until)
        except BaseException:
            self._close(link)
            raise
        return link

    def _context(self) -> ssl.SSLContext:
        context = self._ssl_context
        if context is None:
            import ssl  # for https only: 7 ms

            context = ssl.create_default_context()
        elif callable(context):
            context = context()
        self._ssl_context = context
        return context

    async def _exchange(self, link: _Link, request: httpx.Request, waits: Waits) -> httpx.Response:
        try:
            reply = link.begin(request.method, waits)
            unsent = None
            async for data in outgoing(request):
                unsent = link.send(data)
                if unsent is not None:
                    break
            try:
                while reply.head is None:
                    link.receive()
            except httpx.TransportError:
                if unsent is None:
                    raise
                raise httpx.WriteError(system_message(unsent)) from unsent
        except BaseException:
            self._close(link)
            raise
        return httpx.Response(
            reply.head.status,
            headers=reply.head.headers,
            stream=_Body(link, self._finish),
            extensions={"http_version": reply.head.http_version, "reason_phrase": reply.head.reason},
            request=request,
        )

    def _finish(self, link: _Link) -> None:
        """Keep a connection whose reply was read to its end, close any other."""
        if link not in self._links or not link.is_reusable():
            self._close(link)
            return
        if self._idle is not None:
            self._close(self._idle)
        link.idle_since = time.monotonic()
        self._idle = link

    def _close(self, link: _Link) -> None:
        link.close()
        self._links.discard(link)


class _Body(httpx.AsyncByteStream):
    """The body of a reply: what each read of the socket brought, as soon as it is there."""

    def __init__(self, link: _Link, finish: Callable[[_Link], None]) -> None:
        self._link: _Link | None = link
        self._finish = finish

    async def __aiter__(self) -> AsyncIterator[bytes]:
        link = self._link
        if link is None:
            raise httpx.StreamClosed
        reply = link.reply
        try:
            while True:
                data = reply.take()
                if data:
                    yield data
                if reply.done:
                    break
                link.receive()
        finally:
            # Also when the caller breaks off, or Ctrl-C comes: then the reply is not done.
            await self.aclose()

    async def aclose(self) -> None:
        # Once only: by the second call the connection may be busy with the next request.
        link, self._link = self._link, None
        if link is not None:
            self._finish(link)


class _Link:
    """A socket to one origin, and the reply it is bringing. OSErrors come out as httpx's classes."""

    def __init__(self, url: httpx.URL) -> None:
        self.idle_since = 0.0
        self.reply = ReplyParser()
        self._scheme, self._host, self._port = origin_of(url)
        self._socket: socket.socket | None = None
        self._waits = Waits(None, None, None, None)
        self._sent_all = False
        self._sent_at = 0.0
        # What a socket that does not block raises instead; start_tls() adds OpenSSL's two.
        self._would_block: tuple[type[OSError], ...] = (BlockingIOError,)

    def connect(self, waits: Waits, until: float | None) -> None:
        """Try every address of the host in turn, until one takes the connection.

        Each gets an equal share of the time that is left, so that a first address that swallows
        packets does not eat up the time of a good second. The first failure is the one reported.
        """
        try:
            # Bytes: a str would import Python's idna codec and its tables, and it is ASCII already.
            addresses = socket.getaddrinfo(self._host, self._port, type=socket.SOCK_STREAM)
        except (OSError, UnicodeError) as error:
            raise httpx.ConnectError(system_message(error)) from error
        failure: OSError | None = None
        for tried, (family, kind, protocol, _, address) in enumerate(addresses):
            try:
                self._socket = socket.socket(family, kind, protocol)
                self._socket.settimeout(waits.cut(_left(until, len(addresses) - tried)))
                self._socket.connect(address)
                self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            except OSError as error:
                self.close()
                failure = failure or error
            else:
                return
        if isinstance(failure, TimeoutError):
            raise httpx.ConnectTimeout(waits.why(f"no connection{within(waits.connect)}")) from failure
        raise httpx.ConnectError(system_message(failure)) from failure

    def start_tls(self, context: ssl.SSLContext, waits: Waits, until: float | None) -> None:
        import ssl

        assert self._socket is not None
        self._would_block = (BlockingIOError, ssl.SSLWantReadError, ssl.SSLWantWriteError)
        try:
            # The handshake is made below: made in wrap_socket, Ctrl-C would leave an open socket
            # that nobody holds. Bytes: see connect().
            name = self._host.rstrip(b".")
            self._socket = context.wrap_socket(
                self._socket, server_hostname=name, do_handshake_on_connect=False
            )
            self._socket.settimeout(waits.cut(_left(until)))
            self._socket.do_handshake()
        except TimeoutError as error:
            raise httpx.ConnectTimeout(waits.why(f"no TLS handshake{within(waits.connect)}")) from error
        except (OSError, ValueError) as error:  # ValueError: a host name that no certificate can have
            raise httpx.ConnectError(system_message(error)) from error

    def begin(self, method: str, waits: Waits) -> ReplyParser:
        self._waits = waits
        self.reply = ReplyParser(method)
        return self.reply

    def send(self, data: bytes) -> OSError | None:
        """Send all of data, or return why the rest stays unsent.

        That is: the peer listens no more, or has answered already. Then the reply, if there is
        one, is what counts.
        """
        assert self._socket is not None
        self._sent_all = False
        view = memoryview(data)
        try:
            self._socket.settimeout(self._waits.cut(self._waits.write))
            view = view[self._socket.send(view[:WRITE_BYTES]) :]
            while view:
                can_read, can_write = self._wait_to_write()
                if can_read and self._hear():
                    return ConnectionAbortedError("the server answered before it had all")
                if can_write:
                    view = view[self._send_now(view[:WRITE_BYTES]) :]
        except TimeoutError as error:
            text = self._waits.why(f"nothing taken for {spell(self._waits.write)}")
            raise httpx.WriteTimeout(text) from error
        except OSError as error:
            return error
        self._sent_all = True
        self._sent_at = time.monotonic()
        return None

    def receive(self) -> None:
        """Wait for more of the reply and feed it."""
        assert self._socket is not None
        try:
            self._socket.settimeout(self._waits.cut(self._waits.read))
            data = self._socket.recv(READ_BYTES)
        except TimeoutError as error:
            text = self._waits.why(f"no byte for {spell(self._waits.read)}")
            raise httpx.ReadTimeout(text) from error
        except OSError as error:
            if self.reply.head is None:
                raise httpx.ReadError(system_message(error)) from error
            # However it ends early, with a reset or in good manners, it is a broken answer.
            raise httpx.RemoteProtocolError(f"{system_message(error)} before the end of the reply") from error
        self._feed(data)

    def leads_to(self, url: httpx.URL) -> bool:
        return origin_of(url) == (self._scheme, self._host, self._port)

    def is_clean(self) -> bool:
        """Whether the idle connection is fresh, and nothing came: neither bytes nor a close."""
        return time.monotonic() - self.idle_since < IDLE_S and not self._poll(select.POLLIN, 0)

    @property
    def was_stale(self) -> bool:
        """Whether it broke as an idle one does that the server closes just as we write to it.

        That is: without a byte of reply, and at once or before the server had the whole request.
        """
        at_once = time.monotonic() - self._sent_at < RACE_S
        return not self.reply.started and (at_once or not self._sent_all)

    def is_reusable(self) -> bool:
        return self._sent_all and self.reply.reusable

    def close(self) -> None:
        if self._socket is not None:
            self._socket.close()

    def _feed(self, data: bytes) -> None:
        if data:
            self.reply.feed(data)
        else:
            self.reply.eof()

    def _wait_to_write(self) -> tuple[bool, bool]:
        """Wait until the socket can be read or written: which of them."""
        events = self._poll(select.POLLIN | select.POLLOUT, self._waits.cut(self._waits.write))
        if not events:
            raise TimeoutError
        return bool(events & ~select.POLLOUT), bool(events & select.POLLOUT)

    def _send_now(self, view: memoryview) -> int:
        assert self._socket is not None
        self._socket.settimeout(0)
        try:
            return self._socket.send(view)
        except self._would_block:
            return 0

    def _hear(self) -> bool:
        """Read what is there while we are still writing: whether writing on is of no use.

        An error reply is; 100 Continue is not, nor what TLS sends of its own, nor a 200 that
        begins before the request was read to its end.
        """
        assert self._socket is not None
        self._socket.settimeout(0)
        try:
            self._feed(self._socket.recv(READ_BYTES))
        except self._would_block:
            return False
        head = self.reply.head
        return self.reply.done or (head is not None and head.status >= 400)

    def _poll(self, events: int, limit: float | None) -> int:
        """The events that are there within limit seconds, 0 for none."""
        assert self._socket is not None
        # Not select(): that fails on descriptors above 1,023.
        poll = select.poll()
        poll.register(self._socket, events)
        ready = poll.poll(None if limit is None else limit * 1000)
        return ready[0][1] if ready else 0


def _left(until: float | None, shares: int = 1) -> float | None:
    """The seconds until then, or one of so many equal shares of them. Raises TimeoutError at 0."""
    if until is None:
        return None
    left = until - time.monotonic()
    if left <= 0:
        raise TimeoutError
    return left / shares
