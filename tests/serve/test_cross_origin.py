"""cross_origin.py: the headers with which a browser lets a page of an allowed origin use the server."""

from __future__ import annotations

import pytest

from serve.client import chat_body, get, post, serving, statuses
from support.parametrize import cases
from support.servers.loopback import reply, serve

_ORIGIN = b"Origin: http://localhost:3000\r\nConnection: close\r\n"
_PREFLIGHT = _ORIGIN + (
    b"Access-Control-Request-Method: POST\r\nAccess-Control-Request-Headers: authorization,content-type\r\n"
)


def cors(data: bytes) -> list[bytes]:
    """The headers of a reply for browsers, in order."""
    head = data.partition(b"\r\n\r\n")[0]
    return [line for line in head.lower().split(b"\r\n") if line.startswith((b"access-control-", b"vary"))]


_OF_PAGE = [
    b"access-control-allow-origin: http://localhost:3000",
    b"access-control-expose-headers: *",
    b"vary: origin",
]


@cases(
    ("request_", "status"),
    {
        "an answer": (post(chat_body(), _ORIGIN), 200),
        "a stream": (post(chat_body(stream=True), _ORIGIN), 200),
        "a refusal": (post(b"{}", _ORIGIN), 400),
        "models": (get("/v1/models", _ORIGIN), 200),
        "a path of ours": (get("/health", _ORIGIN), 200),
        "no path": (get("/nothing", _ORIGIN), 404),
    },
)
def test_a_page_may_read_every_reply(request_: bytes, status: int) -> None:
    with serving() as server:
        data = server.exchange(request_)
        assert statuses(data) == [status]
        assert cors(data) == _OF_PAGE
        assert cors(server.exchange(request_.replace(b"Origin", b"X-Origin"))) == []


@pytest.mark.parametrize("path", [b"/v1/chat/completions", b"/v1/models", b"/v1/files"])
def test_a_preflight_request_is_answered_without_a_key(path: bytes) -> None:
    with serving("--require-key-env", "KEY", env={"KEY": "k"}) as server:
        data = server.exchange(get(path.decode(), _PREFLIGHT).replace(b"GET", b"OPTIONS"))
    assert statuses(data) == [204]
    assert cors(data) == [
        b"access-control-allow-methods: get, head, post, delete",
        b"access-control-allow-headers: authorization,content-type",
        *_OF_PAGE,
    ]


def test_an_upstream_does_not_say_who_may_read() -> None:
    """It gets no preflight request, and its own headers give way to those of this server."""
    upstream_headers = {"Access-Control-Allow-Origin": "https://other.example", "x-a": "1"}
    with (
        serve(lambda _: reply(200, {}, upstream_headers)) as upstream,
        serving("--upstream", upstream.url) as server,
    ):
        assert statuses(server.exchange(get("/v1/x", _PREFLIGHT).replace(b"GET", b"OPTIONS"))) == [204]
        assert upstream.requests == []
        data = server.exchange(get("/v1/x", _ORIGIN))
        assert (cors(data), b"x-a: 1\r\n" in data) == (_OF_PAGE, True)
        assert cors(server.exchange(get("/v1/x"))) == [b"access-control-allow-origin: https://other.example"]
