"""Reuse of a connection by both transports, one request after the other, as the server sees it."""

from __future__ import annotations

import socket
import ssl
import threading
import time
from collections.abc import Callable
from typing import Any

import httpx
import pytest

from chatpipe.wire import answer, connection, faults, sync
from support import patience
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
from wire.servers import drain

HEAD = b"HTTP/1.1 200 OK\r\n"
ONE, TWO = (200, b"one"), (200, b"two")
BROKEN = (httpx.RemoteProtocolError, httpx.ReadError)


def test_a_connection_is_used_again(send: Sender, server_tls: ssl.SSLContext | None) -> None:
    with serve(lambda _: chunked([b"hi"]), tls=server_tls) as server:
        for _ in range(5):
            assert send(server.url) == HI
        assert send.held == send.idle == 1
        assert (server.connections, len(server.requests)) == (1, 5)


NOT_AGAIN: dict[str, loopback.Answer] = {
    "connection: close": reply(200, b"hi", {"connection": "close"}),
    "HTTP/1.0": b"HTTP/1.0 200 OK\r\nContent-Length: 2\r\n\r\nhi",
    "ends by close": [HEAD + b"\r\nhi", Close()],
    "bytes after it": reply(200, b"hi") + b"x",
    "a second reply after it": reply(200, b"hi") * 2,
    "bytes a little later": [reply(200, b"hi"), Pause(0.01), b"x"],
    "408 while idle": [reply(200, b"hi"), Pause(0.01), reply(408, b"", {"connection": "close"}), Close()],
    "closed by the server": [reply(200, b"hi"), Close()],
    "reset by the server": [reply(200, b"hi"), Pause(0.05), Reset()],
}


def is_spoiled(send: Sender) -> bool:
    """A blocking sender looks at its connection when it takes it up again; this is the look."""
    assert isinstance(send.transport, sync.BlockingTransport)
    idle = send.transport._idle
    return idle is None or not idle.is_clean()


@pytest.mark.parametrize("answer", NOT_AGAIN.values(), ids=NOT_AGAIN)
def test_a_connection_that_is_not_clean_is_not_used_again(
    answer: loopback.Answer, send: Sender, server_tls: ssl.SSLContext | None
) -> None:
    with serve(lambda _: answer, tls=server_tls) as server:
        for _ in range(2):
            assert send(server.url) == HI
            send.until(lambda: is_spoiled(send) if send.blocks else send.held == 0)
        assert (server.connections, len(server.requests)) == (2, 2)


def wait_for_arrival(link: Any) -> None:
    """Wait until bytes or a close lie in the socket. No event loop runs, so nothing reads them."""
    patience.until(lambda: not link.is_clean())


def test_a_close_that_has_arrived_is_seen_before_a_request_is_sent(
    send: Sender, server_tls: ssl.SSLContext | None
) -> None:
    """A server that closes without a word loses no request, also while the event loop is busy."""
    ends = [threading.Event() for _ in range(3)]
    answers: list[loopback.Answer] = [[reply(200, b"hi"), WaitFor(end), Close()] for end in ends]
    with serve(in_turn(*answers), tls=server_tls) as server:
        for end in ends:
            assert send(server.url) == HI
            (link,) = send.links
            end.set()
            wait_for_arrival(link)
        assert (server.connections, len(server.requests)) == (3, 3)


@pytest.mark.parametrize("count", [0, 1], ids=["unread", "half way"])
def test_a_reply_that_is_closed_before_its_end_closes_its_connection(
    count: int, send: Sender, server_tls: ssl.SSLContext | None
) -> None:
    with serve(lambda _: [*event_stream([b"hi"], end=False), Stall()], tls=server_tls) as server:
        response = send.open(server.url)
        pieces = aiter(response.stream)  # type: ignore[arg-type]
        assert [send.next(pieces) for _ in range(count)] == [b"hi"] * count
        assert send.held == 1
        send.close(response)
        assert send.held == 0
        send.until(lambda: server.disconnects == 1)


def test_closing_an_old_response_does_not_touch_the_connection_it_had(send: Sender) -> None:
    slow = [event_stream([piece, b""], pace=0.02) for piece in (b"one", b"two")]
    with serve(in_turn(*slow)) as server:
        first = send.open(server.url)
        assert send.read(first) == b"one"
        second = send.open(server.url)
        send.close(first)
        assert send.read(second) == b"two"
        assert send.idle == 1
        assert server.connections == 1


def test_two_replies_at_once_have_a_connection_each(send: Sender) -> None:
    with serve(lambda _: chunked([b"hi"])) as server:
        one, two = send.open(server.url), send.open(server.url)
        assert [send.read(one), send.read(two)] == [b"hi", b"hi"]
    assert server.connections == (2 if send.blocks else 1)  # the pool waits for JSON, and has it whole


# Stale connections


@pytest.mark.parametrize("end", [Close(), Reset()], ids=["close", "reset"])
@pytest.mark.parametrize("size", [2, 1_000_000])
def test_a_post_that_a_kept_connection_took_is_not_repeated(
    size: int, end: loopback.Step, make_send: Callable[..., Sender], server_tls: ssl.SSLContext | None
) -> None:
    """The server has read the second request: only the retry policy of the user may send it again."""
    send, body = make_send(max_connections=1), b"x" * size
    with serve(in_turn(reply(200, b"one"), [end], reply(200, b"two")), tls=server_tls) as server:
        assert send(server.url, body) == ONE
        request = httpx.Request("POST", server.url, content=body)
        with pytest.raises(BROKEN) as caught:
            send.run(send.transport.handle_async_request(request))
        assert len(server.requests) == 2
        _, failure = answer.answer_from_error(caught.value, request)
        assert failure is not None
        assert failure.has_lost_kept
        response = send.run(send.transport.handle_async_request(request))
        send.close(response)
        assert (server.connections, len(server.requests)) == (2, 3)
        _, failure = answer.answer_from_error(httpx.ReadError("lost"), request)
        assert failure is not None
        assert not failure.has_lost_kept


def test_the_retry_of_a_lost_kept_connection_has_a_new_one(make_send: Callable[..., Sender]) -> None:
    """Another idle one may be as dead: after a restart of the server all of them are."""
    send = make_send(max_connections=2)
    with serve(in_turn(*[reply(200, b"hi")] * 2, [Close()], *[reply(200, b"hi")] * 2)) as server:
        opened = [send.open(server.url, headers={"x": "1"}) for _ in range(2)]
        assert [send.read(response) for response in opened] == [b"hi", b"hi"]
        before = server.connections
        request = httpx.Request("POST", server.url, content=b"{}")
        with pytest.raises(BROKEN):
            send.run(send.transport.handle_async_request(request))
        send.close(send.run(send.transport.handle_async_request(request)))
        assert server.connections == before + 1


@pytest.mark.parametrize("method", ["POST", "PATCH", "LOCK"])
def test_only_a_method_that_may_come_twice_is_repeated(method: str, send: Sender) -> None:
    """A client of `serve --upstream` may use any method."""
    with serve(in_turn(reply(200, b"one"), [Close()], reply(200, b"two"))) as server:
        assert send(server.url) == ONE
        with pytest.raises(BROKEN):
            send(server.url, b"{}", method)
        assert len(server.requests) == 2


@pytest.mark.parametrize("method", ["GET", "HEAD", "PUT", "DELETE", "OPTIONS"])
def test_a_method_that_may_come_twice_is_repeated(method: str, send: Sender) -> None:
    two = loopback.head(200, {"content-length": "0"})
    with serve(in_turn(reply(200, b"one"), [Close()], two)) as server:
        assert send(server.url) == ONE
        assert send(server.url, b"", method) == (200, b"")
        assert (server.connections, len(server.requests)) == (2, 3)


@pytest.mark.parametrize("end", [Close(), Reset()], ids=["close", "reset"])
def test_a_get_is_repeated_once_on_a_kept_connection_that_dies(
    end: loopback.Step, make_send: Callable[..., Sender], server_tls: ssl.SSLContext | None
) -> None:
    send = make_send(max_connections=1)
    with serve(in_turn(reply(200, b"one"), [end], reply(200, b"two")), tls=server_tls) as server:
        assert send(server.url) == ONE
        assert send(server.url, b"", "GET") == TWO
        assert send.held == 1
        assert (server.connections, len(server.requests)) == (2, 3)


@pytest.mark.parametrize("end", [Close(), Reset()], ids=["close", "reset"])
def test_a_kept_connection_that_dies_late_is_a_fault_like_any_other(
    end: loopback.Step,
    make_send: Callable[..., Sender],
    server_tls: ssl.SSLContext | None,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The server may have begun to work on it: only the user may decide to pay twice."""
    for module in (sync, connection):
        monkeypatch.setattr(module, "STALE_CLOSE_S", 0.1)
    send = make_send(max_connections=1)
    with serve(in_turn(reply(200, b"one"), [Pause(0.2), end], reply(200, b"two")), tls=server_tls) as server:
        assert send(server.url) == ONE
        with pytest.raises(BROKEN) as caught:
            send(server.url)
        assert len(server.requests) == 2
        assert faults.is_transient(caught.value)
        assert send(server.url) == TWO
        assert send.held == 1


def test_a_kept_connection_that_dies_before_the_request_was_there_is_replaced_however_late(
    make_send: Callable[..., Sender], monkeypatch: pytest.MonkeyPatch
) -> None:
    for module in (sync, connection):
        monkeypatch.setattr(module, "STALE_CLOSE_S", 0.0)
    send = make_send(max_connections=1)
    body = b"x" * 20_000_000

    def talk() -> None:
        first, _ = listener.accept()
        with first:
            first.recv(65536)
            first.sendall(reply(200, b"one"))
            first.recv(65536)  # some of the second
            time.sleep(0.05)
        second, _ = listener.accept()
        with second:
            drain(second, len(body))
            second.sendall(reply(200, b"two"))

    with socket.create_server(("127.0.0.1", 0)) as listener:
        url = f"http://127.0.0.1:{listener.getsockname()[1]}/"
        thread = threading.Thread(target=talk, daemon=True)
        thread.start()
        assert [send(url), send(url, body)] == [ONE, TWO]
        thread.join(10)


def test_a_kept_connection_is_replaced_only_once(send: Sender) -> None:
    with serve(in_turn(reply(200, b"hi"), [Close()], [Close()], reply(200, b"hi"))) as server:
        assert send(server.url) == HI
        with pytest.raises(httpx.RemoteProtocolError, match="without a reply"):
            send(server.url, b"", "GET")
        assert send.held == 0
        assert send(server.url) == HI
        assert (server.connections, len(server.requests)) == (3, 4)


@pytest.mark.parametrize("steps", [[HEAD, Close()], [HEAD, Pause(0.02), Reset()], [b"H", Close()]])
def test_a_kept_connection_that_dies_after_a_byte_is_not_replaced(
    steps: list[loopback.Step], send: Sender
) -> None:
    with serve(in_turn(reply(200, b"hi"), steps, reply(200, b"two"))) as server:
        assert send(server.url) == HI
        with pytest.raises(BROKEN):
            send(server.url)
        assert len(server.requests) == 2


def test_a_fresh_connection_that_dies_is_not_replaced(send: Sender) -> None:
    with serve(lambda _: [Close()]) as server, pytest.raises(httpx.RemoteProtocolError):
        send(server.url)
    assert len(server.requests) == 1


def test_a_time_out_on_a_kept_connection_is_not_repeated(send: Sender) -> None:
    with serve(in_turn(reply(200, b"hi"), [Stall()])) as server:
        assert send(server.url) == HI
        with pytest.raises(httpx.ReadTimeout):
            send(server.url, read=0.2)
        server.until(lambda: len(server.requests) == 2)
