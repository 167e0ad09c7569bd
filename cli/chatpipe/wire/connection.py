"""One connection under asyncio: it sends a request, receives the reply, then takes the next request.

Every event on it (bytes, room to write, the end, a time-out) wakes the one coroutine that waits for
it, which then checks the state. OSErrors are raised as httpx's classes.
"""

from __future__ import annotations

import asyncio
import contextlib
import select
import socket
import time
from collections.abc import AsyncGenerator, Callable
from typing import TYPE_CHECKING, cast

import httpx

from chatpipe.server.request_extensions import MAX_REPLY
from chatpipe.system.causes import system_message
from chatpipe.wire.http1 import READ_BYTES, WRITE_BYTES, Head, ReplyParser
from chatpipe.wire.origin import Origin
from chatpipe.wire.timeouts import STALE_CLOSE_S, Timeouts, WaitLimits, format_seconds

if TYPE_CHECKING:
    import ssl

# The part of a reply that is read before the caller takes it. Together with one read (READ_BYTES) it limits
# the memory of a connection.
READ_AHEAD_BYTES = 256 * 1024

_NEVER = float("inf")
_NO_TIMEOUTS = Timeouts(None, None, None, None)


class PooledConnection(asyncio.BufferedProtocol):
    """A connection to an origin. on_lost is called when it is gone, whichever side closed it.

    connected is true after the TCP handshake. slots.py sets idle_since. read_buffer is where the system
    writes what it reads; all connections of an event loop may share it.
    """

    def __init__(
        self, origin: Origin, on_lost: Callable[[PooledConnection], None], read_buffer: memoryview
    ) -> None:
        self.origin = origin
        self.idle_since = 0.0
        self.connected = False
        self._on_lost = on_lost
        self._read_buffer = read_buffer
        self._loop = asyncio.get_running_loop()
        self._transport: asyncio.Transport | None = None
        self._tcp_transport: asyncio.Transport | None = None  # below TLS; the same as _transport without TLS
        self._socket: socket.socket | None = None  # None with TLS, whose bytes only OpenSSL can read
        self._arrivals = select.poll()  # of bytes in the socket
        self._closing = False
        self._parser: ReplyParser | None = None
        # The current exchange
        self._reply: ReplyParser | None = None
        self._timeouts = _NO_TIMEOUTS
        self._limits = WaitLimits()
        self._waiter: asyncio.Future[None] | None = None
        self._failure: Exception | None = None
        self._sent_all = True
        self._sent_at = 0.0
        self._write_blocked = False  # bytes wait in the write buffer
        self._ahead_bytes = 0  # bytes of body not taken yet
        self._paused = False
        # The only timer. It may fire earlier than needed, at _timer_at
        self._unsent_bytes = 0
        self._timer: asyncio.TimerHandle | None = None
        self._timer_at = _NEVER

    # An exchange, driven by the pool

    @property
    def is_open(self) -> bool:
        return not self._closing and self._transport is not None and not self._transport.is_closing()

    def is_clean(self) -> bool:
        """True if the idle connection is open and has received neither bytes nor a close.

        Asks the system, because the event loop may not have read the close yet: some servers close each
        connection right after the reply without a word.
        """
        return self.is_open and not self._arrivals.poll(0)

    @property
    def reply(self) -> ReplyParser:
        assert self._reply is not None
        return self._reply

    @property
    def is_stale_failure(self) -> bool:
        """True if it failed like an idle connection that the server closes while we write; see STALE_CLOSE_S.

        Such a connection fails without a byte of reply, either at once or before the whole request
        was sent.
        """
        at_once = time.monotonic() - self._sent_at < STALE_CLOSE_S
        return not self.reply.started and (at_once or self._is_sending)

    @property
    def was_sent(self) -> bool:
        """True if the system took the whole request of the current exchange."""
        return not self._is_sending

    def start_exchange(self, request: httpx.Request, timeouts: Timeouts, data: bytes | None) -> ReplyParser:
        """Start an exchange. data is the whole request if it is small; if it is None, call send() next.

        Returns the reply, which has nothing yet.
        """
        max_bytes = request.extensions.get(MAX_REPLY)
        reply = self._parser
        if reply is None:
            self._parser = reply = ReplyParser(request.method, max_bytes)
        else:
            reply.begin(request.method, max_bytes)
        self._reply = reply
        self._timeouts = timeouts
        self._limits = WaitLimits(timeouts.deadline)
        self._sent_all = data is not None
        self._sent_at = time.monotonic()
        self._ahead_bytes = 0
        if not self.is_open:
            self._failure = httpx.ReadError("closed by the peer while it was idle")
            self._sent_all = False
        elif data is not None:
            assert self._transport is not None
            self._transport.write(data)
            self._sent_all = self.is_open  # a failed write closes the transport
        return reply

    async def send(self, pieces: AsyncGenerator[bytes, None]) -> None:
        """Send the pieces. Stops early if an error reply arrives or the connection is lost."""
        async with contextlib.aclosing(pieces):
            async for data in pieces:
                view = memoryview(data)
                for at in range(0, len(view), WRITE_BYTES):
                    if not await self._write(view[at : at + WRITE_BYTES]):
                        return
        self._sent_all = True
        self._sent_at = time.monotonic()

    async def read_head(self) -> Head:
        """Wait for the head of the reply. Raises httpx.TransportError."""
        reply = self.reply
        while reply.head is None:
            if self._failure is not None:
                raise self._failure
            await self._next_event()
        return reply.head

    async def wait_until_complete(self) -> None:
        """Wait for the end of the reply, or until AHEAD_BYTES of it have arrived.

        Never raises. piece() raises a failure, after the bytes that arrived before it.
        """
        while not self.reply.done and self._failure is None and not self._paused:
            await self._next_event()

    async def read_body(self) -> bytes:
        """Wait for more of the body and return it, empty at its end. Raises httpx.TransportError."""
        reply = self.reply
        if self._limits.deadline_has_passed() and not reply.done:
            raise self._timed_out()  # checked here, because a reply that never pauses never waits
        while True:
            data = reply.take_body()
            if data:
                self._body_taken()
                return data
            if reply.done:
                return b""
            if self._failure is not None:
                raise self._failure
            await self._next_event()

    def finish_exchange(self) -> bool:
        """End the exchange. Returns True if another may follow, else the caller calls close()."""
        reusable = self.is_open and not self._is_sending and self.reply.reusable
        self._reply = None
        self._failure = None
        return reusable

    def close(self, error: Exception | None = None) -> None:
        """Close at once and drop unsent bytes. A waiting coroutine raises error."""
        self._closing = True
        self._stop_timer()
        if self._tcp_transport is not None:
            # Not close(): that waits until all is sent, and with TLS for the peer's close_notify.
            self._tcp_transport.abort()
        self._failure = error or httpx.ReadError("the connection was closed here")
        self._wake()

    async def connect(self, connected: socket.socket) -> None:
        """Take over a connected socket."""
        self._arrivals.register(connected, select.POLLIN)
        await self._loop.create_connection(lambda: self, sock=connected)
        self._socket = connected

    async def start_tls(self, context: ssl.SSLContext, server_name: str, timeout_s: float) -> None:
        """Make the TLS handshake. Raises OSError (ssl.SSLError) and ValueError."""
        assert self._tcp_transport is not None
        self._socket = None
        transport = await self._loop.start_tls(
            self._tcp_transport, self, context, server_hostname=server_name, ssl_handshake_timeout=timeout_s
        )
        if transport is None:  # asyncio returns None if it was closed in the meantime
            raise ConnectionResetError("connection closed during the TLS handshake")
        transport.set_write_buffer_limits(high=1)
        self._transport = transport

    # Callbacks of asyncio

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        tcp_transport = cast("asyncio.Transport", transport)  # uvloop's has the methods but another class
        self._tcp_transport = self._transport = tcp_transport
        self.connected = True
        if self._closing:
            tcp_transport.abort()
        # A single byte in the buffer counts as full, because a request counts as sent only if the
        # kernel has all of it. Not 0: at 0 asyncio's TLS pauses on an empty buffer and never resumes.
        tcp_transport.set_write_buffer_limits(high=1)

    def get_buffer(self, sizehint: int) -> memoryview:
        # For other protocols asyncio allocates 256 KiB for each read, which costs more system time than
        # the read itself.
        return self._read_buffer

    def buffer_updated(self, nbytes: int) -> None:
        reply = self._reply
        if reply is None:
            # Bytes on an idle connection (usually a 408) announce its close.
            self.close()
            return
        try:
            reply.feed(self._read_buffer[:nbytes])
        except httpx.RemoteProtocolError as error:
            self._fail(error)
            return
        if not reply.done and reply.head is not None:
            self._ahead_bytes += nbytes
            if self._ahead_bytes > READ_AHEAD_BYTES and not self._paused:
                self._paused = True
                assert self._transport is not None
                self._transport.pause_reading()
        self._wake()

    def eof_received(self) -> None:
        if self._reply is not None and self._failure is None:
            try:
                self._reply.eof()
            except httpx.RemoteProtocolError as error:
                self._failure = error
        self._wake()

    def pause_writing(self) -> None:
        self._write_blocked = True

    def resume_writing(self) -> None:
        self._write_blocked = False
        self._wake()

    def connection_lost(self, error: Exception | None) -> None:
        if self._reply is not None and not self._reply.done and self._failure is None:
            self._failure = self._reply_failure(self._reply, error)
        self._closing = True
        self._stop_timer()
        self._transport = self._tcp_transport = self._socket = None  # unusable from now on, even for abort()
        self._wake()
        self._on_lost(self)

    # Waiting

    def _next_event(self) -> asyncio.Future[None]:
        """A wait for the next event on this connection. Its time begins now."""
        self._start_wait()
        if self._write_blocked and self.is_open:
            self._unsent_bytes = self._write_buffer_bytes()
        if self._limits.ends_at < self._timer_at:
            self._set_timer()
        self._waiter = waiter = self._loop.create_future()
        return waiter

    def _wake(self) -> None:
        waiter = self._waiter
        if waiter is not None and not waiter.done():
            waiter.set_result(None)

    def _start_wait(self) -> None:
        self._limits.start_wait(self._timeouts.write if self._write_blocked else self._timeouts.read)

    def _set_timer(self) -> None:
        """Set the timer to the end of the current wait.

        A timer per request would cost more than the request itself. So a timer for an earlier time
        stays, and is set again when it fires if the wait goes on.
        """
        at = self._limits.ends_at
        if self._timer is not None:
            self._timer.cancel()
        self._timer_at = at
        self._timer = self._loop.call_later(at - time.monotonic(), self._on_timer)

    def _on_timer(self) -> None:
        self._timer = None
        self._timer_at = _NEVER
        if self._waiter is None or self._waiter.done() or self._closing:
            return
        unsent = self._write_buffer_bytes()
        if self._write_blocked and unsent < self._unsent_bytes:
            self._unsent_bytes = unsent
            self._start_wait()
        if self._limits.have_passed():
            self._fail(self._timed_out())
        elif self._limits.ends_at < _NEVER:
            self._set_timer()

    def _stop_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _timed_out(self) -> Exception:
        if self._write_blocked:
            return httpx.WriteTimeout(
                self._timeouts.message(f"nothing taken for {format_seconds(self._timeouts.write)}")
            )
        return httpx.ReadTimeout(self._timeouts.message(f"no byte for {format_seconds(self._timeouts.read)}"))

    def _fail(self, error: Exception) -> None:
        if self._failure is None:
            self.close(error)

    # Sending and reading

    async def _write(self, view: memoryview) -> bool:
        """Write view and wait until the kernel has it. Returns True if the caller should continue."""
        assert self._transport is not None
        if self._failure is not None or self._is_answered():
            return False
        self._transport.write(view)
        # A connection that is not open fails here: the event loop is about to call connection_lost().
        while self._write_blocked or not self.is_open:
            await self._next_event()
            if self._failure is not None or self._is_answered():
                return False
        return True

    def _is_answered(self) -> bool:
        """True if sending the rest of the request is of no use, because an error reply arrived.

        100 Continue is no such reply, nor is a 200 that begins before the server has read the whole
        request.
        """
        reply = self.reply
        return reply.done or (reply.head is not None and reply.head.status >= 400)

    @property
    def _is_sending(self) -> bool:
        return self._write_blocked or not self._sent_all

    def _write_buffer_bytes(self) -> int:
        assert self._transport is not None
        assert self._tcp_transport is not None
        below = 0 if self._tcp_transport is self._transport else self._tcp_transport.get_write_buffer_size()
        return below + self._transport.get_write_buffer_size()

    def _body_taken(self) -> None:
        self._ahead_bytes = 0
        if self._paused:
            self._paused = False
            if self.is_open:
                assert self._transport is not None
                self._transport.resume_reading()

    def _reply_failure(self, reply: ReplyParser, error: Exception | None) -> Exception | None:
        """The reason that the reply is incomplete, or None if it is complete."""
        try:
            if error is None:
                reply.eof()
                return None
            self._read_rest(reply)
            if reply.done:
                return None
        except httpx.RemoteProtocolError as failed:
            return failed
        failure: Exception
        if reply.head is not None:
            # An early end is a broken answer, after a reset as well as after an orderly close.
            failure = httpx.RemoteProtocolError(f"{system_message(error)} before the end of the reply")
        elif self._is_sending:
            failure = httpx.WriteError(system_message(error))
        else:
            failure = httpx.ReadError(system_message(error))
        failure.__cause__ = error
        return failure

    def _read_rest(self, reply: ReplyParser) -> None:
        """Read the bytes that the kernel still holds. asyncio does not after a failed write.

        A server that rejects a large request replies and closes before it has read all. The next
        write then fails with a reset, but the reply arrived before it.
        """
        if self._socket is None or not self._is_sending:
            return
        with contextlib.suppress(OSError):
            while not reply.done:
                data = self._socket.recv(READ_BYTES)
                if data:
                    reply.feed(data)
                elif reply.head is None:
                    return
                else:
                    reply.eof()
