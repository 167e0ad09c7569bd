"""From an origin to a connection by both transports: addresses, TLS, and the time all of it may take."""

from __future__ import annotations

import contextlib
import socket
import ssl
import time
from collections.abc import Callable

import httpx
import pytest

from chatpipe.wire import connect, faults, first_address
from chatpipe.wire.timeouts import ATTEMPT_DELAY_S, DEADLINE_PASSED
from support.patience import PATIENCE_S
from support.senders import HI, Sender, client_context
from support.servers import loopback
from support.servers.loopback import closed_port, reply, serve
from support.speed import at_any_speed
from wire.servers import Resolver, full_backlog, raw_server

CLOSING = reply(200, b"hi", {"connection": "close"})


def test_all_addresses_of_a_name_are_tried(
    resolver: Resolver, send: Sender, monkeypatch: pytest.MonkeyPatch
) -> None:
    for module in (connect, first_address):
        monkeypatch.setattr(module, "ATTEMPT_DELAY_S", 2 * PATIENCE_S)
    with serve(lambda _: reply(200, b"hi")) as server:
        resolver.ports = [closed_port(), server.port]
        assert send("http://two.example/v1") == HI  # a failure lets the next one start
    assert server.requests[0].headers["host"] == "two.example"


def test_an_address_that_swallows_packets_is_overtaken_by_the_next(resolver: Resolver, send: Sender) -> None:
    with full_backlog() as swallowing, serve(lambda _: reply(200, b"hi")) as server:
        resolver.ports = [swallowing, server.port]
        started = time.monotonic()
        assert send("http://two.example/v1") == HI
        assert time.monotonic() - started >= ATTEMPT_DELAY_S


def test_the_first_failure_is_reported_when_all_fail(resolver: Resolver, send: Sender) -> None:
    resolver.ports = [closed_port()]
    resolver.addresses = [("255.255.255.255", 9)]
    with pytest.raises(httpx.ConnectError, match=r"^Connection refused$"):
        send("http://two.example/v1")
    assert send.held == 0


def test_a_name_whose_addresses_are_silent_or_refuse_is_a_connect_time_out(
    resolver: Resolver, send: Sender
) -> None:
    with full_backlog() as swallowing:
        resolver.ports = [swallowing, closed_port(), swallowing]
        with pytest.raises(httpx.ConnectTimeout, match=r"^no connection within 0\.6 s$"):
            send("http://three.example/v1", connect=0.6)
    assert send.held == 0


@pytest.mark.parametrize("zone", ["%25lo", "%lo"])
def test_a_zone_of_ipv6_may_be_written_in_both_ways(zone: str, resolver: Resolver, send: Sender) -> None:
    with serve(lambda _: reply(200, b"hi")) as server:
        resolver.ports = [server.port]
        assert send(f"http://[fe80::1{zone}]:{server.port}/v1") == HI
    assert resolver.asked[0][0] == b"fe80::1%lo"


def test_an_unknown_name_is_a_connect_error(resolver: Resolver, send: Sender) -> None:
    resolver.failure = socket.gaierror(socket.EAI_NONAME, "Name or service not known")
    with pytest.raises(httpx.ConnectError, match=r"^Name or service not known$"):
        send("http://nowhere.example/v1")


@pytest.mark.parametrize("scheme", ["http", "https"])
def test_a_port_where_nobody_listens_refuses(scheme: str, send: Sender) -> None:
    with pytest.raises(httpx.ConnectError, match=r"^Connection refused$") as caught:
        send(f"{scheme}://127.0.0.1:{closed_port()}/v1")
    assert isinstance(caught.value.__cause__, ConnectionRefusedError)
    assert faults.is_transient(caught.value)
    assert send.held == 0


def test_no_answer_to_a_connection_is_a_connect_time_out(send: Sender) -> None:
    with full_backlog() as port:
        with pytest.raises(httpx.ConnectTimeout, match=r"^no connection within 0\.1 s$"):
            send(f"http://127.0.0.1:{port}/v1", connect=0.1)
        with pytest.raises(httpx.ConnectTimeout, match=f"^{DEADLINE_PASSED}$"):
            send(f"http://127.0.0.1:{port}/v1", deadline=time.monotonic() + 0.1)
    assert send.held == 0


@at_any_speed
def test_a_stalled_handshake_is_a_connect_time_out(factor: int, send: Sender) -> None:
    limit_s = 0.1 * factor
    message = f"^no TLS handshake within {limit_s:g} s$"
    with loopback.silent() as port, pytest.raises(httpx.ConnectTimeout, match=message):
        send(f"https://127.0.0.1:{port}/v1", connect=limit_s)
    assert send.held == 0


# TLS


def test_an_unknown_authority_is_reported_in_plain_words(make_send: Callable[..., Sender]) -> None:
    send = make_send(ssl.create_default_context)
    message = r"^certificate verify failed: unable to get local issuer"
    with (
        serve(tls=loopback.tls_contexts().server) as server,
        pytest.raises(httpx.ConnectError, match=message) as caught,
    ):
        send(server.url)
    assert isinstance(caught.value.__cause__, ssl.SSLCertVerificationError)
    assert not faults.is_transient(caught.value)
    assert send.held == 0


def test_a_certificate_for_another_name_is_refused(send: Sender) -> None:
    refused = pytest.raises(httpx.ConnectError, match=r"certificate is not valid for '127\.0\.0\.1'")
    with serve(tls=loopback.tls_contexts().wrong_name) as server, refused:
        send(server.url)


def test_the_name_is_sent_to_the_server_and_checked(resolver: Resolver, send: Sender) -> None:
    names = []
    context = loopback.tls_contexts().server
    context.sni_callback = lambda _, name, __: names.append(name)
    try:
        with serve(lambda _: reply(200, b"hi"), tls=context) as server:
            resolver.ports = [server.port]
            assert send(f"https://localhost.:{server.port}/v1") == HI
            with pytest.raises(httpx.ConnectError, match=r"not valid for 'other.example'"):
                send("https://other.example/v1")
    finally:
        context.sni_callback = None
    assert names == ["localhost", "other.example"]


def test_a_name_that_no_certificate_can_have_is_a_connect_error(resolver: Resolver, send: Sender) -> None:
    with serve(tls=loopback.tls_contexts().server) as server:
        resolver.ports = [server.port]
        with pytest.raises(httpx.ConnectError):
            send(f"https://{'a' * 70}.example:{server.port}/v1")
    assert send.held == 0


def test_tls_to_a_server_without_it_is_a_connect_error(send: Sender) -> None:
    message = r"(?i)^(wrong version|record layer|http request)"
    with serve() as server, pytest.raises(httpx.ConnectError, match=message):
        send(server.url.replace("http:", "https:"))
    assert send.held == 0


def test_no_tls_to_a_server_with_it_is_a_broken_connection(send: Sender) -> None:
    broken = (httpx.RemoteProtocolError, httpx.ReadError)
    with serve(tls=loopback.tls_contexts().server) as server, pytest.raises(broken):
        send(server.url.replace("https:", "http:"))
    assert send.held == 0


def test_a_server_that_hangs_up_in_the_handshake_is_a_connect_error(send: Sender) -> None:
    with raw_server(lambda connection: connection.recv(1)) as url:
        with pytest.raises(httpx.ConnectError) as caught:
            send(url.replace("http:", "https:"))
        assert str(caught.value)
    assert send.held == 0


def test_a_client_certificate_that_is_required_and_missing_is_a_read_error(send: Sender) -> None:
    """In TLS 1.3 the alert comes after our handshake is done, as the first thing that is read."""

    def talk(connection: socket.socket) -> None:
        context = loopback.tls_contexts().asks_client
        with context.wrap_socket(connection, server_side=True, do_handshake_on_connect=False) as wrapped:
            with contextlib.suppress(ssl.SSLError):
                wrapped.do_handshake()
            while socket.socket.recv(wrapped, 1000):  # so that no reset overtakes the alert
                pass

    with (
        raw_server(talk) as url,
        pytest.raises(httpx.ReadError, match=r"(?i)alert certificate required"),
    ):
        send(url.replace("http:", "https:"))
    assert send.held == 0


def test_a_client_certificate_is_shown(make_send: Callable[..., Sender]) -> None:
    tls = loopback.tls_contexts()
    context = ssl.create_default_context(cafile=tls.ca_pem)
    context.load_cert_chain(tls.client_cert, tls.client_key)
    with serve(lambda _: reply(200, b"hi"), tls=tls.asks_client) as server:
        assert make_send(context)(server.url) == HI


def test_a_context_is_made_at_the_first_https_url_and_only_once(make_send: Callable[..., Sender]) -> None:
    made = []

    def make() -> ssl.SSLContext:
        made.append(1)
        return client_context()

    send = make_send(make)
    with serve(lambda _: CLOSING) as server:
        assert send(server.url) == HI
    assert made == []
    with serve(lambda _: CLOSING, tls=loopback.tls_contexts().server) as server:
        assert [send(server.url), send(server.url)] == [HI, HI]
    assert made == [1]
