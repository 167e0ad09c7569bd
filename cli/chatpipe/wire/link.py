"""One connection under asyncio: a request goes out, its reply comes in, then the next may follow.

Whatever happens on it (bytes, room to write, the end, a time-out) wakes the one coroutine that waits
for it, which then looks what there is. OSErrors come out as httpx's classes.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
import time
from collections.abc import AsyncGenerator, Callable
from typing import TYPE_CHECKING, cast

from chatpipe.wire.causes import system_message
from chatpipe.wire.http1 import READ_BYTES, WRITE_BYTES, Head, ReplyParser
from chatpipe.wire.origin import Origin
from chatpipe.wire.timeouts import RACE_S, Waits, spell

import httpx  # isort: skip - after chatpipe.wire, which keeps httpx's own command line out

if TYPE_CHECKING:
    import ssl

# So much of a reply is read ahead of who takes it; with what one read brings (256 KiB in asyncio) on
# top, that is the memory of a connection.
AHEAD_BYTES = 256 * 1024

_NEVER = float("inf")
_FOR_EVER = Waits(None, None, None, None)


class Link(asyncio.Protocol):
    """on_lost is told when the connection is gone, whoever ended it.

    connected: the handshake of TCP is done. idle_since is for places.py.
    """

    def __init__(self, origin: Origin, on_lost: Callable[[Link], None]) -> None:
        self.origin = origin
        self.idle_since = 0.0
        self.connected = False
        self._on_lost = on_lost
        self._loop = asyncio.get_running_loop()
        self._transport: asyncio.Transport | None = None
        self._raw: asyncio.Transport | None = None  # below TLS; the same where there is none
        self._socket: socket.socket | None = None  # not with TLS, whose bytes only OpenSSL can read
        self._closing = False
        # The exchange that is going on
        self._reply: ReplyParser | None = None
        self._waits = _FOR_EVER
        self._waiter: asyncio.Future[None] | None = None
        self._failure: Exception | None = None
        self._sent_all = True
        self._sent_at = 0.0
        self._full = False  # bytes wait to be sent
        self._ahead = 0  # bytes of body that nobody has taken
        self._paused = False
        # The one timer, set for _timer_at or earlier than it is needed
        self._since = 0.0
        self._unsent_then = 0
        self._timer: asyncio.TimerHandle | None = None
        self._timer_at = _NEVER

    # An exchange, as the pool drives it

    @property
    def is_open(self) -> bool:
        return not self._closing and self._transport is not None and not self._transport.is_closing()

    @property
    def reply(self) -> ReplyParser:
        assert self._reply is not None
        return self._reply

    @property
    def was_stale(self) -> bool:
        """Whether it broke as an idle one does that the server closes just as we write to it: see RACE_S.

        That is: without a byte of reply, and at once or before the server had the whole request.
        """
        at_once = time.monotonic() - self._sent_at < RACE_S
        return not self.reply.started and (at_once or self._is_sending)

    def begin(self, method: str, waits: Waits, data: bytes | None) -> None:
        """Expect the reply to a request, and send that if it is small; else send() comes next."""
        self._reply = ReplyParser(method)
        self._waits = waits
        self._sent_all = data is not None
        self._sent_at = time.monotonic()
        self._ahead = 0
        if not self.is_open:
            self._failure = httpx.ReadError("closed by the peer while it was idle")
        elif data is not None:
            assert self._transport is not None
            self._transport.write(data)

    async def send(self, pieces: AsyncGenerator[bytes, None]) -> None:
        """Send the pieces, until it is of no use: an error reply is there, or the connection is gone."""
        async with contextlib.aclosing(pieces):
            async for data in pieces:
                view = memoryview(data)
                for at in range(0, len(view), WRITE_BYTES):
                    if not await self._write(view[at : at + WRITE_BYTES]):
                        return
        self._sent_all = True
        self._sent_at = time.monotonic()

    async def head(self) -> Head:
        """Wait for the head of the reply. Raises httpx.TransportError."""
        reply = self.reply
        while reply.head is None:
            if self._failure is not None:
                raise self._failure
            await self._event()
        return reply.head

    async def whole(self) -> None:
        """Wait for the end of the reply, or until there is as much of it as is read ahead.

        Raises nothing: what fails is raised where the body is taken, behind the bytes that came.
        """
        while not self.reply.done and self._failure is None and not self._paused:
            await self._event()

    async def piece(self) -> bytes:
        """Wait for more of the body: some bytes of it, none at its end. Raises httpx.TransportError."""
        reply = self.reply
        deadline = self._waits.deadline
        if deadline is not None and time.monotonic() >= deadline and not reply.done:
            raise self._timed_out()  # here, because a reply that never pauses is never waited for
        while True:
            data = reply.take()
            if data:
                self._taken()
                return data
            if reply.done:
                return b""
            if self._failure is not None:
                raise self._failure
            await self._event()

    def end(self) -> bool:
        """The exchange is over. Returns whether another may follow; if not, close() comes next."""
        reusable = self.is_open and not self._is_sending and self.reply.reusable
        self._reply = None
        self._failure = None
        return reusable

    def close(self, why: Exception | None = None) -> None:
        """Close at once, unsent bytes are dropped. Who still waits for something is told why."""
        self._closing = True
        self._stop_timer()
        if self._raw is not None:
            # Not close(): that waits until all is sent, and with TLS for a farewell from the peer.
            self._raw.abort()
        self._failure = why or httpx.ReadError("the connection was closed here")
        self._wake()

    async def connect(self, connected: socket.socket) -> None:
        """Take over a socket."""
        await self._loop.create_connection(lambda: self, sock=connected)
        self._socket = connected

    async def start_tls(self, context: ssl.SSLContext, certified_for: str, limit_s: float) -> None:
        """Raises OSError (ssl.SSLError) and ValueError."""
        assert self._raw is not None
        self._socket = None
        transport = await self._loop.start_tls(
            self._raw, self, context, server_hostname=certified_for, ssl_handshake_timeout=limit_s
        )
        if transport is None:  # asyncio's way to say that it was closed before we could look
            raise ConnectionResetError("connection closed during the TLS handshake")
        transport.set_write_buffer_limits(high=1)
        self._transport = transport

    # What asyncio calls

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        made = cast("asyncio.Transport", transport)  # by its methods only, with uvloop
        self._raw = self._transport = made
        self.connected = True
        if self._closing:
            made.abort()
        # One byte that the kernel has not taken counts as full: a request is sent when it is sent whole.
        # Not 0, at which asyncio's TLS pauses on an empty buffer and never resumes.
        made.set_write_buffer_limits(high=1)

    def data_received(self, data: bytes) -> None:
        reply = self._reply
        if reply is None:
            # Nobody asked: an idle connection that says something (408, as a rule) is about to close.
            self.close()
            return
        try:
            reply.feed(data)
        except httpx.RemoteProtocolError as error:
            self._fail(error)
            return
        if not reply.done and reply.head is not None:
            self._ahead += len(data)
            if self._ahead > AHEAD_BYTES and not self._paused:
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
        self._full = True

    def resume_writing(self) -> None:
        self._full = False
        self._wake()

    def connection_lost(self, error: Exception | None) -> None:
        if self._reply is not None and not self._reply.done and self._failure is None:
            self._failure = self._lost(self._reply, error)
        self._closing = True
        self._stop_timer()
        self._transport = self._raw = self._socket = None  # not good for anything, not even for abort()
        self._wake()
        self._on_lost(self)

    # Waiting

    async def _event(self) -> None:
        """Wait until something happens."""
        self._since = time.monotonic()
        if self._full and self.is_open:
            self._unsent_then = self._unsent()
        self._set_timer()
        self._waiter = waiter = self._loop.create_future()
        try:
            await waiter
        finally:
            self._waiter = None

    def _wake(self) -> None:
        waiter = self._waiter
        if waiter is not None and not waiter.done():
            waiter.set_result(None)

    def _set_timer(self) -> None:
        """See that there is a timer for the time when the wait that began at _since is over, or earlier.

        One timer for each request costs more than the request does. So one that is set for an
        earlier time stays, and is set anew when it goes off, if there is still something to wait for.
        """
        _, read, write, deadline = self._waits
        limit = write if self._full else read
        at = _NEVER if limit is None else self._since + limit
        if deadline is not None and deadline < at:
            at = deadline
        if at >= self._timer_at:
            return
        if self._timer is not None:
            self._timer.cancel()
        self._timer_at = at
        self._timer = self._loop.call_later(at - time.monotonic(), self._ring)

    def _ring(self) -> None:
        self._timer = None
        self._timer_at = _NEVER
        if self._waiter is None or self._closing or self._waiter.done():
            return
        now = time.monotonic()
        unsent = self._unsent()
        if self._full and unsent < self._unsent_then:
            self._unsent_then, self._since = unsent, now
        _, read, write, deadline = self._waits
        limit = write if self._full else read
        if (limit is not None and now >= self._since + limit) or (deadline is not None and now >= deadline):
            self._fail(self._timed_out())
        else:
            self._set_timer()

    def _stop_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _timed_out(self) -> Exception:
        if self._full:
            return httpx.WriteTimeout(self._waits.why(f"nothing taken for {spell(self._waits.write)}"))
        return httpx.ReadTimeout(self._waits.why(f"no byte for {spell(self._waits.read)}"))

    def _fail(self, error: Exception) -> None:
        if self._failure is None:
            self.close(error)

    # Sending and reading

    async def _write(self, view: memoryview) -> bool:
        """Write and wait until the kernel has it. Returns whether to go on."""
        assert self._transport is not None
        if self._failure is not None or self._is_answered():
            return False
        self._transport.write(view)
        while self._full or not self.is_open:  # not open: the loop is about to say why
            await self._event()
            if self._failure is not None or self._is_answered():
                return False
        return True

    def _is_answered(self) -> bool:
        """Whether sending on is of no use.

        An error reply says so; 100 Continue does not, nor a 200 that begins before the request was
        read to its end.
        """
        reply = self.reply
        return reply.done or (reply.head is not None and reply.head.status >= 400)

    @property
    def _is_sending(self) -> bool:
        return self._full or not self._sent_all

    def _unsent(self) -> int:
        assert self._transport is not None
        assert self._raw is not None
        below = 0 if self._raw is self._transport else self._raw.get_write_buffer_size()
        return below + self._transport.get_write_buffer_size()

    def _taken(self) -> None:
        self._ahead = 0
        if self._paused:
            self._paused = False
            if self.is_open:
                assert self._transport is not None
                self._transport.resume_reading()

    def _lost(self, reply: ReplyParser, error: Exception | None) -> Exception | None:
        """Why the reply is not whole, None if it is."""
        try:
            if error is None:
                reply.eof()
                return None
            self._read_rest(reply)
            if reply.done:
                return None
        except httpx.RemoteProtocolError as broken:
            return broken
        made: Exception
        if reply.head is not None:
            # However it ends early, with a reset or in good manners, it is a broken answer.
            made = httpx.RemoteProtocolError(f"{system_message(error)} before the end of the reply")
        elif self._is_sending:
            made = httpx.WriteError(system_message(error))
        else:
            made = httpx.ReadError(system_message(error))
        made.__cause__ = error
        return made

    def _read_rest(self, reply: ReplyParser) -> None:
        """Read what the kernel still has: asyncio does not, once a write has failed.

        A server that does not want the rest of a large request answers and closes. That the next
        write meets a reset says nothing of the reply, which was there before.
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
