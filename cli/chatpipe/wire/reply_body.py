"""The body of a reply as it arrives, cut off at its limit."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping

import httpx

from chatpipe.wire.http1 import MAX_REPLY, OverlongReply, size_text


class ReplyBody:
    """An asynchronous iterator over the body of a reply. Each read of the socket is passed on at once.

    Raises OverlongReply after the last byte within the limit if more follows. Headers have lower-case
    names.
    """

    def __init__(self, response: httpx.Response, headers: Mapping[str, str], request: httpx.Request) -> None:
        self._pieces = _pieces(response, headers)
        self._max_bytes: int | None = request.extensions.get(MAX_REPLY)
        self._bytes = 0

    def __aiter__(self) -> ReplyBody:
        return self

    async def __anext__(self) -> bytes:
        limit = self._max_bytes
        if limit is not None and self._bytes > limit:
            raise _overlong(limit)
        piece = await anext(self._pieces)
        self._bytes += len(piece)
        if limit is not None and self._bytes > limit:
            piece = piece[: limit - self._bytes]
            if not piece:
                raise _overlong(limit)
        return piece


def _overlong(limit: int) -> OverlongReply:
    return OverlongReply(f"longer than {size_text(limit)}", "raise --max-reply")


def _pieces(response: httpx.Response, headers: Mapping[str, str]) -> AsyncIterator[bytes]:
    """The body as it arrives. httpx decodes it only if the server compresses although not asked to."""
    if headers.get("content-encoding", "identity").lower() == "identity":
        assert isinstance(response.stream, httpx.AsyncByteStream)
        return aiter(response.stream)
    return response.aiter_bytes()
