"""The transport of a run whose requests workers send. It opens no connection itself."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator, Callable

import httpx

from chatpipe.cluster.parcels import Template, WorkerReply
from chatpipe.cluster.workers import Workers
from chatpipe.errors import ChatpipeError
from chatpipe.recordings.transport_failures import exception_of
from chatpipe.server import redact
from chatpipe.server.headers import Headers
from chatpipe.server.request_extensions import DEADLINE, LOST_KEPT, MAX_REPLY
from chatpipe.server.server import Server
from chatpipe.wire.light_messages import LightResponse

_TIMEOUTS = ("connect", "read", "write", "pool")


class ClusterTransport(httpx.AsyncBaseTransport):
    """The transport to one server of a run, the one with this index.

    renew is called with that index and new headers when the key has changed. It returns the number of the
    key. warn gets the texts of warnings.
    """

    def __init__(
        self,
        workers: Workers,
        server: Server,
        index: int,
        renew: Callable[[int, Headers], int],
        warn: Callable[[tuple[str, ...]], None],
    ) -> None:
        workers.open()
        self._workers = workers
        self._warn = warn
        self._renew = renew
        self._index = index
        self._query = httpx.URL(server.endpoint.base_url).query.decode("ascii")
        self._own = {name.lower(): value for name, value in server.headers}
        self._parts: tuple[object, ...] = ()
        self._template_of_parts: Template
        self._keys: dict[str, int] = {}  # by the value of the header; the first one has the number 0

    async def aclose(self) -> None:
        await self._workers.aclose()

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        """Raises ChatpipeError if no worker can send it, besides what any transport raises."""
        sent, deadline = request.stream, request.extensions.get(DEADLINE)
        body = b"".join(sent) if type(sent) is httpx.ByteStream else await request.aread()
        deadline_s = None if deadline is None else max(0.0, deadline - time.monotonic())
        template, wants_new = self._template(request), request.extensions.pop(LOST_KEPT, False)
        reply = await self._workers.send(template, deadline_s, body, wants_new=wants_new)
        if reply.has_lost_kept:
            request.extensions[LOST_KEPT] = True
        if reply.has_key:
            self._warn(("the server sent the key back in its answer: it is replaced by '***'",))
        return _response(reply, request)

    def _template(self, request: httpx.Request) -> Template:
        """The parts of a request that others share: for nearly all of them, those of the one before."""
        # Those of a run share their headers and their URL: the same objects are equal without a look.
        parts = (request.headers, request.method, request.url, request.extensions.get("timeout", {}))
        if parts != self._parts:
            self._template_of_parts = self._make_template(request)
            self._parts = parts
        return self._template_of_parts

    def _make_template(self, request: httpx.Request) -> Template:
        """Secret headers are not part of it. Nor is a query with a secret, which is that of the base URL."""
        names, others = set[str](), []
        key = 0
        for name, value in request.headers.items():
            is_secret = redact.header(name, value) != value
            if name in self._own and (is_secret or self._own[name] == value):
                names.add(name)
                if is_secret and self._own[name] != value:
                    key = self._key_number(request, value)
            elif is_secret:
                raise ChatpipeError(f"the header '{name}' must not leave this machine")
            else:
                others.append((name, value))
        path, _, query = request.url.raw_path.decode("ascii").partition("?")
        timeouts = request.extensions.get("timeout", {})
        return Template(
            self._index,
            request.method,
            path,
            None if query == self._query else query,
            bool(names),
            tuple(name for name in self._own if name not in names) if names else (),
            tuple(others),
            tuple(timeouts.get(name) for name in _TIMEOUTS),
            request.extensions.get(MAX_REPLY),
            key,
        )

    def _key_number(self, request: httpx.Request, value: str) -> int:
        if value not in self._keys:
            own = tuple((name, request.headers.get(name, "")) for name in self._own)
            self._keys[value] = self._renew(self._index, own)
        return self._keys[value]


class _BrokenStream(httpx.AsyncByteStream):
    """The body of a reply that ended in a failure."""

    def __init__(self, body: bytes, failure: httpx.RequestError) -> None:
        self._body = body
        self._failure = failure

    async def __aiter__(self) -> AsyncIterator[bytes]:
        if self._body:
            yield self._body
        raise self._failure


def _response(reply: WorkerReply, request: httpx.Request) -> httpx.Response:
    failure = _failure(reply) if reply.failure else None
    if reply.status is None:
        assert failure is not None
        raise failure
    headers = [(name.encode(), value.encode()) for name, value in reply.headers]
    body = reply.body
    stream = httpx.ByteStream(body) if failure is None else _BrokenStream(body, failure)
    return LightResponse(reply.status, headers, stream, request, {})


def _failure(reply: WorkerReply) -> httpx.RequestError:
    if reply.failure == "unsendable":
        return httpx.LocalProtocolError(reply.reason)
    return exception_of(reply.failure, reply.reason)
