"""HTTP/1.1 without I/O: parse the bytes of one reply, and write the bytes of a request.

llhttp splits the bytes of a reply. ReplyParser adds the parts that llhttp leaves to its user: size
limits, replies without a body, replies that end with the connection, and the end of the reply.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable

import httpx
from httptools import HttpParserCallbackError, HttpParserError, HttpParserUpgrade, HttpResponseParser

from chatpipe.errors import quantity
from chatpipe.named_tuple import NamedTuple
from chatpipe.system.escape import shorten
from chatpipe.wire.head_repair import HeadRepair, is_repairable

READ_BYTES = 64 * 1024
# A body up to this size is sent in one write with its head. A larger one is sent in pieces of this
# size, with a check for an early reply between them.
WRITE_BYTES = 64 * 1024
# llhttp has no limits. Real heads are below 8 KiB and 40 fields.
MAX_HEAD_BYTES = 64 * 1024
MAX_HEADERS = 256
_FIRST_BYTES = b"HTTP/"
_TLS_BYTES = (b"\x15\x03", b"\x16\x03")  # an alert, a handshake
_SETTINGS = b"\x04"  # the kind of the frame that begins HTTP/2; the first three bytes are its length
NO_REPLY = "peer closed connection without a reply"
_NO_CODING = b"identity"  # of RFC 2616, and still sent
_MOST_NAMED = 50  # characters of a Transfer-Encoding in a message
_TRY_CURL = "try it with curl: chatpipe build -f curl"
_VERSIONS = {"1.1": b"HTTP/1.1", "1.0": b"HTTP/1.0"}
# Chunks of one byte are legal, and so is a long extension of each: what is received besides a body may
# be as long as the largest body, plus the part of the body that nobody has taken yet.
BESIDE_BODY_BYTES = 1_000_000


class Head(NamedTuple):
    """Status line and headers of a reply, in their original order and case, without trailers.

    keep_alive is the peer's permission only. `ReplyParser.reusable` says if the connection can be
    used again.
    """

    status: int
    reason: bytes
    http_version: bytes
    headers: list[tuple[bytes, bytes]]
    keep_alive: bool


class OverlongReply(httpx.RemoteProtocolError):
    """A reply beyond one of our limits. fix says what to do about it."""

    def __init__(self, message: str, fix: str = _TRY_CURL) -> None:
        super().__init__(message)
        self.fix = fix


class NotHTTP(httpx.RemoteProtocolError):
    """The first bytes on a connection are of another protocol. is_tls: of TLS."""

    def __init__(self, message: str, *, is_tls: bool = False) -> None:
        super().__init__(message)
        self.is_tls = is_tls


class EarlyEnd(httpx.RemoteProtocolError):
    """The peer closed the connection before the end of its reply, in the orderly way."""


def size_text(size: int) -> str:
    """A number of bytes for people: `64 MB`."""
    for factor, unit in ((1_000_000_000, "GB"), (1_000_000, "MB"), (1_000, "kB")):
        if size >= factor:
            return f"{size / factor:g} {unit}"
    return quantity(size, "byte")


class MalformedReply(httpx.RemoteProtocolError):
    """A reply that breaks the rules of HTTP before its body begins. The next one would break them, too."""

    fix = _TRY_CURL


class _ParserStop(Exception):  # not an error: it makes llhttp stop at the end of the reply
    pass


class ReplyParser:
    """A parser for the replies of a connection, one at a time.

    begin() starts the next one if this one is reusable. Feed it the bytes that are read, and call eof()
    when the peer closes. head is None until the final head has arrived; 1xx replies are skipped. done is
    true if the reply is complete, started if at least one byte has arrived. feed() and eof() raise
    httpx.RemoteProtocolError, and OverlongReply for heads, trailers and chunk extensions without an end.
    After that take_body() still returns the body before the fault; nothing else may be called.
    max_bytes limits all that is received besides the body, None for no limit.

    llhttp finds its callbacks by name: the methods named on_...
    """

    def __init__(self, method: str = "POST", max_bytes: int | None = None) -> None:
        self._pieces: list[bytes] = []
        # The bound method itself, because this callback runs once per chunk: it saves a Python frame.
        self.on_body = self._pieces.append
        self._parser = self._new_parser()
        self._feed_data: Callable[[bytes | memoryview], object] = self._parser.feed_data
        self._is_spent = False  # llhttp may take no further reply
        self.head: Head | None = None
        self.begin(method, max_bytes)

    def _new_parser(self) -> HttpResponseParser:
        """A parser that also takes what servers send and others accept: RFC 9112, 2.2, 6.3 and 7.1."""
        parser = HttpResponseParser(self)
        parser.set_dangerous_leniencies(
            lenient_optional_cr_before_lf=True,
            lenient_spaces_after_chunk_size=True,
            lenient_chunked_length=True,  # such a connection is not used again
        )
        return parser

    def begin(self, method: str = "POST", max_bytes: int | None = None) -> None:
        """Start a reply. What was not taken of the one before is dropped."""
        self._pieces.clear()
        if self._is_spent:
            self._parser, self._is_spent = self._new_parser(), False
            self._feed_data = self._parser.feed_data
        self._is_first = self.head is None  # on its connection
        self.head = None
        self.done = False
        self.started = False
        self._has_body = False  # a part of it has come
        self._has_no_body = method == "HEAD"
        self._ends_with_connection = False
        self._has_extra_bytes = False
        self._reason = b""
        self._headers: list[tuple[bytes, bytes]] = []
        self._head_data = b""  # of a head that is not whole yet
        self._is_repaired = False
        self._bytes_without_body = 0
        self._max_bytes_left = None if max_bytes is None else max_bytes + BESIDE_BODY_BYTES
        self._bytes_left = 0  # received, and not taken as body

    @property
    def reusable(self) -> bool:
        """True if another request may follow on the same connection."""
        return self.done and self.head is not None and self.head.keep_alive and not self._has_extra_bytes

    def take_body(self) -> bytes:
        """The part of the body since the last call, maybe empty."""
        body = self._pieces[0] if len(self._pieces) == 1 else b"".join(self._pieces)
        self._pieces.clear()
        self._bytes_left -= len(body)
        return body

    def feed(self, data: bytes | memoryview) -> None:
        if self.done:
            self._has_extra_bytes = True
            return
        is_first, self.started = self._is_first and not self.started, True
        self._bytes_left += len(data)
        pieces_before = len(self._pieces)
        stop: HttpParserError | HttpParserUpgrade | None = None
        try:
            self._feed_data(data)
        # HttpParserUpgrade is not an HttpParserError.
        except (HttpParserError, HttpParserUpgrade) as error:
            stop = error
        if stop is not None:
            if is_first and not bytes(data[:64]).lstrip(b"\r\n").startswith(_FIRST_BYTES):
                raise _not_http(bytes(data[:64])) from stop
            self._handle_stop(stop, data)
        if len(self._pieces) > pieces_before:
            self._has_body = True
            self._bytes_without_body = 0
        elif not self.done:
            # No callback sees an endless header line, trailer or chunk extension.
            self._bytes_without_body += len(data)
            if self.head is None:
                self._head_data += data
            if self._bytes_without_body > MAX_HEAD_BYTES:
                raise OverlongReply(f"more than {MAX_HEAD_BYTES} bytes of head or trailers")
        if self._max_bytes_left is not None and self._bytes_left > self._max_bytes_left:
            size = size_text(self._max_bytes_left)
            raise OverlongReply(f"more than {size} of chunk sizes and extensions", "raise --max-reply")

    def eof(self) -> None:
        """Handle the peer's close. Raises unless the reply may end here."""
        if self.done:
            return
        if not self.started:
            raise EarlyEnd(NO_REPLY)
        if self.head is None:
            raise EarlyEnd("peer closed connection inside the head of its reply")
        if not self._ends_with_connection:
            raise EarlyEnd("peer closed connection before the end of its reply")
        self.done = True

    def _handle_stop(
        self, error: HttpParserError | HttpParserUpgrade, data: bytes | memoryview | None = None
    ) -> None:
        """Raise the error that stopped llhttp, unless the reply has merely ended.

        data are the bytes that it stopped in, None if its head has been repaired.
        """
        # httptools wraps an exception of a callback, Ctrl-C included, as the context of its own error.
        raised = error.__context__ if isinstance(error, HttpParserCallbackError) else None
        if raised is not None and not isinstance(raised, _ParserStop):
            raise raised
        if data is not None and self.head is None and not self._is_repaired and is_repairable(error):
            self._repair(error, data)
            return
        if not self.done:
            raise self._malformed(f"not a reply in HTTP: {_lower_first(str(error))}") from error
        # Ignore the bytes after the reply. A reply to HEAD stops before they are parsed.
        self._has_extra_bytes = True

    def _malformed(self, what: str) -> httpx.RemoteProtocolError:
        """The error for a reply that breaks the rules of HTTP.

        In a body, the bytes may be the last words of a server or proxy that failed. Behind another reply they
        may be the rest of that. Neither need come again.
        """
        is_lasting = self._is_first and not self._has_body and not self._pieces
        return MalformedReply(what) if is_lasting else httpx.RemoteProtocolError(what)

    def _repair(self, error: Exception, data: bytes | memoryview) -> None:
        """Parse the head again in a form that llhttp takes. data are the last bytes that came of it."""
        self._feed_data = HeadRepair(error, self._resume).feed_data
        self._is_repaired = True
        stop = None
        try:
            self._feed_data(self._head_data + data)
        except (HttpParserError, HttpParserUpgrade) as again:
            stop = again
        if stop is not None:
            self._handle_stop(stop)

    def _resume(self, data: bytes) -> None:
        self._headers, self._reason = [], b""
        self._parser = self._new_parser()
        self._feed_data = self._parser.feed_data
        self._feed_data(data)

    def on_message_begin(self) -> None:
        if self.done:
            raise _ParserStop

    def on_status(self, reason: bytes) -> None:
        self._reason += reason  # split if the line arrived in several reads

    def on_header(self, name: bytes, value: bytes) -> None:
        if self.head is not None:
            self._is_spent = True  # by a trailer: llhttp may heed one that says `Connection: close`
            return
        if len(self._headers) == MAX_HEADERS:
            raise OverlongReply(f"more than {MAX_HEADERS} headers")
        self._headers.append((name, value.rstrip(b" \t")))

    def on_headers_complete(self) -> None:
        status = self._parser.get_status_code()
        version = _VERSIONS.get(self._parser.get_http_version())
        if version is None:
            number = self._parser.get_http_version()
            raise self._malformed(f"not a reply in HTTP/1.1 but in HTTP/{number}")
        if status < 100 or status == 101:
            raise self._malformed(f"unexpected status {status}")
        if status < 200:
            self._headers = []
            self._reason = b""
            return
        headers = self._headers
        if self._bytes_left > MAX_HEAD_BYTES:
            _check_size(headers)
        has_length, codings = _framing(headers)
        is_chunked = codings == b"chunked"
        if codings and not is_chunked and (has_length or codings != _NO_CODING):
            name = codings.decode("latin-1")
            raise self._malformed(f"unknown transfer-encoding '{shorten(name, _MOST_NAMED)}'")
        self._ends_with_connection = not has_length and not is_chunked
        # With both, somebody on the way may have seen another end of the reply.
        keep_alive = self._parser.should_keep_alive() and not (has_length and is_chunked)
        self.head = Head(status, self._reason, version, headers, keep_alive)
        if self._has_no_body:
            self.done = self._is_spent = True  # llhttp does not know that the request was a HEAD
            raise _ParserStop

    def on_message_complete(self) -> None:
        self.done = self.head is not None  # a 1xx reply completes a message too


def _check_size(headers: list[tuple[bytes, bytes]]) -> None:
    """Raise OverlongReply for headers that are too long together."""
    if sum(len(name) + len(value) + 4 for name, value in headers) > MAX_HEAD_BYTES:
        raise OverlongReply(f"more than {MAX_HEAD_BYTES} bytes of head or trailers")


def _framing(headers: list[tuple[bytes, bytes]]) -> tuple[bool, bytes]:
    """Return (has Content-Length, transfer codings in lower case, comma-joined)."""
    has_length = False
    codings = []
    for name, value in headers:
        # Compare lengths first, because this runs for every reply and nearly all names differ in length.
        if len(name) == 14 and name.lower() == b"content-length":
            has_length = True
        elif len(name) == 17 and name.lower() == b"transfer-encoding":
            codings.append(value.lower())
    return has_length, b", ".join(codings)


def _not_http(data: bytes) -> NotHTTP:
    """The fault for the first bytes on a connection."""
    if data.startswith(_TLS_BYTES):
        return NotHTTP("it speaks TLS", is_tls=True)
    if data[3:4] == _SETTINGS and data[5:9] == b"\0\0\0\0":
        return NotHTTP("it speaks HTTP/2 only")
    line = data.split(b"\n", 1)[0].strip()
    return NotHTTP(f"it says '{line.decode('latin-1')}'")


def _lower_first(text: str) -> str:
    """The text in lower case at its beginning, unless that is the name of a header."""
    is_name = "-" in text.partition(" ")[0]
    return text if is_name else text[:1].lower() + text[1:]


async def encode_request(request: httpx.Request) -> AsyncGenerator[bytes, None]:
    """Yield the bytes of the request. The first piece is the head, with the body if that is small."""
    stream = request.stream
    if isinstance(stream, httpx.ByteStream):
        body = b"".join(stream)
        head = encode_head(request, len(body))
        if len(body) <= WRITE_BYTES:
            yield head + body
            return
        yield head
        yield body
        return
    assert isinstance(stream, httpx.AsyncByteStream)
    yield encode_head(request, None)
    chunked = "chunked" in request.headers.get("transfer-encoding", "").lower()
    async for data in stream:
        if data:
            yield b"%x\r\n%b\r\n" % (len(data), data) if chunked else data
    if chunked:
        yield b"0\r\n\r\n"


def encode_head(request: httpx.Request, body_bytes: int | None) -> bytes:
    """Request line and headers including the blank line. Adds Host and Content-Length if missing.

    body_bytes is None if the length is unknown; then the headers must define the end of the body.
    Raises httpx.LocalProtocolError for CR, LF and NUL, which httpx accepts. A key read from a file
    often ends in a newline, and a newline inside a value would start another header.
    """
    url = request.url
    headers = request.headers
    raw = headers.raw
    if "host" not in headers:
        raw = [(b"Host", url.netloc), *raw]
    if "content-length" not in headers and "transfer-encoding" not in headers:
        if body_bytes is None:
            raise httpx.LocalProtocolError("a body of unknown length needs a Transfer-Encoding")
        if body_bytes or request.method in ("POST", "PUT", "PATCH"):
            raw = [*raw, (b"Content-Length", b"%d" % body_bytes)]
    lines = [b"%b %b HTTP/1.1" % (request.method.encode(), url.raw_path)]
    lines += [b"%b: %b" % header for header in raw]
    for line in lines:
        if b"\n" in line or b"\r" in line or b"\0" in line:
            # Show only the name, because the value may be secret.
            name = line.partition(b":")[0] if line is not lines[0] else b"request line"
            raise httpx.LocalProtocolError(f"a line end or NUL in header {name.decode('latin-1')!r}")
    return b"\r\n".join(lines) + b"\r\n\r\n"
