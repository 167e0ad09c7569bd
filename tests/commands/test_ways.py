"""Every command reaches a server by the same ways, and each way that fails has the same status."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack

import pytest

from support.parametrize import cases
from support.process import Done, run
from support.servers.loopback import closed_port, serve, tls_contexts
from support.servers.real_proxies import microsocks, tinyproxy

KEY = "sk-test-0123456789"
COMMANDS = {
    "ask": ("ask", "-m", "m", "--retries", "0", "Hello"),
    "ask --stream": ("ask", "-m", "m", "--retries", "0", "--stream", "Hello"),
    "batch": ("batch", "-m", "m", "--retries", "0", "--lines", "-f", "string"),
    "map": ("map", "-m", "m", "--retries", "0", "--lines", "{{line}}"),
    "models": ("models", "--retries", "0"),
    "config check": ("config", "check", "-m", "m", "--call"),
}
TLS = tls_contexts()
TRUST = ("--cacert", str(TLS.ca_pem))
UNCHECKED = b"chatpipe: warning: --insecure: the certificate of '127.0.0.1' is not checked\n"


@pytest.fixture(scope="module")
def places(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, str]]:
    """The URLs of servers and proxies, by the names that the rows have for them."""
    with ExitStack() as stack:
        servers = {
            "PLAIN": stack.enter_context(serve()),
            "TLS": stack.enter_context(serve(tls=TLS.server)),
            "CLIENT": stack.enter_context(serve(tls=TLS.asks_client)),
            "STRANGER": stack.enter_context(serve(tls=TLS.wrong_name)),
        }
        http = stack.enter_context(tinyproxy(tmp_path_factory.mktemp("proxy")))
        socks = stack.enter_context(microsocks())
        yield {
            **{name: server.url for name, server in servers.items()},
            "HTTP": http,
            "SOCKS": socks,
            "LOCKED": http.replace("pass", "wrong-secret"),
            "SHUT": socks.replace("pass", "wrong-secret"),
            "GONE": f"http://127.0.0.1:{closed_port()}",
        }


# server, options, variables, status
WAYS = {
    "straight": ("PLAIN", (), {}, 0),
    "TLS": ("TLS", TRUST, {}, 0),
    "authority by variable": ("TLS", (), {"SSL_CERT_FILE": TRUST[1]}, 0),
    "authority that nobody names": ("TLS", (), {}, 69),
    "certificate of another": ("STRANGER", TRUST, {}, 69),
    "unchecked": ("STRANGER", ("--insecure",), {}, 0),
    "client certificate": (
        "CLIENT",
        (*TRUST, "--client-cert", str(TLS.client_cert), "--client-key", str(TLS.client_key)),
        {},
        0,
    ),
    "HTTP proxy": ("PLAIN", ("--proxy", "HTTP"), {}, 0),
    "HTTP proxy by variable": ("PLAIN", (), {"http_proxy": "HTTP"}, 0),
    "HTTP proxy, TLS": ("TLS", (*TRUST, "--proxy", "HTTP"), {}, 0),
    "HTTP proxy by variable, TLS": ("TLS", TRUST, {"HTTPS_PROXY": "HTTP"}, 0),
    "HTTP proxy, certificate of another": ("STRANGER", (*TRUST, "--proxy", "HTTP"), {}, 69),
    "SOCKS proxy": ("PLAIN", ("--proxy", "SOCKS"), {}, 0),
    "SOCKS proxy by variable": ("PLAIN", (), {"ALL_PROXY": "SOCKS"}, 0),
    "SOCKS proxy, TLS": ("TLS", (*TRUST, "--proxy", "SOCKS"), {}, 0),
    "HTTP proxy, wrong password": ("PLAIN", ("--proxy", "LOCKED"), {}, 77),
    "HTTP proxy, wrong password, TLS": ("TLS", (*TRUST, "--proxy", "LOCKED"), {}, 77),
    "SOCKS proxy, wrong password": ("PLAIN", ("--proxy", "SHUT"), {}, 77),
    "no proxy there": ("PLAIN", ("--proxy", "GONE"), {}, 69),
    "no proxy there, TLS": ("TLS", (*TRUST, "--proxy", "GONE"), {}, 69),
    "proxy that this host is not for": ("PLAIN", (), {"http_proxy": "GONE", "NO_PROXY": "127.0.0.1"}, 0),
    "proxy that this network is not for": ("PLAIN", (), {"http_proxy": "GONE", "no_proxy": "127.0.0.0/8"}, 0),
    "proxy that this host is not for, TLS": ("TLS", TRUST, {"ALL_PROXY": "GONE", "no_proxy": "127.0.0.1"}, 0),
}


def called(
    command: tuple[str, ...],
    server: str,
    options: tuple[str, ...],
    env: dict[str, str],
    places: dict[str, str],
) -> Done:
    words = (*command[:1], *(command[1:2] if command[0] == "config" else ()))
    arguments = (*words, "--base-url", places[server], *(places.get(each, each) for each in options))
    environ = {"CHATPIPE_API_KEY": KEY, **{name: places.get(value, value) for name, value in env.items()}}
    return run(*arguments, *command[len(words) :], stdin=b"Hello\n", env=environ)


@cases(("server", "options", "env", "status"), WAYS)
@pytest.mark.parametrize("command", COMMANDS.values(), ids=COMMANDS)
def test_a_way_is_the_same_for_each_command(
    command: tuple[str, ...],
    server: str,
    options: tuple[str, ...],
    env: dict[str, str],
    status: int,
    places: dict[str, str],
) -> None:
    done = called(command, server, options, env, places)
    assert done.status == status, done.stderr
    assert not any(secret in done.stdout + done.stderr for secret in (b"wrong-secret", KEY.encode()))
    warning = UNCHECKED if "--insecure" in options else b""
    if status == 0:
        assert done.stderr == warning
    else:
        assert done.stderr.startswith(b"chatpipe: ")


def test_the_warning_is_left_out_when_nothing_is_unchecked(places: dict[str, str]) -> None:
    command = COMMANDS["ask"]
    assert called(command, "PLAIN", ("--insecure",), {}, places).stderr == b""
    assert called(command, "STRANGER", ("--insecure", "-q"), {}, places).stderr == b""
