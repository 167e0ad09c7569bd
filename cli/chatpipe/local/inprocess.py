"""`echo` behind httpx's own seam: a request is answered in this process, and nothing ever waits."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterable

import chatpipe.wire  # noqa: F401 - keeps httpx's own command line out
from chatpipe.local import echo

import httpx  # isort: skip - after it


class EchoTransport(httpx.AsyncBaseTransport):
    """Answers from the model `echo`, whatever the request's host.

    No await in here or in the reply's stream suspends, so a caller without an event loop can run
    the whole exchange by one `send(None)`.
    """

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        body = await request.aread()
        reply = echo.answer(request.method, request.url.raw_path.decode("ascii"), body)
        return httpx.Response(reply.status, headers=list(reply.headers), stream=_Pieces(reply.pieces))


class _Pieces(httpx.AsyncByteStream):
    def __init__(self, pieces: Iterable[bytes]) -> None:
        self._pieces = pieces

    async def __aiter__(self) -> AsyncIterator[bytes]:
        for piece in self._pieces:
            yield piece
