"""The network from outside: retries, proxies, TLS, and a key that shows up nowhere but in its header."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from commands.asking import ask, words
from support.parametrize import cases
from support.patience import PATIENCE_S
from support.process import CHATPIPE, environment, run, sh, start
from support.servers.loopback import (
    Answer,
    Close,
    Handler,
    Pause,
    Proxy,
    Reset,
    Stall,
    Step,
    chunk,
    closed_port,
    echoing,
    event,
    event_stream,
    in_turn,
    reply,
    serve,
    silent,
    stream_of,
    tls_contexts,
)
from support.servers.real_proxies import tinyproxy as real_proxy
from support.speed import at_any_speed

KEY = "sk-test-0123456789"


HELLO = (0, b"Hello\n", b"")


# Retries


def test_retry_after_is_waited_for_and_the_second_try_counts() -> None:
    with serve(in_turn(reply(429, headers={"Retry-After": "1"}), event_stream(stream_of("now")))) as server:
        done = ask(server.url)
        first, second = server.requests
    assert (done.status, done.stdout) == (0, b"now\n")
    assert done.stderr.endswith(b"too many requests: trying again in 1.0 s (1 of 4)\n")
    assert second.at - first.at >= 1.0
    assert first.body == second.body


HALF = event_stream([event(chunk("Half of"))], end=False)
# As of tinyproxy and others that answer before they have read the request, and hang up.
CUT_ERROR = reply(401, b"bad key, and so on", {"Content-Length": "1000"})
ONCE = ("--retries", "0")


@cases(
    ("replies", "options", "requests", "status", "stdout", "words"),
    {
        "a lost connection": ([[Reset()], event_stream(stream_of("now"))], ("-q",), 2, 0, b"now\n", b""),
        # What is on stdout cannot be taken back.
        "a stream that has begun is not tried again": (
            [[*HALF, Reset()], event_stream(stream_of("never"))],
            (),
            1,
            76,
            b"Half of\n",
            b"",
        ),
        "no retries": ([reply(500)], ONCE, 1, 69, b"", b""),
        "an error whose body is cut": ([[CUT_ERROR, Close()]], ONCE, 1, 77, b"", b"401"),
        "an error whose body is reset": ([[CUT_ERROR, Reset()]], ONCE, 1, 77, b"", b"401"),
    },
)
def test_a_fault_has_its_tries_and_its_status(
    replies: list[Answer],
    options: tuple[str, ...],
    requests: int,
    status: int,
    stdout: bytes,
    words: bytes,
) -> None:
    with serve(in_turn(*replies)) as server:
        done = ask(server.url, *options)
        assert len(server.requests) == requests
    assert (done.status, done.stdout) == (status, stdout)
    assert words in done.stderr
    assert "-q" not in options or done.stderr == b""


@cases(
    "steps, options, status, stdout",
    {
        "before its answer": ([Stall()], ONCE, 75, b""),
        "in its answer": ([*HALF, Stall()], (), 76, b"Half of\n"),
    },
)
@at_any_speed
def test_a_server_that_stalls_is_waited_for_as_long_as_allowed(
    factor: int, steps: list[Step], options: tuple[str, ...], status: int, stdout: bytes
) -> None:
    limit = f"{0.2 * factor:g}"
    with serve(lambda _: steps) as server:
        done = ask(server.url, "--timeout", limit, *options)
        assert len(server.requests) == 1
    assert (done.status, done.stdout) == (status, stdout)
    assert f"no byte for {limit} s".encode() in done.stderr


def test_a_refused_connection_is_69_after_all_tries() -> None:
    done = ask(f"http://127.0.0.1:{closed_port()}/v1", "--retries", "1")
    assert (done.status, done.stdout) == (69, b"")
    assert done.stderr.count(b"\n") == 2
    assert b"connection refused, after 2 tries" in done.stderr


def test_a_deadline_ends_all_tries_together() -> None:
    with serve(lambda _: [Pause(0.1), reply(500)]) as server:
        done = ask(server.url, "--deadline", "0.4", "-q")
        assert len(server.requests) <= 2  # none, where the machine is slow
    assert done.status in (69, 75)


def test_a_server_that_never_answers_the_handshake_is_75() -> None:
    with silent() as port:
        url = f"https://127.0.0.1:{port}/v1"
        done = ask(url, "--connect-timeout", "0.2", "--retries", "0", "--insecure")
    assert done.status == 75
    assert b"--connect-timeout" in done.stderr


# Redirects


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
def test_a_redirect_to_another_origin_never_gets_the_key(status: int) -> None:
    with serve() as elsewhere:
        there = reply(status, headers={"Location": f"{elsewhere.url}/chat/completions"})
        with serve(lambda _: there) as server:
            done = ask(server.url, env={"OPENAI_API_KEY": KEY})
            assert len(server.requests) == 1
        assert elsewhere.requests == []
        assert elsewhere.connections == 0
    assert done.status == 78
    assert elsewhere.origin.encode() in done.stderr


# Proxies


@pytest.fixture
def tinyproxy(tmp_path: Path) -> Iterator[str]:
    with real_proxy(tmp_path) as url:
        yield url


@pytest.mark.parametrize("name", ["http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"])
def test_a_proxy_of_the_environment_is_used(name: str) -> None:
    with Proxy() as proxy, serve() as server:
        done = ask(server.url, env={name: proxy.url})
        assert [asked.method for asked in proxy.asked] == ["POST"]
        assert len(server.requests) == 1
    assert done == HELLO


@pytest.mark.parametrize("no_proxy", ["127.0.0.1", "*", "localhost,127.0.0.0/8"])
def test_no_proxy_goes_straight(no_proxy: str) -> None:
    with Proxy() as proxy, serve() as server:
        done = ask(server.url, env={"http_proxy": proxy.url, "no_proxy": no_proxy})
        assert proxy.asked == []
    assert done == HELLO


def test_the_option_wins_over_no_proxy() -> None:
    with Proxy() as proxy, serve() as server:
        done = ask(server.url, "--proxy", proxy.url, env={"no_proxy": "*"})
        assert len(proxy.asked) == 1
    assert done.status == 0


def test_https_goes_through_a_tunnel_that_does_not_see_the_key() -> None:
    tls = tls_contexts()
    with Proxy() as proxy, serve(tls=tls.server) as server:
        done = ask(
            server.url,
            "--cacert",
            str(tls.ca_pem),
            env={"https_proxy": proxy.url, "OPENAI_API_KEY": KEY},
        )
        (asked,) = proxy.asked
        assert server.requests[0].headers["authorization"] == f"Bearer {KEY}"
    assert done == HELLO
    assert (asked.method, asked.target) == ("CONNECT", f"127.0.0.1:{server.port}")
    assert "authorization" not in asked.headers


def test_a_proxy_that_is_not_there_is_69() -> None:
    with serve() as server:
        done = ask(server.url, "--retries", "0", env={"http_proxy": f"http://127.0.0.1:{closed_port()}"})
        assert server.requests == []
    assert done.status == 69
    assert b"proxy" in done.stderr


@cases(
    ("scheme", "variable", "secure"),
    {
        "http": ("http", "http_proxy", False),
        "https": ("http", "HTTPS_PROXY", True),
        "SOCKS": ("socks5", "all_proxy", False),
        "SOCKS, https": ("socks5h", "ALL_PROXY", True),
    },
)
def test_a_proxy_of_a_variable_that_is_not_there_is_named_by_it(
    scheme: str, variable: str, *, secure: bool
) -> None:
    proxy = f"{scheme}://127.0.0.1:{closed_port()}"
    url = f"{'https' if secure else 'http'}://h.example/v1"
    done = ask(url, "--retries", "0", env={variable: proxy})
    assert done.status == 69
    assert done.stderr.decode() == (
        f"chatpipe: no way to '{url}/chat/completions' through the proxy '{proxy}' ({variable}): "
        f"the proxy itself cannot be reached: connection refused: check {variable}\n"
    )


def test_a_proxy_that_says_no_is_77() -> None:
    with Proxy(refuse=407) as proxy, serve() as server:
        done = ask(server.url, "--retries", "0", env={"http_proxy": proxy.url})
    assert done.status == 77
    assert done.stderr.endswith(b": the proxy wants a name and a password: http_proxy\n")


@pytest.mark.parametrize("secure", [False, True], ids=["http", "https"])
def test_through_tinyproxy(secure: bool, tinyproxy: str) -> None:
    tls = tls_contexts()
    with serve(tls=tls.server if secure else None) as server:
        done = ask(server.url, "--cacert", str(tls.ca_pem), "-v", "--proxy", tinyproxy)
        assert len(server.requests) == 1
    assert (done.status, done.stdout) == (0, b"Hello\n")
    assert b"pass" not in done.stderr


LOGIN = "check the name and the password in http_proxy"
NO_WAY = "check the base URL, or try later"


@cases(
    ("login", "host", "status", "said"),
    {
        "wrong password": ("user:wrong-secret@", "127.0.0.1:9", 77, f"401 Unauthorized: {LOGIN}"),
        "no password": ("", "127.0.0.1:9", 77, "the proxy wants a name and a password: http_proxy"),
        "unknown host": ("user:pass@", "no.invalid", 69, f"500 Unable to connect: {NO_WAY}"),
    },
)
@pytest.mark.parametrize("key", [None, KEY], ids=["no key", "key"])
def test_a_page_of_tinyproxy_is_not_blamed_on_the_server(
    login: str, host: str, status: int, said: str, key: str | None, tinyproxy: str
) -> None:
    _, _, place = tinyproxy.rpartition("@")
    env = {"http_proxy": f"http://{login}{place}", **({"CHATPIPE_API_KEY": key} if key else {})}
    done = ask(f"http://{host}", "--allow-http", *ONCE, env=env)
    assert done.status == status
    error = done.stderr.decode()
    assert (
        f"from 'http://{host}/v1/chat/completions' through the proxy 'http://{place}' (http_proxy): " in error
    )
    assert error.endswith(f"{said}\n")
    assert "wrong-secret" not in error
    assert "API_KEY" not in error


# TLS


def test_an_authority_that_is_named_is_trusted() -> None:
    tls = tls_contexts()
    with serve(tls=tls.server) as server:
        assert ask(server.url, "--cacert", str(tls.ca_pem)) == HELLO
        assert ask(server.url, env={"SSL_CERT_FILE": str(tls.ca_pem)}) == HELLO


def test_an_authority_that_is_not_named_is_69_and_gets_nothing() -> None:
    with serve(tls=tls_contexts().server) as server:
        done = ask(server.url, env={"OPENAI_API_KEY": KEY})
        assert server.requests == []
    assert done.status == 69
    assert b"cannot trust" in done.stderr
    assert b"--cacert" in done.stderr


def test_a_certificate_for_another_name_is_69_at_once() -> None:
    tls = tls_contexts()
    with serve(tls=tls.wrong_name) as server:
        done = ask(server.url, "--cacert", str(tls.ca_pem))
        assert server.requests == []
    assert done.status == 69
    assert done.stderr.count(b"\n") == 1
    assert b"check the host name in the base URL" in done.stderr


def test_a_client_certificate_is_shown() -> None:
    tls = tls_contexts()
    with serve(tls=tls.asks_client) as server:
        shown = ("--client-cert", str(tls.client_cert), "--client-key", str(tls.client_key))
        assert ask(server.url, "--cacert", str(tls.ca_pem), *shown) == HELLO
        assert ask(server.url, "--cacert", str(tls.ca_pem), "--retries", "0").status != 0
        assert len(server.requests) == 1


def test_http_behind_an_https_url_is_reported() -> None:
    with serve() as server:
        done = ask(server.url.replace("http:", "https:"), "--insecure")
    assert done.status == 69
    assert b"write http:// in the base URL if the server has no TLS" in done.stderr


# The key


@cases(
    "command",
    {
        "OPENAI_API_KEY": "OPENAI_API_KEY=$KEY chatpipe $ASK",
        "--key-file": "printf '%s\\n' $KEY > key; chatpipe $ASK --key-file key",
        "--key-command": "chatpipe $ASK --key-command \"echo '$KEY'\"",
        "--key-fd": "echo $KEY > key; chatpipe $ASK --key-fd 3 3< key",
        "a FIFO": "mkfifo p; echo $KEY > p & chatpipe $ASK --key-file p; wait",
    },
)
def test_the_key_comes_from_each_of_its_places(command: str, tmp_path: Path) -> None:
    with serve() as server:
        words = f"ask --base-url {server.url} -m m -v --debug Hello"
        done = sh(command, env={"KEY": KEY, "ASK": words}, cwd=tmp_path)
        (request,) = server.requests
    assert request.headers["authorization"] == f"Bearer {KEY}"
    assert (done.status, done.stdout) == (0, b"Hello\n")
    assert KEY.encode() not in done.stderr


def test_the_first_place_wins(tmp_path: Path) -> None:
    (tmp_path / "key").write_text("sk-file")
    with serve() as server:
        done = ask(
            server.url,
            "--key-file",
            str(tmp_path / "key"),
            "--key-command",
            "echo sk-command",
            env={"OPENAI_API_KEY": "sk-environment"},
        )
        assert server.requests[0].headers["authorization"] == "Bearer sk-file"
    assert done.status == 0


@cases(
    "text, fix",
    {
        "a comment below it": ("sk-1\n# mine\n", "check the key: it is the first of 2 lines of --key-file"),
        "blank lines below it": ("sk-1\n\n\n", "check the key"),
    },
)
def test_a_refusal_of_the_key_says_that_it_is_one_of_several_lines(
    text: str, fix: str, tmp_path: Path
) -> None:
    (tmp_path / "key").write_text(text)
    with serve(lambda _: reply(401, {"error": {"message": "wrong key"}})) as server:
        done = ask(server.url, "--key-file", str(tmp_path / "key"))
    assert done.status == 77
    assert done.stderr.decode().endswith(f"wrong key: {fix}\n")


LEAKS: list[tuple[str, Handler, tuple[str, ...]]] = [
    ("a good answer", echoing, ()),
    ("401 that repeats it", lambda r: reply(401, {"error": {"message": r.headers["authorization"]}}), ()),
    ("500", lambda _: reply(500), ()),
    ("not JSON", lambda _: reply(200, b"<html>"), ()),
    ("a wrong option", echoing, ("--nope",)),
    ("a refused request", echoing, ("--temperature", "9")),
    ("error-format json", lambda _: reply(400, {"error": "x"}), ("--error-format", "json")),
]


@pytest.mark.parametrize(("handler", "options"), [pytest.param(h, o, id=name) for name, h, o in LEAKS])
def test_the_key_is_never_shown(handler: Handler, options: tuple[str, ...]) -> None:
    with serve(handler) as server:
        arguments = words(server.url, "-v", "--debug", "--retries", "0", *options)
        done = run(*arguments, env={"OPENAI_API_KEY": KEY})
    assert KEY.encode() not in done.stdout
    assert KEY.encode() not in done.stderr


def test_the_key_is_not_in_the_arguments_nor_in_the_environment_of_children(tmp_path: Path) -> None:
    """While the request is under way; --key-command is the only child there is."""
    (tmp_path / "key").write_text(KEY)
    look = tmp_path / "look"
    look.write_text(f"#!/bin/sh\nenv > {tmp_path / 'seen'}\ncat {tmp_path / 'key'}\n")
    look.chmod(0o755)
    with serve(lambda _: [Stall()]) as server:
        arguments = words(server.url, "--key-command", str(look))
        with start(*arguments, env={"OPENAI_API_KEY": "sk-of-the-environment"}, is_new=True) as process:
            server.until(lambda: server.requests)
            command_line = Path(f"/proc/{process.pid}/cmdline").read_bytes()
        assert server.requests[0].headers["authorization"] == f"Bearer {KEY}"
    assert KEY.encode() not in command_line
    assert "sk-of-the-environment" not in (tmp_path / "seen").read_text()


@cases(
    ("arguments", "status"),
    {
        "a missing file": (("--key-file", "nope"), 77),
        "an empty file": (("--key-file", "empty"), 77),
        "two words": (("--key-file", "two"), 77),
        "a command that fails": (("--key-command", "false"), 77),
        "a command that there is not": (("--key-command", "no-such-program"), 77),
        "no shell": (("--key-command", "echo sk-a; echo sk-b"), 2),
        "an open quote": (("--key-command", "echo 'open"), 2),
        "a descriptor that is not open": (("--key-fd", "9"), 77),
    },
)
def test_a_key_that_cannot_be_had_stops_before_sending(
    arguments: tuple[str, ...], status: int, tmp_path: Path
) -> None:
    """Also where OPENAI_API_KEY would do: a place that is named is the place that is meant."""
    (tmp_path / "empty").touch()
    (tmp_path / "two").write_text("sk-one sk-two\n")
    with serve() as server:
        done = ask(server.url, *arguments, env={"OPENAI_API_KEY": KEY}, cwd=tmp_path)
        assert server.requests == []
    assert done.status == status
    assert done.stderr.count(b"\n") == 1
    assert b"sk-" not in done.stderr


# echo

NO_SOCKETS = """
import socket

def refuse(*arguments, **keywords):
    raise AssertionError("a socket")

class NoSocket(socket.socket):
    __init__ = refuse

socket.socket = NoSocket
socket.create_connection = socket.getaddrinfo = refuse
"""


def test_echo_opens_no_socket_and_needs_no_home(tmp_path: Path) -> None:
    (tmp_path / "sitecustomize.py").write_text(NO_SOCKETS)
    env = {**environment({"PYTHONPATH": str(tmp_path)}), "http_proxy": "http://127.0.0.1:9"}
    del env["HOME"]
    done = subprocess.run(
        [*CHATPIPE, "ask", "-p", "echo", "--json", "Hello"],
        env=env,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        check=False,
        timeout=PATIENCE_S,
    )
    assert (done.returncode, done.stderr) == (0, b"")
    assert json.loads(done.stdout)["choices"][0]["message"]["content"] == "Hello"


def test_a_request_over_the_network_runs_into_the_trap(tmp_path: Path) -> None:
    """The trap of the test above works."""
    (tmp_path / "sitecustomize.py").write_text(NO_SOCKETS)
    done = ask("http://127.0.0.1:9/v1", "--retries", "0", env={"PYTHONPATH": str(tmp_path)})
    assert done.status == 70
    assert b"a socket" in done.stderr


def test_a_whole_answer_is_the_same_from_echo_and_from_its_server() -> None:
    with serve() as server:
        over_http = run("ask", "--base-url", server.url, "-m", "echo", "--json", "Hello")
    assert over_http == run("ask", "-p", "echo", "--json", "Hello")
