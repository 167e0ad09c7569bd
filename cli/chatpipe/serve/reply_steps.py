"""A reply -> the steps that write it to the client: bytes, and between them pauses and endings."""

from __future__ import annotations

import re
from collections.abc import Generator, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from http.client import responses
from typing import Literal, Protocol

from chatpipe.local.model import Reply
from chatpipe.named_tuple import NamedTuple
from chatpipe.options.serve import FaultRule
from chatpipe.serve.attempts import Attempt
from chatpipe.serve.served_request import ServedRequest
from chatpipe.serve.slots_in_use import Ticket
from chatpipe.serve.wakeup import Wakeup

_STATUS_LINES: Mapping[int, str] = {
    int(status): f"HTTP/1.1 {int(status)} {text}\r\n" for status, text in responses.items()
}
_EVENT_STREAM = "text/event-stream"
_STREAM_END = re.compile(rb'"finish_reason"\s*:\s*"|data:\s*\[DONE\]')
MOST_WHOLE = 16 << 10  # bytes of a body that is written with its head, whatever the client has read
_END_BYTES = 40  # the longest that _STREAM_END matches, with some room for white space


class Pause(NamedTuple):
    """Wait before the next step."""

    seconds: float


class Close(NamedTuple):
    """End the connection once everything is written. Steps after it are not taken."""


class Reset(NamedTuple):
    """End the connection by a reset. The client may lose bytes that it has not read. No step follows."""


Step = bytes | Pause | Close | Reset | Wakeup
# The end of a body: an empty string for what the kind of reply needs, else as another server had it. With
# `length` its header is in the reply; `none` is a reply without a body.
Framing = Literal["", "chunked", "length", "connection", "none"]


@dataclass(slots=True)
class TimedReply(Reply):
    """A reply with a latency of its own, added to that of the server, a time between its chunks, and faults.

    chunk_delay_s is None for that of the server.
    """

    latency_s: float = 0.0
    chunk_delay_s: float | None = None
    faults: tuple[FaultRule, ...] = ()


class LaterReply(Protocol):
    """A reply that is not known yet. faults are those that begin() makes in a good one."""

    faults: Sequence[FaultRule]

    def begin(self, plan: ReplyPlan) -> Iterator[Step]:
        """Steps until its status, headers and framing are in the plan, and its pieces can be taken."""

    def close(self) -> None:
        """Give up the rest of it. It may have come to its end."""


class ReplyPace(NamedTuple):
    """The times of a reply, and the sizes of its pieces.

    latency_s is the time in the slot before its first byte, chunk_delay_s that before each piece of a stream
    but the first. slice_bytes is the most that is written at a time, 0 for no limit.
    """

    latency_s: float = 0.0
    chunk_delay_s: float = 0.0
    slice_bytes: int = 0


AT_ONCE = ReplyPace()


class ReplyPlan:
    """A reply, and the way in which it is written.

    The reply: pieces is its body, one piece an event of a stream, and can be read once. Steps may stand
    between the pieces of a stream. usage is its prompt and completion tokens. source is asked for the reply
    when its time has come; until then the status is 0, and the headers are those that are added.

    Its way: ticket is its place in a slot or in the queue, which its steps wait for and give back. ending is
    the end of the connection in place of the first byte.

    For the observer: faults are the kinds of those that it has. is_spoiled is True if one of them changes the
    answer itself, and is_cut if a good answer comes without its end. attempt is the part of the verdict about
    a request for a completion.
    """

    __slots__ = (
        *("status", "headers", "pieces", "usage", "framing", "source"),
        *("ticket", "pace", "ending"),
        *("faults", "is_spoiled", "is_cut", "attempt"),
        "__weakref__",
    )

    def __init__(
        self,
        status: int,
        headers: tuple[tuple[str, str], ...],
        pieces: Iterable[Step],
        *,
        usage: tuple[int, int] = (0, 0),
        framing: Framing = "",
        source: LaterReply | None = None,
    ) -> None:
        self.status = status
        self.headers = headers
        self.pieces = pieces
        self.usage = usage
        self.framing = framing
        self.source = source
        self.ticket: Ticket | None = None
        self.pace = AT_ONCE
        self.ending: Close | Reset | None = None
        self.faults: tuple[str, ...] = ()
        self.is_spoiled = False
        self.is_cut = False
        self.attempt: Attempt | None = None

    @property
    def request_id(self) -> str:
        """The id that the model gives to all requests with this body; empty for a reply of ours."""
        return next((value for name, value in self.headers if name.lower() == "x-request-id"), "")

    @property
    def is_stream(self) -> bool:
        for name, value in self.headers:
            if name.lower() == "content-type":
                return value.startswith(_EVENT_STREAM)
        return False


def plan_of(reply: Reply) -> ReplyPlan:
    return ReplyPlan(reply.status, reply.headers, reply.pieces)


def note_cut(plan: ReplyPlan, pieces: Iterable[Step]) -> Iterator[Step]:
    """The same steps. The plan is told of a good reply that is broken off, or of a stream without its end."""
    is_good = plan.status == 200
    has_end, tail = not plan.is_stream, b""
    for piece in pieces:
        if isinstance(piece, Close | Reset):
            plan.is_cut = is_good and not (plan.is_stream and has_end)
        elif isinstance(piece, bytes) and not has_end:
            tail += piece
            has_end = _STREAM_END.search(tail) is not None
            tail = tail[-_END_BYTES:]
        yield piece
    plan.is_cut |= is_good and not has_end


def whole_reply(plan: ReplyPlan, request: ServedRequest) -> bytes:
    """All bytes of a small reply that waits for nothing, as nearly all do; empty for any other.

    The steps of such a reply are the same bytes, and take twice the time.
    """
    pieces, ticket = plan.pieces, plan.ticket
    if type(pieces) is not tuple or len(pieces) != 1 or (ticket is not None and not ticket.is_running):
        return b""
    is_usual = plan.ending is None and plan.source is None and not plan.framing
    if not is_usual or plan.pace.latency_s or plan.pace.slice_bytes:
        return b""
    body = pieces[0]
    if type(body) is not bytes or len(body) > MOST_WHOLE or plan.status == 204:
        return b""
    if not request.keep_alive or not request.can_chunk or request.method == "HEAD":
        return b""
    return head_of(plan.status, (*plan.headers, ("content-length", str(len(body))))) + body


def steps_of_reply(plan: ReplyPlan, request: ServedRequest) -> Generator[Step, None, None]:
    """The steps that write the reply. Close them, so that its ticket is given back."""
    ticket = plan.ticket
    try:
        if ticket is not None and not ticket.is_running:
            yield ticket
        if plan.pace.latency_s:
            yield Pause(plan.pace.latency_s)
        if plan.ending is not None:
            yield plan.ending
        if plan.source is not None:
            yield from plan.source.begin(plan)
        writes = _writes(plan, request)
        yield from _sliced(writes, plan.pace.slice_bytes) if plan.pace.slice_bytes else writes
    finally:
        if plan.source is not None:
            plan.source.close()
        if ticket is not None:
            ticket.leave()


def _writes(plan: ReplyPlan, request: ServedRequest) -> Iterator[Step]:
    """The bytes, with the steps between them. HEAD gets its head alone."""
    if plan.framing or (plan.is_stream and request.method != "HEAD"):
        yield from _stream_steps(plan, request)
        return
    pieces = tuple(plan.pieces)
    size = sum([len(piece) for piece in pieces if isinstance(piece, bytes)])
    length = () if plan.status == 204 else (("content-length", str(size)),)
    yield head_of(plan.status, (*plan.headers, *length, *_connection(request)))
    if request.method != "HEAD":
        yield from pieces
    if not request.keep_alive:
        yield Close()


def _stream_steps(plan: ReplyPlan, request: ServedRequest) -> Iterator[Step]:
    """The steps of a body that comes in pieces: chunked, unless the plan or a client of HTTP/1.0 differs."""
    is_chunked = request.can_chunk and plan.framing in ("", "chunked")
    if not is_chunked and plan.framing not in ("length", "none"):
        request = replace(request, keep_alive=False)  # its end is that of the connection
    framing = (("transfer-encoding", "chunked"),) if is_chunked else ()
    yield head_of(plan.status, (*plan.headers, *framing, *_connection(request)))
    pieces = plan.pieces
    if plan.is_stream and plan.pace.chunk_delay_s:
        pieces = _delayed(pieces, plan.pace.chunk_delay_s)
    if is_chunked:
        for piece in pieces:
            yield b"%x\r\n%b\r\n" % (len(piece), piece) if isinstance(piece, bytes) else piece
    else:
        yield from pieces
    if is_chunked:
        yield b"0\r\n\r\n"
    if not request.keep_alive:
        yield Close()


def _delayed(steps: Iterable[Step], seconds: float) -> Iterator[Step]:
    """The same steps, with a pause before all bytes but the first."""
    is_first = True
    for step in steps:
        if isinstance(step, bytes):
            if not is_first:
                yield Pause(seconds)
            is_first = False
        yield step


def _sliced(steps: Iterator[Step], size: int) -> Iterator[Step]:
    """The same bytes in writes of a few bytes each, with a turn of the event loop between them."""
    for step in steps:
        if not isinstance(step, bytes):
            yield step
            continue
        for at in range(0, len(step), size):
            yield step[at : at + size]
            yield Pause(0.0)


def head_of(status: int, headers: Iterable[tuple[str, str]]) -> bytes:
    """The status line and the headers, with the empty line after them."""
    text = _STATUS_LINES.get(status) or f"HTTP/1.1 {status} Unknown\r\n"
    for name, value in headers:
        text += f"{name}: {value}\r\n"
    return f"{text}\r\n".encode("latin-1")


def _connection(request: ServedRequest) -> tuple[tuple[str, str], ...]:
    if not request.keep_alive:
        return (("connection", "close"),)
    return () if request.can_chunk else (("connection", "keep-alive"),)
