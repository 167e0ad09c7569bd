"""request_parser.py: bytes to requests, whole and byte by byte, and what it refuses."""

from __future__ import annotations

from collections.abc import Mapping

import pytest

from chatpipe.serve.request_parser import Interim, ParserEvent, RequestParser
from chatpipe.serve.served_request import RequestRefusal, ServedRequest

_MAX_BODY = 100
_HEAD = b"POST /v1/chat/completions?key=1 HTTP/1.1\r\nHost: h\r\nX-Odd: a\r\nx-odd: b\r\n"


def _post(body: bytes) -> bytes:
    return _HEAD + b"Content-Length: %d\r\n\r\n%b" % (len(body), body)


def fed(data: bytes, size: int) -> list[ParserEvent]:
    """The events of data in pieces of size bytes."""
    parser = RequestParser(_MAX_BODY)
    return [event for at in range(0, len(data), size) for event in parser.feed(data[at : at + size])]


def shown(event: ParserEvent) -> object:
    """What tells one event from another in the table below."""
    if isinstance(event, ServedRequest):
        return event.method, event.path, event.body, event.keep_alive, event.can_chunk
    return event.status if isinstance(event, RequestRefusal) else event


PATH = "/v1/chat/completions"


@pytest.mark.parametrize("size", [1, 7, 1 << 20])
@pytest.mark.parametrize(
    ("data", "events"),
    [
        pytest.param(_post(b"{}"), [("POST", PATH, b"{}", True, True)], id="length"),
        pytest.param(
            _HEAD + b"Transfer-Encoding: chunked\r\n\r\n1;x=y\r\n{\r\n1\r\n}\r\n0\r\nHost: trailer\r\n\r\n",
            [("POST", PATH, b"{}", True, True)],
            id="chunked",
        ),
        pytest.param(
            b"GET /a HTTP/1.1\r\nHost: h\r\n\r\n" + _post(b"1") + b"GET /b HTTP/1.1\r\nHost: h\r\n\r\n",
            [
                ("GET", "/a", b"", True, True),
                ("POST", PATH, b"1", True, True),
                ("GET", "/b", b"", True, True),
            ],
            id="pipelined",
        ),
        pytest.param(b"GET / HTTP/1.0\r\n\r\n", [("GET", "/", b"", False, False)], id="HTTP/1.0"),
        pytest.param(
            b"GET / HTTP/1.0\r\nConnection: keep-alive\r\n\r\nGET / HTTP/1.0\r\n\r\n",
            [("GET", "/", b"", True, False), ("GET", "/", b"", False, False)],
            id="HTTP/1.0 that goes on",
        ),
        pytest.param(
            b"GET / HTTP/1.1\r\nhOST: h\r\nCONNECTION: keep-alive\r\n\r\n",
            [("GET", "/", b"", True, True)],
            id="keep-alive",
        ),
        pytest.param(
            b"GET / HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n",
            [("GET", "/", b"", False, True)],
            id="close",
        ),
        pytest.param(
            b"GET / HTTP/1.1\r\nHost: h\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n" + _post(b"1"),
            [("GET", "/", b"", True, True), ("POST", PATH, b"1", True, True)],
            id="upgrade",
        ),
        pytest.param(
            _HEAD
            + b"Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AA\r\n"
            + b"Expect: 100-continue\r\nContent-Length: 2\r\n\r\n{}",
            [Interim.CONTINUE, ("POST", PATH, b"{}", True, True)],
            id="upgrade with a body",
        ),
        pytest.param(b"CONNECT h:443 HTTP/1.1\r\nHost: h:443\r\n\r\n", [405], id="CONNECT"),
        pytest.param(
            _HEAD + b"Expect: 100-continue\r\nContent-Length: 1\r\n\r\n1",
            [Interim.CONTINUE, ("POST", PATH, b"1", True, True)],
            id="expect",
        ),
        pytest.param(
            _HEAD.replace(b"1.1", b"1.0") + b"Expect: 100-continue\r\nContent-Length: 1\r\n\r\n1",
            [("POST", PATH, b"1", False, False)],
            id="expect 1.0",
        ),
        pytest.param(_post(b"1" * 101), [413], id="length too large"),
        pytest.param(
            _HEAD + b"Expect: 100-continue\r\nContent-Length: 9999999999999999999\r\n\r\n",
            [413],
            id="expect 413",
        ),
        pytest.param(
            _HEAD + b"Transfer-Encoding: chunked\r\n\r\n" + b"1\r\n1\r\n" * 101, [413], id="chunks too large"
        ),
        pytest.param(_HEAD + b"Content-Encoding: gzip\r\nContent-Length: 1\r\n\r\n1", [415], id="compressed"),
        pytest.param(b"GET / HTTP/1.1\r\n\r\n", [400], id="no host"),
        pytest.param(b"GET / HTTP/1.1\r\nHost: h\r\nhost: i\r\n\r\n", [400], id="two hosts"),
        pytest.param(b"GET / HTTP/1.1\r\nHost: hh\r\nHost: hh\r\n\r\n", [400], id="one host twice"),
        pytest.param(b"\x16\x03\x01\x02\x00\x01\x00\x01", [400], id="TLS"),
        pytest.param(b"hello\r\n\r\n", [400], id="garbage"),
        pytest.param(b"GET / HTTP/1.1\r\nHost: h\r\nno colon\r\n\r\n", [400], id="no header"),
        pytest.param(
            _HEAD + b"Content-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n1", [400], id="two lengths"
        ),
        pytest.param(
            _post(b"1") + b"hello\r\n\r\n" + _post(b"2"), [("POST", PATH, b"1", True, True), 400], id="then"
        ),
        pytest.param(b"", [], id="nothing"),
        pytest.param(_post(b"{}")[:-1], [], id="half"),
    ],
)
def test_requests_are_parsed_in_pieces_of_any_size(data: bytes, events: list[object], size: int) -> None:
    assert [shown(event) for event in fed(data, size)] == events


@pytest.mark.parametrize(
    ("start", "more", "status"),
    [
        (b"GET / HTTP/1.1\r\nX: ", b"a", 431),
        (b"GET /", b"a", 431),
        (b"GET / HTTP/1.1\r\n", b"X: a\r\n", 431),
        (_HEAD + b"Transfer-Encoding: chunked\r\n\r\n1;", b"a", 400),
        (_HEAD + b"Transfer-Encoding: chunked\r\n\r\n0\r\n", b"X: a\r\n", 400),
    ],
    ids=["header", "target", "headers", "chunk extension", "trailers"],
)
def test_what_has_no_end_is_refused(start: bytes, more: bytes, status: int) -> None:
    parser = RequestParser(_MAX_BODY)
    events = parser.feed(start)
    for _ in range(100):
        events += parser.feed(more * 4096)
    assert [shown(event) for event in events] == [status]


def test_many_upgrades_in_one_piece() -> None:
    parser = RequestParser(_MAX_BODY)
    asked = b"GET /a HTTP/1.1\r\nHost: h\r\nConnection: Upgrade\r\nUpgrade: h2c\r\n\r\n"
    assert [shown(event) for event in parser.feed(asked * 2000)] == [("GET", "/a", b"", True, True)] * 2000


def test_headers_are_joined_and_trailers_left_out() -> None:
    (request,) = fed(_HEAD + b"Transfer-Encoding: chunked\r\n\r\n0\r\nHost: trailer\r\n\r\n", 5)
    assert isinstance(request, ServedRequest)
    assert request.headers == {"host": "h", "x-odd": "a, b", "transfer-encoding": "chunked"}
    assert request.target == "/v1/chat/completions?key=1"


def test_a_foreign_site_is_refused_before_its_body_is_read() -> None:
    """A host that is allowed is not asked for again on its connection, an origin always."""
    asked = []

    def refusal(target: bytes, headers: Mapping[bytes, bytes]) -> str | None:
        asked.append((target, headers.get(b"host"), headers.get(b"origin")))
        return "no" if headers.get(b"host") == b"evil" or headers.get(b"origin") == b"http://evil" else None

    def parsed(*heads: bytes) -> list[object]:
        parser = RequestParser(_MAX_BODY, site_refusal=refusal)
        asked.clear()
        return [shown(event) for head in heads for event in parser.feed(b"%b\r\n\r\n" % head)]

    good, evil = b"GET / HTTP/1.1\r\nHost: h", b"GET / HTTP/1.1\r\nHost: evil"
    answer = ("GET", "/", b"", True, True)
    assert parsed(good, good) == [answer, answer]
    assert asked == [(b"/", b"h", None)]
    assert parsed(good, evil) == [answer, 403]
    upload = b"\r\nExpect: 100-continue\r\nContent-Type: multipart/form-data\r\nContent-Length: 9"
    assert parsed(evil.replace(b"GET", b"POST") + upload, good) == [403]
    origin = b"\r\nOrigin: http://h"
    assert parsed(good + origin, good + origin, good + b"\r\nOrigin: http://evil") == [answer, answer, 403]
    assert len(asked) == 3
    assert parsed(b"GET http://evil/ HTTP/1.1\r\nHost: h", good, evil) == [answer, answer, 403]
    assert [target for target, _, _ in asked] == [b"http://evil/", b"/", b"/"]


def test_inside_is_from_the_first_byte_to_the_last() -> None:
    parser = RequestParser(_MAX_BODY)
    assert [bool(parser.feed(data)) or parser.is_inside for data in (b"G", b"ET / HTTP/1.1\r\n")] == [
        True,
        True,
    ]
    assert parser.feed(b"Host: h\r\n\r\n")
    assert not parser.is_inside
