"""An httpx transport for the model `echo`: it answers requests in this process and never waits."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterable

import httpx

from chatpipe.local import model


class EchoTransport(httpx.AsyncBaseTransport):
    """A transport that answers every request from the model `echo`, whatever its host.

    No await in the transport or in the reply's stream suspends, so a caller without an event loop can
    drive the whole exchange with one `send(None)`.
    """

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        body = await request.aread()
        reply = model.answer_http(request.method, request.url.raw_path.decode("ascii"), body)
        return httpx.Response(reply.status, headers=list(reply.headers), stream=_ReplyStream(reply.pieces))


class _ReplyStream(httpx.AsyncByteStream):
    def __init__(self, pieces: Iterable[bytes]) -> None:
        self._pieces = pieces

    async def __aiter__(self) -> AsyncIterator[bytes]:
        for piece in self._pieces:
            yield piece
