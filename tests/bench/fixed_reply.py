"""`python fixed_reply.py PORTS SECONDS`: servers that all give one completion, at the least cost.

Each answer takes so many seconds, whatever else is in flight. It prints a base URL for each port. One event
loop has all ports, finds the end of each request and does nothing else, so that a client and not its server
is what a benchmark measures: a reply costs a fifth of one of tests/support/servers/loopback.py.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import sys
from collections import deque
from typing import cast

_LENGTH = b"\r\ncontent-length: "
_COMPLETION = {
    "id": "chatcmpl-1",
    "object": "chat.completion",
    "created": 1700000000,
    "model": "m",
    "choices": [
        {
            "index": 0,
            "message": {
                "role": "assistant",
                "content": "An answer that was made beforehand, of some sixty characters",
                "refusal": None,
            },
            "logprobs": None,
            "finish_reason": "stop",
        }
    ],
    "usage": {"prompt_tokens": 5, "completion_tokens": 2, "total_tokens": 7},
}


def reply() -> bytes:
    """The reply to every request, head and body."""
    body = json.dumps(_COMPLETION, separators=(",", ":")).encode()
    head = f"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: {len(body)}\r\n\r\n"
    return head.encode() + body


class ReplyQueue:
    """The replies that are due, in order. One timer serves all of them, because all take as long."""

    def __init__(self, latency_s: float) -> None:
        self._latency_s = latency_s
        self._reply = reply()
        self._due: deque[tuple[float, asyncio.Transport]] = deque()
        self._loop = asyncio.get_running_loop()

    def add(self, transport: asyncio.Transport) -> None:
        at = self._loop.time() + self._latency_s
        if not self._due:
            self._loop.call_at(at, self._write)
        self._due.append((at, transport))

    def _write(self) -> None:
        due, now, data = self._due, self._loop.time(), self._reply
        while due and due[0][0] <= now:
            due.popleft()[1].write(data)
        if due:
            self._loop.call_at(due[0][0], self._write)


class _Connection(asyncio.Protocol):
    """A connection of a client. A request names its length, and the next one waits for its reply."""

    def __init__(self, queue: ReplyQueue) -> None:
        self._queue = queue
        self._received = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)

    def data_received(self, data: bytes) -> None:
        self._received = received = self._received + data
        head, end, body = received.partition(b"\r\n\r\n")
        if not end:
            return
        length = head.lower().partition(_LENGTH)[2].partition(b"\r\n")[0]
        if len(body) >= int(length or b"0"):
            self._received = b""
            self._queue.add(self._transport)


async def _serve(ports: int, latency_s: float) -> None:
    loop, queue = asyncio.get_running_loop(), ReplyQueue(latency_s)
    for _ in range(ports):
        server = await loop.create_server(lambda: _Connection(queue), "127.0.0.1", 0, backlog=4096)
        print(f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/v1", flush=True)
    await asyncio.Event().wait()


def main() -> None:
    with contextlib.suppress(KeyboardInterrupt):
        asyncio.run(_serve(int(sys.argv[1]), float(sys.argv[2])))


if __name__ == "__main__":
    main()
