"""A server -> the transport to it, and the request that goes over it."""

from __future__ import annotations

import socket
from typing import Any

import httpx
import pytest

from chatpipe.errors import BadConfiguration
from chatpipe.exchange import ExchangeContext, run_without_loop, send, sleep_without_loop
from chatpipe.local.transport import EchoTransport
from chatpipe.options.server import ExchangeLimits, RetryPolicy, ServerOptions
from chatpipe.server.endpoints import resolve_endpoints
from chatpipe.server.server import Server, with_key
from chatpipe.wire.pool import PoolTransport
from chatpipe.wire.proxy import ProxiedTransport
from chatpipe.wire.server_requests import completion_request
from chatpipe.wire.sync import BlockingTransport
from chatpipe.wire.transports import check_transport, open_transport
from exchange.scripted import Receiver
from support.senders import transport_to


def server_of(**options: Any) -> Server:
    made = ServerOptions(**options)
    return with_key(resolve_endpoints(made, {})[0], made, {}, None)


def test_request_is_the_body_in_json_with_the_headers_of_the_server() -> None:
    server = server_of(base_urls=("http://h/v1",))._replace(headers=(("A", "1"), ("User-Agent", "u")))
    request = completion_request(server, {"model": "mä", "n": 2**64})
    assert (request.method, str(request.url)) == ("POST", "http://h/v1/chat/completions")
    assert request.content == '{"model":"mä","n":18446744073709551616}'.encode()
    assert dict(request.headers) == {"a": "1", "user-agent": "u", "host": "h", "content-length": "40"}


@pytest.mark.parametrize("stream", [False, True])
def test_echo_opens_no_socket(monkeypatch: pytest.MonkeyPatch, stream: bool) -> None:
    def refuse(*_: object) -> None:
        raise AssertionError("a socket")

    monkeypatch.setattr(socket, "socket", refuse)
    monkeypatch.setattr(socket, "getaddrinfo", refuse)
    body = {"model": "echo", "stream": stream, "messages": [{"role": "user", "content": "hi"}]}
    server = server_of(profile="echo")
    context = ExchangeContext(open_transport(server, {}), sleep_without_loop, print)
    request = completion_request(server, body)
    answer = run_without_loop(send(request, context, Receiver(), ExchangeLimits(), RetryPolicy()))
    assert answer.fault is None
    assert answer.completion is not None
    assert answer.completion["choices"][0]["message"]["content"] == "hi"
    assert (answer.body is None) is stream


@pytest.mark.parametrize("proxy", [None, "http://proxy.example"], ids=["direct", "proxy"])
@pytest.mark.parametrize("max_connections", [None, 2], ids=["one", "many"])
def test_kind_of_transport_follows_from_proxy_and_concurrency(
    proxy: str | None, max_connections: int | None
) -> None:
    kind: type[httpx.AsyncBaseTransport] = BlockingTransport if max_connections is None else PoolTransport
    transport = transport_to("http://h/", None, max_connections, proxy=proxy)
    assert type(transport) is (kind if proxy is None else ProxiedTransport)


@pytest.mark.parametrize("max_connections", [None, 2], ids=["one", "many"])
def test_model_in_this_process_is_reached_without_a_proxy(max_connections: int | None) -> None:
    server = server_of(profile="echo", proxy="ftp://p")
    assert type(open_transport(server, {}, max_connections)) is EchoTransport


def test_an_unusable_proxy_is_reported_before_anything_is_sent() -> None:
    options = ServerOptions(base_urls=("http://b.example/v1",), proxy="ftp://p")
    endpoint = resolve_endpoints(options, {})[0]
    for way in (
        lambda: open_transport(with_key(endpoint, options, {}, None), {}),
        lambda: check_transport(endpoint, options, {}),
    ):
        with pytest.raises(BadConfiguration) as fault:
            way()
        assert fault.value.place == "--proxy"
