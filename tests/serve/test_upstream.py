"""`serve --upstream`: what a client sees through it is what it sees without it."""

from __future__ import annotations

import hashlib
import json
import os
import signal
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest

from chatpipe.recordings.exchange_record import read_record
from chatpipe.wire.http1 import ReplyParser
from serve.client import Running, chat_request, get, post, serving
from support.parametrize import cases
from support.patience import PATIENCE_S
from support.process import run
from support.servers.loopback import (
    Answer,
    Close,
    Pause,
    Proxy,
    Request,
    Reset,
    Server,
    Stall,
    Step,
    WaitFor,
    chunked,
    echoing,
    event_stream,
    head,
    in_turn,
    reply,
    serve,
    stream_of,
    tls_contexts,
)

_STREAM = {"content-type": "text/event-stream", "transfer-encoding": "chunked"}
_EVENTS = stream_of(["a", "ü", "c"])
_WORD = "\N{SNOWMAN}".encode()
REPLIES: dict[str, Answer] = {
    "plain": reply(200, {"a": 1}, {"X-Request-Id": "abc", "x-two": "1", "Retry-After": "3"}),
    "refused": reply(429, {"error": {"message": "slow"}}, {"retry-after": "2"}),
    "page": reply(502, b"<html>", {"content-type": "text/html"}),
    "no content": head(204, {"x-a": "b"}),
    "not modified": head(304, {"content-length": "7", "etag": "x"}),
    "twice the header": head(200, [("set-cookie", "a=1"), ("set-cookie", "b=2"), ("content-length", "0")]),
    "hop by hop": head(200, {"connection": "x-hop", "x-hop": "1", "keep-alive": "5", "content-length": "0"}),
    "stream": event_stream(_EVENTS),
    "stream until the end of the connection": event_stream(_EVENTS, chunked=False),
    "cut stream": [*event_stream(_EVENTS[:2], end=False), Close()],
    "reset stream": [*event_stream(_EVENTS[:2], end=False), Pause(0.05), Reset()],
    "cut body": [head(200, {"content-length": "10"}), b"12345", Close()],
    "reset body": [head(200, {"content-length": "10"}), b"12345", Pause(0.05), Reset()],
    "closed at once": [Close()],
    "reset at once": [Reset()],
    "closed in the head": [b"HTTP/1.1 200 OK\r\ncontent-", Close()],
    "blank lines before JSON": chunked([b"\n", b"\n", b"{}"]),
    "a character in two": event_stream([b"data: " + _WORD[:1], _WORD[1:] + b"\n\n"]),
    "zeros": chunked([bytes(200_000)] * 3),
}


def answer(request: Request) -> Answer:
    name = httpx.URL(request.target).path.removeprefix("/base/v1/").removeprefix("/base/")
    if name in REPLIES:
        return REPLIES[name]
    if name == "seen":
        digest = hashlib.sha256(request.body).hexdigest()
        return reply(200, [request.method, request.target, list(request.headers.items()), digest])
    return echoing(request)


class _Pair:
    """A server, and ours in front of it."""

    def __init__(self, upstream: Server, ours: Running) -> None:
        self.upstream, self.ours = upstream, ours


@contextmanager
def in_front(handler: Any = answer, *options: str, **popen: Any) -> Iterator[_Pair]:
    with (
        serve(handler) as upstream,
        serving("--upstream", f"{upstream.origin}/base", *options, **popen) as ours,
    ):
        yield _Pair(upstream, ours)


@pytest.fixture(scope="module")
def pair() -> Iterator[_Pair]:
    with in_front() as servers:
        yield servers


def seen(port: int, sent: bytes, method: str = "GET") -> tuple[Any, ...]:
    """Status, headers but those of the connection, body and end of the reply to what is sent."""
    parser, end = ReplyParser(method), "complete"
    with socket.create_connection(("127.0.0.1", port), timeout=PATIENCE_S) as connection:
        connection.sendall(sent)
        try:
            while not parser.done:
                if data := connection.recv(1 << 16):
                    parser.feed(data)
                else:
                    end = "closed"
                    parser.eof()
        except ConnectionResetError:
            end = "reset"
        except httpx.RemoteProtocolError:
            end = "cut"
    if parser.head is None:
        return (end,)
    kept = [(name, value) for name, value in parser.head.headers if name.lower() != b"connection"]
    return parser.head.status, kept, parser.take_body(), end


@pytest.mark.parametrize("name", REPLIES)
def test_replies_pass_as_they_are(pair: _Pair, name: str) -> None:
    asked = name.replace(" ", "%20")
    direct = seen(pair.upstream.port, get(f"/base/{asked}"))
    if name == "hop by hop":
        direct = (200, [(b"content-length", b"0")], *direct[2:])
    elif name == "closed in the head":
        direct = ("cut",)
    assert seen(pair.ours.port, get(f"/v1/{asked}")) == direct


def test_a_head_without_its_body(pair: _Pair) -> None:
    asked = b"HEAD /v1/plain HTTP/1.1\r\nHost: localhost\r\n\r\n"
    direct = seen(pair.upstream.port, asked.replace(b"/v1", b"/base"), "HEAD")
    assert seen(pair.ours.port, asked, "HEAD") == direct


@pytest.mark.parametrize(
    ("target", "asked"),
    [
        ("/v1/seen?a=1&b=%20", "/base/seen?a=1&b=%20"),
        ("/v1/seen/..%2fx", "/base/seen/..%2fx"),
        ("/base/seen", "/base/seen"),
        ("/base/v1/seen?", "/base/v1/seen"),
        ("http://elsewhere.example/v1/seen?a", "/base/seen?a"),
    ],
)
def test_a_target_is_put_behind_the_base_url(pair: _Pair, target: str, asked: str) -> None:
    seen(pair.ours.port, get(target))
    assert pair.upstream.requests[-1].target == asked


def test_a_request_passes_without_the_headers_of_its_connection(pair: _Pair) -> None:
    """Its key goes on to the server, and no other one is added."""
    headers = (
        b"Authorization: Bearer sk-of-the-client\r\nX-Mine: \xfc\r\nConnection: close, X-Hop\r\nX-Hop: 1\r\n"
        b"TE: trailers\r\nAccept-Encoding: gzip, br\r\nUser-Agent: u\r\n"
    )
    body = os.urandom(300_000)
    sent = post(body, headers).replace(b"/v1/chat/completions", b"/v1/seen")
    method, target, fields, digest = json.loads(seen(pair.ours.port, sent)[2])
    assert (method, target, digest) == ("POST", "/base/seen", hashlib.sha256(body).hexdigest())
    assert sorted((name.lower(), value) for name, value in fields) == [
        ("accept-encoding", "identity"),
        ("authorization", "Bearer sk-of-the-client"),
        ("content-length", "300000"),
        ("host", f"127.0.0.1:{pair.upstream.port}"),
        ("user-agent", "u"),
        ("x-mine", "\xfc"),
    ]
    assert "authorization" not in json.loads(seen(pair.ours.port, get("/v1/seen"))[2])[2]


def test_each_piece_is_passed_on_before_the_next_one_comes(tmp_path: Path) -> None:
    """Among them one that ends inside a character. The record of a stream has the same pieces."""
    path = tmp_path / "r.jsonl"
    pieces = [b"data: 1", b"2\n\n", _WORD[:1], _WORD[1:], b"\n\ndata: [DONE]\n\n"]
    taken = [threading.Event() for _ in pieces]

    def handler(request: Request) -> Iterator[Step]:
        kind = "text/event-stream" if "stream" in request.target else "application/json"
        yield head(200, _STREAM | {"content-type": kind})
        for piece, event in zip(pieces, taken, strict=True):
            yield b"%x\r\n%b\r\n" % (len(piece), piece)
            yield WaitFor(event)
        yield b"0\r\n\r\n"

    with in_front(handler, "--record", str(path)) as servers:
        for target in ("/v1/stream", "/v1/plain"):
            for event in taken:
                event.clear()
            with servers.ours.connect() as connection:
                connection.sendall(get(target))
                came = b""
                while not came.endswith(b"\r\n\r\n"):
                    came += connection.recv(1)
                for piece, event in zip(pieces, taken, strict=True):
                    assert connection.recv(100) == b"%x\r\n%b\r\n" % (len(piece), piece)
                    event.set()
                assert connection.recv(100) == b"0\r\n\r\n"
    record = read_record(path.read_bytes().splitlines()[0])
    assert [data for _, data in record.reply.pieces] == pieces


def test_a_client_that_does_not_read_stops_the_server_behind() -> None:
    """And one that goes away ends the request there."""
    sent = [0]

    def endless(_: Request) -> Iterator[Step]:
        yield head(200, _STREAM)
        while True:
            sent[0] += 1
            yield b"%x\r\n%b\r\n" % (100_000, bytes(100_000))

    with in_front(endless) as servers:
        with servers.ours.connect() as connection:
            connection.sendall(get("/v1/endless"))
            before = -1
            while before != sent[0] or not before:  # until nothing moves
                before = sent[0]
                time.sleep(0.2)
            assert sent[0] < 400  # 40 MB: the buffers of the system, of three sockets
        servers.upstream.until(lambda: servers.upstream.disconnects == 1)


def test_a_client_that_loses_patience_before_the_reply() -> None:
    with in_front(lambda _: [Stall()]) as servers:
        with servers.ours.connect() as connection:
            connection.sendall(get("/v1/never"))
            servers.upstream.until(lambda: servers.upstream.busy == 1)
        servers.upstream.until(lambda: servers.upstream.disconnects == 1)


@pytest.mark.parametrize(
    ("sent", "direct"),
    [
        (chat_request(headers=b""), ("cut",)),
        (
            get("/v1/x"),
            (200, [(b"content-type", b"text/plain"), (b"content-length", b"3")], b"two", "complete"),
        ),
    ],
    ids=["a POST", "a GET"],
)
def test_a_kept_connection_that_is_lost(sent: bytes, direct: tuple[Any, ...]) -> None:
    """The client decides on a second POST, as it would without us: here, too, its connection is closed."""
    with in_front(in_turn(reply(200, b"one"), [Close()], reply(200, b"two"))) as servers:
        assert seen(servers.ours.port, chat_request(headers=b""))[2] == b"one"
        assert seen(servers.ours.port, sent) == direct


def test_a_run_of_many_at_once(pair: _Pair) -> None:
    lines = b"".join(b'{"prompt": "word %d of a line"}\n' % number for number in range(300))
    arguments = ("batch", "-m", "echo", "-j", "64", "--stream", "-q")
    direct = run(*arguments, "--base-url", f"{pair.upstream.origin}/v1", stdin=lines)
    through = run(*arguments, "--base-url", pair.ours.url, stdin=lines)
    assert (through.status, through.stdout.count(b"\n")) == (0, 300), through.stderr
    assert sorted(texts_of(through.stdout)) == sorted(texts_of(direct.stdout))


def texts_of(results: bytes) -> list[str]:
    bodies = [json.loads(line)["response"]["body"] for line in results.splitlines()]
    return [body["choices"][0]["message"]["content"] for body in bodies]


def test_a_server_that_cannot_be_reached_is_502() -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
    with serving("--upstream", f"http://127.0.0.1:{port}/v1") as ours:
        status, _, body, _ = seen(ours.port, chat_request(headers=b""))
        error = json.loads(body)["error"]
        assert (status, error["type"]) == (502, "upstream_error")
        assert f"127.0.0.1:{port}" in error["message"]
        assert ours.process.poll() is None


@pytest.mark.parametrize(
    ("fault", "fields", "expected"),
    [
        ("status=418", {}, (418, b"fault that was asked for")),
        ("cut=2", {"stream": True}, (200, b'"content":"a"')),
        ("length", {}, (200, b'"finish_reason":"length"')),
        ("slice=7", {}, (200, b'"finish_reason":"stop"')),
        ("garbage", {"stream": True}, (200, b"\x00\xff")),
        ("delay=1ms", {"stream": True}, (200, b"[DONE]")),
    ],
)
def test_faults_of_another_server(fault: str, fields: dict[str, Any], expected: tuple[int, bytes]) -> None:
    with in_front(echoing, "--fault", fault) as servers:
        status, _, body, end = seen(servers.ours.port, chat_request(**fields))
        assert (status, expected[1] in body) == (expected[0], True), body
        assert end == ("cut" if "cut" in fault else "complete")
        assert len(servers.upstream.requests) == (0 if "status" in fault else 1)


def test_limits_before_another_server() -> None:
    with in_front(echoing, "--rpm", "1") as servers:
        replies = [seen(servers.ours.port, chat_request()) for _ in range(2)]
        assert [each[0] for each in replies] == [200, 429]
        assert (b"x-ratelimit-limit-requests", b"1") in replies[0][1]
        assert len(servers.upstream.requests) == 1


@pytest.mark.parametrize(
    ("options", "status", "words"),
    [
        (("http://192.0.2.1/v1",), 78, b"the keys of clients would go unencrypted to '192.0.2.1'"),
        (("https://a.example/v1", "--tpm", "5"), 2, b"--tpm: the tokens of an answer"),
        (("https://a.example/v1", "--require-key-env", "HOME"), 2, b"--require-key-env: the keys of clients"),
        (("ftp://a.example",), 78, b"--upstream: 'ftp' is not a scheme"),
        (("openai",), 78, b"--upstream: 'openai' is a profile: write https://HOST/v1 or "),
        (("sk-" + "a" * 40,), 78, b"--upstream: no URL: write https://HOST/v1 or "),
        (("https://a/v1,https://b/v1",), 78, b"--upstream: 2 base URLs in one: write https://HOST/v1 or "),
    ],
)
def test_what_cannot_be_in_front(options: tuple[str, ...], status: int, words: bytes) -> None:
    done = run("serve", "--upstream", *options)
    assert done.status == status
    assert words in done.stderr
    assert done.stderr.count(b"\n") == 1


def test_a_text_that_is_taken_for_a_url_is_noted() -> None:
    with serving("--upstream", "localhost:9") as ours:
        ours.process.send_signal(signal.SIGTERM)
        _, errors = ours.process.communicate()
    assert b"--upstream: 'localhost:9' is taken as 'http://localhost:9/v1'" in errors


def test_a_server_over_tls_and_the_proxies_of_the_environment() -> None:
    contexts = tls_contexts()
    with serve(answer, tls=contexts.server) as upstream, Proxy() as proxy:
        trust = {"SSL_CERT_FILE": str(contexts.ca_pem)}
        for more, count in (({}, 0), ({"HTTPS_PROXY": proxy.url}, 1)):
            with serving("--upstream", f"https://localhost:{upstream.port}/base", env=trust | more) as ours:
                assert seen(ours.port, get("/v1/stream"))[2:] == (b"".join(_EVENTS), "complete")
                assert len(proxy.asked) == count
        with serving("--upstream", f"https://localhost:{upstream.port}/base") as ours:
            assert b"certificate" in seen(ours.port, get("/v1/stream"))[2]


def test_a_server_in_front_of_itself() -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = str(other.getsockname()[1])
    done = run("serve", "--port", port, "--upstream", f"http://localhost:{port}/v1")
    assert (done.status, b"--upstream: it is this server itself" in done.stderr) == (2, True)


UPSTREAM = ("--upstream", "https://a.example/v1")
NO_BATCHES = "the server has no Batch API of its own beside"


@cases(
    ("options", "what"),
    {
        "http to nobody": (("--allow-http",), "--allow-http: there is no --upstream"),
        "a queue without slots": (("--queue",), "--queue: no request waits for a slot: add --slots N"),
        "a dialect of nothing": (
            ("--dialect", "groq"),
            "--dialect: there is no limit to report: add --rpm N",
        ),
        "batches": (("--batch-life", "1", *UPSTREAM), f"--batch-life: {NO_BATCHES} --upstream"),
        "their lines": (("--batch-lines", "9", *UPSTREAM), f"--batch-lines: {NO_BATCHES} --upstream"),
        "their files": (("--max-files", "9", "--replay", "r"), f"--max-files: {NO_BATCHES} --replay"),
        "their faults": (("--fault", "no-range", *UPSTREAM), f"--fault no-range: {NO_BATCHES} --upstream"),
        "a fault of a call": (
            ("--fault", "status=500:on=poll", *UPSTREAM),
            f"--fault status: {NO_BATCHES} --upstream",
        ),
        "tokens": (("--tpm", "9", *UPSTREAM), "--tpm: the tokens of an answer are not known before"),
        "keys": (
            ("--require-key-env", "A", *UPSTREAM),
            "--require-key-env: the keys of clients are those of",
        ),
    },
)
def test_options_without_effect_are_refused(options: tuple[str, ...], what: str) -> None:
    done = run("serve", *options)
    assert (done.status, what in done.stderr.decode()) == (2, True), done.stderr
