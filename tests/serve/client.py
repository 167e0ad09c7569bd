"""A server of `chatpipe serve` as a process, and raw connections to it."""

from __future__ import annotations

import re
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import orjson

from support.patience import PATIENCE_S, until
from support.process import Process, start


class Running:
    """A running server. It is stopped by the end of the `with` of serving()."""

    def __init__(self, process: Process) -> None:
        self.process = process
        self.url = process.line().decode().strip()
        assert re.fullmatch(r"http://127\.0\.0\.1:\d+/v1", self.url), self.url
        self.port = int(self.url.rpartition(":")[2].removesuffix("/v1"))

    def connect(self) -> socket.socket:
        return socket.create_connection(("127.0.0.1", self.port), timeout=PATIENCE_S)

    def exchange(self, *pieces: bytes, close: bool = True) -> bytes:
        """All bytes that come for the pieces, until the server closes; `connection: close` is up to them."""
        with self.connect() as connection:
            for piece in pieces:
                connection.sendall(piece)
            return read_all(connection)

    def until(self, gauge: bytes, value: int) -> None:
        """Wait until a gauge of /metrics has this value."""
        pattern = re.compile(gauge + rb"\{\S+ " + b"%d" % value)
        until(lambda: pattern.search(self.exchange(get("/metrics"))))

    def chat(self, content: str = "a b", **fields: Any) -> bytes:
        """The whole reply to a request."""
        return self.exchange(chat_request(content, **fields))


@contextmanager
def serving(*options: str, **popen: Any) -> Iterator[Running]:
    with start("serve", *options, **popen) as process:
        yield Running(process)


def read_all(connection: socket.socket) -> bytes:
    pieces = []
    while piece := connection.recv(1 << 16):
        pieces.append(piece)
    return b"".join(pieces)


def post(body: bytes, headers: bytes = b"Connection: close\r\n") -> bytes:
    head = b"POST /v1/chat/completions HTTP/1.1\r\nHost: localhost\r\nContent-Length: %d\r\n%b\r\n"
    return head % (len(body), headers) + body


def get(path: str, headers: bytes = b"Connection: close\r\n") -> bytes:
    return b"GET %b HTTP/1.1\r\nHost: localhost\r\n%b\r\n" % (path.encode(), headers)


def chat_body(content: str = "a b", **fields: Any) -> bytes:
    return orjson.dumps({"messages": [{"role": "user", "content": content}], **fields})


def chat_request(content: str = "a b", headers: bytes = b"Connection: close\r\n", **fields: Any) -> bytes:
    return post(chat_body(content, **fields), headers)


def statuses(data: bytes) -> list[int]:
    """The status of each reply in the bytes of a connection."""
    return [int(found) for found in re.findall(rb"HTTP/1\.1 (\d{3}) ", data)]


FORM_TYPE = b"Content-Type: multipart/form-data; boundary=b\r\n"


def upload_form(data: bytes, name: str = "a.jsonl", **fields: str) -> bytes:
    """A form of FORM_TYPE with a file and other fields."""
    parts = b"".join(
        b'--b\r\nContent-Disposition: form-data; name="%b"\r\n\r\n%b\r\n' % (key.encode(), value.encode())
        for key, value in fields.items()
    )
    head = b'--b\r\nContent-Disposition: form-data; name="file"; filename="%b"\r\n\r\n' % name.encode()
    return parts + head + data + b"\r\n--b--\r\n"


WEATHER = {
    "type": "function",
    "function": {
        "name": "weather",
        "parameters": {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]},
    },
}
