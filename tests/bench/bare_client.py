"""`python bare_client.py LINES IN_FLIGHT URL...`: the requests of a run, and nothing else that a run does.

One write a request, and the next one on the same connection when as many bytes as the first reply had have
come. Nothing is read, checked, parsed or written to a file: no client in Python is faster on this machine.
"""

from __future__ import annotations

import asyncio
import sys
from functools import partial
from typing import cast
from urllib.parse import urlsplit

_BODY = b'{"model":"m","messages":[{"role":"user","content":"Hello"}]}'


class _Load:
    """The requests that are left, and the end of the last reply."""

    def __init__(self, lines: int) -> None:
        self.to_send = self.to_come = lines
        self.reply_bytes = 0
        self.done: asyncio.Future[None] = asyncio.get_running_loop().create_future()


class _Connection(asyncio.Protocol):
    def __init__(self, load: _Load, host: str) -> None:
        self._load = load
        head = f"POST /v1/chat/completions HTTP/1.1\r\nHost: {host}\r\nContent-Type: application/json\r\n"
        self._request = head.encode() + b"Content-Length: %d\r\n\r\n" % len(_BODY) + _BODY
        self._received = 0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)
        self._send()

    def _send(self) -> None:
        if self._load.to_send:
            self._load.to_send -= 1
            self._transport.write(self._request)

    def data_received(self, data: bytes) -> None:
        load = self._load
        if not load.reply_bytes:
            load.reply_bytes = len(data)  # a reply is small enough for one read
        self._received += len(data)
        if self._received < load.reply_bytes:
            return
        self._received = 0
        load.to_come -= 1
        if not load.to_come:
            load.done.set_result(None)
        self._send()


async def _run(lines: int, in_flight: int, urls: list[str]) -> None:
    loop, load = asyncio.get_running_loop(), _Load(lines)
    addresses = [urlsplit(url).netloc for url in urls]
    transports = []
    for at in range(min(in_flight, lines)):
        address = addresses[at % len(addresses)]
        host, _, port = address.partition(":")
        connect = loop.create_connection(partial(_Connection, load, address), host, int(port))
        transports.append((await connect)[0])
    await load.done
    for transport in transports:
        transport.abort()


def main() -> None:
    asyncio.run(_run(int(sys.argv[1]), int(sys.argv[2]), sys.argv[3:]))


if __name__ == "__main__":
    main()
