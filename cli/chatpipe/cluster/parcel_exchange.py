"""The request of a parcel over the transport of a worker, to its whole reply."""

from __future__ import annotations

import time
from collections.abc import Mapping
from functools import lru_cache
from typing import Any
from urllib.parse import urlsplit

import httpx

from chatpipe.cluster.clean_reply import clean_reply
from chatpipe.cluster.parcels import Parcel, Template, WorkerReply
from chatpipe.recordings.exchange_record import kept_headers
from chatpipe.recordings.transport_failures import recorded_failure
from chatpipe.response.sse import has_last_event
from chatpipe.server.headers import Headers
from chatpipe.server.request_extensions import DEADLINE, LOST_KEPT, MAX_REPLY
from chatpipe.server.server import Server
from chatpipe.wire.light_messages import headers_by_name
from chatpipe.wire.reply_body import ReplyBody

_ERROR = 400
_UNPACKED = ("content-encoding", "content-length", "transfer-encoding")


async def send_parcel(
    parcel: Parcel,
    server: Server,
    transport: httpx.AsyncBaseTransport,
    extensions: Mapping[str, Any],
    *,
    verbose: bool,
) -> WorkerReply:
    """Send one request, and read the whole reply to it. verbose keeps all headers of the reply."""
    request = _request(parcel, server)
    request.extensions.update(extensions)
    reply, pieces = WorkerReply(parcel.number), list[bytes]()
    try:
        response = await transport.handle_async_request(request)
        headers, reply.status = headers_by_name(response), response.status_code
        reply.headers = _usable_headers(headers, response.status_code, verbose=verbose)
        await _read(response, headers, request, pieces)
    except (httpx.HTTPError, httpx.InvalidURL) as error:
        reply.failure, reply.reason = recorded_failure(error) or ("unsendable", str(error))
        reply.has_lost_kept = request.extensions.get(LOST_KEPT, False)
    reply.body = b"".join(pieces)
    await clean_reply(reply)
    return reply


def _usable_headers(headers: Mapping[str, str], status: int, *, verbose: bool) -> tuple[tuple[str, str], ...]:
    """The headers of a reply that the run can use."""
    if verbose or status >= _ERROR:
        return tuple(each for each in headers.items() if each[0] not in _UNPACKED)
    return kept_headers(headers)


def _request(parcel: Parcel, server: Server) -> httpx.Request:
    """The request of a parcel, with the headers of its server."""
    template, deadline_s = parcel.template, parcel.deadline_s
    return httpx.Request(
        template.method,
        _url(server.endpoint.base_url, template.path, template.query),
        headers=[*template.headers, *_own_headers(template, server)],
        stream=httpx.ByteStream(parcel.body) if parcel.body else None,
        extensions={
            "timeout": dict(zip(("connect", "read", "write", "pool"), template.timeouts_s, strict=True)),
            DEADLINE: None if deadline_s is None else time.monotonic() + deadline_s,
            MAX_REPLY: template.max_reply,
            LOST_KEPT: parcel.wants_new,
        },
    )


# Parsing a URL takes longer than the rest of a request.
@lru_cache(maxsize=64)
def _url(base_url: str, path: str, query: str | None) -> httpx.URL:
    """The URL with this path on the server of the base URL. query is None for that of the base URL."""
    base = urlsplit(base_url)
    return httpx.URL(base._replace(path=path, query=base.query if query is None else query).geturl())


def _own_headers(template: Template, server: Server) -> Headers:
    if not template.own:
        return ()
    return tuple(each for each in server.headers if each[0].lower() not in template.without)


async def _read(
    response: httpx.Response, headers: Mapping[str, str], request: httpx.Request, pieces: list[bytes]
) -> None:
    """Read a body into pieces, an event stream only to its last event: some servers then stay silent."""
    assert isinstance(response.stream, httpx.AsyncByteStream)
    is_stream = headers.get("content-type", "").lower().startswith("text/event-stream")
    body = ReplyBody(response, headers, request)
    try:
        async for piece in body:
            pieces.append(piece)
            if is_stream and has_last_event(pieces):
                return
    finally:
        body.close()
        await response.stream.aclose()
