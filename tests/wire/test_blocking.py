"""The one-shot transport against real sockets: every form of reply, every fault, over http and https."""

from __future__ import annotations

import contextlib
import gc
import socket
import ssl
import subprocess
import sys
import threading
import time
from collections.abc import AsyncIterator, Callable, Iterator
from types import SimpleNamespace
from typing import Any

import pytest

import loopback
from chatpipe.wire import blocking, faults
from chatpipe.wire.blocking import BlockingTransport
from chatpipe.wire.http1 import request_head
from chatpipe.wire.timeouts import DEADLINE
from loopback import Close, Pause, Reset, Stall, WaitFor, chunked, closed_port, in_turn, reply, serve

import httpx  # isort: skip - after chatpipe.wire, which keeps httpx's own command line out

RawServer = Callable[[Callable[[socket.socket], None]], contextlib.AbstractContextManager[str]]
HEAD = b"HTTP/1.1 200 OK\r\n"


@pytest.fixture(params=["http", "https"])
def server_tls(request: pytest.FixtureRequest) -> ssl.SSLContext | None:
    return loopback.tls_contexts().server if request.param == "https" else None


@pytest.fixture
def send(make_sender: Any) -> Any:
    return make_sender(BlockingTransport(client_context))


def client_context() -> ssl.SSLContext:
    return ssl.create_default_context(cafile=str(loopback.tls_contexts().ca_pem))


# Replies

REPLIES: dict[str, tuple[loopback.Answer, int, bytes]] = {
    "length": (reply(200, b"hello"), 200, b"hello"),
    "chunked": (chunked([b"a", b"bc", b"d" * 100_000]), 200, b"abc" + b"d" * 100_000),
    "chunked, extensions and trailers": (
        HEAD + b"Transfer-Encoding: chunked\r\n\r\n2;x=1\r\nhi\r\n0\r\nX-T: 1\r\n\r\n",
        200,
        b"hi",
    ),
    "ends by close": ([HEAD + b"\r\nall", Close()], 200, b"all"),
    "HTTP/1.0": ([b"HTTP/1.0 200 OK\r\n\r\nall", Close()], 200, b"all"),
    "100 before 200": ([b"HTTP/1.1 100 Continue\r\n\r\n", Pause(0.02), reply(200, b"hi")], 200, b"hi"),
    "204": (b"HTTP/1.1 204 No Content\r\n\r\n", 204, b""),
    "a redirect is left as it is": (reply(307, b"", {"location": "/elsewhere"}), 307, b""),
    "an error": (reply(429, b"slow down"), 429, b"slow down"),
    "bytes after it": (reply(200, b"hi") + b"surplus", 200, b"hi"),
    "long": (reply(200, b"x" * 3_000_000), 200, b"x" * 3_000_000),
}


@pytest.mark.parametrize(("answer", "status", "body"), REPLIES.values(), ids=REPLIES)
def test_every_form_of_reply_is_read(
    answer: loopback.Answer, status: int, body: bytes, send: Any, server_tls: ssl.SSLContext | None
) -> None:
    with serve(lambda _: answer, tls=server_tls) as server:
        assert send(server.url) == (status, body)


def test_the_read_time_out_is_between_bytes(send: Any) -> None:
    steps: list[loopback.Step] = [HEAD + b"Content-Length: 6\r\n\r\n"]
    for at in range(6):
        steps += [Pause(0.1), b"abcdef"[at : at + 1]]
    with serve(lambda _: steps) as server:
        assert send(server.url, read=0.5) == (200, b"abcdef")


def test_a_reply_that_ends_by_a_reset_after_its_length_is_whole(send: Any) -> None:
    with serve(lambda _: [reply(200, b"hi"), Pause(0.05), Reset()]) as server:
        assert send(server.url) == (200, b"hi")


def test_headers_and_extensions_of_the_reply_are_there(send: Any) -> None:
    with serve(
        lambda _: reply(200, b"", [("X-Request-Id", "r1"), ("set-cookie", "a"), ("set-cookie", "b")])
    ) as server:
        response = send.open(server.url)
        drive_close(send, response)
    assert response.headers["x-request-id"] == "r1"
    assert response.headers.get_list("set-cookie") == ["a", "b"]
    assert response.extensions == {"http_version": b"HTTP/1.1", "reason_phrase": b"OK"}


def drive_close(send: Any, response: httpx.Response) -> None:
    with contextlib.suppress(StopIteration):
        response.aclose().send(None)


def step(iterator: AsyncIterator[bytes]) -> bytes | None:
    """The next piece, None at the end."""
    try:
        anext(iterator).__await__().send(None)
    except StopIteration as done:
        piece: bytes = done.value
        return piece
    except StopAsyncIteration:
        return None
    raise AssertionError("it suspended")


def test_pieces_are_given_out_as_they_arrive(send: Any, server_tls: ssl.SSLContext | None) -> None:
    second = threading.Event()
    head, one, two, end = chunked([b"one", b"two"])
    with serve(lambda _: [head, one, WaitFor(second), two, end], tls=server_tls) as server:
        response = send.open(server.url)
        pieces = aiter(response.stream)
        assert step(pieces) == b"one"
        second.set()  # so the server had not even sent it
        assert step(pieces) == b"two"
        assert step(pieces) is None


def test_a_stream_cannot_be_read_twice(send: Any) -> None:
    with serve(lambda _: reply(200, b"hi")) as server:
        response = send.open(server.url)
        assert step(aiter(response.stream)) == b"hi"
        drive_close(send, response)
        with pytest.raises(httpx.StreamClosed):
            step(aiter(response.stream))


# Faults

CUT = HEAD + b"Content-Length: 10\r\n\r\nabc"
FAULTS: dict[str, tuple[list[loopback.Step], type[Exception], str]] = {
    "closed before the head": ([Close()], httpx.RemoteProtocolError, "without a reply"),
    "closed inside the head": ([HEAD, Close()], httpx.RemoteProtocolError, "inside the head"),
    "length cut short": ([CUT, Close()], httpx.RemoteProtocolError, "before the end"),
    "chunked cut short": (
        [*chunked([b"abc"], end=None), Close()],
        httpx.RemoteProtocolError,
        "before the end",
    ),
    "garbage": (
        [b"220 mail.example.com ESMTP\r\n", Close()],
        httpx.RemoteProtocolError,
        "not a reply in HTTP",
    ),
    "huge head": ([HEAD + b"X: " + b"a" * 70_000], httpx.RemoteProtocolError, "more than 65536 bytes"),
    "stall before the head": ([Stall()], httpx.ReadTimeout, r"no byte for 0\.05 s"),
    "stall inside the head": ([HEAD, Stall()], httpx.ReadTimeout, r"no byte for 0\.05 s"),
    "stall inside the body": ([CUT, Stall()], httpx.ReadTimeout, r"no byte for 0\.05 s"),
}


@pytest.mark.parametrize(("steps", "kind", "message"), FAULTS.values(), ids=FAULTS)
def test_every_fault_is_an_exception_of_httpx(
    steps: list[loopback.Step],
    kind: type[Exception],
    message: str,
    send: Any,
    server_tls: ssl.SSLContext | None,
) -> None:
    with serve(lambda _: steps, tls=server_tls) as server:
        with pytest.raises(kind, match=message):
            send(server.url, read=0.05 if kind is httpx.ReadTimeout else 10.0)
        server.until(lambda: not server.open)  # our end is closed too


RESETS: dict[str, tuple[list[loopback.Step], type[Exception], str]] = {
    "before the head": ([Reset()], httpx.ReadError, "reset by peer"),
    "inside the head": ([HEAD, Pause(0.02), Reset()], httpx.ReadError, "reset by peer"),
    "inside the body": (
        [CUT, Pause(0.02), Reset()],
        httpx.RemoteProtocolError,
        "reset by peer before the end of the reply",
    ),
}


@pytest.mark.parametrize(("steps", "kind", "message"), RESETS.values(), ids=RESETS)
def test_a_reset_is_a_broken_connection_or_a_broken_reply(
    steps: list[loopback.Step], kind: type[Exception], message: str, send: Any
) -> None:
    with serve(lambda _: steps) as server, pytest.raises(kind, match=f"(?i){message}") as caught:
        send(server.url)
    assert isinstance(caught.value.__cause__, ConnectionResetError)


def test_refused(send: Any) -> None:
    with pytest.raises(httpx.ConnectError, match="Connection refused"):
        send(f"http://127.0.0.1:{closed_port()}/v1")


def test_another_scheme(send: Any) -> None:
    with pytest.raises(httpx.UnsupportedProtocol, match="'ftp' is not http or https"):
        send("ftp://127.0.0.1/")


@pytest.mark.parametrize("answer", [[Stall()], [CUT, Stall()]], ids=["head", "body"])
def test_a_passed_deadline_can_be_told_from_a_time_out(answer: list[loopback.Step], send: Any) -> None:
    started = time.monotonic()
    with serve(lambda _: answer) as server, pytest.raises(httpx.ReadTimeout, match=f"^{DEADLINE}$"):
        send(server.url, deadline=started + 0.1, read=5.0)
    assert 0.1 <= time.monotonic() - started < 2


def test_a_deadline_also_ends_a_reply_that_never_pauses(send: Any) -> None:
    def forever() -> Iterator[loopback.Step]:
        yield from chunked([], end=None)
        while True:
            yield b"1\r\nx\r\n"
            yield Pause(0.005)

    with (
        serve(lambda _: forever()) as server,
        pytest.raises(httpx.ReadTimeout, match=f"^{DEADLINE}$"),
    ):
        send(server.url, deadline=time.monotonic() + 0.1, read=5.0)


def test_a_deadline_in_the_past_sends_nothing(send: Any) -> None:
    with serve() as server:
        with pytest.raises(httpx.ConnectTimeout, match=f"^{DEADLINE}$"):
            send(server.url, deadline=time.monotonic() - 1)
        assert server.requests == []


# Addresses


def resolve_to(monkeypatch: pytest.MonkeyPatch, *addresses: tuple[str, int]) -> None:
    """What the system's resolver answers, whatever the name: it is the one thing not on loopback."""
    entry = (socket.AF_INET, socket.SOCK_STREAM, 6, "")
    monkeypatch.setattr(socket, "getaddrinfo", lambda *_, **__: [(*entry, address) for address in addresses])


def test_all_addresses_of_a_name_are_tried(monkeypatch: pytest.MonkeyPatch, send: Any) -> None:
    with serve(lambda _: reply(200, b"hi")) as server:
        resolve_to(monkeypatch, ("127.0.0.1", closed_port()), ("127.0.0.1", server.port))
        assert send("http://two.example/v1") == (200, b"hi")
    assert server.requests[0].headers["host"] == "two.example"


def test_an_address_that_swallows_packets_leaves_time_for_the_next(
    monkeypatch: pytest.MonkeyPatch, send: Any
) -> None:
    with full_backlog() as swallowing, serve(lambda _: reply(200, b"hi")) as server:
        resolve_to(monkeypatch, ("127.0.0.1", swallowing), ("127.0.0.1", server.port))
        started = time.monotonic()
        assert send("http://two.example/v1", connect=0.6) == (200, b"hi")
    assert time.monotonic() - started >= 0.3


def test_no_answer_to_a_connection_is_a_connect_time_out(send: Any) -> None:
    with full_backlog() as port, pytest.raises(httpx.ConnectTimeout, match=r"no connection within 0\.1 s"):
        send(f"http://127.0.0.1:{port}/v1", connect=0.1)


@contextlib.contextmanager
def full_backlog() -> Iterator[int]:
    """A port that answers no further connection: Linux drops a SYN when the backlog is full."""
    with socket.socket() as listener, contextlib.ExitStack() as stack:
        listener.bind(("127.0.0.1", 0))
        listener.listen(0)
        for _ in range(3):
            client = stack.enter_context(socket.socket())
            client.setblocking(False)
            client.connect_ex(listener.getsockname())
        yield listener.getsockname()[1]


def test_an_unknown_name_is_a_connect_error(monkeypatch: pytest.MonkeyPatch, send: Any) -> None:
    def unknown(*_: object, **__: object) -> None:
        raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")

    monkeypatch.setattr(socket, "getaddrinfo", unknown)
    with pytest.raises(httpx.ConnectError, match=r"^Name or service not known$"):
        send("http://nowhere.example/v1")


# Sending


def test_a_small_request_goes_out_in_one_write(raw_server: RawServer, send: Any) -> None:
    reads = []

    def talk(connection: socket.socket) -> None:
        reads.append(connection.recv(1_000_000))
        connection.sendall(reply(200, b""))

    with raw_server(talk) as url:
        send(url, b'{"a":1}')
    assert reads[0].startswith(b"POST /v1 HTTP/1.1\r\nHost: 127.0.0.1")
    assert reads[0].endswith(b'\r\nContent-Length: 7\r\n\r\n{"a":1}')


@pytest.mark.parametrize("size", [0, 65_536, 65_537, 5_000_000])
def test_a_body_of_any_size_arrives(size: int, send: Any, server_tls: ssl.SSLContext | None) -> None:
    body = bytes(range(256)) * (size // 256) + b"x" * (size % 256)
    with serve(lambda _: reply(200, b"hi"), tls=server_tls) as server:
        assert send(server.url, body) == (200, b"hi")
        assert server.requests[0].body == body


class Upload(httpx.AsyncByteStream):
    async def __aiter__(self) -> AsyncIterator[bytes]:
        for piece in (b"one", b"", b"x" * 100_000):
            yield piece


def test_a_body_that_comes_in_pieces_is_sent_as_they_come(send: Any) -> None:
    with serve(lambda _: reply(200, b"hi")) as server:
        for headers in ({"Transfer-Encoding": "chunked"}, {"Content-Length": "100003"}):
            request = httpx.Request("POST", server.url, headers=headers, stream=Upload())
            with pytest.raises(StopIteration) as done:
                send.transport.handle_async_request(request).send(None)
            assert done.value.value.status_code == 200
            drive_close(send, done.value.value)
    assert [request.body for request in server.requests] == [b"one" + b"x" * 100_000] * 2


def test_early_413_is_read_while_a_large_body_is_sent(raw_server: RawServer, send: Any) -> None:
    def talk(connection: socket.socket) -> None:
        connection.recv(1000)
        connection.sendall(reply(413, b"too large"))
        connection.shutdown(socket.SHUT_WR)
        while connection.recv(1 << 20):  # as nginx does, so that no reset overtakes the reply
            pass

    with raw_server(talk) as url:
        assert send(url, b"x" * 5_000_000) == (413, b"too large")


def test_early_413_and_a_closed_connection_is_read_where_possible(raw_server: RawServer, send: Any) -> None:
    def talk(connection: socket.socket) -> None:
        connection.recv(1000)
        connection.sendall(reply(413, b"too large"))
        time.sleep(0.05)  # then a reset, as our bytes are not read

    with raw_server(talk) as url:
        assert send(url, b"x" * 50_000_000) == (413, b"too large")


def test_100_continue_while_a_large_body_is_sent_does_not_stop_it(raw_server: RawServer, send: Any) -> None:
    received = []

    def talk(connection: socket.socket) -> None:
        connection.sendall(b"HTTP/1.1 100 Continue\r\n\r\n")
        time.sleep(0.02)
        left = 5_000_000
        while left > 0:
            left -= len(connection.recv(1 << 20))
        received.append(left)
        connection.sendall(reply(200, b"hi"))

    with raw_server(talk) as url:
        assert send(url, b"x" * 5_000_000) == (200, b"hi")
    assert received[0] <= 0


def test_a_server_that_reads_nothing_is_a_write_time_out(raw_server: RawServer, send: Any) -> None:
    done = threading.Event()

    def talk(_: socket.socket) -> None:
        done.wait(10)

    with raw_server(talk) as url:
        with pytest.raises(httpx.WriteTimeout, match=r"nothing taken for 0\.1 s"):
            send(url, b"x" * 50_000_000, write=0.1)
        done.set()


def test_a_reset_while_we_send_is_a_write_error(raw_server: RawServer, send: Any) -> None:
    def talk(connection: socket.socket) -> None:
        connection.recv(1000)
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")

    with raw_server(talk) as url, pytest.raises(httpx.WriteError, match=r"(?i)reset by peer|broken pipe"):
        send(url, b"x" * 50_000_000)


def test_a_server_that_closes_its_side_while_we_send_has_no_reply(raw_server: RawServer, send: Any) -> None:
    def talk(connection: socket.socket) -> None:
        connection.shutdown(socket.SHUT_WR)
        while connection.recv(1 << 20):
            pass

    with raw_server(talk) as url, pytest.raises(httpx.RemoteProtocolError, match="without a reply"):
        send(url, b"x" * 5_000_000)


# The head of the request


def test_headers_are_sent_as_given_and_the_needed_ones_are_added() -> None:
    url = httpx.URL("http://h.example:81/v1/x?a=b")
    request = httpx.Request("POST", url, headers=[], stream=httpx.ByteStream(b""))
    request.headers = httpx.Headers([("X-A", "b")])
    assert request_head(request, 3) == (
        b"POST /v1/x?a=b HTTP/1.1\r\nHost: h.example:81\r\nX-A: b\r\nContent-Length: 3\r\n\r\n"
    )
    get = httpx.Request("GET", url)
    assert b"Content-Length" not in request_head(get, 0)


@pytest.mark.parametrize("bad", ["a\r\nX: y", "a\n", "a\rb", "a\0b"], ids=repr)
def test_line_ends_and_nul_in_headers_are_refused(bad: str, send: Any) -> None:
    request = httpx.Request("POST", "http://127.0.0.1:9/", headers={"Authorization": f"Bearer {bad}"})
    with pytest.raises(httpx.LocalProtocolError, match="in header 'Authorization'") as caught:
        request_head(request, 0)
    assert "Bearer" not in str(caught.value)


def test_line_ends_in_the_target_are_refused() -> None:
    request = httpx.Request("POST", "http://127.0.0.1:9/a")
    request.method = "POST / HTTP/1.1\r\nX: y\r\n"
    with pytest.raises(httpx.LocalProtocolError, match="in header 'request line'"):
        request_head(request, 0)


def test_a_body_of_unknown_length_needs_framing(send: Any) -> None:
    request = httpx.Request("POST", "http://127.0.0.1:9/", stream=Upload())
    with pytest.raises(httpx.LocalProtocolError, match="needs a Transfer-Encoding"):
        request_head(request, None)


# One connection after the other


def test_a_connection_is_used_again(send: Any, server_tls: ssl.SSLContext | None) -> None:
    with serve(lambda _: chunked([b"hi"]), tls=server_tls) as server:
        for _ in range(3):
            assert send(server.url) == (200, b"hi")
    assert (server.connections, len(server.requests)) == (1, 3)


NOT_AGAIN: dict[str, loopback.Answer] = {
    "connection: close": reply(200, b"hi", {"connection": "close"}),
    "ends by close": [HEAD + b"\r\nhi", Close()],
    "bytes after it": reply(200, b"hi") + b"x",
    "closed by the server": [reply(200, b"hi"), Close()],
}


@pytest.mark.parametrize("answer", NOT_AGAIN.values(), ids=NOT_AGAIN)
def test_a_connection_that_is_not_clean_is_not_used_again(answer: loopback.Answer, send: Any) -> None:
    with serve(lambda _: answer) as server:
        assert send(server.url) == (200, b"hi")
        assert send(server.url) == (200, b"hi")
    assert server.connections == 2


def test_a_reply_broken_off_closes_its_connection(send: Any) -> None:
    with serve(lambda _: [*chunked([b"hi"], end=None), Stall()]) as server:
        response = send.open(server.url)
        assert step(aiter(response.stream)) == b"hi"
        drive_close(send, response)
        server.until(lambda: server.disconnects == 1)


def test_closing_an_old_response_does_not_touch_the_connection_it_had(send: Any) -> None:
    with serve(in_turn(reply(200, b"one"), chunked([b"two"]))) as server:
        first = send.open(server.url)
        assert [step(pieces) for pieces in [aiter(first.stream)] for _ in range(2)] == [b"one", None]
        second = send.open(server.url)
        drive_close(send, first)
        assert step(aiter(second.stream)) == b"two"
        drive_close(send, second)
        assert server.connections == 1


def test_a_kept_connection_that_dies_without_a_byte_is_replaced_once(send: Any) -> None:
    """The server reads the second request and closes: the idle connection looked well until then."""
    with serve(in_turn(reply(200, b"one"), [Close()], reply(200, b"two"))) as server:
        assert send(server.url) == (200, b"one")
        assert send(server.url) == (200, b"two")
    assert (server.connections, len(server.requests)) == (2, 3)


@pytest.mark.parametrize("end", [Close(), Reset()], ids=["close", "reset"])
def test_a_kept_connection_that_dies_late_is_a_fault_like_any_other(
    end: loopback.Step, send: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The server may have begun to work on it: what is bought twice is for the user to say."""
    monkeypatch.setattr(blocking, "RACE_S", 0.1)
    with serve(in_turn(reply(200, b"one"), [Pause(0.2), end], reply(200, b"two"))) as server:
        assert send(server.url) == (200, b"one")
        with pytest.raises((httpx.RemoteProtocolError, httpx.ReadError)) as caught:
            send(server.url)
        assert len(server.requests) == 2
        assert faults.is_passing(caught.value)
        assert send(server.url) == (200, b"two")


def test_a_kept_connection_that_dies_before_the_request_was_there_is_replaced_however_late(
    send: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(blocking, "RACE_S", 0.0)
    body = b"x" * 20_000_000

    def talk(listener: socket.socket) -> None:
        first, _ = listener.accept()
        with first:
            first.recv(65536)
            first.sendall(reply(200, b"one"))
            first.recv(65536)  # some of the second
            time.sleep(0.05)
        second, _ = listener.accept()
        with second:
            left = len(body)
            while left > 0:
                left -= len(second.recv(1 << 20))
            second.sendall(reply(200, b"two"))

    with socket.create_server(("127.0.0.1", 0)) as listener:
        thread = threading.Thread(target=talk, args=(listener,), daemon=True)
        thread.start()
        url = f"http://127.0.0.1:{listener.getsockname()[1]}/"
        assert send(url) == (200, b"one")
        assert send(url, body) == (200, b"two")
        thread.join(10)


@pytest.mark.parametrize("steps", [[HEAD, Close()], [HEAD, Pause(0.02), Reset()]], ids=["close", "reset"])
def test_a_kept_connection_that_dies_after_a_byte_is_not_replaced(
    steps: list[loopback.Step], send: Any
) -> None:
    with serve(in_turn(reply(200, b"one"), steps, reply(200, b"two"))) as server:
        assert send(server.url) == (200, b"one")
        with pytest.raises((httpx.RemoteProtocolError, httpx.ReadError)):
            send(server.url)
    assert len(server.requests) == 2


def test_a_fresh_connection_that_dies_is_not_replaced(send: Any) -> None:
    with serve(lambda _: [Close()]) as server, pytest.raises(httpx.RemoteProtocolError):
        send(server.url)
    assert len(server.requests) == 1


def test_a_connection_kept_too_long_is_not_used(send: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(blocking, "IDLE_S", 0.0)
    with serve(lambda _: reply(200, b"hi")) as server:
        send(server.url)
        send(server.url)
    assert server.connections == 2


def test_another_origin_gets_its_own_connection(send: Any) -> None:
    with serve(lambda _: reply(200, b"one")) as one, serve(lambda _: reply(200, b"two")) as two:
        assert [send(url) for url in (one.url, two.url, one.url)] == [
            (200, b"one"),
            (200, b"two"),
            (200, b"one"),
        ]
        one.until(lambda: len(one.open) == 1)
    assert (one.connections, two.connections) == (2, 1)


def test_two_replies_at_once_have_a_connection_each(send: Any) -> None:
    with serve(lambda _: chunked([b"hi"])) as server:
        one, two = send.open(server.url), send.open(server.url)
        assert step(aiter(one.stream)) == step(aiter(two.stream)) == b"hi"
        drive_close(send, one)
        drive_close(send, two)
    assert server.connections == 2


# Ctrl-C


@pytest.mark.parametrize("place", ["connect", "recv", "send"])
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
        monkeypatch.setattr(blocking, "socket", SimpleNamespace(**{**vars(socket), "socket": Interrupted}))
        with pytest.raises(KeyboardInterrupt):
            transport.handle_async_request(httpx.Request("POST", server.url, content=b"{}")).send(None)
        server.until(lambda: server.connections == (place != "connect") and not server.open)
    assert [sock.fileno() for sock in opened] == [-1]


def test_closing_the_transport_closes_what_is_being_read() -> None:
    transport = BlockingTransport()
    with serve(lambda _: [CUT, Stall()]) as server:
        with pytest.raises(StopIteration):
            transport.handle_async_request(httpx.Request("POST", server.url, content=b"{}")).send(None)
        with pytest.raises(StopIteration):
            transport.aclose().send(None)
        server.until(lambda: server.disconnects == 1)
    gc.collect()


# TLS


def test_an_unknown_authority_is_said_in_plain_words(make_sender: Any) -> None:
    send = make_sender(BlockingTransport(ssl.create_default_context))
    with (
        serve(tls=loopback.tls_contexts().server) as server,
        pytest.raises(
            httpx.ConnectError, match=r"^certificate verify failed: unable to get local issuer"
        ) as caught,
    ):
        send(server.url)
    assert isinstance(caught.value.__cause__, ssl.SSLCertVerificationError)


def test_a_certificate_for_another_name_is_refused(send: Any) -> None:
    refused = pytest.raises(httpx.ConnectError, match=r"certificate is not valid for '127\.0\.0\.1'")
    with serve(tls=loopback.tls_contexts().wrong_name) as server, refused:
        send(server.url)


def test_the_name_is_sent_to_the_server_and_checked(send: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    names = []
    context = loopback.tls_contexts().server
    context.sni_callback = lambda _, name, __: names.append(name)
    try:
        with serve(lambda _: reply(200, b"hi"), tls=context) as server:
            resolve_to(monkeypatch, ("127.0.0.1", server.port))
            assert send(f"https://localhost.:{server.port}/v1") == (200, b"hi")
            with pytest.raises(httpx.ConnectError, match=r"not valid for 'other.example'"):
                send("https://other.example/v1")
    finally:
        context.sni_callback = None
    assert names == ["localhost", "other.example"]


def test_a_stalled_handshake_is_a_connect_time_out(send: Any) -> None:
    with (
        loopback.silent() as port,
        pytest.raises(httpx.ConnectTimeout, match=r"no TLS handshake within 0\.1 s"),
    ):
        send(f"https://127.0.0.1:{port}/v1", connect=0.1)


def test_tls_to_a_server_without_it(send: Any) -> None:
    with (
        serve() as server,
        pytest.raises(httpx.ConnectError, match=r"(?i)^(wrong version|record layer|http request)"),
    ):
        send(server.url.replace("http:", "https:"))


def test_a_context_is_made_at_the_first_https_url_and_only_once(make_sender: Any) -> None:
    made = []

    def make() -> ssl.SSLContext:
        made.append(1)
        return client_context()

    send = make_sender(BlockingTransport(make))
    with serve(lambda _: reply(200, b"")) as server:
        send(server.url)
    assert made == []
    with serve(
        lambda _: reply(200, b"", {"connection": "close"}), tls=loopback.tls_contexts().server
    ) as server:
        send(server.url)
        send(server.url)
    assert made == [1]


# Start-up

PLAIN_REQUEST = """
import sys
before = set(sys.modules)
from chatpipe.wire.blocking import BlockingTransport
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
            timeout=30,
        )
    assert (done.stdout, done.stderr) == ("[] None []\n", "")
