"""One connection of a client: its requests are answered in order, each reply step by step.

    bytes -> RequestParser -> waiting -> handler -> steps -> bytes

A reply is played by callbacks and not by a task: a connection without a reply costs its parser alone.
While the client does not read, no step is taken. When it goes away, the steps are closed, and with them
everything that they hold.
"""

from __future__ import annotations

import asyncio
import socket
import struct
from collections import deque
from collections.abc import Generator, Iterator, Mapping
from contextlib import suppress
from dataclasses import replace
from itertools import islice
from typing import Protocol

from chatpipe.serve.batches.multipart import FormReader
from chatpipe.serve.reply_steps import Close, Pause, ReplyPlan, Reset, Step, plan_of, whole_reply
from chatpipe.serve.request_log import LogEntry
from chatpipe.serve.request_parser import ParserEvent, RequestParser
from chatpipe.serve.router import refusal_reply
from chatpipe.serve.served_request import RequestRefusal, ServedRequest
from chatpipe.serve.wakeup import Wakeup

_TURN = 64  # pieces of one reply before the other connections have a turn
_LARGE = 4 << 10  # bytes of a piece that ends a turn: those of a turn are in memory
_MOST_WAITING = 16  # requests in the pipeline of one connection; the next bytes wait in the kernel
_CONTINUE = b"HTTP/1.1 100 Continue\r\n\r\n"
_NO_REQUEST = ServedRequest("", "", {}, b"", keep_alive=False)
# A client that is refused may still be sending. If its bytes are not read, the system resets the
# connection, and the reply is lost with it.
_DRAIN_S = 2.0
_DRAIN_BYTES = 256 << 20


class ConnectionOwner(Protocol):
    """The server, as its connections see it.

    read_buffer is where the system writes the bytes of whichever connection is read.
    """

    read_buffer: memoryview
    max_body: int
    is_stopping: bool

    def open_form(self, method: str, target: str, headers: Mapping[bytes, bytes]) -> FormReader | None:
        """The reader of an upload, None for another request."""

    def site_refusal(self, target: bytes, headers: Mapping[bytes, bytes]) -> str | None:
        """The reason to refuse a request that a page of a foreign site made, None for any other request."""

    def reply_to(self, request: ServedRequest, *, can_write: bool) -> bytes | ReplyPlan:
        """The reply to a request. Never raises.

        It is the plan of the reply, or all its bytes if they are all that is to be done. can_write: they are
        written now.
        """

    def steps(self, plan: ReplyPlan, request: ServedRequest) -> Generator[Step, None, None]:
        """The steps that write it."""

    def note_bug(self, error: Exception) -> str:
        """Report a bug of ours, and return the words for it."""

    def opened(self, connection: ClientConnection) -> None: ...

    def closed(self, connection: ClientConnection) -> None: ...

    def answered(self, entry: LogEntry, plan: ReplyPlan, *, is_complete: bool) -> None:
        """A reply has ended. is_complete: all of it was handed to the system."""


class ClientConnection(asyncio.BufferedProtocol):
    """One connection. since is the loop's time of the last byte of an unfinished request, else None."""

    def __init__(self, owner: ConnectionOwner) -> None:
        self._owner = owner
        self._parser = RequestParser(owner.max_body, owner.open_form, owner.site_refusal)
        self._waiting: deque[ParserEvent] = deque()
        self._steps: Generator[Step, None, None] | None = None
        self._plan: ReplyPlan
        self._entry: LogEntry
        self._timer: asyncio.Handle | None = None
        self._is_full = False
        self._is_held = False  # by a full buffer, between two steps
        self._is_over = False  # the last step is taken, and its bytes are in a full buffer
        self._ending: Close | Reset | None = None
        self._is_reading = True
        self._is_answering = False
        self._whole: list[tuple[ReplyPlan, LogEntry, bytes]] = []  # replies to be written in one piece
        self._drained: int | None = None  # bytes read and dropped since the last reply; None before it
        self._closes_after = False  # a refusal was written
        self.since: float | None = None

    # The transport

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport
        self._loop = asyncio.get_running_loop()
        self._owner.opened(self)

    def connection_lost(self, error: Exception | None) -> None:
        self._waiting.clear()
        self._parser.close()
        self._end_reply(is_complete=False)
        if self._timer is not None:
            self._timer.cancel()
        self._owner.closed(self)

    def get_buffer(self, sizehint: int) -> memoryview:
        # All connections share one. For other protocols asyncio allocates 256 KiB for each read, which
        # costs more system time than the read itself.
        return self._owner.read_buffer

    def buffer_updated(self, nbytes: int) -> None:
        if self._drained is not None:
            self._drained += nbytes
            if self._drained > _DRAIN_BYTES:
                self._transport.abort()
            return
        self._waiting.extend(self._parser.feed(self._owner.read_buffer[:nbytes]))
        self.since = self._loop.time() if self._parser.is_inside else None
        if self._steps is None:
            self._answer_waiting()
        if self._is_reading and len(self._waiting) > _MOST_WAITING:
            self._is_reading = False
            self._transport.pause_reading()

    def pause_writing(self) -> None:
        self._is_full = True

    def resume_writing(self) -> None:
        self._is_full = False
        if self._is_held:
            self._is_held = False
            self._play()

    # What the server calls

    @property
    def is_idle(self) -> bool:
        """True if no reply is being written and no request waits."""
        return self._steps is None and not self._waiting

    def refuse(self, status: int, message: str) -> None:
        """Refuse the unfinished request, and close the connection."""
        self.since = None
        self._waiting.append(RequestRefusal(status, message))
        if self._steps is None:
            self._answer_waiting()

    def close(self) -> None:
        """Close the connection when its reply has ended."""
        self._closes_after = True
        if self.is_idle:
            self._transport.close()

    def abort(self) -> None:
        self._transport.abort()

    # The replies

    def _answer_waiting(self) -> None:
        """Begin the next replies, until one of them has to wait for something.

        A reply that ends at once comes back here, and leaves the next one to the loop that began it.
        """
        if self._is_answering:
            return
        self._is_answering = True
        while self._waiting and self._steps is None and not self._transport.is_closing():
            event = self._waiting.popleft()
            if not self._is_reading and len(self._waiting) <= _MOST_WAITING // 2:
                self._is_reading = True
                self._transport.resume_reading()
            if isinstance(event, ServedRequest):
                self._answer(event)
                continue
            self._write_whole()
            if isinstance(event, RequestRefusal):
                self._closes_after = True
                self._begin(None, plan_of(refusal_reply(event)))
            else:
                self._transport.write(_CONTINUE)
        self._write_whole()
        self._is_answering = False

    def _answer(self, request: ServedRequest) -> None:
        """Begin a reply. One that takes no steps waits for others whose requests are here already."""
        can_write = not (self._is_full or self._closes_after or self._owner.is_stopping)
        is_alone = not (self._whole or self._waiting)
        plan = self._owner.reply_to(request, can_write=can_write and is_alone)
        if isinstance(plan, bytes):
            self._transport.write(plan)
            return
        data = whole_reply(plan, request) if can_write else b""
        if data:
            self._whole.append((plan, LogEntry(request, len(data)), data))
            if len(self._whole) >= _TURN:
                self._write_whole()
        else:
            self._write_whole()
            self._begin(request, plan)

    def _write_whole(self) -> None:
        """Write the replies that take no steps, in one piece."""
        if not self._whole:
            return
        replies, self._whole = self._whole, []
        self._transport.write(b"".join([data for _, _, data in replies]))
        for plan, entry, _ in replies:
            if plan.ticket is not None:
                plan.ticket.leave()
            self._owner.answered(entry, plan, is_complete=True)

    def _begin(self, request: ServedRequest | None, plan: ReplyPlan) -> None:
        if request is not None and (self._closes_after or self._owner.is_stopping):
            request = replace(request, keep_alive=False)
        self._plan, self._entry, self._is_over = plan, LogEntry(request), False
        self._steps = self._owner.steps(plan, request or _NO_REQUEST)
        self._play()

    def _play(self) -> None:
        """Take steps until one has to wait. Whatever ends the wait calls this again."""
        self._timer = None
        try:
            self._take_steps()
        except Exception as error:  # a bug of ours: the client must not wait for the rest
            self._owner.note_bug(error)
            self._transport.abort()

    def _resume(self) -> None:
        """Continue in a later turn of the loop, because the caller is in the middle of something."""
        self._timer = self._loop.call_soon(self._play)

    def _take_steps(self) -> None:
        """Write the bytes before the next other step, and take that step.

        A Wakeup gets its resume at once, because it may be woken at any time from now on.
        """
        if self._steps is None:
            return
        if self._is_full:
            self._is_held = True
            return
        step = self._ending if self._is_over else self._write_bytes(self._steps)
        if isinstance(step, bytes):
            self._resume()
        elif isinstance(step, Pause):
            self._entry.pause(step.seconds, self._loop.time())
            self._timer = self._loop.call_later(step.seconds, self._play)
        elif isinstance(step, Wakeup):
            step.resume = self._resume
        elif self._is_full:
            self._is_held = self._is_over = True
            self._ending = step
        else:
            self._finish(step)

    def _write_bytes(self, steps: Iterator[Step]) -> Step | None:
        """Write the next steps that are bytes in one piece, and return the one after them.

        None is the end of the steps, and bytes that of a turn.
        """
        pieces: list[bytes] = []
        following: Step | None = None
        for step in islice(steps, _TURN):
            if not isinstance(step, bytes):
                following = step
                break
            pieces.append(step)
            if len(step) > _LARGE:
                following = b""
                break
        if pieces:
            data = b"".join(pieces)
            self._entry.bytes_sent += len(data)
            self._transport.write(data)
        return b"" if len(pieces) == _TURN else following

    def _finish(self, ending: Close | Reset | None) -> None:
        self._end_reply(is_complete=True)
        if isinstance(ending, Reset):
            self._reset()
        elif self._closes_after or ending is not None:
            self._linger()
        else:
            self._answer_waiting()

    def _end_reply(self, *, is_complete: bool) -> None:
        """Close the steps, if there is a reply, and report it."""
        if self._steps is None:
            return
        steps, self._steps = self._steps, None
        steps.close()
        self._owner.answered(self._entry, self._plan, is_complete=is_complete)
        del self._entry, self._plan  # they hold the bodies of the request and of the reply

    def _reset(self) -> None:
        """Close the socket without lingering, which makes the system send a reset."""
        connection = self._transport.get_extra_info("socket")
        if connection is not None:  # with TLS it is None if the client was faster
            with suppress(OSError):  # without, it is closed
                connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self._transport.abort()

    def _linger(self) -> None:
        """Close the connection; if the client is still sending, only after its bytes were read."""
        is_sending = self._parser.is_inside or self._waiting
        if not is_sending or not self._transport.can_write_eof():  # TLS cannot close one direction
            self._transport.close()
            return
        self._waiting.clear()
        self._drained = 0
        self.since = None
        if not self._is_reading:
            self._is_reading = True
            self._transport.resume_reading()
        with suppress(OSError):  # the client has gone, and the transport will notice
            self._transport.write_eof()
        self._timer = self._loop.call_later(_DRAIN_S, self._transport.close)
