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
# The names of nearly all headers, as clients write them.
_NAMES = {
    written.encode(): name
    for name in (
        *("host", "user-agent", "accept", "accept-encoding", "accept-language", "authorization", "api-key"),
        *("connection", "content-type", "content-length", "cookie", "origin", "referer"),
    )
    for written in (name, name.title())
}
_SAFE_CODINGS = ("", "identity")


class Interim(Enum):
    """A reply before the reply. CONTINUE: the client waits for it before it sends the body."""

    CONTINUE = 100


ParserEvent = ServedRequest | RequestRefusal | Interim
# method, target, headers -> the reader of a body that is not to be kept in memory, None for any other body
OpenForm = Callable[[str, str, Mapping[str, str]], FormReader | None]


class RequestParser:
    """Parses the requests of one connection. After a refusal, whatever follows is ignored.

    is_inside: a request has begun and is not complete.
    """

    def __init__(self, max_body: int, open_form: OpenForm = lambda *_: None) -> None:
        self._max_body = self._most_bytes = max_body
        self._open_form = open_form
        self._form: FormReader | None = None
        self._parser = httptools.HttpRequestParser(self)
        self._events: list[ParserEvent] = []
        self._is_refused = False
        self._overhead = 0
        self.is_inside = False
        self._in_body = False
        self._target = b""
        self._headers: dict[str, str] = {}
        self._body: bytes | bytearray = b""

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
            piece = self._parse(piece)
        if self._overhead > _MOST_OVERHEAD and was_inside and self.is_inside:
            self._refuse(
                *((400, "Too many bytes between two pieces of the body")) if self._in_body else _LONG_HEAD
            )
        events, self._events = self._events, []
        return events

    def _parse(self, data: bytes | memoryview) -> bytes:
        """Parse data, and return what is to be parsed again."""
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserUpgrade as upgrade:
            return self._without_upgrade(data[upgrade.args[0] :])
        except httptools.HttpParserError as error:
            self._refuse(400, f"We could not parse your request: {_reason(error)}")
        return b""

    def _without_upgrade(self, rest: bytes | memoryview) -> bytes:
        """The request without its wish for another protocol, which a server may ignore, and the rest.

        llhttp takes what follows the head for that protocol, and so the body, too. A client such as
        `curl --http2` sends one.
        """
        method = self._method()
        if method == "CONNECT":
            self._refuse(405, "Not allowed to CONNECT: this is no proxy")
        if self._is_refused:
            return b""
        left_out = ("upgrade", "connection", "http2-settings", "expect")
        lines = [f"{method} {self._target.decode('latin-1')} HTTP/1.1"]
        lines += [f"{name}: {text}" for name, text in self._headers.items() if name not in left_out]
        self._parser = httptools.HttpRequestParser(self)
        return "\r\n".join([*lines, "", ""]).encode("latin-1") + rest

    def _refuse(self, status: int, message: str) -> None:
        if not self._is_refused:
            self._is_refused = True
            self._events.append(RequestRefusal(status, message))
            self._body = b""

    # Callbacks of httptools

    def on_message_begin(self) -> None:
        self.is_inside, self._in_body = True, False
        self._target, self._headers, self._body = b"", {}, b""
        self._form, self._size = None, 0

    def on_url(self, url: bytes) -> None:
        self._target += url

    def on_header(self, name: bytes, value: bytes) -> None:
        if self._in_body:
            return  # those of a trailer come too late
        known = _NAMES.get(name) or name.lower().decode("latin-1")
        text, headers = value.decode("latin-1"), self._headers
        headers[known] = f"{headers[known]}, {text}" if known in headers else text

    def on_headers_complete(self) -> None:
        self._in_body = True
        headers = self._headers
        self._most_bytes = self._max_body
        if "multipart/" in headers.get("content-type", "").lower():
            self._form = self._open_form(self._method(), self._target.decode("latin-1"), headers)
            if self._form is not None:
                self._most_bytes = self._form.most_bytes
        length = headers.get("content-length", "")
        if length.isdecimal() and int(length[:20]) > self._most_bytes:
            self._refuse_size()
        elif "content-encoding" in headers and not _is_safe(headers["content-encoding"]):
            self._refuse(415, "Unsupported Content-Encoding: send the body uncompressed")
        elif "expect" in headers and headers["expect"].lower() == "100-continue":
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
        version = self._parser.get_http_version()
        if version == "1.1" and "host" not in self._headers:
            self._refuse(400, "A request of HTTP/1.1 needs the header Host")
            return
        request = ServedRequest(
            self._method(),
            self._target.decode("latin-1"),
            self._headers,
            bytes(self._body),
            self._parser.should_keep_alive(),
            version == "1.1",
            self._form,
        )
        self._form = None
        self._headers, self._body = {}, b""  # an idle connection holds none
        self._events.append(request)

    def _method(self) -> str:
        return self._parser.get_method().decode("latin-1")

    def _refuse_size(self) -> None:
        self._refuse(413, f"The body of your request is larger than {self._most_bytes} bytes")


_LONG_HEAD = (431, f"The head of your request is larger than {_MOST_OVERHEAD} bytes")


def _is_safe(coding: str) -> bool:
    return coding.strip().lower() in _SAFE_CODINGS


def _reason(error: httptools.HttpParserError) -> str:
    text = str(error.args[0]) if error.args else "it is not HTTP/1.1"
    return text[:1].lower() + text[1:]
