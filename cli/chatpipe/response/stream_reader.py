"""Bytes of a streamed answer -> chunks, each passed on at once, and the completion that they make."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from typing import Protocol

from chatpipe.errors import BrokenAnswer
from chatpipe.inputs import values
from chatpipe.inputs.values import Value
from chatpipe.response import chunks, sse
from chatpipe.response.answer_chunks import AnswerChunks

_EDGE_BYTES = 20
# Bytes without a part of an answer, such as comments that keep a connection open. One a second is this much
# in two days. More is the noise of a server that never answers, and takes a processor until --max-reply.
MOST_IDLE_BYTES = 4_000_000
_CHUNK_BYTES = 30  # a chunk without choices takes the time of so many bytes of comments
_TOO_IDLE = f"no part of it came in {MOST_IDLE_BYTES // 1_000_000} MB"


class ChunkReceiver(Protocol):
    """Receives the bytes and the chunks of a stream as they arrive.

    expect_end() announces that the last chunks follow and then the end, without a wait between them.
    """

    def raw(self, data: bytes) -> None: ...

    def chunk(self, payload: bytes, chunk: Mapping[str, Value]) -> None: ...

    def expect_end(self) -> None: ...


class StreamReader:
    """An event stream in progress: decoded, passed on, assembled.

    done is true after `[DONE]`, an error event, a choice or call too many, or too much that says nothing.
    """

    def __init__(self, receiver: ChunkReceiver, requested: int) -> None:
        self.answer = AnswerChunks(receiver.chunk, requested)
        self.done = False
        self._receiver = receiver
        self._decoder = sse.EventDecoder()
        self._edge = b""  # the end of the bytes so far, which may cut a number
        self._loads = values.loads

    def feed(self, data: bytes) -> None:
        if data:
            self._receiver.raw(data)
            # One search of many chunks costs less than one search of each.
            window = self._edge + data
            if values.has_long_number(window):
                self._loads = values.loads_exact
            self._edge = window[-_EDGE_BYTES:]
        self._take(self._decoder.feed(data))
        if self._decoder.idle_bytes > MOST_IDLE_BYTES and not self.done:
            self.done = True
            if not self.answer.assembly.is_finished():
                self.answer.assembly.excess = _TOO_IDLE

    def end(self) -> None:
        if not self.done:
            self._take(self._decoder.end())
        self.answer.end()

    def is_whole(self) -> bool:
        """Return True if `[DONE]` came or every choice has a finish_reason."""
        return self.done or self.answer.assembly.is_finished()

    def _take(self, payloads: list[bytes]) -> None:
        if len(payloads) > 1 and sse.is_done(payloads[-1]):
            self._receiver.expect_end()
        for at, payload in enumerate(payloads):
            if payload.startswith(b"[DONE]"):  # is_done() without a call
                self.done = True
                self._take_late(payloads[at + 1 :])
                return
            try:
                chunk = chunks.parse(payload, self._loads)
            except BrokenAnswer as fault:
                payloads[at + 1 : at + 1] = chunks.items_of(payload, fault)
                continue
            if chunk.get("choices"):
                self._decoder.idle_bytes = 0
            else:
                self._decoder.idle_bytes += len(payload) + _CHUNK_BYTES
            self.answer.add(payload, chunk)
            if self.answer.error is not None:
                self.done = True
                return
            if self.answer.assembly.excess:
                self.done = True
                return

    def _take_late(self, payloads: list[bytes]) -> None:
        """Take the usage that some servers send after `[DONE]`, as far as it is here: none is waited for."""
        for payload in payloads:
            with suppress(BrokenAnswer):
                self.answer.add_late(chunks.parse(payload))
