"""Bytes of a connection -> its requests, in order. No I/O: httptools parses, the limits are ours.

llhttp bounds neither a head nor a trailer nor the extension of a chunk, and keeps an unfinished one in
memory. So bytes are counted that bring no body and complete no request.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from enum import Enum

import httptools

from chatpipe.serve.batches.multipart import FormReader
from chatpipe.serve.served_request import RequestRefusal, ServedRequest

_MOST_OVERHEAD = 64 << 10  # bytes in a row without a byte of a body and without the end of a request
_JSON = b"application/json"
_SAFE_CODINGS = (b"", b"identity")
_OF_UPGRADE = (b"upgrade", b"connection", b"http2-settings", b"expect")


class Interim(Enum):
    """A reply before the reply. CONTINUE: the client waits for it before it sends the body."""

    CONTINUE = 100


ParserEvent = ServedRequest | RequestRefusal | Interim
# method, target, headers -> the reader of a body that is not to be kept in memory, None for any other body
OpenForm = Callable[[str, str, Mapping[bytes, bytes]], FormReader | None]
# target, headers -> the reason to refuse a request before its body is read, None to take it
SiteRefusal = Callable[[bytes, Mapping[bytes, bytes]], str | None]


class RequestParser:
    """Parses the requests of one connection. After a refusal, whatever follows is ignored.

    is_inside: a request has begun and is not complete.
    """

    def __init__(
        self,
        max_body: int,
        open_form: OpenForm = lambda *_: None,
        site_refusal: SiteRefusal = lambda *_: None,
    ) -> None:
        self._max_body = self._most_bytes = max_body
        self._long_length = len(str(max_body))  # digits: most lengths have fewer, and need no parsing
        self._open_form = open_form
        self._site_refusal = site_refusal
        self._host: bytes | None = None  # one that is allowed, or none
        self._form: FormReader | None = None
        self._parser = httptools.HttpRequestParser(self)
        self._events: list[ParserEvent] = []
        self._is_refused = False
        self._overhead = 0
        self.is_inside = False
        self._in_body = False
        self._target = b""
        self._headers: dict[bytes, bytes] = {}
        self._body: bytes | bytearray = b""
        self._size = 0

    def close(self) -> None:
        """Give up an unfinished body. Nothing is fed afterwards."""
        if self._form is not None:
            self._form.close()
        del self._parser  # it has our methods: a cycle, which the collector would find late

    def feed(self, data: bytes | memoryview) -> list[ParserEvent]:
        """The events that data completes. They hold copies of it. Never raises."""
        if self._is_refused:
            return []
        self._overhead += len(data)
        was_inside = self.is_inside
        piece = data
        while piece:
            try:
                self._parser.feed_data(piece)
                break
            except httptools.HttpParserUpgrade as upgrade:
                piece = self._without_upgrade(piece[upgrade.args[0] :])
            except httptools.HttpParserError as error:
                self._refuse(400, f"We could not parse your request: {_reason(error)}")
                break
        if self._overhead > _MOST_OVERHEAD and was_inside and self.is_inside:
            self._refuse(
                *((400, "Too many bytes between two pieces of the body")) if self._in_body else _LONG_HEAD
            )
        events, self._events = self._events, []
        return events

    def _without_upgrade(self, rest: bytes | memoryview) -> bytes:
        """The request without its wish for another protocol, which a server may ignore, and the rest.

        llhttp takes what follows the head for that protocol, and so the body, too. A client such as
        `curl --http2` sends one.
        """
        method = self._method()
        if method == "CONNECT":
            self._refuse(405, "Not allowed to CONNECT: this is not a proxy")
        if self._is_refused:
            return b""
        lines = [b"%b %b HTTP/1.1" % (method.encode(), self._target)]
        lines += [b"%b: %b" % field for field in self._headers.items() if field[0] not in _OF_UPGRADE]
        self._parser, self._headers = httptools.HttpRequestParser(self), {}
        return b"\r\n".join([*lines, b"", rest])

    def _refuse(self, status: int, message: str, code: str | None = None) -> None:
        if not self._is_refused:
            self._is_refused = True
            self._events.append(RequestRefusal(status, message, code))
            self._body = b""

    # Callbacks of httptools

    def on_message_begin(self) -> None:
        self.is_inside, self._in_body = True, False
        self._target, self._size = b"", 0

    def on_url(self, url: bytes) -> None:
        self._target += url

    def on_header(self, name: bytes, value: bytes) -> None:
        if self._in_body:
            return  # those of a trailer come too late
        headers, known = self._headers, name.lower()
        if headers.setdefault(known, value) is not value:
            if known == b"host":  # RFC 9112, section 3.2
                self._refuse(400, "A request has one header Host")
            headers[known] += b", " + value

    def on_headers_complete(self) -> None:
        self._in_body = True
        headers = self._headers
        if headers.get(b"host") != self._host or b"origin" in headers:
            self._check_site()
        if self._is_refused:
            return
        self._most_bytes = self._max_body
        kind = headers.get(b"content-type", _JSON)
        if kind != _JSON and kind.lower().startswith(b"multipart/"):
            self._form = self._open_form(self._method(), self._target.decode("latin-1"), headers)
            if self._form is not None:
                self._most_bytes = self._form.most_bytes
        length = headers.get(b"content-length", b"")  # llhttp lets nothing but digits pass
        if len(length) >= self._long_length and int(length) > self._most_bytes:
            self._refuse_size()
        elif b"content-encoding" in headers and not _is_safe(headers[b"content-encoding"]):
            self._refuse(415, "Unsupported Content-Encoding: send the body uncompressed")
        elif b"expect" in headers and self._is_continue_expected():
            self._events.append(Interim.CONTINUE)

    def on_body(self, data: bytes) -> None:
        self._overhead = 0
        if self._is_refused:
            return
        self._size += len(data)
        if self._size > self._most_bytes:
            self._refuse_size()
        elif self._form is not None:
            self._form.feed(data)
        elif not self._body:  # as nearly always
            self._body = data
        else:
            if isinstance(self._body, bytes):
                self._body = bytearray(self._body)
            self._body += data

    def on_message_complete(self) -> None:
        self._overhead = 0
        self.is_inside = False
        if self._is_refused or self._parser.should_upgrade():
            return
        headers, keep_alive = self._headers, self._parser.should_keep_alive()
        # HTTP/1.0 keeps a connection only if it is asked to. The text of the version takes as long to make as
        # all the rest to parse.
        is_current = (keep_alive and b"connection" not in headers) or self._parser.get_http_version() == "1.1"
        if is_current and b"host" not in headers:
            self._refuse(400, "A request of HTTP/1.1 needs the header Host")
            return
        target, body = self._target.decode("latin-1"), self._body
        if isinstance(body, bytearray):
            body = bytes(body)
        self._events.append(
            ServedRequest(self._method(), target, headers, body, keep_alive, is_current, self._form)
        )
        self._form, self._headers, self._body = None, {}, b""  # an idle connection holds none

    def _is_continue_expected(self) -> bool:
        """Return True if the client waits for a `100 Continue` before it sends the body.

        RFC 9110, section 10.1.1: a client of HTTP/1.0 does not know that reply.
        """
        return (
            self._headers[b"expect"].lower() == b"100-continue" and self._parser.get_http_version() != "1.0"
        )

    def _check_site(self) -> None:
        reason = self._site_refusal(self._target, self._headers)
        if reason is not None:
            self._refuse(403, reason, "site_not_allowed")
        elif self._target.startswith(b"/"):
            self._host = self._headers.get(b"host")

    def _method(self) -> str:
        return self._parser.get_method().decode()

    def _refuse_size(self) -> None:
        self._refuse(413, f"The body of your request is larger than {self._most_bytes} bytes")


_LONG_HEAD = (431, f"The head of your request is larger than {_MOST_OVERHEAD} bytes")


def _is_safe(coding: bytes) -> bool:
    return coding.strip().lower() in _SAFE_CODINGS


def _reason(error: httptools.HttpParserError) -> str:
    text = str(error.args[0]) if error.args else "it is not HTTP/1.1"
    return text[:1].lower() + text[1:]
