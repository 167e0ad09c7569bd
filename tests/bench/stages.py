"""What each stage of a stream costs, by itself: {stage: microseconds of CPU a chunk} as JSON.

The same bytes for all, in reads of the size that many small writes bring.
"""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable
from typing import Literal

import firehose  # type: ignore[import-not-found]  # beside this file: it runs as a script

from chatpipe.options.output import FormatOptions
from chatpipe.output.text import TextWriter
from chatpipe.response import chunks, sse
from chatpipe.response.assemble import Assembly
from chatpipe.response.server_error import error_of
from chatpipe.response.stream_reader import StreamReader
from chatpipe.system.descriptor import Stdout
from chatpipe.wire.http1 import ReplyParser

_CHUNKS = 20_000
_ROUNDS = 7
_READ_BYTES = 64 * 1024


def main() -> None:
    events = firehose.events(_CHUNKS)
    wire = firehose.HEAD + b"".join(map(firehose.framed, events)) + b"0\r\n\r\n"
    reads = [wire[at : at + _READ_BYTES] for at in range(0, len(wire), _READ_BYTES)]
    bodies = _bodies(reads)
    payloads = [event[6:-2] for event in events[:-1]]
    parsed = [chunks.parse(payload) for payload in payloads]
    null = os.open(os.devnull, os.O_WRONLY)
    stages: dict[str, Callable[[], object]] = {
        "HTTP (reply)": lambda: _bodies(reads),
        "event stream (sse)": lambda: _decoded(bodies),
        "JSON (chunks.parse)": lambda: [chunks.parse(payload) for payload in payloads],
        "errors (server_error.error_of)": lambda: [error_of(chunk) for chunk in parsed],
        "assembly": lambda: _assembled(parsed),
        "text, to /dev/null": lambda: _written(payloads, parsed, null),
        "of which one write() each": lambda: [os.write(null, b" tok1") for _ in payloads],
        "all behind HTTP (exchange)": lambda: _streamed(bodies, null),
    }
    print(json.dumps({name: _microseconds(stage) for name, stage in stages.items()}))


def _microseconds(stage: Callable[[], object]) -> float:
    """The least of several runs, a chunk."""
    costs = []
    for _ in range(_ROUNDS):
        before = time.process_time()
        stage()
        costs.append(time.process_time() - before)
    return min(costs) * 1e6 / _CHUNKS


def _bodies(reads: list[bytes]) -> list[bytes]:
    reply = ReplyParser()
    bodies = []
    for data in reads:
        reply.feed(data)
        bodies.append(reply.take_body())
    return bodies


def _decoded(bodies: list[bytes]) -> int:
    decoder = sse.EventDecoder()
    return sum(len(decoder.feed(body)) for body in bodies)


def _assembled(parsed: list[dict[str, object]]) -> object:
    assembly = Assembly()
    for chunk in parsed:
        assembly.add(chunk)
    return assembly.completion()


def _text(null: int) -> TextWriter:
    return TextWriter(Stdout(fd=null), FormatOptions(), lambda text: None)


def _written(payloads: list[bytes], parsed: list[dict[str, object]], null: int) -> None:
    text = _text(null)
    for payload, chunk in zip(payloads, parsed, strict=True):
        text.chunk(payload, chunk)


class _Receiver:
    """The writer of a format as the receiver of an exchange."""

    started = False
    takes: Literal["bytes"] = "bytes"

    def __init__(self, null: int) -> None:
        text = _text(null)
        self.raw = text.raw
        self.chunk = text.chunk
        self.expect_end = text.expect_end


def _streamed(bodies: list[bytes], null: int) -> None:
    stream = StreamReader(_Receiver(null), 1)
    for body in bodies:
        stream.feed(body)
    stream.end()


if __name__ == "__main__":
    main()
