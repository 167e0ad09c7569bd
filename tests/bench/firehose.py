"""A server that answers everything with one event stream, written as fast as the client takes it.

`python firehose.py CHUNKS PER_WRITE PAUSE_S` prints its base URL. The chunks are of the size and shape
that servers send, some 270 bytes, each in an HTTP chunk of its own, made beforehand; PER_WRITE of them
go to the kernel at a time, with a pause after each write.
"""

from __future__ import annotations

import contextlib
import json
import socket
import sys
import time

HEAD = (
    b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream; charset=utf-8\r\n"
    b"cache-control: no-cache\r\ntransfer-encoding: chunked\r\n\r\n"
)


def event(delta: dict[str, str], finish_reason: str | None = None) -> bytes:
    """One chunk as OpenAI sends it, its framing of the event stream included."""
    chunk = {
        "id": "chatcmpl-B9MHDbslfkBeAs8l4bebGdFOJ6PeG",
        "object": "chat.completion.chunk",
        "created": 1741570283,
        "model": "gpt-4o-mini-2024-07-18",
        "system_fingerprint": "fp_50cad350e4",
        "choices": [{"index": 0, "delta": delta, "logprobs": None, "finish_reason": finish_reason}],
    }
    return b"data: " + json.dumps(chunk, separators=(",", ":")).encode() + b"\n\n"


def events(count: int) -> list[bytes]:
    """A whole answer of so many chunks with text."""
    said = [event({"content": f" tok{at % 10}"}) for at in range(10)]
    return [
        event({"role": "assistant", "content": ""}),
        *(said[at % 10] for at in range(count)),
        event({}, "stop"),
        b"data: [DONE]\n\n",
    ]


def framed(piece: bytes) -> bytes:
    return b"%x\r\n%b\r\n" % (len(piece), piece)


def main() -> None:
    count, per_write, pause_s = int(sys.argv[1]), int(sys.argv[2]), float(sys.argv[3])
    pieces = [HEAD, *map(framed, events(count)), b"0\r\n\r\n"]
    writes = [b"".join(pieces[at : at + per_write]) for at in range(0, len(pieces), per_write)]
    with socket.create_server(("127.0.0.1", 0)) as listener:
        print(f"http://127.0.0.1:{listener.getsockname()[1]}/v1", flush=True)
        while True:
            connection, _ = listener.accept()
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            with connection, contextlib.suppress(OSError):
                connection.recv(65536)  # the request, which fits
                for write in writes:
                    connection.sendall(write)
                    if pause_s:
                        time.sleep(pause_s)
                connection.recv(1)  # until the client has gone


if __name__ == "__main__":
    main()
