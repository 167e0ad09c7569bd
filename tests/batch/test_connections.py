"""How a run gets to its server: TLS, proxies, connections that are kept, and what cannot be reached."""

from __future__ import annotations

import ssl
from collections.abc import Iterator
from pathlib import Path

import orjson
import pytest

from batch.weather import questions, wrong_results
from loopback import (
    Answer,
    Proxy,
    Request,
    Server,
    closed_port,
    completion,
    event_stream,
    reply,
    serve,
    silent,
    stream_of,
    tls_contexts,
)
from process import Done, run
from tinyproxy import tinyproxy

KEY = "sk-test-0123456789"
LINES = 60


def answering(request: Request) -> Answer:
    body = request.json()
    text = f"answer to {body['messages'][-1]['content']}"
    return event_stream(stream_of([text])) if body.get("stream") else reply(200, completion(text))


def batch(url: str, *arguments: str, env: dict[str, str] | None = None, lines: int = LINES) -> Done:
    stdin = questions(lines)
    return run("batch", "--base-url", url, "-m", "m", "-j8", *arguments, stdin=stdin, env=env)


def assert_all_answered(done: Done) -> None:
    assert (done.status, done.stderr) == (0, b"")
    assert wrong_results(done.stdout, LINES) == []


def codes(done: Done) -> set[str]:
    return {orjson.loads(line)["error"]["code"] for line in done.stdout.splitlines()}


@pytest.fixture
def secure() -> Iterator[Server]:
    with serve(answering, tls=tls_contexts().server) as server:
        yield server


# TLS


@pytest.mark.parametrize("stream", [pytest.param((), id="whole"), pytest.param(("--stream",), id="streamed")])
def test_an_authority_that_is_named_is_trusted_and_its_connections_are_kept(
    stream: tuple[str, ...], secure: Server
) -> None:
    assert_all_answered(batch(secure.url, "--cacert", str(tls_contexts().ca_pem), *stream))
    assert len(secure.requests) == LINES
    assert secure.connections <= 8


def test_an_authority_of_the_environment_is_trusted(secure: Server) -> None:
    assert_all_answered(batch(secure.url, env={"SSL_CERT_FILE": str(tls_contexts().ca_pem)}))


def test_insecure_asks_for_no_authority(secure: Server) -> None:
    assert_all_answered(batch(secure.url, "--insecure"))


@pytest.mark.parametrize(
    ("context", "arguments"),
    [
        pytest.param("server", (), id="nobody vouches for it"),
        pytest.param("wrong_name", ("--cacert", str(tls_contexts().ca_pem)), id="it is another's"),
    ],
)
def test_a_certificate_that_is_not_good_is_69_and_nothing_is_sent(
    context: str, arguments: tuple[str, ...]
) -> None:
    made: ssl.SSLContext = getattr(tls_contexts(), context)
    with serve(answering, tls=made) as server:
        done = batch(server.url, *arguments, env={"OPENAI_API_KEY": KEY}, lines=5)
        assert server.requests == []
    assert (done.status, codes(done)) == (69, {"network"})
    assert b"cannot trust" in done.stdout
    assert KEY.encode() not in done.stdout + done.stderr


def test_a_client_certificate_is_shown_to_a_server_that_asks() -> None:
    tls = tls_contexts()
    certificate = ("--client-cert", str(tls.client_cert), "--client-key", str(tls.client_key))
    with serve(answering, tls=tls.asks_client) as server:
        assert_all_answered(batch(server.url, "--cacert", str(tls.ca_pem), *certificate))
        without = batch(server.url, "--cacert", str(tls.ca_pem), "--retries", "0", lines=3)
        assert len(server.requests) == LINES
    assert (without.status, codes(without)) == (76, {"network"})  # TLS 1.3 says it after the handshake


# Proxies


def test_http_goes_to_the_proxy_in_full(tmp_path: Path) -> None:
    with Proxy() as proxy, serve(answering) as server:
        assert_all_answered(batch(server.url, "--proxy", proxy.url))
        assert {asked.method for asked in proxy.asked} == {"POST"}
        assert {asked.target for asked in proxy.asked} == {f"{server.url}/chat/completions"}
        assert len(proxy.asked) == len(server.requests) == LINES
        assert server.peak <= 8


def test_https_goes_through_tunnels_that_do_not_see_the_key(secure: Server) -> None:
    with Proxy() as proxy:
        done = batch(
            secure.url,
            *("--cacert", str(tls_contexts().ca_pem)),
            env={"https_proxy": proxy.url, "OPENAI_API_KEY": KEY},
        )
        assert {(asked.method, asked.target) for asked in proxy.asked} == {
            ("CONNECT", f"127.0.0.1:{secure.port}")
        }
        assert not any("authorization" in asked.headers for asked in proxy.asked)
        assert len(proxy.asked) <= 8  # a tunnel is kept, too
    assert_all_answered(done)
    assert {request.headers["authorization"] for request in secure.requests} == {f"Bearer {KEY}"}


def test_no_proxy_goes_straight() -> None:
    with Proxy() as proxy, serve(answering) as server:
        assert_all_answered(batch(server.url, env={"http_proxy": proxy.url, "no_proxy": "127.0.0.1"}))
        assert proxy.asked == []


@pytest.mark.parametrize("is_secure", [False, True], ids=["http", "https"])
@pytest.mark.parametrize("stream", [pytest.param((), id="whole"), pytest.param(("--stream",), id="streamed")])
def test_through_tinyproxy(stream: tuple[str, ...], is_secure: bool, tmp_path: Path) -> None:
    tls = tls_contexts()
    with tinyproxy(tmp_path) as proxy, serve(answering, tls=tls.server if is_secure else None) as server:
        assert_all_answered(batch(server.url, "--cacert", str(tls.ca_pem), "--proxy", proxy, *stream))
        assert len(server.requests) == LINES


def test_a_proxy_with_a_wrong_password_ends_the_run(tmp_path: Path) -> None:
    """It would hit every line: 77, as with a wrong key, and the password is not shown."""
    with tinyproxy(tmp_path) as proxy, serve(answering) as server:
        done = batch(server.url, "--proxy", proxy.replace("pass", "wrong-secret"), "-j1")
        assert server.requests == []
    assert done.status == 77
    assert done.stdout.count(b"\n") == 1
    assert b"wrong-secret" not in done.stdout + done.stderr


def test_a_proxy_that_is_not_there_is_69() -> None:
    with serve(answering) as server:
        gone = f"http://127.0.0.1:{closed_port()}"
        done = batch(server.url, "--retries", "0", env={"http_proxy": gone}, lines=3)
        assert server.requests == []
    assert (done.status, codes(done)) == (69, {"network"})


# Nobody there


def test_a_refused_connection_is_69_after_all_tries() -> None:
    done = batch(f"http://127.0.0.1:{closed_port()}/v1", "--retries", "1", lines=3)
    assert (done.status, codes(done)) == (69, {"network"})
    tries = [orjson.loads(line)["chatpipe"]["attempts"] for line in done.stdout.splitlines()]
    assert tries == [2, 2, 2]


def test_a_server_that_never_answers_the_handshake_is_75() -> None:
    with silent() as port:
        url = f"https://127.0.0.1:{port}/v1"
        done = batch(url, "--connect-timeout", "0.2", "--retries", "0", "--insecure", lines=3)
    assert (done.status, codes(done)) == (75, {"network"})
    assert b"no TLS handshake within 0.2 s" in done.stdout
