"""The way of a run to its server: TLS, proxies, kept connections, and servers that cannot be reached."""

from __future__ import annotations

import re
import shlex
import ssl
import subprocess
from collections.abc import Iterator
from pathlib import Path

import orjson
import pytest

from batch.result_lines import records
from batch.runs import command, prompt
from batch.weather import questions, right, wrong_results
from chatpipe import main
from chatpipe.commands import table
from support import delays
from support.parametrize import cases
from support.patience import PATIENCE_S
from support.process import Done, run, sh, start
from support.servers.loopback import (
    Answer,
    Close,
    Pause,
    Proxy,
    Request,
    Reset,
    Server,
    Step,
    chunked,
    closed_port,
    completion,
    reply,
    serve,
    silent,
    tls_contexts,
)
from support.servers.real_proxies import tinyproxy
from support.speed import at_any_speed

KEY = "sk-test-0123456789"
LINES = 60


def batch(url: str, *arguments: str, env: dict[str, str] | None = None, lines: int = LINES) -> Done:
    return run(*command(url, "-j8", *arguments), stdin=questions(lines), env=env)


def assert_all_answered(done: Done) -> None:
    assert (done.status, done.stderr) == (0, b"")
    assert wrong_results(done.stdout, LINES) == []


def messages(done: Done) -> set[str]:
    return {record["error"]["message"] for record in records(done.stdout)}


def codes(done: Done) -> set[str]:
    return {record["error"]["code"] for record in records(done.stdout)}


@pytest.fixture
def secure() -> Iterator[Server]:
    with serve(right, tls=tls_contexts().server) as server:
        yield server


# TLS


@cases("stream", {"whole": (), "streamed": ("--stream",)})
def test_an_authority_that_is_named_is_trusted_and_its_connections_are_kept(
    stream: tuple[str, ...], secure: Server
) -> None:
    assert_all_answered(batch(secure.url, "--cacert", str(tls_contexts().ca_pem), *stream))
    assert len(secure.requests) == LINES
    assert secure.connections <= 8


def test_an_authority_of_the_environment_is_trusted(secure: Server) -> None:
    assert_all_answered(batch(secure.url, env={"SSL_CERT_FILE": str(tls_contexts().ca_pem)}))


def test_insecure_asks_for_no_authority(secure: Server) -> None:
    assert_all_answered(batch(secure.url, "--insecure", "-q"))


@cases(
    "context, arguments",
    {
        "nobody vouches for it": ("server", ()),
        "it is another's": ("wrong_name", ("--cacert", str(tls_contexts().ca_pem))),
    },
)
def test_a_certificate_that_is_not_good_is_69_and_nothing_is_sent(
    context: str, arguments: tuple[str, ...]
) -> None:
    made: ssl.SSLContext = getattr(tls_contexts(), context)
    with serve(right, tls=made) as server:
        done = batch(server.url, *arguments, env={"OPENAI_API_KEY": KEY}, lines=5)
        assert server.requests == []
    assert (done.status, codes(done)) == (69, {"network"})
    assert b"cannot trust" in done.stdout
    assert KEY.encode() not in done.stdout + done.stderr


def test_a_client_certificate_is_shown_to_a_server_that_asks() -> None:
    tls = tls_contexts()
    certificate = ("--client-cert", str(tls.client_cert), "--client-key", str(tls.client_key))
    with serve(right, tls=tls.asks_client) as server:
        assert_all_answered(batch(server.url, "--cacert", str(tls.ca_pem), *certificate))
        without = batch(server.url, "--cacert", str(tls.ca_pem), "--retries", "0", lines=1)
        assert len(server.requests) == LINES
    # TLS 1.3 says it after the handshake: a close without a reply, or a reset.
    assert without.status in (69, 76)
    assert codes(without) == {"network"}


# Proxies


def test_http_goes_to_the_proxy_in_full(tmp_path: Path) -> None:
    with Proxy() as proxy, serve(right) as server:
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
    with Proxy() as proxy, serve(right) as server:
        assert_all_answered(batch(server.url, env={"http_proxy": proxy.url, "no_proxy": "127.0.0.1"}))
        assert proxy.asked == []


@cases("is_secure", {"http": False, "https": True})
@cases("stream", {"whole": (), "streamed": ("--stream",)})
def test_through_tinyproxy(stream: tuple[str, ...], is_secure: bool, tmp_path: Path) -> None:
    tls = tls_contexts()
    with tinyproxy(tmp_path) as proxy, serve(right, tls=tls.server if is_secure else None) as server:
        assert_all_answered(batch(server.url, "--cacert", str(tls.ca_pem), "--proxy", proxy, *stream))
        assert len(server.requests) == LINES


def test_a_proxy_with_a_wrong_password_ends_the_run(tmp_path: Path) -> None:
    """It would hit every line: 77, as with a wrong key, and the password is not shown."""
    with tinyproxy(tmp_path) as proxy, serve(right) as server:
        done = batch(server.url, "--proxy", proxy.replace("pass", "wrong-secret"), "-j1")
        assert server.requests == []
    assert done.status == 77
    assert done.stdout.count(b"\n") == 1
    assert b"wrong-secret" not in done.stdout + done.stderr


def test_a_proxy_that_is_not_there_is_69() -> None:
    with serve(right) as server:
        gone = f"http://127.0.0.1:{closed_port()}"
        done = batch(server.url, "--retries", "0", env={"http_proxy": gone}, lines=3)
        assert server.requests == []
    assert (done.status, codes(done)) == (69, {"network"})
    there = f"{server.url}/chat/completions"
    assert messages(done) == {
        (
            f"no way to '{there}' through the proxy '{gone}' (http_proxy): "
            "the proxy itself cannot be reached: connection refused"
        )
    }


def test_an_untrusted_server_behind_a_proxy_is_each_lines_failure() -> None:
    """More lines than may be on their way at a time: none of them waits for another's connection."""
    with Proxy() as proxy, serve(right, tls=tls_contexts().server) as server:
        done = batch(server.url, "--proxy", proxy.url, "--connect-timeout", "5", "--halt", "never", lines=20)
        assert server.requests == []
    assert (done.status, codes(done)) == (69, {"network"})
    assert len(done.stdout.splitlines()) == 20
    assert {message.partition(":")[0] for message in messages(done)} == {"cannot trust 'https"}


@pytest.mark.parametrize("scheme", ["http", "https"])
@cases(
    "limit, said",
    {
        "deadline": ("--deadline", "no whole answer from {way} within the deadline"),
        "time-out": ("--timeout", "gave up on {way}: no byte for {limit} s"),
    },
)
@at_any_speed
def test_a_proxy_that_stalls_is_waited_for_as_long_as_allowed(
    factor: int, limit: str, said: str, scheme: str
) -> None:
    limit_s = 0.4 * factor
    with silent() as port:
        proxy = f"http://127.0.0.1:{port}"
        url = f"{scheme}://h.example/v1"
        limits = (limit, f"{limit_s:g}", "--retries", "0")
        done = batch(url, "--proxy", proxy, *limits, "--insecure", lines=3)
    assert (done.status, codes(done)) == (75, {"network"})
    way = f"'{url}/chat/completions' through the proxy '{proxy}' (--proxy)"
    assert messages(done) == {said.format(way=way, limit=f"{limit_s:g}")}
    took = [record["chatpipe"]["latency_s"] for record in records(done.stdout)]
    assert all(0.9 * limit_s <= each < PATIENCE_S for each in took), took


@cases(
    "descriptors, note",
    {
        "enough for some": (
            40,
            rb"chatpipe: --jobs: .* 'ulimit -n' shows has room for 2\d connections at a time\n",
        ),
        "for hardly any": (14, rb"chatpipe: --jobs: .* has room for 1 connection at a time\n"),
        "enough for all": (140, rb""),
    },
)
def test_no_more_connections_than_the_system_permits(descriptors: int, note: bytes) -> None:
    """Otherwise the first one too many ended the run, after requests that were paid for."""
    with serve(lambda request: [Pause(0.02), right(request)]) as server:
        words = shlex.join(command(server, "-j", "64"))
        done = sh(f"ulimit -n {descriptors}; chatpipe {words}", stdin=questions(90), is_new=True)
    assert done.status == 0
    assert wrong_results(done.stdout, 90) == []
    assert re.fullmatch(note, done.stderr)


TOO_MANY = (
    b"chatpipe: cannot open another file: too many open files: raise the limit that 'ulimit -n' shows\n"
)


def test_too_few_files_for_a_loop_are_one_line() -> None:
    done = sh("ulimit -n 8; chatpipe batch -p echo", stdin=questions(1), is_new=True)
    assert (done.status, done.stdout, done.stderr) == (74, b"", TOO_MANY)


def test_too_few_files_for_a_library_are_one_line(
    monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    """The loader of the system says so in words only."""

    def load(_: object) -> int:
        raise ImportError("/lib/x.so: cannot open shared object file: Too many open files")

    monkeypatch.setattr(table.cli, "invoke", load)
    assert main.run(["models", "-p", "echo"]) == 74
    assert capfd.readouterr() == ("", TOO_MANY.decode())


@at_any_speed
def test_a_deadline_holds_for_an_answer_that_never_ends(factor: int) -> None:
    def forever(_: Request) -> Iterator[Step]:
        yield from chunked([], headers={"content-type": "text/event-stream"}, end=None)
        while True:
            yield b"b\r\n: waiting\n\n\r\n"
            yield Pause(0.02)

    with Proxy() as proxy, serve(forever) as server:
        limits = ("--deadline", f"{0.4 * factor}", "--retries", "0")
        done = batch(server.url, "--stream", "--proxy", proxy.url, *limits, lines=3)
    assert (done.status, codes(done)) == (75, {"network"})
    took = [record["chatpipe"]["latency_s"] for record in records(done.stdout)]
    assert all(0.35 * factor <= each < PATIENCE_S for each in took), took


@cases(
    "is_secure, said",
    {
        "http": (
            False,
            "407 from '{there}' through the proxy '{proxy}' (--proxy): proxy authentication required",
        ),
        "https": (
            True,
            "no way to '{there}' through the proxy '{proxy}' (--proxy): 407 Proxy Authentication Required",
        ),
    },
)
def test_a_proxy_that_asks_for_a_password(is_secure: bool, said: str) -> None:
    url = f"{'https' if is_secure else 'http'}://h.example/v1"
    with Proxy(refuse=407) as proxy:
        done = batch(url, "--proxy", proxy.url, "--insecure", "-j1", lines=1)
        assert len(proxy.asked) == 1  # it will not change its mind
    assert done.status == 77
    assert messages(done) == {said.format(there=f"{url}/chat/completions", proxy=proxy.url)}


@cases(
    "proxy, said",
    {
        "no host": ("http://", "'http://' names no host"),
        "scheme": (
            "ftp://u:s3cret@h",
            "'ftp://h' is not the URL of a proxy: http://, https:// or socks5://HOST:PORT",
        ),
        "port": (
            "http://h:port",
            "'http://h:port' is not the URL of a proxy: http://, https:// or socks5://HOST:PORT",
        ),
    },
)
@pytest.mark.parametrize("by", ["--proxy", "all_proxy"])
def test_a_proxy_that_cannot_be_used_is_78_before_anything_is_read(
    by: str, proxy: str, said: str, tmp_path: Path
) -> None:
    option = ("--proxy", proxy) if by == "--proxy" else ()
    env = {} if option else {"all_proxy": proxy}
    out = tmp_path / "out.jsonl"
    arguments = command("http://h.example/v1", "-o", str(out), *option)
    with start(*arguments, env=env, stdin=subprocess.PIPE) as process:  # nothing comes, and no end either
        assert process.stderr is not None
        assert process.stderr.read().decode() == f"chatpipe: {by}: {said}\n"
        assert process.wait() == 78
    assert list(tmp_path.iterdir()) == []


def test_a_certificate_that_is_not_there_is_66_before_anything_is_made(tmp_path: Path) -> None:
    done = batch("https://h.example/v1", "--cacert", "none.pem", "-o", str(tmp_path / "out.jsonl"))
    said = b"chatpipe: --cacert: cannot read 'none.pem': no such file or directory\n"
    assert (done.status, done.stdout, done.stderr) == (66, b"", said)
    assert list(tmp_path.iterdir()) == []


def test_a_run_that_sends_nothing_needs_no_proxy() -> None:
    done = batch("http://h.example/v1", "--proxy", "ftp://h", "-f", "requests", lines=2)
    assert (done.status, done.stderr, done.stdout.count(b"\n")) == (0, b"", 2)


# A server that dies while it works


def test_a_request_that_was_taken_is_not_sent_again_on_the_quiet() -> None:
    """The connection was used before, so it might have been idle too long: but it ended much too late."""

    def handler(request: Request) -> Answer:
        if prompt(request) == "q1":
            return [Pause(1.2), Close()]
        return reply(200, completion("fine"))

    with serve(handler) as server:
        done = batch(server.url, "-j1", "--retries", "0", env=delays.AS_THEY_ARE, lines=2)
        asked = [prompt(request) for request in server.requests]
        assert server.connections == 1
    assert (done.status, asked) == (1, ["q0", "q1"])
    assert b"peer closed connection without a reply" in done.stdout


@cases("end", {"closed": Close(), "reset": Reset()})
@cases(
    "retries, status, asked", {"none": (0, 1, ["q0", "q1", "q2"]), "one": (1, 0, ["q0", "q1", "q1", "q2"])}
)
def test_a_request_on_a_kept_connection_that_ends_at_once_is_an_attempt(
    retries: int, status: int, asked: list[str], end: Step, tmp_path: Path
) -> None:
    lost: set[str] = set()

    def handler(request: Request) -> Answer:
        text = prompt(request)
        if text == "q1" and text not in lost:
            lost.add(text)
            return [end]
        return reply(200, completion("fine"))

    report = tmp_path / "report.json"
    with serve(handler) as server:
        done = batch(server.url, "-j1", "--retries", str(retries), "--report", str(report), lines=3)
        assert [prompt(request) for request in server.requests] == asked
    assert done.status == status
    assert orjson.loads(report.read_bytes())["retries"] == retries
    attempts = {record["chatpipe"]["line"]: record["chatpipe"]["attempts"] for record in records(done.stdout)}
    assert attempts == {1: 1, 2: 1 + retries, 3: 1}


# Nobody there


def test_a_refused_connection_is_69_after_all_tries() -> None:
    done = batch(f"http://127.0.0.1:{closed_port()}/v1", "--retries", "1", lines=3)
    assert (done.status, codes(done)) == (69, {"network"})
    tries = [record["chatpipe"]["attempts"] for record in records(done.stdout)]
    assert tries == [2, 2, 2]


@at_any_speed
def test_a_server_that_never_answers_the_handshake_is_75(factor: int) -> None:
    limit = f"{0.2 * factor:g}"
    with silent() as port:
        url = f"https://127.0.0.1:{port}/v1"
        done = batch(url, "--connect-timeout", limit, "--retries", "0", "--insecure", lines=3)
    assert (done.status, codes(done)) == (75, {"network"})
    assert f"no TLS handshake within {limit} s".encode() in done.stdout
