"""The pool alone: replies that it takes in one piece, httpx's own readers, and slow readers."""

from __future__ import annotations

import socket
import ssl
import threading
import time
from collections.abc import AsyncIterator, Iterator

import httpx
import pytest

from chatpipe.wire import connection as link_module
from support.senders import Sender
from support.servers import loopback
from support.servers.loopback import Close, Pause, Stall, chunked, event_stream, reply, serve
from wire.servers import raw_server

HEAD = b"HTTP/1.1 200 OK\r\n"

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
    answer: loopback.Answer, pool: Sender
) -> None:
    with serve(lambda _: answer) as server:
        response = pool.open(server.url)
        assert pool.idle == pool.held == 1
        assert isinstance(response.stream, httpx.ByteStream)
        assert b"".join(response.stream) == b"hi"
        assert pool.run(response.aread()) == b"hi"
        pool.close(response)


@pytest.mark.parametrize("kind", ["text/plain", "application/x-ndjson", "text/event-stream; charset=utf-8"])
def test_a_reply_that_may_be_a_stream_is_handed_over_at_once(kind: str, pool: Sender) -> None:
    with serve(lambda _: [*chunked([b"hi"], headers={"content-type": kind}, end=None), Stall()]) as server:
        response = pool.open(server.url)
        assert pool.next(aiter(response.stream)) == b"hi"  # type: ignore[arg-type]
        pool.close(response)


def test_pieces_can_be_taken_by_two_loops_one_after_the_other(pool: Sender) -> None:
    async def take(response: httpx.Response) -> None:
        pieces = aiter(response.stream)  # type: ignore[arg-type]
        async for piece in pieces:
            assert piece == b"one"
            break
        assert [piece async for piece in pieces] == [b"two"]
        assert [piece async for piece in pieces] == []

    with serve(lambda _: event_stream([b"one", b"two"], pace=0.05)) as server:
        pool.run(take(pool.open(server.url)))


def test_httpx_reads_a_stream_through_its_own_methods(pool: Sender) -> None:
    with serve(lambda _: event_stream([b"one", b"two"], pace=0.02)) as server:
        response = pool.open(server.url)
        assert pool.run(response.aread()) == b"onetwo"
        assert response.is_closed
        assert pool.idle == 1


def test_an_async_client_of_httpx_works_over_it(pool: Sender) -> None:
    async def use(url: str) -> None:
        client = httpx.AsyncClient(transport=pool.transport, trust_env=False)
        response = await client.post(url, json={"a": 1})
        assert response.json()["object"] == "chat.completion"
        async with client.stream("POST", url, json={}) as streamed:
            assert b"choices" in await streamed.aread()

    with serve(lambda _: reply(200, loopback.completion("hi"))) as server:
        pool.run(use(server.url))


def test_early_413_is_read_although_our_write_meets_the_reset_first(pool: Sender) -> None:
    done = threading.Event()

    def talk(connection: socket.socket) -> None:
        connection.recv(1000)
        connection.sendall(reply(413, b"too large", {"connection": "close"}))
        connection.close()  # with our bytes unread: a reset
        done.set()

    class Slow(httpx.AsyncByteStream):
        async def __aiter__(self) -> AsyncIterator[bytes]:
            yield b"x" * 1000
            done.wait()  # the loop stands still: it cannot have read before it writes
            time.sleep(0.05)
            yield b"x" * 1000
            yield b"x" * 1000

    with raw_server(talk) as url:
        assert pool(url, Slow(), headers={"Content-Length": "3000"}) == (413, b"too large")


# A slow reader


def test_a_reader_that_waits_holds_the_server_back(pool: Sender, server_tls: ssl.SSLContext | None) -> None:
    """50 MB are streamed to a reader that takes one piece; the bytes that are read ahead are bounded."""
    written = []

    def forever() -> Iterator[loopback.Step]:
        yield from event_stream([], end=False)
        for _ in range(500):
            written.append(100_000)
            yield b"186a0\r\n" + b"x" * 100_000 + b"\r\n"
        yield b"0\r\n\r\n"

    with serve(lambda _: forever(), tls=server_tls) as server:
        response = pool.open(server.url)
        pieces = aiter(response.stream)  # type: ignore[arg-type]
        got = len(pool.next(pieces) or b"")
        still = -1
        while still != len(written):  # until the server is held
            still = len(written)
            pool.pause(0.1)
        (link,) = pool.links
        assert (
            link._ahead_bytes <= link_module.READ_AHEAD_BYTES + 600_000
        )  # what one read, or TLS, brings on top
        assert sum(written) < 25_000_000  # the rest is in the buffers of the kernel
        while piece := pool.next(pieces):
            got += len(piece)
        assert got == 50_000_000
        assert pool.idle == 1


def test_a_long_reply_with_a_length_is_not_gathered_in_memory(pool: Sender) -> None:
    with serve(lambda _: reply(200, b"x" * 20_000_000)) as server:
        response = pool.open(server.url)
        assert not isinstance(response.stream, httpx.ByteStream)
        (link,) = pool.links
        assert link._ahead_bytes <= link_module.READ_AHEAD_BYTES + 600_000
        assert len(pool.read(response)) == 20_000_000


def test_the_end_that_comes_while_the_reader_is_held_is_seen(pool: Sender) -> None:
    with serve(lambda _: [*event_stream([b"x" * 1_500_000], end=False), Close()]) as server:
        response = pool.open(server.url)
        pool.until(lambda: any(link._paused for link in pool.links))
        pool.pause(0.1)
        with pytest.raises(httpx.RemoteProtocolError, match="before the end"):
            pool.read(response)
