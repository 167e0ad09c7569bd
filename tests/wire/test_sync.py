"""The one-shot transport alone: heads of requests, Ctrl-C, and its imports."""

from __future__ import annotations

import socket
import ssl
import subprocess
import sys
import threading
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import httpx
import pytest

from chatpipe.wire import first_address, sync
from chatpipe.wire.http1 import encode_head
from chatpipe.wire.sync import BlockingTransport
from support.patience import PATIENCE_S
from support.senders import Sender, client_context, collect_garbage
from support.servers.loopback import Stall, WaitFor, chunked, reply, serve

CUT = b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nabc"


@pytest.fixture
def send(make_sender: Callable[..., Sender]) -> Sender:
    return make_sender(BlockingTransport(client_context))


def test_pieces_are_given_out_as_they_arrive(send: Sender, server_tls: ssl.SSLContext | None) -> None:
    second = threading.Event()
    head, one, two, end = chunked([b"one", b"two"])
    with serve(lambda _: [head, one, WaitFor(second), two, end], tls=server_tls) as server:
        pieces = aiter(send.open(server.url).stream)  # type: ignore[arg-type]
        assert send.next(pieces) == b"one"
        second.set()  # so the server had not even sent it
        assert send.next(pieces) == b"two"
        assert send.next(pieces) is None


# The head of the request


def test_headers_are_sent_as_given_and_the_needed_ones_are_added() -> None:
    url = httpx.URL("http://h.example:81/v1/x?a=b")
    request = httpx.Request("POST", url, headers=[], stream=httpx.ByteStream(b""))
    request.headers = httpx.Headers([("X-A", "b")])
    assert encode_head(request, 3) == (
        b"POST /v1/x?a=b HTTP/1.1\r\nHost: h.example:81\r\nX-A: b\r\nContent-Length: 3\r\n\r\n"
    )
    get = httpx.Request("GET", url)
    assert b"Content-Length" not in encode_head(get, 0)


@pytest.mark.parametrize("bad", ["a\r\nX: y", "a\n", "a\rb", "a\0b"], ids=repr)
def test_line_ends_and_nul_in_headers_are_refused(bad: str) -> None:
    request = httpx.Request("POST", "http://127.0.0.1:9/", headers={"Authorization": f"Bearer {bad}"})
    with pytest.raises(httpx.LocalProtocolError, match="in header 'Authorization'") as caught:
        encode_head(request, 0)
    assert "Bearer" not in str(caught.value)


def test_line_ends_in_the_target_are_refused() -> None:
    request = httpx.Request("POST", "http://127.0.0.1:9/a")
    request.method = "POST / HTTP/1.1\r\nX: y\r\n"
    with pytest.raises(httpx.LocalProtocolError, match="in header 'request line'"):
        encode_head(request, 0)


# One connection after the other


def test_a_connection_kept_too_long_is_not_used(send: Sender, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sync, "MAX_IDLE_S", 0.0)
    with serve(lambda _: reply(200, b"hi")) as server:
        send(server.url)
        send(server.url)
    assert server.connections == 2


def test_another_origin_gets_its_own_connection(send: Sender) -> None:
    with serve(lambda _: reply(200, b"one")) as one, serve(lambda _: reply(200, b"two")) as two:
        replies = [send(url) for url in (one.url, two.url, one.url)]
        assert replies == [(200, b"one"), (200, b"two"), (200, b"one")]
        one.until(lambda: len(one.open) == 1)
    assert (one.connections, two.connections) == (2, 1)


# Ctrl-C


@pytest.mark.parametrize("place", ["connect_ex", "recv", "send"])
def test_ctrl_c_in_a_wait_leaves_no_socket_open(place: str, monkeypatch: pytest.MonkeyPatch) -> None:
    opened = []

    class Interrupted(socket.socket):
        def __init__(self, *args: Any, **kwargs: Any) -> None:
            super().__init__(*args, **kwargs)
            opened.append(self)

    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    setattr(Interrupted, place, interrupt)
    transport = BlockingTransport()
    with serve(lambda _: [CUT, Stall()]) as server:
        # Not in the module itself: the server's sockets come from there
        interrupted = SimpleNamespace(**{**vars(socket), "socket": Interrupted})
        monkeypatch.setattr(first_address, "socket", interrupted)
        with pytest.raises(KeyboardInterrupt):
            transport.handle_async_request(httpx.Request("POST", server.url, content=b"{}")).send(None)
        server.until(lambda: server.connections == (place != "connect_ex") and not server.open)
    assert [sock.fileno() for sock in opened] == [-1]


def test_closing_the_transport_closes_a_reply_that_is_being_read(send: Sender) -> None:
    with serve(lambda _: [CUT, Stall()]) as server:
        send.open(server.url)
        send.close()
        server.until(lambda: server.disconnects == 1)
    collect_garbage()


# Start-up

PLAIN_REQUEST = """
import sys
before = set(sys.modules)
from chatpipe.wire.sync import BlockingTransport
import httpx
by_httpx = set(sys.modules)
transport = BlockingTransport()
request = httpx.Request("POST", sys.argv[1], content=b"{}")
try:
    transport.handle_async_request(request).send(None)
except StopIteration as done:
    response = done.value
pieces = aiter(response.stream)
try:
    anext(pieces).__await__().send(None)
except StopIteration as done:
    assert done.value == b"hi", done.value
try:
    transport.aclose().send(None)
except StopIteration:
    pass
heavy = {"httpcore", "h11", "rich", "asyncio", "anyio", "certifi", "encodings.idna"}
print(sorted(heavy & set(sys.modules)), sys.modules["httpx._main"], sorted(set(sys.modules) - by_httpx))
"""


def test_a_plain_request_imports_nothing_heavy() -> None:
    """Also no ssl of ours: httpx has it from http.client, but nothing is imported after httpx is there."""
    with serve(lambda _: reply(200, b"hi")) as server:
        done = subprocess.run(
            [sys.executable, "-c", PLAIN_REQUEST, server.url],
            capture_output=True,
            text=True,
            check=False,
            timeout=PATIENCE_S,
        )
    assert (done.stdout, done.stderr) == ("[] None []\n", "")
