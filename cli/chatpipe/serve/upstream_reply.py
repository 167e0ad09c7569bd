"""One exchange with the server behind this one: each read of its reply is one write to the client.

A task of its own reads the reply, while the client takes what has come. It stops when the client does not
read, and when the client is gone. What ends before its time is ended in the same way: a reset by a reset.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Iterator, Sequence

import httpx

from chatpipe.options.serve import FaultRule
from chatpipe.recordings.transport_failures import recorded_failure
from chatpipe.serve import cross_origin
from chatpipe.serve.exchange_recorder import CLIENT_LEFT, ExchangeListener
from chatpipe.serve.later_reply import collect_steps
from chatpipe.serve.reply_steps import Close, Framing, ReplyPlan, Reset, Step, note_cut
from chatpipe.serve.router import UPSTREAM_ERROR, error_reply
from chatpipe.serve.wakeup import Wakeup
from chatpipe.system.causes import root_os_error
from chatpipe.wire import faults as wire_faults
from chatpipe.wire.http1 import EarlyEnd
from chatpipe.wire.light_messages import headers_by_name

# Headers of one connection, which a proxy does not pass on. Source: RFC 9110, section 7.6.1.
OF_CONNECTION = frozenset(
    (
        *("connection", "keep-alive", "proxy-connection", "te", "trailer", "transfer-encoding"),
        *("proxy-authenticate", "proxy-authorization", "upgrade", "http2-settings"),
    )
)
_MOST_AHEAD = 256 << 10  # bytes that have come and that the client has not taken
_UNREACHABLE = (httpx.ConnectError, httpx.ConnectTimeout, httpx.ProxyError, httpx.UnsupportedProtocol)


class UpstreamReply:
    """The reply of the other server, the source of a ReplyPlan. faults are made in the body of a good one."""

    def __init__(
        self,
        transport: httpx.AsyncBaseTransport,
        make_request: Callable[[], httpx.Request],
        listener: ExchangeListener,
    ) -> None:
        self.faults: Sequence[FaultRule] = ()
        self._listener = listener
        self._transport = transport
        self._make_request = make_request
        self._task: asyncio.Task[None] | None = None
        self._wakeup = Wakeup()
        self._response: httpx.Response | None = None
        self._arrived: deque[bytes] = deque()
        self._ahead = 0
        self._has_room = asyncio.Event()
        self._is_done = False
        self._error: Exception | None = None

    # What the steps of the reply call

    def begin(self, plan: ReplyPlan) -> Iterator[Step]:
        self._task = asyncio.get_running_loop().create_task(self._read())
        while self._response is None and not self._is_done:
            yield self._wakeup
        if self._response is None:
            yield from self._without_head(plan)
            return
        _show(self._response, plan)
        plan.pieces = note_cut(plan, self._pieces())
        yield from collect_steps(plan, self.faults)

    def close(self) -> None:
        if self._task is not None:
            self._task.cancel()

    def _without_head(self, plan: ReplyPlan) -> Iterator[Step]:
        """End as the server did, or say why there is no reply."""
        error = self._error
        assert error is not None
        if isinstance(error, (httpx.InvalidURL, httpx.LocalProtocolError)):
            reply = error_reply(400, f"Your request cannot be passed on: {error}")
        elif not isinstance(error, httpx.TransportError):
            raise error
        elif isinstance(error, (EarlyEnd, httpx.NetworkError)) and not isinstance(error, _UNREACHABLE):
            yield _ending(error)
            return
        else:
            request = self._make_request()
            fault = wire_faults.from_exception(error, str(request.url), request.extensions)
            reply = error_reply(502, str(fault), type=UPSTREAM_ERROR)
        plan.status, plan.headers, plan.pieces = reply.status, (*reply.headers, *plan.headers), reply.pieces

    def _pieces(self) -> Iterator[Step]:
        while True:
            while self._arrived:
                piece = self._arrived.popleft()
                self._ahead -= len(piece)
                self._has_room.set()
                yield piece
            if self._is_done:
                break
            yield self._wakeup
        if self._error is not None:
            yield _ending(self._error)

    # The task

    async def _read(self) -> None:
        try:
            await self._pass_on()
            self._listener.end()
        except asyncio.CancelledError:
            self._listener.end("timeout" if self._response is None else "cut", CLIENT_LEFT)
            raise
        except Exception as error:
            self._error = error
            if (failure := recorded_failure(error)) is not None:
                self._listener.end(*failure)
        self._is_done = True
        self._wakeup.wake()

    async def _pass_on(self) -> None:
        """Hand the reply to its steps, piece by piece. Raises httpx.HTTPError."""
        response = await self._transport.handle_async_request(self._make_request())
        assert isinstance(response.stream, httpx.AsyncByteStream)
        self._listener.head(response.status_code, headers_by_name(response))
        try:
            self._response = response
            self._wakeup.wake()
            async for data in response.stream:
                if data:
                    self._listener.piece(data)
                    await self._put(data)
        finally:
            await response.stream.aclose()

    async def _put(self, data: bytes) -> None:
        """Hand data to the reply, and wait while the client has too much to read."""
        self._arrived.append(data)
        self._ahead += len(data)
        self._wakeup.wake()
        while self._ahead > _MOST_AHEAD:
            self._has_room.clear()
            await self._has_room.wait()


def _show(response: httpx.Response, plan: ReplyPlan) -> None:
    """Put the head into the plan, in front of the headers that are added.

    Who may read the reply is for this server to say: a browser refuses two answers to that.
    """
    named = {each.strip().lower() for each in response.headers.get("connection", "").split(",")}
    raw = ((name.decode("latin-1"), value.decode("latin-1")) for name, value in response.headers.raw)
    kept = tuple(each for each in raw if each[0].lower() not in OF_CONNECTION | named)
    if any(name.startswith(cross_origin.PREFIX) for name, _ in plan.headers):
        kept = tuple(each for each in kept if not each[0].lower().startswith(cross_origin.PREFIX))
    plan.status, plan.headers, plan.framing = response.status_code, (*kept, *plan.headers), _framing(response)


def _framing(response: httpx.Response) -> Framing:
    if response.request.method == "HEAD" or response.status_code in (204, 304):
        return "none"
    if "transfer-encoding" in response.headers:
        return "chunked"
    return "length" if "content-length" in response.headers else "connection"


def _ending(error: Exception) -> Step:
    """The end of a connection that has ended in an error."""
    return Reset() if isinstance(root_os_error(error), ConnectionError) else Close()
