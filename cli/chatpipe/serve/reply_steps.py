"""A reply -> the steps that write it to the client: bytes, and between them pauses and endings."""

from __future__ import annotations

from collections.abc import Generator, Iterable, Iterator
from dataclasses import dataclass
from http.client import responses

from chatpipe.local.model import Reply
from chatpipe.named_tuple import NamedTuple
from chatpipe.serve.served_request import ServedRequest
from chatpipe.serve.slots_in_use import Ticket

_EVENT_STREAM = "text/event-stream"


class Pause(NamedTuple):
    """Wait before the next step."""

    seconds: float


class Close(NamedTuple):
    """End the connection once everything is written. Steps behind it are not taken."""


class Reset(NamedTuple):
    """End the connection by a reset. The client may lose bytes that it has not read. No step follows."""


Step = bytes | Pause | Close | Reset | Ticket


@dataclass(slots=True)
class ReplyPlan:
    """A reply, and the way in which it is written. usage is its prompt and completion tokens.

    ticket is its place in a slot or in the queue, which its steps wait for and give back. latency_s is the
    time in the slot before its first byte. pieces is its body, one piece an event of a stream, and can be
    read once. Steps may stand between the pieces of a stream. chunk_delay_s is the time before each piece
    of a stream but the first. first is a step before the first byte. slice_bytes is the most that is
    written at a time, 0 for no limit. faults are the kinds of those that it has.
    """

    status: int
    headers: tuple[tuple[str, str], ...]
    pieces: Iterable[Step]
    chunk_delay_s: float = 0.0
    latency_s: float = 0.0
    ticket: Ticket | None = None
    usage: tuple[int, int] = (0, 0)
    first: Step | None = None
    slice_bytes: int = 0
    faults: tuple[str, ...] = ()

    @property
    def request_id(self) -> str:
        """The id that the model gives to all requests with this body; empty for a reply of ours."""
        return next((value for name, value in self.headers if name == "x-request-id"), "")

    @property
    def is_stream(self) -> bool:
        return any(name == "content-type" and value.startswith(_EVENT_STREAM) for name, value in self.headers)


def plan_of(reply: Reply) -> ReplyPlan:
    return ReplyPlan(reply.status, reply.headers, reply.pieces)


def steps_of(plan: ReplyPlan, request: ServedRequest) -> Generator[Step, None, None]:
    """The steps that write the reply. Close them, so that its ticket is given back."""
    ticket = plan.ticket
    try:
        if ticket is not None and not ticket.is_running:
            yield ticket
        if plan.latency_s:
            yield Pause(plan.latency_s)
        if plan.first is not None:
            yield plan.first
        writes = _writes(plan, request)
        yield from _sliced(writes, plan.slice_bytes) if plan.slice_bytes else writes
    finally:
        if ticket is not None:
            ticket.leave()


def _writes(plan: ReplyPlan, request: ServedRequest) -> Iterator[Step]:
    """The bytes, with the steps between them. HEAD gets its head alone."""
    if plan.is_stream and request.method != "HEAD":
        yield from _stream_steps(plan, request)
        return
    pieces = tuple(plan.pieces)
    size = sum(len(piece) for piece in pieces if isinstance(piece, bytes))
    length = () if plan.status == 204 else (("content-length", str(size)),)
    data = head_of(plan.status, (*plan.headers, *length, *_connection(request)))
    for piece in () if request.method == "HEAD" else pieces:
        if isinstance(piece, bytes):
            data += piece
        else:
            yield data
            yield piece
            data = b""
    yield data
    if not request.keep_alive:
        yield Close()


def _stream_steps(plan: ReplyPlan, request: ServedRequest) -> Iterator[Step]:
    """The steps of a stream: chunked, or ended by the end of the connection for a client of HTTP/1.0."""
    framing = (("transfer-encoding", "chunked"),) if request.can_chunk else ()
    if not request.can_chunk:
        request = request._replace(keep_alive=False)
    yield head_of(plan.status, (*plan.headers, *framing, *_connection(request)))
    is_first = True
    for piece in plan.pieces:
        if not isinstance(piece, bytes):
            yield piece
            continue
        if plan.chunk_delay_s and not is_first:
            yield Pause(plan.chunk_delay_s)
        is_first = False
        yield b"%x\r\n%b\r\n" % (len(piece), piece) if request.can_chunk else piece
    if request.can_chunk:
        yield b"0\r\n\r\n"
    if not request.keep_alive:
        yield Close()


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
    """The status line and the headers, with the empty line behind them."""
    lines = [f"HTTP/1.1 {status} {responses.get(status, 'Unknown')}"]
    lines += [f"{name}: {value}" for name, value in headers]
    return "\r\n".join([*lines, "", ""]).encode("latin-1")


def _connection(request: ServedRequest) -> tuple[tuple[str, str], ...]:
    if not request.keep_alive:
        return (("connection", "close"),)
    return () if request.can_chunk else (("connection", "keep-alive"),)
