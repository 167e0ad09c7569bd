"""An endpoint -> the request that is sent, and the way there."""

from __future__ import annotations

import socket
from typing import Any

import pytest

from chatpipe.errors import BadConfiguration
from chatpipe.exchange import ExchangeContext, ask, run_without_loop, sleep_without_loop
from chatpipe.options.server import RetryPolicy, ServerOptions, TimeLimits
from chatpipe.server.endpoints import COMPLETIONS, Endpoint, resolve
from chatpipe.wire import route
from chatpipe.wire.answer import Answer
from exchange.scripted import Receiver

ECHO = ServerOptions(profile="echo")


def test_request_is_the_body_in_json_with_the_headers_given() -> None:
    request = route.request("http://h/v1/x", (("A", "1"), ("User-Agent", "u")), {"model": "mä", "n": 2**64})
    assert (request.method, str(request.url)) == ("POST", "http://h/v1/x")
    assert request.content == '{"model":"mä","n":18446744073709551616}'.encode()
    assert dict(request.headers) == {"a": "1", "user-agent": "u", "host": "h", "content-length": "40"}


def asked(endpoint: Endpoint, connection: ServerOptions, body: dict[str, Any]) -> Answer:
    request = route.request(endpoint.url(COMPLETIONS), endpoint.headers, body)
    context = ExchangeContext(route.transport_for(endpoint, connection, {}), sleep_without_loop, print)
    return run_without_loop(ask(request, context, Receiver(), TimeLimits(), RetryPolicy()))


@pytest.mark.parametrize("stream", [False, True])
def test_echo_opens_no_socket(monkeypatch: pytest.MonkeyPatch, stream: bool) -> None:
    def refuse(*_: object) -> None:
        raise AssertionError("a socket")

    monkeypatch.setattr(socket, "socket", refuse)
    monkeypatch.setattr(socket, "getaddrinfo", refuse)
    body = {"model": "echo", "stream": stream, "messages": [{"role": "user", "content": "hi"}]}
    answer = asked(resolve(ECHO, {}), ECHO, body)
    assert answer.fault is None
    assert answer.completion is not None
    assert answer.completion["choices"][0]["message"]["content"] == "hi"
    assert (answer.body is None) is stream


def test_an_unusable_proxy_is_reported_before_anything_is_sent() -> None:
    connection = ServerOptions(base_url="http://b.example/v1", proxy="ftp://p")
    with pytest.raises(BadConfiguration) as fault:
        route.transport_for(resolve(connection, {}), connection, {})
    assert fault.value.place == "--proxy"
