"""The reply parser: every sample whole, byte by byte, split at each place, and cut short at each place."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import httpx
import pytest

from chatpipe.wire.http1 import (
    MAX_HEAD_BYTES,
    MAX_HEADERS,
    MalformedReply,
    NotHTTP,
    OverlongReply,
    ReplyParser,
)
from support.parametrize import cases


@dataclass(frozen=True)
class Sample:
    data: bytes
    status: int
    body: bytes
    reusable: bool = True
    headers: tuple[tuple[bytes, bytes], ...] = ()
    method: str = "POST"
    by_close: bool = False  # eof() ends it


SAMPLES = {
    "length": Sample(
        b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nX-A:  b c \t\r\nX-Empty:\r\n\r\nhello",
        200,
        b"hello",
        headers=((b"Content-Length", b"5"), (b"X-A", b"b c"), (b"X-Empty", b"")),
    ),
    "its length twice": Sample(
        b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nX: y\r\ncontent-length:5\r\n\r\nhello",
        200,
        b"hello",
        headers=((b"X", b"y"), (b"Content-Length", b"5")),
    ),
    "its length three times, in a list": Sample(
        b"HTTP/1.1 100 Continue\r\nX: 1\r\n\r\nHTTP/1.1 404 Not\nContent-Length: 2, 2 ,2\n\nhi", 404, b"hi"
    ),
    "a header in several lines": Sample(
        b"HTTP/1.1 103 E\r\nLink: a,\r\n b\r\n\r\n"
        b"HTTP/1.1 200 OK\r\nX-A: b\r\n  c \r\n\td\r\nContent-Length: 2\r\n\r\nhi",
        200,
        b"hi",
        headers=((b"X-A", b"b c d"), (b"Content-Length", b"2")),
    ),
    "a length in the next line": Sample(b"HTTP/1.1 200 OK\r\nContent-Length:\r\n 2\r\n\r\nhi", 200, b"hi"),
    "a coding in the next line": Sample(
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding:\r\n chunked\r\n\r\n2\r\nhi\r\n0\r\n\r\n", 200, b"hi"
    ),
    "length 0": Sample(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n", 200, b""),
    "no reason phrase": Sample(b"HTTP/1.1 200\r\nContent-Length: 2\r\n\r\nhi", 200, b"hi"),
    "line ends before it": Sample(b"\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi", 200, b"hi"),
    "chunked": Sample(
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\nA\r\n0123456789\r\n0\r\n\r\n",
        200,
        b"abc0123456789",
    ),
    "chunked, any case": Sample(
        b"HTTP/1.1 200 OK\r\ntransfer-ENCODING: Chunked\r\n\r\n2\r\nhi\r\n0\r\n\r\n", 200, b"hi"
    ),
    "extensions and trailers": Sample(
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
        b'2;a=b;c="d"\r\nhi\r\n0;last\r\nX-Trailer: 1\r\nConnection: close\r\n\r\n',
        200,
        b"hi",
        headers=((b"Transfer-Encoding", b"chunked"),),
    ),
    "ends by close": Sample(
        b"HTTP/1.1 200 OK\r\nX-A: b\r\n\r\nall there is", 200, b"all there is", reusable=False, by_close=True
    ),
    "HTTP/1.0 ends by close": Sample(b"HTTP/1.0 200 OK\r\n\r\nhi", 200, b"hi", False, by_close=True),
    "HTTP/1.0 with length": Sample(b"HTTP/1.0 200 OK\r\nContent-Length: 2\r\n\r\nhi", 200, b"hi", False),
    "HTTP/1.0 keep-alive": Sample(
        b"HTTP/1.0 200 OK\r\nContent-Length: 2\r\nConnection: keep-alive\r\n\r\nhi", 200, b"hi"
    ),
    "connection: close": Sample(
        b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 2\r\n\r\nhi", 200, b"hi", False
    ),
    "100 and 103 before 200": Sample(
        b"HTTP/1.1 100 Continue\r\nX-No: 1\r\n\r\nHTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n"
        b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi",
        200,
        b"hi",
        headers=((b"Content-Length", b"2"),),
    ),
    # Some servers send these, and most clients take them.
    "line ends without CR": Sample(b"HTTP/1.1 200 OK\nX-A: b\nContent-Length: 2\n\nhi", 200, b"hi"),
    "spaces after the size of a chunk": Sample(
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2  \r\nhi\r\n0\r\n\r\n", 200, b"hi"
    ),
    "a length beside chunks": Sample(
        b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nhi\r\n0\r\n\r\n",
        200,
        b"hi",
        reusable=False,
    ),
    "identity": Sample(
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: identity\r\n\r\nhi", 200, b"hi", False, by_close=True
    ),
    "204": Sample(b"HTTP/1.1 204 No Content\r\nContent-Length: 7\r\n\r\n", 204, b""),
    "304": Sample(b"HTTP/1.1 304 Not Modified\r\nContent-Length: 7\r\n\r\n", 304, b""),
    "HEAD": Sample(b"HTTP/1.1 200 OK\r\nContent-Length: 7\r\n\r\n", 200, b"", False, method="HEAD"),
    "latin-1 header": Sample(
        b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\nX: \xe9\r\n\r\n",
        200,
        b"",
        headers=((b"Content-Length", b"0"), (b"X", b"\xe9")),
    ),
    "error with body": Sample(b"HTTP/1.1 429 Slow\r\nContent-Length: 2\r\n\r\n{}", 429, b"{}"),
}

AFTER = {
    "a second reply": b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n",
    "garbage": b"\x00\xff garbage",
    "one byte": b"H",
}


def parse(pieces: Iterable[bytes], method: str = "POST", eof: bool = False) -> tuple[ReplyParser, bytes]:
    reply = ReplyParser(method)
    body = b""
    for piece in pieces:
        reply.feed(piece)
        body += reply.take_body()
    if eof:
        reply.eof()
    return reply, body


def ways(data: bytes) -> Iterator[list[bytes]]:
    yield [data]
    yield [data[at : at + 1] for at in range(len(data))]
    for at in range(1, len(data)):
        yield [data[:at], data[at:]]


@pytest.mark.parametrize("sample", SAMPLES.values(), ids=SAMPLES)
def test_a_reply_is_the_same_however_it_is_cut_into_reads(sample: Sample) -> None:
    for pieces in ways(sample.data):
        reply, body = parse(pieces, sample.method, eof=sample.by_close)
        assert reply.head is not None
        assert (reply.head.status, body) == (sample.status, sample.body), pieces
        assert (reply.done, reply.reusable) == (True, sample.reusable), pieces
        if sample.headers:
            assert tuple(reply.head.headers) == sample.headers, pieces


@pytest.mark.parametrize("sample", [s for s in SAMPLES.values() if s.reusable])
def test_a_reply_is_the_same_after_another_on_its_connection(sample: Sample) -> None:
    reply = ReplyParser()
    for each in [sample, *(s for s in SAMPLES.values() if s.reusable), sample]:
        reply.begin(each.method)
        reply.feed(each.data)
        assert reply.head is not None
        assert (reply.head.status, reply.take_body(), reply.done) == (each.status, each.body, True)
        if each.headers:
            assert tuple(reply.head.headers) == each.headers


def test_what_nobody_took_of_a_reply_is_no_part_of_the_next() -> None:
    reply = ReplyParser()
    reply.feed(SAMPLES["length"].data)
    reply.begin()
    reply.feed(SAMPLES["chunked"].data)
    assert reply.take_body() == SAMPLES["chunked"].body


@pytest.mark.parametrize("sample", SAMPLES.values(), ids=SAMPLES)
def test_a_reply_cut_short_is_an_error_wherever_it_is_cut(sample: Sample) -> None:
    head_end = sample.data.rfind(b"\r\n\r\n", 0, len(sample.data) - len(sample.body)) + 4
    for at in range(head_end if sample.by_close else len(sample.data)):
        with pytest.raises(httpx.RemoteProtocolError, match="peer closed connection"):
            parse([sample.data[:at]], sample.method, eof=True)


@pytest.mark.parametrize("after", AFTER.values(), ids=AFTER)
@pytest.mark.parametrize(
    "sample",
    [s for s in SAMPLES.values() if not s.by_close],
    ids=[k for k, s in SAMPLES.items() if not s.by_close],
)
def test_bytes_after_a_reply_leave_it_whole_and_make_the_connection_useless(
    sample: Sample, after: bytes
) -> None:
    data = sample.data + after
    for pieces in ways(data):
        reply, body = parse(pieces, sample.method)
        assert reply.head is not None
        assert (reply.head.status, body) == (sample.status, sample.body), pieces
        assert (reply.done, reply.reusable) == (True, False), pieces


def test_head_is_complete_but_for_its_body_before_the_end() -> None:
    reply = ReplyParser()
    reply.feed(b"HTTP/1.1 404 Not Here\r\nContent-Length: 4\r\n\r\nab")
    assert reply.head is not None
    assert (reply.head.status, reply.head.reason, reply.head.http_version) == (404, b"Not Here", b"HTTP/1.1")
    assert (reply.done, reply.reusable, reply.take_body(), reply.take_body()) == (False, False, b"ab", b"")


def test_pieces_before_a_fault_can_still_be_taken() -> None:
    reply = ReplyParser()
    reply.feed(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nhi\r\n")
    with pytest.raises(httpx.RemoteProtocolError):
        reply.feed(b"zz\r\n")
    assert reply.take_body() == b"hi"


def test_started_says_whether_a_byte_came() -> None:
    reply = ReplyParser()
    assert not reply.started
    reply.feed(b"H")
    assert reply.started


CHUNKED = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"


@cases(
    ("data", "message"),
    {
        "version 2.0": (b"HTTP/2.0 200 OK\r\n\r\n", "in HTTP/2.0"),
        "status not a number": (b"HTTP/1.1 20x OK\r\n\r\n", "not a reply in HTTP"),
        "status below 100": (b"HTTP/1.1 099 OK\r\n\r\n", "unexpected status 99"),
        "101": (b"HTTP/1.1 101 Up\r\n\r\nx", "unexpected status 101"),
        "101 with upgrade": (
            b"HTTP/1.1 101 Up\r\nConnection: upgrade\r\nUpgrade: h2c\r\n\r\nx",
            "unexpected status 101",
        ),
        "length not a number": (b"HTTP/1.1 200 OK\r\nContent-Length: x\r\n\r\n", "content-length"),
        "too long a length": (
            b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % (10**40),
            "not a reply in HTTP: Content-Length overflow",
        ),
        "500 codings": (
            b"HTTP/1.1 200 OK\r\nTransfer-Encoding: " + b", ".join([b"x-own"] * 500) + b"\r\n\r\n",
            "unknown transfer-encoding '[^']{50}'$",
        ),
        "two lengths": (
            b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n",
            "content-length",
        ),
        "two lengths in a list": (b"HTTP/1.1 200 OK\r\nContent-Length: 1, 2\r\n\r\n", "content-length"),
        "one length, and none": (
            b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length:\r\n\r\n",
            "content-length",
        ),
        "a length with a sign, twice": (
            b"HTTP/1.1 200 OK\r\nContent-Length: +1\r\nContent-Length: +1\r\n\r\n",
            "content-length",
        ),
        "too long a length, twice": (
            b"HTTP/1.1 200 OK\r\nContent-Length: 9%d\r\nContent-Length: 9%d\r\n\r\n" % (10**40, 10**40),
            "content-length",
        ),
        "identity with a length": (
            b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\nTransfer-Encoding: identity\r\n\r\n",
            "'identity'",
        ),
        "gzip, chunked": (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip, chunked\r\n\r\n", "'gzip, chunked'"),
        "gzip": (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip\r\n\r\n", "'gzip'"),
        "NUL in a header in several lines": (
            b"HTTP/1.1 200 OK\r\nX: a\r\n \x00b\r\n\r\n",
            "invalid header value",
        ),
        "a blank before the first header": (
            b"HTTP/1.1 200 OK\r\n X: a\r\n\r\n",
            "invalid header token|space",
        ),
        "NUL in header": (b"HTTP/1.1 200 OK\r\nX: a\x00b\r\n\r\n", "invalid header value"),
        "space in name": (b"HTTP/1.1 200 OK\r\nX y: z\r\n\r\n", "invalid header token"),
        "chunk size not a number": (CHUNKED + b"zz\r\n", "invalid character in chunk size"),
        "chunk longer than it says": (CHUNKED + b"2\r\nhixx", "not a reply in HTTP"),
    },
)
def test_bytes_that_are_no_reply_are_refused(data: bytes, message: str) -> None:
    for pieces in ways(data):
        with pytest.raises(httpx.RemoteProtocolError, match=f"(?i){message}"):
            parse(pieces)


@cases(
    "data",
    {
        "a head": b"HTTP/1.1 101 Up\r\n\r\n",
        "a coding": b"HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip\r\n\r\n",
        "a body without the chunks of its head": CHUNKED + b'{"id": "x"}',
    },
)
def test_a_reply_that_is_malformed_from_its_start_would_come_again(data: bytes) -> None:
    for pieces in ways(data):
        with pytest.raises(MalformedReply):
            parse(pieces)


@cases(
    "pieces",
    {
        "in its body": [CHUNKED + b"2\r\nhi\r\n", b"<html>"],
        "in its body, in one read": [CHUNKED + b"2\r\nhi\r\n<html>"],
        "at its end": [CHUNKED + b"2\r\nhi", b"<html>"],
    },
)
def test_a_body_that_is_malformed_need_not_come_again(pieces: list[bytes]) -> None:
    with pytest.raises(httpx.RemoteProtocolError) as caught:
        parse(pieces)
    assert not isinstance(caught.value, MalformedReply)


def test_names_of_headers_keep_their_capitals_in_messages() -> None:
    for head, message in {
        b"Content-Length: %d" % (10**40): "not a reply in HTTP: Content-Length overflow",
        b"X y: z": "not a reply in HTTP: invalid header token",
    }.items():
        with pytest.raises(httpx.RemoteProtocolError, match=f"^{message}$"):
            parse([b"HTTP/1.1 200 OK\r\n" + head + b"\r\n\r\n"])


@cases(
    ("data", "message"),
    {
        "another protocol": (b"SSH-2.0-OpenSSH_9.6\r\n", "it says 'SSH-2.0-OpenSSH_9.6'"),
        "a page without a head": (b"<html>\n<body>", "it says '<html>'"),
        "HTTP/2": (b"\0\0\x06\x04\0\0\0\0\0\0\x03\0\0\0d", "it speaks HTTP/2 only"),
        "a TLS alert": (b"\x15\x03\x01\0\x02\x02\x46", "it speaks TLS"),
        "a TLS handshake": (b"\x16\x03\x01\x02\0", "it speaks TLS"),
    },
)
def test_bytes_of_another_protocol_at_the_start_of_a_connection(data: bytes, message: str) -> None:
    with pytest.raises(NotHTTP) as caught:
        parse([data])
    assert str(caught.value) == message
    for pieces in ways(data):
        with pytest.raises(httpx.RemoteProtocolError):
            parse(pieces)


def test_bytes_of_another_protocol_behind_a_reply_are_a_broken_reply() -> None:
    """They may be the rest of the body that the reply before them has not named."""
    reply, _ = parse([SAMPLES["length"].data])
    reply.begin()
    with pytest.raises(httpx.RemoteProtocolError) as caught:
        reply.feed(b"rest of a body")
    assert not isinstance(caught.value, (NotHTTP, MalformedReply))


OK = b"HTTP/1.1 200 OK\r\n"
LONG = MAX_HEAD_BYTES


@cases(
    "data",
    {
        "endless header": OK + b"X: " + b"a" * LONG,
        "long head": OK + b"".join(b"X-%05d: %050d\r\n" % (at, at) for at in range(250)) * 5,
        "many headers": OK + b"X: a\r\n" * (MAX_HEADERS + 1) + b"\r\n",
        "endless status line": b"HTTP/1.1 200 " + b"a" * LONG * 2,
        "endless 100 Continue": b"HTTP/1.1 100 Continue\r\n\r\n" * (LONG // 20),
        "endless trailer": CHUNKED + b"0\r\nX: " + b"a" * LONG,
        "endless trailers": CHUNKED + b"0\r\n" + b"X: a\r\n" * LONG,
        "endless extension": CHUNKED + b"2;" + b"a" * LONG * 2,
    },
)
@pytest.mark.parametrize("step", [1000, 1 << 30], ids=["in reads", "at once"])
def test_heads_and_trailers_have_limits(data: bytes, step: int) -> None:
    with pytest.raises(OverlongReply, match="more than"):
        parse(data[at : at + step] for at in range(0, len(data), step))


def test_a_head_just_below_the_limits_is_taken() -> None:
    headers = b"".join(b"X-%03d: %0200d\r\n" % (at, at) for at in range(MAX_HEADERS - 1))
    reply, body = parse([OK + headers + b"Content-Length: 2\r\n\r\nhi"])
    assert reply.head is not None
    assert (len(reply.head.headers), body) == (MAX_HEADERS, b"hi")


def test_a_body_has_no_limit() -> None:
    piece = b"8000\r\n" + b"x" * 0x8000 + b"\r\n"
    reply, body = parse([CHUNKED, *[piece] * 40, b"0\r\n\r\n"])
    assert (reply.done, len(body)) == (True, 40 * 0x8000)


@pytest.mark.parametrize(
    "callback", ["on_message_begin", "on_header", "on_headers_complete", "on_message_complete"]
)
def test_ctrl_c_inside_a_callback_comes_out_as_it_is(callback: str) -> None:
    class Interrupted(ReplyParser):
        pass

    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    setattr(Interrupted, callback, interrupt)
    with pytest.raises(KeyboardInterrupt):
        Interrupted().feed(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi")
