"""One request at a time over a blocking socket, behind httpx's interface for asynchronous transports.

No await in this module ever suspends. A coroutine that awaits nothing else therefore needs no event
loop: one `send(None)` runs it to its end. asyncio would cost a one-shot command twice the start-up
time of Python. Proxies are not supported here; see proxy.py.
"""

from __future__ import annotations

import select
import socket
import time
from collections.abc import AsyncIterator, Callable
from typing import TYPE_CHECKING, TypeVar

import httpx

from chatpipe.server.request_extensions import MAX_REPLY
from chatpipe.system.causes import system_message
from chatpipe.wire.first_address import connect_first
from chatpipe.wire.http1 import READ_BYTES, WRITE_BYTES, ReplyParser, encode_request
from chatpipe.wire.kept_connections import accepts_kept, may_repeat
from chatpipe.wire.origin import origin_of
from chatpipe.wire.timeouts import (
    MAX_IDLE_S,
    STALE_CLOSE_S,
    Timeouts,
    WaitLimits,
    format_seconds,
    within_text,
)

if TYPE_CHECKING:
    import ssl

    from chatpipe.wire.origin import Context

_T = TypeVar("_T")
_NEVER = float("inf")


class BlockingTransport(httpx.AsyncBaseTransport):
    """A blocking transport. A request reuses the last connection if that is still usable.

    A callable ssl_context runs at the first https URL; None means Python's default. aclose() closes
    every connection, even after a KeyboardInterrupt in the middle of a wait.
    """

    def __init__(self, ssl_context: Context | None = None) -> None:
        self._ssl_context = ssl_context
        self._links: set[_BlockingLink] = set()
        self._idle: _BlockingLink | None = None

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        """Return the reply after its head. Raises httpx.TransportError, with the OSError as its cause."""
        timeouts = Timeouts.of(request)
        if timeouts.deadline is not None and time.monotonic() >= timeouts.deadline:
            raise httpx.ConnectTimeout(timeouts.message(""))
        link = self._take_idle(request)
        if link is not None:
            try:
                return await self._exchange(link, request, timeouts)
            except (httpx.NetworkError, httpx.RemoteProtocolError):
                if not (link.was_stale and may_repeat(request, was_sent=link.was_sent)):
                    raise
        link = self._connect(request.url, timeouts)
        return await self._exchange(link, request, timeouts)

    async def aclose(self) -> None:
        self._idle = None
        for link in list(self._links):
            self._close(link)

    def _take_idle(self, request: httpx.Request) -> _BlockingLink | None:
        """The idle connection if it leads to the same origin and is still clean. Any other one is closed."""
        link, self._idle = self._idle, None
        is_accepted = accepts_kept(request)
        if link is None:
            return None
        if is_accepted and link.leads_to(request.url) and link.is_clean():
            return link
        self._close(link)
        return None

    def _connect(self, url: httpx.URL, timeouts: Timeouts) -> _BlockingLink:
        if url.scheme not in ("http", "https"):
            raise httpx.UnsupportedProtocol(f"'{url.scheme}' is not http or https")
        link = _BlockingLink(url)
        self._links.add(link)
        try:
            connect_by = _NEVER if timeouts.connect is None else time.monotonic() + timeouts.connect
            link.connect(timeouts, connect_by)
            if url.scheme == "https":
                link.start_tls(self._context(), timeouts, connect_by)
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

    async def _exchange(
        self, link: _BlockingLink, request: httpx.Request, timeouts: Timeouts
    ) -> httpx.Response:
        try:
            reply = link.begin(request, timeouts)
            send_error = None
            async for data in encode_request(request):
                send_error = link.send(data)
                if send_error is not None:
                    break
            try:
                while reply.head is None:
                    link.receive()
            except httpx.TransportError:
                if send_error is None:
                    raise
                raise httpx.WriteError(system_message(send_error)) from send_error
        except BaseException:
            self._close(link)
            raise
        return httpx.Response(
            reply.head.status,
            headers=reply.head.headers,
            stream=_BlockingBody(link, self._finish),
            extensions={"http_version": reply.head.http_version, "reason_phrase": reply.head.reason},
            request=request,
        )

    def _finish(self, link: _BlockingLink) -> None:
        """Keep the connection if its reply was read to the end, else close it."""
        if link not in self._links or not link.is_reusable():
            self._close(link)
            return
        if self._idle is not None:
            self._close(self._idle)
        link.idle_since = time.monotonic()
        self._idle = link

    def _close(self, link: _BlockingLink) -> None:
        link.close()
        self._links.discard(link)


class _BlockingBody(httpx.AsyncByteStream):
    """A reply body as a stream. Each read of the socket is passed on at once."""

    def __init__(self, link: _BlockingLink, finish: Callable[[_BlockingLink], None]) -> None:
        self._link: _BlockingLink | None = link
        self._finish = finish

    async def __aiter__(self) -> AsyncIterator[bytes]:
        link = self._link
        if link is None:
            raise httpx.StreamClosed
        reply = link.reply
        try:
            while True:
                data = reply.take_body()
                if data:
                    yield data
                if reply.done:
                    break
                link.receive()
        finally:
            # Also runs if the caller stops early or on Ctrl-C; the reply is incomplete then.
            await self.aclose()

    async def aclose(self) -> None:
        # Only once: at a second call the connection may already serve the next request.
        link, self._link = self._link, None
        if link is not None:
            self._finish(link)


class _BlockingLink:
    """A socket to one origin and its current reply. OSErrors are raised as httpx's classes."""

    def __init__(self, url: httpx.URL) -> None:
        self.idle_since = 0.0
        self.reply = ReplyParser()
        self._origin = origin_of(url)
        self._socket: socket.socket | None = None
        self._timeouts = Timeouts(None, None, None, None)
        self._limits = WaitLimits()
        self._failure: httpx.RemoteProtocolError | None = None  # after the head of the reply
        self._sent_all = False
        self._sent_at = 0.0
        # Raised by a non-blocking socket that would block; start_tls() adds OpenSSL's two errors.
        self._would_block: tuple[type[OSError], ...] = (BlockingIOError,)

    def connect(self, timeouts: Timeouts, connect_by: float) -> None:
        """Connect to the address of the host that answers first."""
        try:
            # Bytes, because a str imports Python's idna codec with its tables, and the host is ASCII already.
            addresses = socket.getaddrinfo(self._origin.address, self._origin.port, type=socket.SOCK_STREAM)
        except (OSError, UnicodeError) as error:
            raise httpx.ConnectError(system_message(error)) from error
        self._limits = WaitLimits(timeouts.deadline)
        self._limits.wait_until(connect_by)
        try:
            self._socket = connect_first(addresses, self._limits)
            self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        except TimeoutError as error:
            text = timeouts.message(f"no connection{within_text(timeouts.connect)}")
            raise httpx.ConnectTimeout(text) from error
        except OSError as error:
            raise httpx.ConnectError(system_message(error)) from error

    def start_tls(self, context: ssl.SSLContext, timeouts: Timeouts, connect_by: float) -> None:
        import ssl

        assert self._socket is not None
        self._would_block = (BlockingIOError, ssl.SSLWantReadError, ssl.SSLWantWriteError)
        try:
            # The handshake runs below. If wrap_socket made it, Ctrl-C would leak an open socket.
            # Bytes: see connect().
            encrypted = context.wrap_socket(
                self._socket, server_hostname=self._origin.tls_name, do_handshake_on_connect=False
            )
            self._socket = encrypted
            self._limits.wait_until(connect_by)
            self._finish(encrypted.do_handshake)
        except TimeoutError as error:
            raise httpx.ConnectTimeout(
                timeouts.message(f"no TLS handshake{within_text(timeouts.connect)}")
            ) from error
        except (OSError, ValueError) as error:  # ValueError: a host name that no certificate can contain
            raise httpx.ConnectError(system_message(error)) from error

    def begin(self, request: httpx.Request, timeouts: Timeouts) -> ReplyParser:
        self._timeouts = timeouts
        self._limits = WaitLimits(timeouts.deadline)
        self._failure = None
        self.reply.begin(request.method, request.extensions.get(MAX_REPLY))
        return self.reply

    def send(self, data: bytes) -> OSError | None:
        """Send all of data, or return the error that left the rest unsent.

        The peer has then stopped reading or has already replied. If there is a reply, the caller
        should use it and ignore the error.
        """
        assert self._socket is not None
        self._sent_all = False
        view = memoryview(data)
        try:
            view = view[self._send_now(view[:WRITE_BYTES]) :]
            while view:
                self._limits.start_wait(self._timeouts.write)
                events = self._wait(select.POLLIN | select.POLLOUT)
                if events & ~select.POLLOUT and self._read_early_reply():
                    return ConnectionAbortedError("the server answered before it had all")
                if events & select.POLLOUT:
                    view = view[self._send_now(view[:WRITE_BYTES]) :]
        except TimeoutError as error:
            text = self._timeouts.message(f"nothing taken for {format_seconds(self._timeouts.write)}")
            raise httpx.WriteTimeout(text) from error
        except OSError as error:
            return error
        self._sent_all = True
        self._sent_at = time.monotonic()
        return None

    def receive(self) -> None:
        """Wait for more of the reply and parse it. The next call raises a failure in the body."""
        if self._failure is not None:
            raise self._failure
        assert self._socket is not None
        sock = self._socket
        try:
            self._limits.start_wait(self._timeouts.read)
            data = self._finish(lambda: sock.recv(READ_BYTES))
        except TimeoutError as error:
            text = self._timeouts.message(f"no byte for {format_seconds(self._timeouts.read)}")
            raise httpx.ReadTimeout(text) from error
        except OSError as error:
            if self.reply.head is None:
                raise httpx.ReadError(system_message(error)) from error
            # An early end is a broken answer, after a reset as well as after an orderly close.
            raise httpx.RemoteProtocolError(f"{system_message(error)} before the end of the reply") from error
        self._feed(data)

    def leads_to(self, url: httpx.URL) -> bool:
        return origin_of(url) == self._origin

    def is_clean(self) -> bool:
        """True if the idle connection is recent and has received neither bytes nor a close."""
        return time.monotonic() - self.idle_since < MAX_IDLE_S and not self._poll(select.POLLIN, 0)

    @property
    def was_stale(self) -> bool:
        """True if it failed like an idle connection that the server closes while we write; see STALE_CLOSE_S.

        Such a connection fails without a byte of reply, either at once or before the whole request
        was sent.
        """
        at_once = time.monotonic() - self._sent_at < STALE_CLOSE_S
        return not self.reply.started and (at_once or not self._sent_all)

    @property
    def was_sent(self) -> bool:
        """True if the system took the whole request of the current exchange."""
        return self._sent_all

    def is_reusable(self) -> bool:
        return self._sent_all and self.reply.reusable

    def close(self) -> None:
        if self._socket is not None:
            self._socket.close()

    def _feed(self, data: bytes) -> None:
        if not data:
            self.reply.eof()
            return
        try:
            self.reply.feed(data)
        except httpx.RemoteProtocolError as error:
            if self.reply.head is None:
                raise
            self._failure = error  # the status says more than a body that cannot be read

    def _finish(self, step: Callable[[], _T]) -> _T:
        """Repeat a step of the socket until it need not wait. Raises TimeoutError at the end of the wait."""
        if self._limits.deadline_has_passed():
            raise TimeoutError  # checked here, because a reply that never pauses never waits
        while True:
            try:
                return step()
            except self._would_block as error:
                wants_to_write = type(error).__name__ == "SSLWantWriteError"
            self._wait(select.POLLOUT if wants_to_write else select.POLLIN)

    def _wait(self, events: int) -> int:
        """Wait for one of the events, and return those that occurred. Raises TimeoutError."""
        while True:
            ends_at = self._limits.ends_at
            ready = self._poll(events, None if ends_at == _NEVER else max(0.0, ends_at - time.monotonic()))
            if ready and not self._limits.deadline_has_passed():
                return ready
            if self._limits.have_passed():
                raise TimeoutError

    def _send_now(self, view: memoryview) -> int:
        assert self._socket is not None
        try:
            return self._socket.send(view)
        except self._would_block:
            return 0

    def _read_early_reply(self) -> bool:
        """Read the available bytes during a write. Returns True if writing the rest is of no use.

        That is after an error reply. It is not after 100 Continue, after TLS's own records, or after
        a 200 that begins before the server has read the whole request.
        """
        assert self._socket is not None
        try:
            self._feed(self._socket.recv(READ_BYTES))
        except self._would_block:
            return False
        head = self.reply.head
        return self.reply.done or (head is not None and head.status >= 400)

    def _poll(self, events: int, limit: float | None) -> int:
        """The events that occur within limit seconds, 0 for none."""
        assert self._socket is not None
        # Not select(), which fails on descriptors above 1,023.
        poll = select.poll()
        poll.register(self._socket, events)
        ready = poll.poll(None if limit is None else limit * 1000)
        return ready[0][1] if ready else 0
