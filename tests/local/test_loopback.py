"""The server and the proxy that all other tests lean on, seen from a plain socket."""

from __future__ import annotations

import contextlib
import http.client
import json
import signal
import socket
import ssl
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from support import patience
from support.parametrize import cases
from support.patience import PATIENCE_S
from support.servers import loopback
from support.servers.loopback import (
    Close,
    Handler,
    Pause,
    Request,
    Reset,
    Server,
    Stall,
    Step,
    WaitFor,
    serve,
)

CHAT = b'{"messages":[{"role":"user","content":"hi you"}]}'


@contextlib.contextmanager
def connected(port: int) -> Iterator[socket.socket]:
    with socket.create_connection(("127.0.0.1", port), timeout=PATIENCE_S) as sock:
        yield sock


def request(body: bytes = b"", headers: bytes = b"", target: bytes = b"/v1/x") -> bytes:
    length = b"content-length: %d\r\n" % len(body)
    return b"POST %b HTTP/1.1\r\nhost: here\r\n%b%b\r\n%b" % (target, length, headers, body)


def to_the_end(sock: socket.socket) -> bytes:
    found = b""
    while data := sock.recv(65536):
        found += data
    return found


def answered(server: Server, sent: bytes) -> bytes:
    """Everything that comes back; the reply under test closes the connection."""
    with connected(server.port) as sock:
        sock.sendall(sent)
        return to_the_end(sock)


def always(*steps: Step) -> Handler:
    return lambda _: steps


@contextlib.contextmanager
def asking(*steps: Step, tls: bool = False) -> Iterator[tuple[Server, socket.socket]]:
    """A server that always answers this, and a connection on which a request was sent to it."""
    context = loopback.tls_contexts().server if tls else None
    with (
        serve(always(*steps), tls=context) as server,
        connected(server.port) as plain,
        trusting(plain) if tls else contextlib.nullcontext(plain) as sock,
    ):
        sock.sendall(request())
        yield server, sock


def assert_silent(sock: socket.socket) -> None:
    sock.settimeout(0.02)
    with pytest.raises(TimeoutError):
        sock.recv(10)
    sock.settimeout(10)


def trusting(sock: socket.socket) -> ssl.SSLSocket:
    return loopback.tls_contexts().client.wrap_socket(sock, server_hostname="127.0.0.1")


# What a handler may say


def test_bytes_go_out_as_they_are() -> None:
    with serve(always(b"HTTP/1.1 2", b"00 \xff\r\n\r\n", Close())) as server:
        assert answered(server, request()) == b"HTTP/1.1 200 \xff\r\n\r\n"


def test_default_handler_is_echo() -> None:
    with serve() as server:
        connection = http.client.HTTPConnection("127.0.0.1", server.port)
        connection.request("POST", "/v1/chat/completions", CHAT)
        response = connection.getresponse()
        assert response.headers["content-length"]
        assert json.load(response)["choices"][0]["message"]["content"] == "hi you"
        connection.close()


def test_streamed_echo_is_chunked_one_delta_a_chunk() -> None:
    with serve() as server:
        body = CHAT[:-1] + b',"stream":true}'
        found = answered(server, request(body, b"connection: close\r\n", target=b"/v1/chat/completions"))
    head, _, chunks = found.partition(b"\r\n\r\n")
    assert b"transfer-encoding: chunked" in head
    assert b"content-type: text/event-stream; charset=utf-8" in head
    assert chunks.endswith(b"data: [DONE]\n\n\r\n0\r\n\r\n")
    assert chunks.count(b"\r\ndata: ") == 3
    assert chunks.count(b"data: ") == 5


def test_pause_waits_that_long() -> None:
    before = time.monotonic()
    with asking(b"a", Pause(0.05), b"b", Close()) as (_, sock):
        assert sock.recv(10) == b"a"
        assert sock.recv(10) == b"b"
        assert time.monotonic() - before >= 0.05


def test_wait_for_holds_until_the_event_is_set() -> None:
    event = threading.Event()
    with asking(b"a", WaitFor(event), b"b", Close()) as (_, sock):
        assert sock.recv(10) == b"a"
        assert_silent(sock)
        event.set()
        assert sock.recv(10) == b"b"


def test_stall_says_nothing_until_the_server_stops() -> None:
    with contextlib.ExitStack() as stack:
        with serve(always(b"a", Stall(), b"never")) as server:
            sock = stack.enter_context(connected(server.port))
            sock.sendall(request())
            assert sock.recv(10) == b"a"
            assert_silent(sock)
        assert sock.recv(10) == b""
    assert server.disconnects == 0


def test_reset_is_a_reset_and_close_an_end() -> None:
    with serve(loopback.in_turn([Reset()], [Close()])) as server:
        with pytest.raises(ConnectionResetError):
            answered(server, request())
        assert answered(server, request()) == b""
        assert server.disconnects == 0


def test_in_turn_gives_the_last_one_for_ever() -> None:
    with serve(loopback.in_turn(b"1", b"2")) as server, connected(server.port) as sock:
        said = []
        for _ in range(3):
            sock.sendall(request())
            said.append(sock.recv(10))
    assert said == [b"1", b"2", b"2"]


def test_mistake_in_a_handler_is_raised_at_the_end() -> None:
    def wrong(_: Request) -> bytes:
        raise LookupError("mistaken")

    with pytest.raises(LookupError, match="mistaken"), serve(wrong) as server, contextlib.suppress(OSError):
        assert answered(server, request()) == b""


def test_mistake_in_a_later_step_is_raised_at_the_end() -> None:
    def steps() -> Iterator[Step]:
        yield Pause(0.001)
        raise LookupError("mistaken")

    with pytest.raises(LookupError, match="mistaken"), serve(lambda _: steps()) as server:
        assert answered(server, request()) == b""


# What it remembers


def test_request_is_recorded_whole() -> None:
    with serve(always(b"", Close())) as server:
        answered(server, request(b'{"a":1}', b"X-A: 1\r\nx-a: 2\r\n", target=b"/v1/y?z=1"))
        (seen,) = server.requests
    assert (seen.method, seen.target, seen.body, seen.json()) == ("POST", "/v1/y?z=1", b'{"a":1}', {"a": 1})
    assert seen.headers == {"host": "here", "content-length": "7", "x-a": "1, 2"}
    assert seen.connection == 0
    assert seen.keep_alive


def test_request_body_in_chunks_is_joined() -> None:
    head = b"POST / HTTP/1.1\r\nhost: here\r\ntransfer-encoding: chunked\r\n\r\n"
    sent = head + b"3\r\nabc\r\n2;x=y\r\nde\r\n0\r\n\r\n"
    with serve(always(b"", Close())) as server:
        answered(server, sent)
        assert [seen.body for seen in server.requests] == [b"abcde"]


def test_connections_are_numbered_and_kept_alive() -> None:
    with serve(loopback.in_turn(loopback.reply(200, {}))) as server:
        first, second = (http.client.HTTPConnection("127.0.0.1", server.port) for _ in range(2))
        for connection in (first, first, second):
            connection.request("POST", "/", b"x")
            assert connection.getresponse().read() == b"{}"
        first.close()
        second.close()
        assert [seen.connection for seen in server.requests] == [0, 0, 1]
        assert server.connections == 2
        server.until(lambda: not server.open)
    assert server.disconnects == 0


def test_requests_sent_together_are_answered_in_order() -> None:
    def handler(seen: Request) -> list[Step]:
        return [Pause(0.01 if seen.body == b"1" else 0), loopback.reply(200, seen.body)]

    with serve(handler) as server:
        found = answered(server, request(b"1") + request(b"2", b"connection: close\r\n"))
    assert [part[-1:] for part in found.split(b"HTTP/1.1 200 OK")[1:]] == [b"1", b"2"]


@pytest.mark.parametrize("version", [b"HTTP/1.0\r\n", b"HTTP/1.1\r\nhost: here\r\nconnection: close\r\n"])
def test_connection_closes_when_the_client_wants_it(version: bytes) -> None:
    with serve(always(loopback.reply(200, b"ok"))) as server:
        assert answered(server, b"GET / " + version + b"\r\n").endswith(b"\r\n\r\nok")


def test_a_request_that_is_not_http_gets_400() -> None:
    with serve() as server:
        assert answered(server, b"\x16\x03\x01\r\n\r\n").startswith(b"HTTP/1.1 400 Bad Request\r\n")
        assert server.requests == []


@cases(
    "steps",
    {
        "stall": [b"a", Stall()],
        "pause": [b"a", Pause(60)],
        "wait": [b"a", WaitFor(threading.Event())],
        "write": [b"a", b"x" * 30_000_000],
    },
)
def test_client_that_leaves_during_a_reply_is_counted(steps: list[Step]) -> None:
    with serve(lambda _: steps) as server:
        with connected(server.port) as sock:
            sock.sendall(request())
            assert sock.recv(1) == b"a"
            assert server.disconnects == 0
        server.until(lambda: server.disconnects == 1)
        assert server.busy == 0


def test_endless_reply_ends_with_its_client_and_starves_nobody() -> None:
    def endless() -> Iterator[Step]:
        while True:
            yield b"data: x\n\n" * 100

    handler: Handler = lambda seen: endless() if seen.target == "/endless" else b"short"  # noqa: E731
    with serve(handler) as server, connected(server.port) as other:
        with connected(server.port) as sock:
            sock.sendall(request(target=b"/endless"))
            for _ in range(50):
                assert sock.recv(65536)
            other.sendall(request())
            assert other.recv(10) == b"short"
        server.until(lambda: server.disconnects == 1)


def test_peak_counts_replies_at_one_time() -> None:
    event = threading.Event()
    with serve(always(WaitFor(event), b"x")) as server, contextlib.ExitStack() as stack:
        socks = [stack.enter_context(connected(server.port)) for _ in range(3)]
        for sock in socks:
            sock.sendall(request())
        server.until(lambda: server.busy == 3)
        event.set()
        assert [sock.recv(1) for sock in socks] == [b"x"] * 3
        server.until(lambda: server.busy == 0)
        assert server.peak == 3


def test_three_hundred_connections_at_once() -> None:
    with serve(always(Pause(0.01), loopback.reply(200, b"ok"))) as server, contextlib.ExitStack() as stack:
        socks = [stack.enter_context(connected(server.port)) for _ in range(300)]
        for sock in socks:
            sock.sendall(request())
        assert {sock.recv(1000)[-2:] for sock in socks} == {b"ok"}
        assert server.connections == 300


def test_waiting_fails_after_a_while(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(patience, "PATIENCE_S", 0.01)
    with serve() as server, pytest.raises(AssertionError, match="what the test waits for did not happen"):
        server.until(lambda: False)


def test_start_and_stop_take_no_time() -> None:
    def median_s() -> float:
        took = []
        for _ in range(10):
            before = time.perf_counter()
            with serve():
                pass
            took.append(time.perf_counter() - before)
        return sorted(took)[5]

    # The library's own servers look every 0.5 s. A slow machine has more than one try.
    assert any(median_s() < 0.25 for _ in range(5))


# Replies made for handlers


def test_reply_has_the_length_of_its_body() -> None:
    head = b"HTTP/1.1 429 Too Many Requests\r\ncontent-type: text/plain\r\ncontent-length: 4\r\n"
    assert loopback.reply(429, b"slow", {"Retry-After": "1"}) == head + b"Retry-After: 1\r\n\r\nslow"


def test_headers_given_replace_those_made() -> None:
    assert loopback.reply(299, {"a": 1}, [("Content-Length", "9")]) == (
        b'HTTP/1.1 299 Unknown\r\ncontent-type: application/json\r\nContent-Length: 9\r\n\r\n{"a":1}'
    )


def test_error_has_the_shape_of_the_api() -> None:
    assert loopback.error(404, "no", code="gone").endswith(
        b'{"error":{"message":"no","type":"invalid_request_error","param":null,"code":"gone"}}'
    )


def test_chunked_body_with_or_without_its_end() -> None:
    head = b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ntransfer-encoding: chunked\r\n\r\n"
    assert loopback.chunked([b"ab", b"", b"c" * 16]) == [
        head,
        b"2\r\nab\r\n",
        b"",
        b"10\r\n" + b"c" * 16 + b"\r\n",
        b"0\r\n\r\n",
    ]
    assert loopback.chunked([b"ab"], end=None) == [head, b"2\r\nab\r\n"]


def test_event_stream() -> None:
    head = b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\n"
    chunked, closed = b"transfer-encoding: chunked\r\n\r\n", b"connection: close\r\n\r\n"
    made = loopback.event_stream
    assert made([b"a", b"b"]) == [head + chunked, b"1\r\na\r\n", b"1\r\nb\r\n", b"0\r\n\r\n"]
    assert made(b"ab", end=False) == [head + chunked, b"2\r\nab\r\n"]
    assert made([b"a", b"b"], chunked=False) == [head + closed, b"a", b"b", Close()]
    assert made([b"a", b"b"], pace=0.5) == [
        head + chunked,
        b"1\r\na\r\n",
        Pause(0.5),
        b"1\r\nb\r\n",
        b"0\r\n\r\n",
    ]


def test_samples_are_those_of_the_api() -> None:
    usage = {"prompt_tokens": 1}
    events = loopback.stream_of(["a", "b"], usage=usage, model="x")
    chunks = [json.loads(event[6:]) for event in events[:-1]]
    assert [chunk["choices"] and chunk["choices"][0]["delta"] for chunk in chunks] == [
        {"role": "assistant", "content": ""},
        {"content": "a"},
        {"content": "b"},
        {},
        [],
    ]
    assert chunks[-2]["choices"][0]["finish_reason"] == "stop"
    assert chunks[-1]["usage"] == usage
    assert {chunk["model"] for chunk in chunks} == {"x"}
    assert events[-1] == b"data: [DONE]\n\n"
    assert len(loopback.stream_of("a b", finish_reason=None, done=False)) == 2
    assert loopback.completion("a", finish_reason="length", id="i")["choices"][0]["finish_reason"] == "length"
    assert loopback.completion(None, message={"role": "assistant"})["choices"][0]["message"] == {
        "role": "assistant"
    }


# TLS, ports, proxy


def test_a_server_with_tls() -> None:
    with serve(always(loopback.reply(200, b"ok")), tls=loopback.tls_contexts().server) as server:
        assert server.url == f"https://127.0.0.1:{server.port}/v1"
        with connected(server.port) as sock, trusting(sock) as secure:
            secure.sendall(request())
            assert secure.recv(1000).endswith(b"ok")
        server.until(lambda: not server.open)


@pytest.mark.parametrize("size", [1, 100_000, 3_000_000])
def test_many_writes_over_tls(size: int) -> None:
    pieces = [b"a" * size, b"b", b"c" * size, b"d"]
    handler: Handler = lambda _: loopback.event_stream(pieces)  # noqa: E731
    with serve(handler, tls=loopback.tls_contexts().server) as server:
        connection = http.client.HTTPSConnection(
            "127.0.0.1", server.port, timeout=PATIENCE_S, context=loopback.tls_contexts().client
        )
        for _ in range(2):
            connection.request("POST", "/", b"x")
            assert connection.getresponse().read() == b"".join(pieces)
        connection.close()
        assert server.connections == 1
        server.until(lambda: not server.open)
        assert server.disconnects == 0


def test_endless_reply_over_tls_ends_with_its_client() -> None:
    def endless() -> Iterator[Step]:
        while True:
            yield b"data: x\n\n" * 1000

    with serve(lambda _: endless(), tls=loopback.tls_contexts().server) as server:
        with connected(server.port) as sock, trusting(sock) as secure:
            secure.sendall(request())
            for _ in range(50):
                assert secure.recv(65536)
        server.until(lambda: server.disconnects == 1)


def test_tls_with_another_name_is_refused_by_the_client() -> None:
    with serve(tls=loopback.tls_contexts().wrong_name) as server, connected(server.port) as sock:
        with pytest.raises(ssl.SSLCertVerificationError, match="IP address mismatch"):
            trusting(sock)
        assert server.connections == 0


def test_tls_that_asks_the_client_takes_its_certificate() -> None:
    tls = loopback.tls_contexts()
    context = ssl.create_default_context(cafile=tls.ca_pem)
    context.load_cert_chain(tls.client_cert, tls.client_key)
    with serve(always(loopback.reply(200, b"ok")), tls=tls.asks_client) as server:
        with connected(server.port) as sock, context.wrap_socket(sock, server_hostname="localhost") as secure:
            secure.sendall(request())
            assert secure.recv(1000).endswith(b"ok")
        # With TLS 1.3 the client's handshake is done before the server looks: it hears of it when it reads
        with connected(server.port) as sock, trusting(sock) as bare, contextlib.suppress(OSError):
            assert bare.recv(1000) == b""
        assert server.connections == 1


def test_server_stops_during_a_tls_handshake() -> None:
    with serve(tls=loopback.tls_contexts().server) as server, connected(server.port) as sock:
        sock.sendall(b"\x16\x03\x01")


@pytest.mark.parametrize("step", [Stall(), Reset(), Close(), Pause(60)])
def test_steps_over_tls(step: Step) -> None:
    with asking(b"a", step, tls=True) as (server, secure):
        assert secure.recv(1) == b"a"
        secure.close()
        server.until(lambda: not server.open)


def test_silent_port_connects_and_says_nothing() -> None:
    with loopback.silent() as port, connected(port) as sock:
        sock.sendall(request())
        assert_silent(sock)


def test_closed_port_refuses() -> None:
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(("127.0.0.1", loopback.closed_port()))


def test_proxy_passes_an_absolute_target_on() -> None:
    with serve(always(loopback.reply(200, b"ok"))) as server, loopback.Proxy() as proxy:
        with connected(proxy.port) as sock:
            target = f"{server.url}/y?z=1".encode()
            sock.sendall(request(b"body", b"Proxy-Authorization: Basic x\r\n", target=target))
            found = to_the_end(sock)
        assert found.startswith(b"HTTP/1.1 200 OK\r\nconnection: close\r\n")
        assert found.endswith(b"ok")
        (asked,), (seen,) = proxy.asked, server.requests
    assert (asked.method, asked.target) == ("POST", f"{server.url}/y?z=1")
    assert asked.headers["proxy-authorization"] == "Basic x"
    assert (seen.target, seen.body) == ("/v1/y?z=1", b"body")
    assert "proxy-authorization" not in seen.headers


def test_proxy_tunnels() -> None:
    with (
        serve(always(loopback.reply(200, b"ok")), tls=loopback.tls_contexts().server) as server,
        loopback.Proxy() as proxy,
        connected(proxy.port) as sock,
    ):
        sock.sendall(b"CONNECT 127.0.0.1:%d HTTP/1.1\r\nhost: x\r\n\r\n" % server.port)
        assert sock.recv(1000) == b"HTTP/1.1 200 Connection established\r\n\r\n"
        with trusting(sock) as secure:
            for _ in range(2):
                secure.sendall(request())
                assert secure.recv(1000).endswith(b"ok")
        assert [(asked.method, asked.target) for asked in proxy.asked] == [
            ("CONNECT", f"127.0.0.1:{server.port}")
        ]


def test_proxy_refuses() -> None:
    with loopback.Proxy(refuse=407) as proxy, connected(proxy.port) as sock:
        sock.sendall(request())
        assert to_the_end(sock).startswith(b"HTTP/1.1 407 ")


def test_proxy_without_a_server_behind_it_closes() -> None:
    with loopback.Proxy() as proxy, connected(proxy.port) as sock:
        sock.sendall(b"CONNECT 127.0.0.1:%d HTTP/1.1\r\n\r\n" % loopback.closed_port())
        assert to_the_end(sock) == b""


def test_proxy_stops_with_a_tunnel_open() -> None:
    with serve() as server, loopback.Proxy() as proxy, connected(proxy.port) as sock:
        sock.sendall(b"CONNECT 127.0.0.1:%d HTTP/1.1\r\n\r\n" % server.port)
        assert sock.recv(1000).startswith(b"HTTP/1.1 200")


# As a program


@cases(
    "options, text",
    {
        "echo": ([], b'"content":"hi you"'),
        "latency": (["--latency", "0.01"], b'"content":"hi you"'),
        "canned": (["--canned"], b"made beforehand"),
        "chunks": (["--chunks", "3", "--per-write", "2"], b"piece 000002 of text"),
    },
)
def test_program_prints_its_url_and_serves(options: list[str], text: bytes) -> None:
    command = [sys.executable, str(Path(loopback.__file__)), "--port", "0", *options]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        port = int(process.stdout.readline().removeprefix("http://127.0.0.1:").removesuffix("/v1\n"))
        with connected(port) as sock:
            sock.sendall(request(CHAT, b"connection: close\r\n", target=b"/v1/chat/completions"))
            assert text in to_the_end(sock)
        process.send_signal(signal.SIGINT)
        assert process.wait() == 0
