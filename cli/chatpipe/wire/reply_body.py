"""The body of a reply as it arrives, unpacked if the server compressed it, cut off at its limit."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator, Mapping
from typing import TYPE_CHECKING

import httpx

from chatpipe.inputs.text_decoder import GZIP_START
from chatpipe.server.request_extensions import MAX_REPLY, REPLY_MEMORY
from chatpipe.wire.http1 import OverlongReply, size_text

if TYPE_CHECKING:
    from chatpipe.wire.reply_memory import ReplyMemory
    from chatpipe.wire.unpack import Unpacker


def arrived_body(
    response: httpx.Response, headers: Mapping[str, str], request: httpx.Request
) -> bytes | None:
    """The body of a reply that has arrived already and needs no unpacking; None for any other.

    It is in memory as it is, so that it needs no place in that of a run. Arguments as for ReplyBody.
    """
    stream = response.stream
    if type(stream) is not httpx.ByteStream or "content-encoding" in headers:
        return None
    body = b"".join(stream)
    limit: int | None = request.extensions.get(MAX_REPLY)
    return body if limit is None or len(body) <= limit else None


class ReplyBody:
    """An asynchronous iterator over the body of a reply. Each read of the socket is passed on at once.

    Raises OverlongReply after the last byte within the limit if more follows, and httpx.DecodingError
    for a body that cannot be unpacked. Headers have lower-case names. A body in gzip is unpacked even if no
    header says so, because some caches drop it. is_file: the body is a file, which may be in gzip itself.
    """

    def __init__(
        self,
        response: httpx.Response,
        headers: Mapping[str, str],
        request: httpx.Request,
        *,
        is_file: bool = False,
    ) -> None:
        assert isinstance(response.stream, httpx.AsyncByteStream)
        self._max_bytes: int | None = request.extensions.get(MAX_REPLY)
        self._memory: ReplyMemory | None = request.extensions.get(REPLY_MEMORY)
        if self._memory is not None:
            self._memory.open(self)
        self._bytes = 0
        self._pieces: AsyncIterator[bytes] = aiter(response.stream)
        self._may_be_packed = not is_file
        coding = headers.get("content-encoding", "").strip().lower()
        if coding not in ("", "identity"):
            self._pieces = _UnpackedBody(self._pieces, coding, self._max_bytes)

    def __aiter__(self) -> ReplyBody:
        return self

    async def __anext__(self) -> bytes:
        limit = self._max_bytes
        if limit is not None and self._bytes > limit:
            raise _overlong(limit)
        memory = self._memory
        if memory is not None and memory.is_full:
            await memory.wait_for_room(self)
        piece = await anext(self._pieces)
        if self._may_be_packed and piece:
            self._may_be_packed = False
            if piece.startswith(GZIP_START):
                self._pieces = _UnpackedBody(self._pieces, "gzip", limit, piece)
                piece = await anext(self._pieces)
        self._bytes += len(piece)
        if memory is not None:
            memory.add(self, len(piece))
        if limit is not None and self._bytes > limit:
            piece = piece[: limit - self._bytes]
            if not piece:
                raise _overlong(limit)
        return piece

    def close(self) -> None:
        """Give up the memory that this body has in its run. Call it once, when nothing more is read."""
        if self._memory is not None:
            self._memory.close(self)


class _UnpackedBody:
    """An asynchronous iterator over the bytes of a compressed body.

    max_bytes limits what is received. Much of it may unpack to nothing. start is what has been read of it.
    """

    def __init__(
        self, pieces: AsyncIterator[bytes], coding: str, max_bytes: int | None, start: bytes = b""
    ) -> None:
        self._start = start
        self._pieces = pieces
        self._coding = coding
        self._max_bytes = max_bytes
        self._bytes = 0
        self._unpacker: Unpacker | None = None
        self._ready: Iterator[bytes] = iter(())
        self._is_open = False

    def __aiter__(self) -> _UnpackedBody:
        return self

    async def __anext__(self) -> bytes:
        while True:
            for piece in self._ready:
                return piece
            data = await self._next_data()
            if not data:
                if self._unpacker is not None and not self._unpacker.is_complete:
                    raise httpx.RemoteProtocolError(f"its {self._coding} data end early")
                raise StopAsyncIteration
            self._ready = iter((data,)) if self._unpacker is None else self._unpacker.feed(data)

    async def _next_data(self) -> bytes:
        """The next bytes, empty at the end. The first ones decide how they are unpacked."""
        from chatpipe.wire.unpack import START_BYTES, open_unpacker  # hardly any server compresses

        data = await self._receive()
        if not self._is_open and data:
            while len(data) < START_BYTES and (more := await self._receive()):
                data += more
            self._unpacker = open_unpacker(self._coding, data[:START_BYTES])
            self._is_open = True
        return data

    async def _receive(self) -> bytes:
        data, self._start = self._start or await anext(self._pieces, b""), b""
        self._bytes += len(data)
        if self._max_bytes is not None and self._bytes > self._max_bytes:
            raise _overlong(self._max_bytes)
        return data


def _overlong(limit: int) -> OverlongReply:
    return OverlongReply(f"longer than {size_text(limit)}", "raise --max-reply")
