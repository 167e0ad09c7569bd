"""A worker: sends the requests that it is given over its own transports, and hands back what came.

It decides nothing: the run waits, retries and keeps its limits. Nothing in here knows Ray (relay.py).
"""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import Callable, Mapping
from urllib.parse import urlsplit

import httpx

from chatpipe.cluster.clean_reply import clean_reply
from chatpipe.cluster.parcels import Parcel, Returned, Template, read_parcels, write_replies
from chatpipe.cluster.terms import WorkerTerms, open_own_servers, read_terms
from chatpipe.recordings.exchange_record import kept_headers
from chatpipe.recordings.transport_failures import failure_of
from chatpipe.server.headers import Headers
from chatpipe.server.server import Server
from chatpipe.system import secrets
from chatpipe.system.descriptor import raise_descriptor_limit
from chatpipe.wire.answer import headers_by_name
from chatpipe.wire.http1 import MAX_REPLY
from chatpipe.wire.reply_body import ReplyBody
from chatpipe.wire.reply_memory import ReplyMemory
from chatpipe.wire.transports import open_transport

_ERROR = 400
_LAST_EVENT, _TAIL_BYTES = b"data:[DONE]", 64
# Replies that arrive within this time go back together. It is short against the time of any answer.
_GATHER_S = 0.002
# A call for replies returns after this time without any, as a sign of life.
_SIGN_OF_LIFE_S = 1.0
_UNPACKED = ("content-encoding", "content-length", "transfer-encoding")


class Worker:
    """The worker of one run in its process. read gives the bytes of the terms, again after a new key."""

    def __init__(self, read: Callable[[], bytes]) -> None:
        self._read = read
        self._terms: WorkerTerms
        self._servers: tuple[Server, ...] = ()
        self._transports: list[httpx.AsyncBaseTransport] = []
        self._memory = ReplyMemory()
        self._tasks: dict[int, asyncio.Task[None]] = {}
        self._ready: list[Returned] = []
        self._is_ready = asyncio.Event()
        self._reading = asyncio.Lock()

    async def open(self) -> None:
        """Get ready to send. Raises ChatpipeError for a key or a file that is not there."""
        await self._read_terms()
        terms = self._terms
        raise_descriptor_limit(terms.jobs + len(self._servers))
        self._transports = [open_transport(each, os.environ, terms.jobs + 1) for each in self._servers]

    async def take(self, block: bytes) -> None:
        """Begin to send the requests of a block."""
        parcels, cancelled = read_parcels(block)
        for number in cancelled:
            if (task := self._tasks.get(number)) is not None:
                task.cancel()
        for parcel in parcels:
            self._tasks[parcel.number] = asyncio.create_task(self._answer(parcel))

    async def replies(self) -> bytes:
        """A block with the replies that have come since the last one; empty if there are none for a while."""
        try:
            await asyncio.wait_for(self._is_ready.wait(), _SIGN_OF_LIFE_S)
        except TimeoutError:
            return b""
        await asyncio.sleep(_GATHER_S)
        ready, self._ready = self._ready, []
        self._is_ready.clear()
        return write_replies(ready)

    async def _read_terms(self) -> None:
        self._terms = read_terms(await asyncio.to_thread(self._read))
        self._servers = await asyncio.to_thread(open_own_servers, self._terms, dict(os.environ))

    async def _answer(self, parcel: Parcel) -> None:
        try:
            if parcel.template.key > self._terms.key:
                await self._renew_key(parcel.template.key)
            returned = await self._exchange(parcel)
        except Exception as error:  # a bug, or a key that is gone: the run must not wait for ever
            returned = Returned(parcel.number, None, failure="unsendable", reason=secrets.hide(str(error)))
        finally:
            del self._tasks[parcel.number]
        self._ready.append(returned)
        self._is_ready.set()

    async def _renew_key(self, key: int) -> None:
        """Read the terms again, because the server refuses the key that they had."""
        async with self._reading:
            if key > self._terms.key:
                await self._read_terms()
                self._terms = self._terms._replace(key=key)

    async def _exchange(self, parcel: Parcel) -> Returned:
        """Send one request, and read the whole reply to it."""
        template = parcel.template
        request = _request(parcel, self._servers[template.server])
        request.extensions.update(self._memory.extensions)
        head, pieces, failure = Returned(parcel.number, None), list[bytes](), ("", "")
        try:
            response = await self._transports[template.server].handle_async_request(request)
            headers = headers_by_name(response.headers.raw)
            head = head._replace(
                status=response.status_code, headers=self._told(headers, response.status_code)
            )
            await _read(response, headers, request, pieces)
        except (httpx.HTTPError, httpx.InvalidURL) as error:
            failure = failure_of(error) or ("unsendable", str(error))
        head = head._replace(body=b"".join(pieces), failure=failure[0], reason=failure[1])
        return await clean_reply(head)

    def _told(self, headers: Mapping[str, str], status: int) -> tuple[tuple[str, str], ...]:
        """The headers of a reply that the run can use."""
        if self._terms.verbose or status >= _ERROR:
            return tuple(each for each in headers.items() if each[0] not in _UNPACKED)
        return kept_headers(headers)


def _request(parcel: Parcel, server: Server) -> httpx.Request:
    """The request of a parcel, with the headers of its server."""
    template = parcel.template
    base = urlsplit(server.endpoint.base_url)
    query = base.query if template.query is None else template.query
    deadline_s = parcel.deadline_s
    return httpx.Request(
        template.method,
        base._replace(path=parcel.path, query=query).geturl(),
        headers=[*template.headers, *_own_headers(template, server)],
        stream=httpx.ByteStream(parcel.body) if parcel.body else None,
        extensions={
            "timeout": dict(zip(("connect", "read", "write", "pool"), template.timeouts_s, strict=True)),
            "deadline": None if deadline_s is None else time.monotonic() + deadline_s,
            MAX_REPLY: template.max_reply,
        },
    )


def _own_headers(template: Template, server: Server) -> Headers:
    if not template.own:
        return ()
    return tuple(each for each in server.headers if each[0].lower() not in template.without)


async def _read(
    response: httpx.Response, headers: Mapping[str, str], request: httpx.Request, pieces: list[bytes]
) -> None:
    """Read a body into pieces, an event stream only to its last event: some servers go on to say nothing."""
    assert isinstance(response.stream, httpx.AsyncByteStream)
    is_stream = headers.get("content-type", "").lower().startswith("text/event-stream")
    body = ReplyBody(response, headers, request)
    try:
        async for piece in body:
            pieces.append(piece)
            if is_stream and _ends_stream(pieces):
                return
    finally:
        body.close()
        await response.stream.aclose()


def _ends_stream(pieces: list[bytes]) -> bool:
    tail = b"".join(pieces[-_TAIL_BYTES:])[-_TAIL_BYTES:].rstrip()
    return tail.endswith(b"[DONE]") and tail.replace(b" ", b"").endswith(_LAST_EVENT)
