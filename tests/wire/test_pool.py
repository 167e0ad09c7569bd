"""The many-connections transport against real sockets: every form of reply, every fault, http and https."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import ssl
import struct
import threading
import time
from collections.abc import AsyncIterator, Callable, Iterator

import pytest

import loopback
from chatpipe.wire import link as link_module
from chatpipe.wire.timeouts import DEADLINE
from loopback import (
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
from pooled import Pool, read, run, until

import httpx  # isort: skip - after chatpipe.wire, which keeps httpx's own command line out

RawServer = Callable[[Callable[[socket.socket], None]], contextlib.AbstractContextManager[str]]
HEAD = b"HTTP/1.1 200 OK\r\n"
CUT = HEAD + b"Content-Length: 10\r\n\r\nabc"
CHUNKED = HEAD + b"Transfer-Encoding: chunked\r\n\r\n"
RST = struct.pack("ii", 1, 0)


@pytest.fixture(params=["http", "https"])
def server_tls(request: pytest.FixtureRequest) -> ssl.SSLContext | None:
    return loopback.tls_contexts().server if request.param == "https" else None


def one_byte_each(data: bytes) -> list[loopback.Step]:
    return [step for at in range(len(data)) for step in (data[at : at + 1], Pause(0))]


# Replies

REPLIES: dict[str, tuple[loopback.Answer, int, bytes]] = {
    "length": (reply(200, b"hello"), 200, b"hello"),
    "length, byte by byte": (one_byte_each(reply(200, b"hello")), 200, b"hello"),
    "length 0": (reply(200, b""), 200, b""),
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
    "long": (reply(200, b"x" * 3_000_000), 200, b"x" * 3_000_000),
    "long, JSON in chunks": (chunked([b"x" * 1_000_000] * 3), 200, b"x" * 3_000_000),
    "long head": (reply(200, b"hi", {"X-Long": "x" * 60_000}), 200, b"hi"),
}


@pytest.mark.parametrize(("answer", "status", "body"), REPLIES.values(), ids=REPLIES)
def test_every_form_of_reply_is_read_on_a_new_connection_and_on_a_used_one(
    answer: loopback.Answer, status: int, body: bytes, server_tls: ssl.SSLContext | None
) -> None:
    async def main(send: Pool) -> None:
        assert await send(server.url) == (200, b"first")
        assert await send(server.url) == (status, body)
        assert await send(server.url) == (status, body)

    with serve(in_turn(reply(200, b"first"), answer), tls=server_tls) as server:
        run(main)


def test_the_reply_to_a_head_request_has_no_body(server_tls: ssl.SSLContext | None) -> None:
    async def main(send: Pool) -> None:
        for _ in range(2):
            response = await send.open(server.url, b"", method="HEAD")
            assert (response.status_code, await read(response)) == (200, b"")

    with serve(lambda _: loopback.head(200, {"content-length": "5"}), tls=server_tls) as server:
        run(main)
        assert [request.method for request in server.requests] == ["HEAD", "HEAD"]


def test_headers_and_extensions_of_the_reply_are_there() -> None:
    async def main(send: Pool) -> httpx.Response:
        return await send.open(server.url)

    headers = [("X-Request-Id", "r1"), ("set-cookie", "a"), ("set-cookie", "b")]
    with serve(lambda _: reply(200, b"", headers)) as server:
        response = run(main)
    assert response.headers["x-request-id"] == "r1"
    assert response.headers.get_list("set-cookie") == ["a", "b"]
    assert response.extensions == {"http_version": b"HTTP/1.1", "reason_phrase": b"OK"}
    assert str(response.request.url) == server.url


WHOLE: dict[str, loopback.Answer] = {
    "at once": reply(200, b"hi"),
    "its length is known": [HEAD + b"Content-Length: 2\r\n\r\n", Pause(0.02), b"hi"],
    "JSON in chunks": [
        HEAD + b"content-type: Application/JSON ; x\r\ntransfer-encoding: chunked\r\n\r\n",
        *(Pause(0.02), b"2\r\nhi\r\n", Pause(0.02), b"0\r\n\r\n"),
    ],
    "event stream, all there": b"".join(piece for piece in event_stream([b"hi"]) if isinstance(piece, bytes)),
}


@pytest.mark.parametrize("answer", WHOLE.values(), ids=WHOLE)
def test_a_reply_in_one_piece_needs_no_loop_and_has_given_its_connection_back(
    answer: loopback.Answer,
) -> None:
    async def main(send: Pool) -> None:
        response = await send.open(server.url)
        assert send.idle == send.held == 1
        assert isinstance(response.stream, httpx.ByteStream)
        assert b"".join(response.stream) == b"hi"
        assert await response.aread() == b"hi"
        await response.aclose()

    with serve(lambda _: answer) as server:
        run(main)


def test_an_event_stream_is_handed_over_at_its_head_and_piece_by_piece(
    server_tls: ssl.SSLContext | None,
) -> None:
    first, second, end = threading.Event(), threading.Event(), threading.Event()
    head, one, two, last = event_stream([b"one", b"two"])
    steps = [head, WaitFor(first), one, WaitFor(second), two, WaitFor(end), last]

    async def main(send: Pool) -> None:
        response = await send.open(server.url)
        assert response.status_code == 200
        pieces = aiter(response.stream)  # type: ignore[arg-type]
        for let, expected in ((first, b"one"), (second, b"two")):
            let.set()
            assert await anext(pieces) == expected
        end.set()
        assert await anext(pieces, None) is None
        assert await anext(pieces, None) is None
        assert send.idle == 1

    with serve(lambda _: steps, tls=server_tls) as server:
        run(main)


@pytest.mark.parametrize("kind", ["text/plain", "application/x-ndjson", "text/event-stream; charset=utf-8"])
def test_what_may_be_a_stream_is_not_waited_for(kind: str) -> None:
    async def main(send: Pool) -> None:
        response = await send.open(server.url)
        assert await anext(aiter(response.stream)) == b"hi"  # type: ignore[arg-type]
        await response.aclose()

    with serve(lambda _: [*chunked([b"hi"], headers={"content-type": kind}, end=None), Stall()]) as server:
        run(main)


def test_pieces_can_be_taken_by_two_loops_one_after_the_other() -> None:
    async def main(send: Pool) -> None:
        response = await send.open(server.url)
        pieces = aiter(response.stream)  # type: ignore[arg-type]
        async for piece in pieces:
            assert piece == b"one"
            break
        assert [piece async for piece in pieces] == [b"two"]
        assert [piece async for piece in pieces] == []

    with serve(lambda _: event_stream([b"one", b"two"], pace=0.05)) as server:
        run(main)


def test_a_stream_cannot_be_read_twice() -> None:
    async def main(send: Pool) -> None:
        response = await send.open(server.url)
        assert await read(response) == b"onetwo"
        with pytest.raises(httpx.StreamClosed):
            await read(response)
        with pytest.raises(httpx.StreamConsumed):
            await consumed(response)

    async def consumed(response: httpx.Response) -> None:
        response.is_stream_consumed = True  # as httpx's own readers leave it
        await response.aread()

    with serve(lambda _: event_stream([b"one", b"two"], pace=0.02)) as server:
        run(main)


def test_httpx_reads_a_stream_through_its_own_methods() -> None:
    async def main(send: Pool) -> None:
        response = await send.open(server.url)
        assert await response.aread() == b"onetwo"
        assert response.is_closed
        assert send.idle == 1

    with serve(lambda _: event_stream([b"one", b"two"], pace=0.02)) as server:
        run(main)


def test_an_async_client_of_httpx_works_over_it() -> None:
    async def main(send: Pool) -> None:
        client = httpx.AsyncClient(transport=send.transport, trust_env=False)
        response = await client.post(server.url, json={"a": 1})
        assert response.json()["object"] == "chat.completion"
        async with client.stream("POST", server.url, json={}) as streamed:
            assert b"choices" in await streamed.aread()

    with serve(lambda _: reply(200, loopback.completion("hi"))) as server:
        run(main)


# Faults

FAULTS: dict[str, tuple[list[loopback.Step], type[Exception], str]] = {
    "closed before the head": ([Close()], httpx.RemoteProtocolError, "without a reply"),
    "closed inside the head": ([HEAD, Close()], httpx.RemoteProtocolError, "inside the head"),
    "closed after 100": (
        [b"HTTP/1.1 100 Continue\r\n\r\n", Close()],
        httpx.RemoteProtocolError,
        "inside the head",
    ),
    "length cut short": ([CUT, Close()], httpx.RemoteProtocolError, "before the end"),
    "length cut short, later": (
        [CUT, Pause(0.02), b"d", Close()],
        httpx.RemoteProtocolError,
        "before the end",
    ),
    "chunks cut short": (
        [*chunked([b"abc"], end=None), Close()],
        httpx.RemoteProtocolError,
        "before the end",
    ),
    "inside a chunk": ([CHUNKED + b"5\r\nabc", Close()], httpx.RemoteProtocolError, "before the end"),
    "event stream cut short": (
        [*event_stream([b"abc"], end=False), Close()],
        httpx.RemoteProtocolError,
        "before the end",
    ),
    "not a chunk": ([CHUNKED + b"zz\r\nabc"], httpx.RemoteProtocolError, "not a reply in HTTP"),
    "garbage": (
        [b"220 mail.example.com ESMTP\r\n", Close()],
        httpx.RemoteProtocolError,
        "not a reply in HTTP",
    ),
    "101": ([b"HTTP/1.1 101 S\r\nUpgrade: x\r\n\r\n"], httpx.RemoteProtocolError, "unexpected status 101"),
    "two lengths": (
        [HEAD + b"Content-Length: 2\r\nContent-Length: 3\r\n\r\nhi"],
        httpx.RemoteProtocolError,
        "not a reply in HTTP",
    ),
    "gzip as a transfer coding": (
        [HEAD + b"Transfer-Encoding: gzip\r\n\r\nhi"],
        httpx.RemoteProtocolError,
        "unknown transfer-encoding",
    ),
    "huge head": ([HEAD + b"X: " + b"a" * 70_000], httpx.RemoteProtocolError, "more than 65536 bytes"),
    "stall before the head": ([Stall()], httpx.ReadTimeout, r"^no byte for 0\.05 s$"),
    "stall inside the head": ([HEAD, Stall()], httpx.ReadTimeout, r"^no byte for 0\.05 s$"),
    "stall inside the body": ([CUT, Stall()], httpx.ReadTimeout, r"^no byte for 0\.05 s$"),
    "stall inside an event stream": (
        [*event_stream([b"abc"], end=False), Stall()],
        httpx.ReadTimeout,
        r"^no byte for 0\.05 s$",
    ),
}


@pytest.mark.parametrize(("steps", "kind", "message"), FAULTS.values(), ids=FAULTS)
def test_every_fault_is_an_exception_of_httpx(
    steps: list[loopback.Step], kind: type[Exception], message: str, server_tls: ssl.SSLContext | None
) -> None:
    async def main(send: Pool) -> None:
        with pytest.raises(kind, match=message):
            await send(server.url, read=0.05 if kind is httpx.ReadTimeout else 10.0)
        assert send.held == 0
        await until(lambda: not server.open)  # our end is closed too
        assert await send(server.url) == (200, b"well")
        assert len(server.requests) == 2  # nothing was repeated

    with serve(in_turn(steps, reply(200, b"well")), tls=server_tls) as server:
        run(main, max_connections=1)


@pytest.mark.parametrize("at", range(1, len(CUT) - 3))
def test_a_head_that_is_cut_anywhere_is_told(at: int) -> None:
    async def main(send: Pool) -> None:
        with pytest.raises(httpx.RemoteProtocolError, match="peer closed connection"):
            await send(server.url)

    with serve(lambda _: [CUT[:at], Close()]) as server:
        run(main)


RESETS: dict[str, tuple[list[loopback.Step], type[Exception], str]] = {
    "before the head": ([Reset()], httpx.ReadError, "reset by peer"),
    "inside the head": ([HEAD, Pause(0.02), Reset()], httpx.ReadError, "reset by peer"),
    "inside the body": (
        [CUT, Pause(0.02), Reset()],
        httpx.RemoteProtocolError,
        "reset by peer before the end",
    ),
    "inside an event stream": (
        [*event_stream([b"abc"], end=False), Pause(0.02), Reset()],
        httpx.RemoteProtocolError,
        "reset by peer before the end",
    ),
}


@pytest.mark.parametrize(("steps", "kind", "message"), RESETS.values(), ids=RESETS)
def test_a_reset_is_a_broken_connection_or_a_broken_reply(
    steps: list[loopback.Step], kind: type[Exception], message: str
) -> None:
    async def main(send: Pool) -> None:
        with pytest.raises(kind, match=f"(?i){message}") as caught:
            await send(server.url)
        assert isinstance(caught.value.__cause__, ConnectionResetError)
        assert send.held == 0

    with serve(lambda _: steps) as server:
        run(main)


@pytest.mark.parametrize("steps", [[CUT, Close()], [CUT, Pause(0.02), Reset()], [CUT, Stall()]])
def test_what_came_before_a_fault_can_be_read(steps: list[loopback.Step]) -> None:
    """Although the whole reply was waited for: the head is there, and the fault comes behind the bytes."""

    async def main(send: Pool) -> None:
        response = await send.open(server.url, read=0.1)
        assert response.status_code == 200
        pieces = aiter(response.stream)  # type: ignore[arg-type]
        assert await anext(pieces) == b"abc"
        with pytest.raises(httpx.TransportError):
            await anext(pieces)
        assert send.held == 0

    with serve(lambda _: steps) as server:
        run(main)


def test_slow_bytes_within_the_time_out_are_no_fault(server_tls: ssl.SSLContext | None) -> None:
    steps: list[loopback.Step] = [HEAD + b"Content-Length: 6\r\n\r\n"]
    for at in range(6):
        steps += [Pause(0.05), b"abcdef"[at : at + 1]]

    async def main(send: Pool) -> None:
        assert await send(server.url, read=0.25) == (200, b"abcdef")

    with serve(lambda _: steps, tls=server_tls) as server:
        run(main)


def test_the_time_out_of_one_request_is_not_that_of_the_next() -> None:
    """The timer of the connection is still set for the first one, earlier or later."""

    async def main(send: Pool) -> None:
        assert await send(server.url, read=0.05) == (200, b"one")
        assert await send(server.url, read=10.0) == (200, b"two")  # slower than the first would have stood
        started = time.monotonic()
        with pytest.raises(httpx.ReadTimeout):
            await send(server.url, read=0.1)
        assert 0.1 <= time.monotonic() - started < 2

    with serve(in_turn(reply(200, b"one"), [Pause(0.2), reply(200, b"two")], [Stall()])) as server:
        run(main)
        assert server.connections == 1


def test_the_time_of_the_reader_is_not_that_of_the_server() -> None:
    """A consumer that does something else for longer than the read time-out finds its stream alive."""

    async def main(send: Pool) -> None:
        response = await send.open(server.url, read=0.2)
        pieces = aiter(response.stream)  # type: ignore[arg-type]
        assert await anext(pieces) == b"one"
        await asyncio.sleep(0.35)
        go.set()
        assert await anext(pieces) == b"two"
        await response.aclose()

    go = threading.Event()
    head, one, two, end = event_stream([b"one", b"two"])
    with serve(lambda _: [head, one, WaitFor(go), Pause(0.05), two, end]) as server:
        run(main)


@pytest.mark.parametrize("answer", [[Stall()], [CUT, Stall()], [*event_stream([b"x"], end=False), Stall()]])
def test_a_passed_deadline_can_be_told_from_a_time_out(answer: list[loopback.Step]) -> None:
    async def main(send: Pool) -> None:
        started = time.monotonic()
        with pytest.raises(httpx.ReadTimeout, match=f"^{DEADLINE}$"):
            await send(server.url, deadline=started + 0.1, read=5.0)
        assert 0.1 <= time.monotonic() - started < 2

    with serve(lambda _: answer) as server:
        run(main)


def test_a_deadline_also_ends_a_reply_that_never_pauses() -> None:
    def forever() -> Iterator[loopback.Step]:
        yield from event_stream([], end=False)
        while True:
            yield b"1\r\nx\r\n"
            yield Pause(0.002)

    async def main(send: Pool) -> None:
        with pytest.raises(httpx.ReadTimeout, match=f"^{DEADLINE}$"):
            await send(server.url, deadline=time.monotonic() + 0.1, read=5.0)
        assert send.held == 0

    with serve(lambda _: forever()) as server:
        run(main)


def test_a_deadline_in_the_past_sends_nothing() -> None:
    async def main(send: Pool) -> None:
        assert await send(server.url) == (200, b"hi")
        with pytest.raises(httpx.ConnectTimeout, match=f"^{DEADLINE}$"):
            await send(server.url, deadline=time.monotonic() - 1)
        assert send.held == send.idle == 1

    with serve(lambda _: reply(200, b"hi")) as server:
        run(main)
        assert len(server.requests) == 1


def test_without_time_outs_it_works_too() -> None:
    async def main(send: Pool) -> None:
        request = httpx.Request("POST", server.url, stream=httpx.ByteStream(b"{}"))
        assert await read(await send.transport.handle_async_request(request)) == b"hi"
        request = httpx.Request(
            "POST", server.url, stream=httpx.ByteStream(b"{}"), extensions={"timeout": {}}
        )
        assert await read(await send.transport.handle_async_request(request)) == b"hi"

    with serve(lambda _: [Pause(0.02), reply(200, b"hi")]) as server:
        run(main)


# The request


def test_a_request_is_one_write(raw_server: RawServer) -> None:
    reads = []

    def talk(connection: socket.socket) -> None:
        reads.append(connection.recv(65_536))
        connection.sendall(reply(200, b""))

    async def main(send: Pool) -> None:
        await send(url, b'{"a":1}')

    with raw_server(talk) as url:
        run(main)
    assert reads[0].startswith(b"POST /v1 HTTP/1.1\r\nHost: 127.0.0.1")
    assert reads[0].endswith(b'\r\nContent-Length: 7\r\n\r\n{"a":1}')


@pytest.mark.parametrize("size", [0, 65_536, 65_537, 5_000_000])
def test_a_body_of_any_size_arrives(size: int, server_tls: ssl.SSLContext | None) -> None:
    body = bytes(range(256)) * (size // 256) + b"x" * (size % 256)

    async def main(send: Pool) -> None:
        for _ in range(2):
            assert await send(server.url, body) == (200, b"hi")

    with serve(lambda _: reply(200, b"hi"), tls=server_tls) as server:
        run(main)
        assert [request.body == body for request in server.requests] == [True, True]
        assert server.connections == 1


class Upload(httpx.AsyncByteStream):
    async def __aiter__(self) -> AsyncIterator[bytes]:
        for piece in (b"one", b"", b"x" * 100_000):
            await asyncio.sleep(0)
            yield piece


def test_a_body_that_comes_in_pieces_is_sent_as_they_come() -> None:
    async def main(send: Pool) -> None:
        for headers in ({"Transfer-Encoding": "chunked"}, {"Content-Length": "100003"}):
            request = httpx.Request("POST", server.url, headers=headers, stream=Upload())
            assert await read(await send.transport.handle_async_request(request)) == b"hi"

    with serve(lambda _: reply(200, b"hi")) as server:
        run(main)
        assert [request.body for request in server.requests] == [b"one" + b"x" * 100_000] * 2
        # It cannot be sent again, so it does not go where it might have to be.
        assert server.connections == 2


def test_heads_differ_where_requests_do() -> None:
    """What is kept of the last head is right for the same target, method and headers only."""
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

    async def main(send: Pool) -> None:
        headers = httpx.Headers({"X-A": "1"})
        for method, path, more, body in sent:
            made = httpx.Headers({**headers, **more})
            request = httpx.Request(method, server.origin + path, headers=made, stream=httpx.ByteStream(body))
            await read(await send.transport.handle_async_request(request))

    with serve(lambda _: reply(200, b"hi")) as server:
        run(main)
    seen = [(request.method, request.target, request.body) for request in server.requests]
    assert seen == [(method, path, body) for method, path, _, body in sent]
    host = f"127.0.0.1:{server.port}"
    assert [request.headers.get("authorization") for request in server.requests] == [None] * 2 + [
        "Bearer 2"
    ] * 3 + [None] * 6
    assert [request.headers["host"] for request in server.requests] == [host] * 10 + ["other.example"]
    lengths = [request.headers.get("content-length") for request in server.requests]
    assert lengths == ["3", "7", "1", "1", "2", "0", None, "4", None, "3", "3"]


def test_headers_changed_in_place_are_sent_as_they_are_now() -> None:
    async def main(send: Pool) -> None:
        request = httpx.Request("POST", server.url, headers={"X-A": "1"}, stream=httpx.ByteStream(b"x"))
        await read(await send.transport.handle_async_request(request))
        request.headers["X-A"] = "2"
        await read(await send.transport.handle_async_request(request))

    with serve(lambda _: reply(200, b"hi")) as server:
        run(main)
        assert [request.headers["x-a"] for request in server.requests] == ["1", "2"]


@pytest.mark.parametrize("bad", ["a\r\nX: y", "a\n", "a\rb", "a\0b"], ids=repr)
def test_line_ends_and_nul_in_headers_are_refused_and_take_no_place(bad: str) -> None:
    async def main(send: Pool) -> None:
        headers = {"Authorization": f"Bearer {bad}"}
        request = httpx.Request("POST", server.url, headers=headers, stream=httpx.ByteStream(b"{}"))
        with pytest.raises(httpx.LocalProtocolError, match="in header 'Authorization'") as caught:
            await send.transport.handle_async_request(request)
        assert "Bearer" not in str(caught.value)
        assert send.held == 0

    with serve() as server:
        run(main)
        assert server.connections == 0


def test_a_body_of_unknown_length_needs_framing() -> None:
    async def main(send: Pool) -> None:
        request = httpx.Request("POST", server.url, stream=Upload())
        with pytest.raises(httpx.LocalProtocolError, match="needs a Transfer-Encoding"):
            await send.transport.handle_async_request(request)
        assert send.held == 0

    with serve() as server:
        run(main)


def test_another_scheme() -> None:
    async def main(send: Pool) -> None:
        with pytest.raises(httpx.UnsupportedProtocol, match="'ftp' is not http or https"):
            await send("ftp://127.0.0.1/")
        assert send.held == 0

    run(main)


# A large body, and what the server says meanwhile


@pytest.mark.parametrize("lingers", [True, False], ids=["then reads on", "then closes"])
def test_early_413_is_read_while_a_large_body_is_sent(raw_server: RawServer, lingers: bool) -> None:
    def talk(connection: socket.socket) -> None:
        connection.recv(1000)
        connection.sendall(reply(413, b"too large"))
        if lingers:
            connection.shutdown(socket.SHUT_WR)
            while connection.recv(1 << 20):  # as nginx does, so that no reset overtakes the reply
                pass

    async def main(send: Pool) -> None:
        assert await send(url, b"x" * 20_000_000) == (413, b"too large")
        assert send.held == send.idle

    with raw_server(talk) as url:
        run(main)


def test_a_connection_whose_request_was_not_sent_whole_is_not_kept(raw_server: RawServer) -> None:
    done = threading.Event()

    def talk(connection: socket.socket) -> None:
        connection.sendall(reply(413, b"too large"))
        done.wait(10)

    async def main(send: Pool) -> None:
        assert await send(url, b"x" * 20_000_000) == (413, b"too large")
        assert send.held == 0
        done.set()

    with raw_server(talk) as url:
        run(main)


def test_early_413_is_read_although_our_write_meets_the_reset_first(raw_server: RawServer) -> None:
    done = threading.Event()

    def talk(connection: socket.socket) -> None:
        connection.recv(1000)
        connection.sendall(reply(413, b"too large", {"connection": "close"}))
        connection.close()  # with our bytes unread: a reset
        done.set()

    class Slow(httpx.AsyncByteStream):
        async def __aiter__(self) -> AsyncIterator[bytes]:
            yield b"x" * 1000
            done.wait(10)  # the loop stands still: it cannot have read before it writes
            time.sleep(0.05)
            yield b"x" * 1000
            yield b"x" * 1000

    async def main(send: Pool) -> None:
        request = httpx.Request("POST", url, headers={"Content-Length": "3000"}, stream=Slow())
        response = await send.transport.handle_async_request(request)
        assert (response.status_code, await read(response)) == (413, b"too large")

    with raw_server(talk) as url:
        run(main)


def test_100_continue_while_a_large_body_is_sent_does_not_stop_it(raw_server: RawServer) -> None:
    received = []

    def talk(connection: socket.socket) -> None:
        connection.sendall(b"HTTP/1.1 100 Continue\r\n\r\n")
        time.sleep(0.02)
        left = 5_000_000
        while left > 0:
            left -= len(connection.recv(1 << 20))
        received.append(left)
        connection.sendall(reply(200, b"hi"))

    async def main(send: Pool) -> None:
        assert await send(url, b"x" * 5_000_000) == (200, b"hi")

    with raw_server(talk) as url:
        run(main)
    assert received[0] <= 0


def test_a_server_that_reads_nothing_is_a_write_time_out(raw_server: RawServer) -> None:
    done = threading.Event()

    async def main(send: Pool) -> None:
        started = time.monotonic()
        with pytest.raises(httpx.WriteTimeout, match=r"^nothing taken for 0\.1 s$"):
            await send(url, b"x" * 20_000_000, write=0.1)
        assert time.monotonic() - started < 2
        with pytest.raises(httpx.WriteTimeout, match=f"^{DEADLINE}$"):
            await send(url, b"x" * 20_000_000, deadline=time.monotonic() + 0.1)
        done.set()

    with raw_server(lambda _: void(done.wait(10))) as url:
        run(main)


def void(_: object) -> None:
    pass


def test_a_server_that_reads_slowly_is_no_write_time_out(raw_server: RawServer) -> None:
    def talk(connection: socket.socket) -> None:
        left = 3_000_000
        while left > 0:
            time.sleep(0.01)
            left -= len(connection.recv(100_000))
        connection.sendall(reply(200, b"hi"))

    async def main(send: Pool) -> None:
        started = time.monotonic()
        assert await send(url, b"x" * 3_000_000, write=0.15, read=5.0) == (200, b"hi")
        assert time.monotonic() - started > 0.2

    with raw_server(talk) as url:
        run(main)


def test_a_reset_while_we_send_is_a_write_error(raw_server: RawServer) -> None:
    def talk(connection: socket.socket) -> None:
        connection.recv(1000)
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RST)

    async def main(send: Pool) -> None:
        with pytest.raises(httpx.WriteError, match=r"(?i)reset by peer|broken pipe") as caught:
            await send(url, b"x" * 20_000_000)
        assert isinstance(caught.value.__cause__, OSError)

    with raw_server(talk) as url:
        run(main)


def test_a_server_that_closes_its_side_while_we_send_has_no_reply(raw_server: RawServer) -> None:
    def talk(connection: socket.socket) -> None:
        connection.shutdown(socket.SHUT_WR)
        while connection.recv(1 << 20):
            pass

    async def main(send: Pool) -> None:
        with pytest.raises(httpx.RemoteProtocolError, match="without a reply"):
            await send(url, b"x" * 5_000_000)

    with raw_server(talk) as url:
        run(main)


# A slow reader


def test_a_reader_that_waits_holds_the_server_back(server_tls: ssl.SSLContext | None) -> None:
    """50 MB are streamed to somebody who takes one piece; what is read ahead is bounded."""
    written = []

    def forever() -> Iterator[loopback.Step]:
        yield from event_stream([], end=False)
        for _ in range(500):
            written.append(100_000)
            yield b"186a0\r\n" + b"x" * 100_000 + b"\r\n"
        yield b"0\r\n\r\n"

    async def main(send: Pool) -> None:
        response = await send.open(server.url)
        pieces = aiter(response.stream)  # type: ignore[arg-type]
        got = len(await anext(pieces))
        still = -1
        while still != len(written):  # until the server is held
            still = len(written)
            await asyncio.sleep(0.1)
        (link,) = send.transport._links
        assert link._ahead_bytes <= link_module.AHEAD_BYTES + 600_000  # what one read, or TLS, brings on top
        assert sum(written) < 25_000_000  # the rest is in the buffers of the kernel
        got += sum([len(piece) async for piece in pieces])
        assert got == 50_000_000
        assert send.idle == 1

    with serve(lambda _: forever(), tls=server_tls) as server:
        run(main)


def test_a_long_reply_with_a_length_is_not_gathered_in_memory() -> None:
    async def main(send: Pool) -> None:
        response = await send.open(server.url)
        assert not isinstance(response.stream, httpx.ByteStream)
        (link,) = send.transport._links
        assert link._ahead_bytes <= link_module.AHEAD_BYTES + 600_000
        assert len(await read(response)) == 20_000_000

    with serve(lambda _: reply(200, b"x" * 20_000_000)) as server:
        run(main)


def test_the_end_that_comes_while_the_reader_is_held_is_seen() -> None:
    async def main(send: Pool) -> None:
        response = await send.open(server.url)
        await until(lambda: any(link._paused for link in send.transport._links))
        await asyncio.sleep(0.1)
        with pytest.raises(httpx.RemoteProtocolError, match="before the end"):
            await read(response)

    with serve(lambda _: [*event_stream([b"x" * 1_500_000], end=False), Close()]) as server:
        run(main)
