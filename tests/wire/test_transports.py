"""Both transports against real sockets: every form of reply, every fault, http and https."""

from __future__ import annotations

import asyncio
import socket
import ssl
import struct
import threading
import time
from collections.abc import AsyncIterator, Callable, Iterator

import httpx
import pytest

from chatpipe.wire.http1 import NotHTTP
from chatpipe.wire.timeouts import DEADLINE_PASSED
from support.patience import PATIENCE_S
from support.senders import HI, Sender
from support.servers import loopback
from support.servers.loopback import (
    Close,
    Pause,
    Reset,
    Stall,
    WaitFor,
    chunked,
    event_stream,
    in_turn,
    reply,
    serve,
)
from support.speed import at_any_speed
from wire.servers import drain, drain_to_end, raw_server

HEAD = b"HTTP/1.1 200 OK\r\n"
CUT = HEAD + b"Content-Length: 10\r\n\r\nabc"
CHUNKED = HEAD + b"Transfer-Encoding: chunked\r\n\r\n"
RST = struct.pack("ii", 1, 0)


def one_byte_each(data: bytes) -> list[loopback.Step]:
    return [step for at in range(len(data)) for step in (data[at : at + 1], Pause(0))]


# Replies

REPLIES: dict[str, tuple[loopback.Answer, int, bytes]] = {
    "length": (reply(200, b"hello"), 200, b"hello"),
    "length, byte by byte": (one_byte_each(reply(200, b"hello")), 200, b"hello"),
    "length 0": (reply(200, b""), 200, b""),
    "its length twice": ([HEAD + b"Content-Length: 2\r\n" * 2 + b"\r\nhi"], 200, b"hi"),
    "chunked": (chunked([b"a", b"bc", b"d" * 100_000]), 200, b"abc" + b"d" * 100_000),
    "chunked, byte by byte": (one_byte_each(CHUNKED + b"2\r\nhi\r\n0\r\n\r\n"), 200, b"hi"),
    "chunked, extensions and trailers": (CHUNKED + b"2;x=1\r\nhi\r\n0\r\nX-T: 1\r\n\r\n", 200, b"hi"),
    "chunked, no body": (CHUNKED + b"0\r\n\r\n", 200, b""),
    "event stream": (event_stream([b"data: 1\n\n", b"data: 2\n\n"]), 200, b"data: 1\n\ndata: 2\n\n"),
    "event stream that ends by close": (event_stream([b"data: 1\n\n"], chunked=False), 200, b"data: 1\n\n"),
    "ends by close": ([HEAD + b"\r\nall", Close()], 200, b"all"),
    "ends by close, late": (
        [HEAD + b"\r\nall", Pause(0.02), b" of it", Pause(0.02), Close()],
        200,
        b"all of it",
    ),
    "HTTP/1.0": ([b"HTTP/1.0 200 OK\r\n\r\nall", Close()], 200, b"all"),
    "HTTP/1.0 with length": ([b"HTTP/1.0 200 OK\r\nContent-Length: 3\r\n\r\nall"], 200, b"all"),
    "100 before 200": ([b"HTTP/1.1 100 Continue\r\n\r\n", Pause(0.02), reply(200, b"hi")], 200, b"hi"),
    "103 and 200 at once": (b"HTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\n" + reply(200, b"hi"), 200, b"hi"),
    "204": (b"HTTP/1.1 204 No Content\r\n\r\n", 204, b""),
    "a redirect is left as it is": (reply(307, b"", {"location": "/elsewhere"}), 307, b""),
    "an error": (reply(429, b"slow down"), 429, b"slow down"),
    "bytes after it": (reply(200, b"hi") + b"surplus", 200, b"hi"),
    "a second reply after it": (reply(200, b"hi") + reply(200, b"no"), 200, b"hi"),
    "a reset after its length": ([reply(200, b"hi"), Pause(0.05), Reset()], 200, b"hi"),
    "long": (reply(200, b"x" * 3_000_000), 200, b"x" * 3_000_000),
    "long, JSON in chunks": (chunked([b"x" * 1_000_000] * 3), 200, b"x" * 3_000_000),
    "long head": (reply(200, b"hi", {"X-Long": "x" * 60_000}), 200, b"hi"),
}


@pytest.mark.parametrize(("answer", "status", "body"), REPLIES.values(), ids=REPLIES)
def test_every_form_of_reply_is_read_on_a_new_connection_and_on_a_used_one(
    answer: loopback.Answer, status: int, body: bytes, send: Sender, server_tls: ssl.SSLContext | None
) -> None:
    with serve(in_turn(reply(200, b"first"), answer), tls=server_tls) as server:
        assert send(server.url) == (200, b"first")
        assert send(server.url) == (status, body)
        assert send(server.url, b"{}", "PUT") == (status, body)  # repeated where the connection is lost


def test_the_reply_to_a_head_request_has_no_body(send: Sender, server_tls: ssl.SSLContext | None) -> None:
    with serve(lambda _: loopback.head(200, {"content-length": "5"}), tls=server_tls) as server:
        for _ in range(2):
            assert send(server.url, b"", "HEAD") == (200, b"")
        assert [request.method for request in server.requests] == ["HEAD", "HEAD"]


def test_headers_and_extensions_of_the_reply_are_there(send: Sender) -> None:
    headers = [("X-Request-Id", "r1"), ("set-cookie", "a"), ("set-cookie", "b")]
    with serve(lambda _: reply(200, b"", headers)) as server:
        response = send.open(server.url)
        send.close(response)
    assert response.headers["x-request-id"] == "r1"
    assert response.headers.get_list("set-cookie") == ["a", "b"]
    assert response.extensions == {"http_version": b"HTTP/1.1", "reason_phrase": b"OK"}
    assert str(response.request.url) == server.url


def test_an_event_stream_is_handed_over_at_its_head_and_piece_by_piece(
    send: Sender, server_tls: ssl.SSLContext | None
) -> None:
    first, second, end = threading.Event(), threading.Event(), threading.Event()
    head, one, two, last = event_stream([b"one", b"two"])
    steps = [head, WaitFor(first), one, WaitFor(second), two, WaitFor(end), last]
    with serve(lambda _: steps, tls=server_tls) as server:
        response = send.open(server.url)
        assert response.status_code == 200
        pieces = aiter(response.stream)  # type: ignore[arg-type]
        for let, expected in ((first, b"one"), (second, b"two")):
            let.set()  # so the server had not even sent it
            assert send.next(pieces) == expected
        end.set()
        assert send.next(pieces) is None
        assert send.next(pieces) is None
        assert send.idle == 1


@pytest.mark.parametrize("whole", [True, False], ids=["to its end", "one piece"])
def test_a_stream_cannot_be_read_twice(whole: bool, send: Sender) -> None:
    with serve(lambda _: event_stream([b"one", b"two"], pace=0.02)) as server:
        response = send.open(server.url)
        if whole:
            assert send.read(response) == b"onetwo"
        else:
            assert send.next(aiter(response.stream)) == b"one"  # type: ignore[arg-type]
            send.close(response)
        with pytest.raises(httpx.StreamClosed):
            send.read(response)
        response.is_stream_consumed = True  # as httpx's own readers leave it
        with pytest.raises(httpx.StreamConsumed):
            send.run(response.aread())


# Faults

BROKEN = httpx.RemoteProtocolError
SILENT = (httpx.ReadTimeout, r"^no byte for 0\.2 s$")
OPEN_STREAM = event_stream([b"abc"], end=False)
FAULTS: dict[str, tuple[list[loopback.Step], type[Exception], str]] = {
    "closed before the head": ([Close()], BROKEN, "without a reply"),
    "closed inside the head": ([HEAD, Close()], BROKEN, "inside the head"),
    "closed after 100": ([b"HTTP/1.1 100 Continue\r\n\r\n", Close()], BROKEN, "inside the head"),
    "length cut short": ([CUT, Close()], BROKEN, "before the end"),
    "length cut short, later": ([CUT, Pause(0.02), b"d", Close()], BROKEN, "before the end"),
    "chunks cut short": ([*chunked([b"abc"], end=None), Close()], BROKEN, "before the end"),
    "inside a chunk": ([CHUNKED + b"5\r\nabc", Close()], BROKEN, "before the end"),
    "event stream cut short": ([*OPEN_STREAM, Close()], BROKEN, "before the end"),
    "not a chunk": ([CHUNKED + b"zz\r\nabc"], BROKEN, "not a reply in HTTP"),
    "garbage": ([b"220 mail.example.com ESMTP\r\n", Close()], NotHTTP, "it says '220 mail"),
    "101": ([b"HTTP/1.1 101 S\r\nUpgrade: x\r\n\r\n"], BROKEN, "unexpected status 101"),
    "two lengths": (
        [HEAD + b"Content-Length: 2\r\nContent-Length: 3\r\n\r\nhi"],
        BROKEN,
        "not a reply in HTTP",
    ),
    "gzip as a transfer coding": (
        [HEAD + b"Transfer-Encoding: gzip\r\n\r\nhi"],
        BROKEN,
        "unknown transfer-encoding",
    ),
    "huge head": ([HEAD + b"X: " + b"a" * 70_000], BROKEN, "more than 65536 bytes"),
    "stall before the head": ([Stall()], *SILENT),
    "stall inside the head": ([HEAD, Stall()], *SILENT),
    "stall inside the body": ([CUT, Stall()], *SILENT),
    "stall inside an event stream": ([*OPEN_STREAM, Stall()], *SILENT),
}


@pytest.mark.parametrize(("steps", "kind", "message"), FAULTS.values(), ids=FAULTS)
def test_every_fault_is_an_exception_of_httpx(
    steps: list[loopback.Step],
    kind: type[Exception],
    message: str,
    make_send: Callable[..., Sender],
    server_tls: ssl.SSLContext | None,
) -> None:
    send = make_send(max_connections=1)
    with serve(in_turn(steps, reply(200, b"well")), tls=server_tls) as server:
        with pytest.raises(kind, match=message):
            send(server.url, read=0.2 if kind is httpx.ReadTimeout else PATIENCE_S)
        assert send.held == 0
        send.until(lambda: not server.open)  # our end is closed too
        assert send(server.url) == (200, b"well")
        assert len(server.requests) == 2  # nothing was repeated


@pytest.mark.parametrize("at", range(1, len(CUT) - 3))
def test_a_head_that_is_cut_anywhere_is_reported(at: int, send: Sender) -> None:
    with (
        serve(lambda _: [CUT[:at], Close()]) as server,
        pytest.raises(BROKEN, match="peer closed connection"),
    ):
        send(server.url)


RESETS: dict[str, tuple[list[loopback.Step], type[Exception], str]] = {
    "before the head": ([Reset()], httpx.ReadError, "reset by peer"),
    "inside the head": ([HEAD, Pause(0.02), Reset()], httpx.ReadError, "reset by peer"),
    "inside the body": ([CUT, Pause(0.02), Reset()], BROKEN, "reset by peer before the end of the reply"),
    "inside an event stream": (
        [*OPEN_STREAM, Pause(0.02), Reset()],
        BROKEN,
        "reset by peer before the end of the reply",
    ),
}


@pytest.mark.parametrize(("steps", "kind", "message"), RESETS.values(), ids=RESETS)
def test_a_reset_is_a_broken_connection_or_a_broken_reply(
    steps: list[loopback.Step], kind: type[Exception], message: str, send: Sender
) -> None:
    with serve(lambda _: steps) as server, pytest.raises(kind, match=f"(?i){message}") as caught:
        send(server.url)
    assert isinstance(caught.value.__cause__, ConnectionResetError)
    assert send.held == 0


@pytest.mark.parametrize("steps", [[CUT, Close()], [CUT, Pause(0.02), Reset()], [CUT, Stall()]])
@at_any_speed
def test_the_bytes_before_a_fault_can_be_read(factor: int, steps: list[loopback.Step], send: Sender) -> None:
    """The head is there and the fault comes after the bytes, although the pool waits for the whole reply."""
    with serve(lambda _: steps) as server:
        response = send.open(server.url, read=0.5 * factor)
        assert response.status_code == 200
        pieces = aiter(response.stream)  # type: ignore[arg-type]
        assert send.next(pieces) == b"abc"
        with pytest.raises(httpx.TransportError):
            send.next(pieces)
        assert send.held == 0


@pytest.mark.parametrize("pause", [[], [Pause(0.02)]], ids=["at once", "later"])
def test_the_status_before_a_malformed_body_is_known(pause: list[loopback.Step], send: Sender) -> None:
    head = CHUNKED.replace(b"200 OK", b"401 No")
    steps = [head, *pause, b"{}"] if pause else [head + b"{}"]
    with serve(lambda _: steps) as server:
        response = send.open(server.url)
        assert response.status_code == 401
        pieces = aiter(response.stream)  # type: ignore[arg-type]
        with pytest.raises(BROKEN, match="not a reply in HTTP"):
            send.next(pieces)
        assert send.held == 0


@at_any_speed
def test_slow_bytes_within_the_time_out_are_no_fault(
    factor: int, send: Sender, server_tls: ssl.SSLContext | None
) -> None:
    steps: list[loopback.Step] = [HEAD + b"Content-Length: 6\r\n\r\n"]
    for at in range(6):
        steps += [Pause(0.1 * factor), b"abcdef"[at : at + 1]]
    with serve(lambda _: steps, tls=server_tls) as server:
        assert send(server.url, read=0.5 * factor) == (200, b"abcdef")


@at_any_speed
def test_the_time_out_of_one_request_is_not_that_of_the_next(factor: int, send: Sender) -> None:
    """The timer of the connection is still set for the first one, earlier or later."""
    slow: list[loopback.Step] = [Pause(0.9 * factor), reply(200, b"two")]
    with serve(in_turn(reply(200, b"one"), slow, [Stall()])) as server:
        assert send(server.url, read=0.5 * factor) == (200, b"one")
        assert send(server.url, read=PATIENCE_S) == (200, b"two")  # slower than the first would have stood
        started = time.monotonic()
        with pytest.raises(httpx.ReadTimeout):
            send(server.url, read=0.1)
        assert 0.1 <= time.monotonic() - started < PATIENCE_S
        assert server.connections == 1


@at_any_speed
def test_the_time_of_the_reader_is_not_that_of_the_server(factor: int, send: Sender) -> None:
    """A consumer that does something else for longer than the read time-out finds its stream alive."""
    go = threading.Event()
    head, one, two, end = event_stream([b"one", b"two"])
    with serve(lambda _: [head, one, WaitFor(go), Pause(0.05), two, end]) as server:
        response = send.open(server.url, read=0.6 * factor)
        pieces = aiter(response.stream)  # type: ignore[arg-type]
        assert send.next(pieces) == b"one"
        send.pause(0.9 * factor)
        go.set()
        assert send.next(pieces) == b"two"
        send.close(response)


@pytest.mark.parametrize("answer", [[Stall()], [CUT, Stall()], [*OPEN_STREAM, Stall()]])
@at_any_speed
def test_a_passed_deadline_is_distinct_from_a_time_out(
    factor: int, answer: list[loopback.Step], send: Sender
) -> None:
    with serve(lambda _: answer) as server:
        started = time.monotonic()
        with pytest.raises(httpx.ReadTimeout, match=f"^{DEADLINE_PASSED}$"):
            send(server.url, deadline=started + 0.4 * factor, read=PATIENCE_S)
        assert 0.4 * factor <= time.monotonic() - started < PATIENCE_S


@pytest.mark.parametrize("head", [chunked([], end=None), event_stream([], end=False)], ids=["JSON", "events"])
@at_any_speed
def test_a_deadline_also_ends_a_reply_that_never_pauses(
    factor: int, head: list[loopback.Step], send: Sender
) -> None:
    def forever() -> Iterator[loopback.Step]:
        yield from head
        while True:
            yield b"1\r\nx\r\n"
            yield Pause(0.002)

    with serve(lambda _: forever()) as server, pytest.raises(httpx.ReadTimeout, match=f"^{DEADLINE_PASSED}$"):
        send(server.url, deadline=time.monotonic() + 0.1 * factor, read=PATIENCE_S)
    assert send.held == 0


@pytest.mark.parametrize("count", [0, 1], ids=["new connection", "used connection"])
def test_a_deadline_in_the_past_sends_nothing(count: int, send: Sender) -> None:
    with serve(lambda _: reply(200, b"hi")) as server:
        for _ in range(count):
            assert send(server.url) == HI
        with pytest.raises(httpx.ConnectTimeout, match=f"^{DEADLINE_PASSED}$"):
            send(server.url, deadline=time.monotonic() - 1)
        assert send.held == send.idle == count
        assert len(server.requests) == count


def test_without_time_outs_it_works_too(send: Sender) -> None:
    with serve(lambda _: [Pause(0.02), reply(200, b"hi")]) as server:
        for with_extension in (False, True):
            request = httpx.Request("POST", server.url, stream=httpx.ByteStream(b"{}"))
            if with_extension:
                request.extensions = {"timeout": {}}
            assert send.read(send.run(send.transport.handle_async_request(request))) == b"hi"


# The request


def test_a_request_is_one_write(send: Sender) -> None:
    reads = []

    def talk(connection: socket.socket) -> None:
        reads.append(connection.recv(65_536))
        connection.sendall(reply(200, b""))

    with raw_server(talk) as url:
        send(url, b'{"a":1}')
    assert reads[0].startswith(b"POST /v1 HTTP/1.1\r\nHost: 127.0.0.1")
    assert reads[0].endswith(b'\r\nContent-Length: 7\r\n\r\n{"a":1}')


@pytest.mark.parametrize("size", [0, 65_536, 65_537, 5_000_000])
def test_a_body_of_any_size_arrives(size: int, send: Sender, server_tls: ssl.SSLContext | None) -> None:
    body = bytes(range(256)) * (size // 256) + b"x" * (size % 256)
    with serve(lambda _: reply(200, b"hi"), tls=server_tls) as server:
        for _ in range(2):
            assert send(server.url, body) == HI
        assert [request.body == body for request in server.requests] == [True, True]
        assert server.connections == 1


class Upload(httpx.AsyncByteStream):
    async def __aiter__(self) -> AsyncIterator[bytes]:
        for piece in (b"one", b"", b"x" * 100_000):
            yield piece


class SuspendingUpload(Upload):
    """For an event loop only."""

    async def __aiter__(self) -> AsyncIterator[bytes]:
        async for piece in super().__aiter__():
            await asyncio.sleep(0)
            yield piece


def test_a_body_that_comes_in_pieces_is_sent_as_they_come(send: Sender) -> None:
    upload = Upload() if send.blocks else SuspendingUpload()
    with serve(lambda _: reply(200, b"hi")) as server:
        for headers in ({"Transfer-Encoding": "chunked"}, {"Content-Length": "100003"}):
            assert send(server.url, upload, headers=headers) == HI
        assert [request.body for request in server.requests] == [b"one" + b"x" * 100_000] * 2
        # It cannot be sent again, so it does not go where it might have to be.
        assert server.connections == 2


def test_heads_differ_where_requests_do(send: Sender) -> None:
    """The pool reuses the last head for the same target, method and headers only."""
    sent: list[tuple[str, str, dict[str, str], bytes]] = [
        ("POST", "/v1/a", {}, b"one"),
        ("POST", "/v1/a", {}, b"seven b"),
        ("POST", "/v1/a", {"Authorization": "Bearer 2"}, b"x"),
        ("POST", "/v1/b?q=1", {"Authorization": "Bearer 2"}, b"x"),
        ("PUT", "/v1/b?q=1", {"Authorization": "Bearer 2"}, b"xx"),
        ("POST", "/v1/a", {}, b""),
        ("GET", "/v1/a", {}, b""),
        ("GET", "/v1/a", {}, b"body"),
        ("GET", "/v1/a", {}, b""),
        ("POST", "/v1/a", {"Content-Length": "3"}, b"abc"),
        ("POST", "/v1/a", {"Host": "other.example"}, b"abc"),
    ]
    with serve(lambda _: reply(200, b"hi")) as server:
        for method, path, headers, body in sent:
            send(server.origin + path, body, method, headers=httpx.Headers({"X-A": "1", **headers}))
    seen = [(request.method, request.target, request.body) for request in server.requests]
    assert seen == [(method, path, body) for method, path, _, body in sent]
    host = f"127.0.0.1:{server.port}"
    assert [request.headers.get("authorization") for request in server.requests] == [None] * 2 + [
        "Bearer 2"
    ] * 3 + [None] * 6
    assert [request.headers["host"] for request in server.requests] == [host] * 10 + ["other.example"]
    lengths = [request.headers.get("content-length") for request in server.requests]
    assert lengths == ["3", "7", "1", "1", "2", "0", None, "4", None, "3", "3"]


def test_headers_changed_in_place_are_sent_as_they_are_now(send: Sender) -> None:
    with serve(lambda _: reply(200, b"hi")) as server:
        request = httpx.Request("POST", server.url, headers={"X-A": "1"}, stream=httpx.ByteStream(b"x"))
        for value in ("1", "2"):
            request.headers["X-A"] = value
            send.read(send.run(send.transport.handle_async_request(request)))
        assert [request.headers["x-a"] for request in server.requests] == ["1", "2"]


@pytest.mark.parametrize("bad", ["a\r\nX: y", "a\n", "a\rb", "a\0b"], ids=repr)
def test_line_ends_and_nul_in_headers_are_refused_and_take_no_place(bad: str, send: Sender) -> None:
    with serve() as server:
        with pytest.raises(httpx.LocalProtocolError, match="in header 'Authorization'") as caught:
            send(server.url, headers={"Authorization": f"Bearer {bad}"})
        assert "Bearer" not in str(caught.value)
        assert send.held == 0
        assert server.connections == 0 or send.blocks
        assert server.requests == []


def test_a_body_of_unknown_length_needs_framing(send: Sender) -> None:
    with serve() as server, pytest.raises(httpx.LocalProtocolError, match="needs a Transfer-Encoding"):
        send(server.url, Upload())
    assert send.held == 0


def test_another_scheme_is_unsupported(send: Sender) -> None:
    with pytest.raises(httpx.UnsupportedProtocol, match="'ftp' is not http or https"):
        send("ftp://127.0.0.1/")
    assert send.held == 0


# A large body, and a server that does not just read it


@pytest.mark.parametrize("lingers", [True, False], ids=["then reads on", "then closes"])
@pytest.mark.parametrize("size", [5_000_000, 20_000_000, 50_000_000])
def test_early_413_is_read_while_a_large_body_is_sent(size: int, lingers: bool, send: Sender) -> None:
    def talk(connection: socket.socket) -> None:
        connection.recv(1000)
        connection.sendall(reply(413, b"too large"))
        if lingers:
            connection.shutdown(socket.SHUT_WR)
            drain_to_end(connection)  # as nginx does, so that no reset overtakes the reply
        elif send.blocks:
            time.sleep(0.05)  # then a reset, because our bytes are not read

    with raw_server(talk) as url:
        assert send(url, b"x" * size) == (413, b"too large")
        assert send.held == send.idle


def test_a_connection_whose_request_was_not_sent_whole_is_not_kept(send: Sender) -> None:
    done = threading.Event()

    def talk(connection: socket.socket) -> None:
        connection.sendall(reply(413, b"too large"))
        done.wait()

    with raw_server(talk) as url:
        assert send(url, b"x" * 20_000_000) == (413, b"too large")
        assert send.held == 0
        done.set()


def test_100_continue_while_a_large_body_is_sent_does_not_stop_it(send: Sender) -> None:
    def talk(connection: socket.socket) -> None:
        connection.sendall(b"HTTP/1.1 100 Continue\r\n\r\n")
        time.sleep(0.02)
        drain(connection, 5_000_000)
        connection.sendall(reply(200, b"hi"))

    with raw_server(talk) as url:
        assert send(url, b"x" * 5_000_000) == HI


@pytest.mark.parametrize("limit", ["time-out", "deadline"])
@at_any_speed
def test_a_server_that_reads_nothing_is_a_write_time_out(factor: int, limit: str, send: Sender) -> None:
    short_s, body = 0.1 * factor, b"x" * 50_000_000
    is_deadline = limit == "deadline"
    message = DEADLINE_PASSED if is_deadline else f"nothing taken for {short_s:g} s"
    write_s, deadline_s = (PATIENCE_S, short_s) if is_deadline else (short_s, PATIENCE_S)
    done = threading.Event()
    with raw_server(lambda _: done.wait(PATIENCE_S)) as url:
        started = time.monotonic()
        with pytest.raises(httpx.WriteTimeout, match=f"^{message}$"):
            send(url, body, write=write_s, deadline=started + deadline_s)
        assert time.monotonic() - started < PATIENCE_S
        done.set()


@at_any_speed
def test_a_server_that_reads_slowly_is_no_write_time_out(factor: int, send: Sender) -> None:
    def talk(connection: socket.socket) -> None:
        drain(connection, 3_000_000, 100_000, pause_s=0.03 * factor)
        connection.sendall(reply(200, b"hi"))

    with raw_server(talk) as url:
        started = time.monotonic()
        assert send(url, b"x" * 3_000_000, write=0.6 * factor, read=PATIENCE_S) == HI
        assert time.monotonic() - started > 0.7 * factor


def test_a_reset_while_we_send_is_a_write_error(send: Sender) -> None:
    def talk(connection: socket.socket) -> None:
        connection.recv(1000)
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RST)

    with raw_server(talk) as url:
        with pytest.raises(httpx.WriteError, match=r"(?i)reset by peer|broken pipe") as caught:
            send(url, b"x" * 50_000_000)
        assert isinstance(caught.value.__cause__, OSError)


def test_a_server_that_closes_its_side_while_we_send_has_no_reply(send: Sender) -> None:
    def talk(connection: socket.socket) -> None:
        connection.shutdown(socket.SHUT_WR)
        drain_to_end(connection)

    with raw_server(talk) as url, pytest.raises(httpx.RemoteProtocolError, match="without a reply"):
        send(url, b"x" * 5_000_000)
