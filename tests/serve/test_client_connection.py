"""client_connection.py over a transport that fails where a real one does, when the client is faster."""

from __future__ import annotations

import asyncio
import errno
import gc
import weakref
from collections.abc import Mapping

import pytest

from chatpipe.options.serve import ServeOptions
from chatpipe.serve.batches.multipart import FormReader
from chatpipe.serve.client_connection import ClientConnection
from chatpipe.serve.fault_grammar import parse_fault
from chatpipe.serve.planner import Planner
from chatpipe.serve.reply_steps import ReplyPlan, steps_of_reply
from chatpipe.serve.request_log import LogEntry
from chatpipe.serve.served_request import ServedRequest
from serve.client import chat_request, statuses
from serve.test_planner import NOW


class _Gone(asyncio.Transport):
    """A transport whose client has gone, which it has not noticed yet."""

    def __init__(self) -> None:
        super().__init__()
        self.calls: list[str] = []

    def write(self, data: bytes | bytearray | memoryview) -> None:
        self.calls.append("write")

    def can_write_eof(self) -> bool:
        return True

    def write_eof(self) -> None:
        self.calls.append("write_eof")
        raise OSError(errno.ENOTCONN, "not connected")

    def get_extra_info(self, name: str, default: object = None) -> object:
        return self

    def setsockopt(self, *_: object) -> None:
        self.calls.append("setsockopt")
        raise OSError(errno.EINVAL, "invalid")

    def close(self) -> None:
        self.calls.append("close")

    def abort(self) -> None:
        self.calls.append("abort")

    def is_closing(self) -> bool:
        return False


class _Owner:
    """A server that fails on the first bug."""

    max_body = 1000
    is_stopping = False
    steps = staticmethod(steps_of_reply)
    read_buffer = memoryview(bytearray(30_000))

    def __init__(self, fault: str) -> None:
        self.planner = Planner(ServeOptions(faults=(parse_fault(fault),)))
        self.ended: list[bool] = []

    def open_form(self, method: str, target: str, headers: Mapping[bytes, bytes]) -> FormReader | None:
        return self.planner.open_form(method, target, headers)

    def site_refusal(self, target: bytes, headers: Mapping[bytes, bytes]) -> str | None:
        return None

    def reply_to(self, request: ServedRequest, *, can_write: bool) -> ReplyPlan:
        return self.planner.plan(request, NOW)

    def note_bug(self, error: Exception) -> str:
        raise error

    def opened(self, connection: ClientConnection) -> None: ...

    def closed(self, connection: ClientConnection) -> None: ...

    def answered(self, entry: LogEntry, plan: ReplyPlan, *, is_complete: bool) -> None:
        self.ended.append(is_complete)


def receive(connection: ClientConnection, data: bytes) -> None:
    """Hand data to a connection as a transport does."""
    connection.get_buffer(-1)[: len(data)] = data
    connection.buffer_updated(len(data))


@pytest.mark.parametrize("is_full", [False, True])
def test_a_stream_is_few_writes_and_ends_when_they_are_taken(is_full: bool) -> None:
    """A turn of events that nothing separates is one write. A full buffer holds the end of the reply."""
    words = " ".join(["word"] * 100)

    async def run() -> tuple[list[str], list[bool]]:
        owner, transport = _Owner("delay=0s"), _Gone()
        connection = ClientConnection(owner)
        connection.connection_made(transport)
        receive(connection, chat_request(words, stream=True))
        if is_full:
            connection.pause_writing()
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        ends = [not owner.ended]
        connection.resume_writing()
        await asyncio.sleep(0)
        return transport.calls, [*ends, not owner.ended]

    assert asyncio.run(run()) == (["write", "write", "close"], [is_full, False])


@pytest.mark.parametrize(
    ("sent", "writes", "replies"),
    [
        (chat_request(headers=b"") * 3, 1, [200, 200, 200]),
        (chat_request(headers=b"") + chat_request(headers=b"Expect: 100-continue\r\n"), 3, [200, 100, 200]),
        (chat_request(headers=b"") + chat_request(stream=True, headers=b"") * 2, 3, [200, 200, 200]),
        (chat_request(headers=b"") + b"no request\r\n\r\n", 2, [200, 400]),
        (chat_request(headers=b"") * 100, 2, [200] * 100),
    ],
    ids=["together", "100-continue", "streams", "garbage", "many"],
)
def test_replies_to_a_pipeline(sent: bytes, writes: int, replies: list[int]) -> None:
    """Replies that wait for nothing are one write, as long as no other one stands between them."""

    class Transport(_Gone):
        data = b""

        def write(self, data: bytes | bytearray | memoryview) -> None:
            super().write(data)
            self.data += data

    async def run() -> _Gone:
        transport = Transport()
        connection = ClientConnection(_Owner("cut:match=nobody"))
        connection.connection_made(transport)
        receive(connection, sent)
        await asyncio.sleep(0)
        assert statuses(transport.data) == replies
        return transport

    assert asyncio.run(run()).calls.count("write") == writes


def test_an_idle_connection_holds_no_reply_and_a_closed_one_nothing() -> None:
    """Ten thousand connections give their memory back without a run of the collector."""

    class Owner(_Owner):
        def answered(self, entry: LogEntry, plan: ReplyPlan, *, is_complete: bool) -> None:
            self.plan_of_reply = weakref.ref(plan)

    async def run() -> None:
        owner = Owner("delay=0s")
        connection = ClientConnection(owner)
        connection.connection_made(_Gone())
        receive(connection, chat_request(headers=b""))
        await asyncio.sleep(0)
        assert owner.plan_of_reply() is None
        receive(connection, chat_request()[:-1])
        connection.connection_lost(None)
        closed = weakref.ref(connection)
        del connection
        assert closed() is None

    gc.disable()
    try:
        asyncio.run(run())
    finally:
        gc.enable()


def test_an_unfinished_request_has_the_time_of_its_last_byte(monkeypatch: pytest.MonkeyPatch) -> None:
    async def run() -> list[object]:
        connection = ClientConnection(_Owner("cut"))
        connection.connection_made(_Gone())
        times: list[object] = [connection.since]
        for at, data in enumerate((b"GET / HTTP/1.1\r\n", b"Host: h\r\n", b"\r\n")):
            monkeypatch.setattr(asyncio.get_running_loop(), "time", lambda at=at: 100.0 + at)
            receive(connection, data)
            times.append(connection.since)
        return times

    assert asyncio.run(run()) == [None, 100.0, 101.0, None]


@pytest.mark.parametrize(
    ("sent", "fault", "calls"),
    [
        (b"POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 5000\r\n\r\n1", "cut", ["write", "write_eof"]),
        (chat_request(), "reset", ["setsockopt", "abort"]),
    ],
    ids=["refused while it sends", "reset"],
)
def test_an_end_that_the_client_was_faster_with_is_no_bug(sent: bytes, fault: str, calls: list[str]) -> None:
    async def run() -> list[str]:
        transport = _Gone()
        connection = ClientConnection(_Owner(fault))
        connection.connection_made(transport)
        receive(connection, sent)
        connection.connection_lost(None)
        return transport.calls

    assert asyncio.run(run()) == calls
