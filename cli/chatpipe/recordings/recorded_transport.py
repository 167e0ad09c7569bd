"""A transport that answers what was recorded, and records what another one does.

    request -> its recording -> as a reply, at once
            -> none: over the transport below -> recorded when its reply has ended
            -> none, and no transport below: NotRecorded

Only POST requests are recorded. Metrics and health checks are requested anew in every run.
"""

from __future__ import annotations

import time
from collections.abc import AsyncIterator, Callable

import httpx

from chatpipe.recordings.exchange_record import RecordedReply, kept_headers
from chatpipe.recordings.recorded_attempts import RecordedAttempt, Recordings
from chatpipe.recordings.reply_forms import reply_to
from chatpipe.recordings.transport_failures import exception_of, recorded_failure
from chatpipe.recordings.unpacked_reply import unpacked
from chatpipe.wire.light_messages import headers_by_name
from chatpipe.wire.retry import REPLAYED

# The health of a server whose replies are all recorded.
_ALIVE = httpx.Response(200, stream=httpx.ByteStream(b"{}"))


class RecordedTransport(httpx.AsyncBaseTransport):
    """A transport for requests that are recorded, or were. below is None if nothing may be sent.

    None of its own awaits suspends.
    """

    def __init__(
        self,
        recordings: Recordings,
        below: httpx.AsyncBaseTransport | None,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._recordings = recordings
        self._below = below
        self._monotonic = monotonic

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        """Raises CarriedFault for a request that was not recorded, or if nothing can be recorded."""
        below = self._below
        if request.method != "POST":
            return _ALIVE if below is None else await below.handle_async_request(request)
        sent = request.stream
        body = b"".join(sent) if type(sent) is httpx.ByteStream else await request.aread()
        attempt = self._recordings.begin(request, body)
        record = self._recordings.replay(attempt, is_needed=below is None)
        if record is not None:
            return _response(reply_to(record, attempt.request.body))
        assert below is not None
        self._recordings.check()
        return await self._record(below, request, attempt)

    async def aclose(self) -> None:
        if self._below is not None:
            await self._below.aclose()

    async def _record(
        self, below: httpx.AsyncBaseTransport, request: httpx.Request, attempt: RecordedAttempt
    ) -> httpx.Response:
        clock = _Stopwatch(self._monotonic)
        try:
            response = await below.handle_async_request(request)
        except httpx.HTTPError as error:
            failure = recorded_failure(error)
            if failure is not None:
                self._recordings.record(attempt, RecordedReply(None, (), (), *failure), clock.ms())
            raise
        headers = headers_by_name(response)
        head = RecordedReply(response.status_code, kept_headers(headers))

        def record(reply: RecordedReply) -> None:
            self._recordings.record(attempt, unpacked(reply, headers), clock.ms())

        stream = response.stream
        if type(stream) is httpx.ByteStream:  # it has arrived already
            record(head._replace(pieces=((clock.ms(), b"".join(stream)),)))
        else:
            assert isinstance(stream, httpx.AsyncByteStream)
            response.stream = _RecordedStream(stream, head, record, clock)
        return response


class _Stopwatch:
    """The time since it was made, in whole milliseconds."""

    def __init__(self, monotonic: Callable[[], float]) -> None:
        self._monotonic = monotonic
        self._began = monotonic()

    def ms(self) -> int:
        return int((self._monotonic() - self._began) * 1000)


class _RecordedStream(httpx.AsyncByteStream):
    """The body of a reply, passed on piece by piece, and recorded when it is closed."""

    def __init__(
        self,
        stream: httpx.AsyncByteStream,
        head: RecordedReply,
        record: Callable[[RecordedReply], None],
        clock: _Stopwatch,
    ) -> None:
        self._stream = stream
        self._reply = head
        self._record: Callable[[RecordedReply], None] | None = record
        self._clock = clock
        self._pieces: list[tuple[int, bytes]] = []
        self._failure: tuple[str, str] = ("cut", "")  # unless the end of the body is seen

    async def __aiter__(self) -> AsyncIterator[bytes]:
        try:
            async for data in self._stream:
                self._pieces.append((self._clock.ms(), data))
                yield data
            self._failure = ("", "")
        except httpx.HTTPError as error:
            self._failure = recorded_failure(error) or self._failure
            raise

    async def aclose(self) -> None:
        try:
            await self._stream.aclose()
        finally:
            record, self._record = self._record, None
            if record is not None:
                record(self._recorded_reply())

    def _recorded_reply(self) -> RecordedReply:
        """The reply as far as it was read. Nothing is read after the end of a stream."""
        failure, reason = self._failure
        reply = self._reply._replace(pieces=tuple(self._pieces), failure=failure, reason=reason)
        is_whole = failure == "cut" and not reason and reply.has_last_event
        return reply._replace(failure="") if is_whole else reply


class _ReplayedStream(httpx.AsyncByteStream):
    """The pieces of a recorded reply, all at once, and the failure that ended it."""

    def __init__(self, reply: RecordedReply) -> None:
        self._reply = reply

    async def __aiter__(self) -> AsyncIterator[bytes]:
        for _, data in self._reply.pieces:
            yield data
        if self._reply.failure:
            raise exception_of(self._reply.failure, self._reply.reason)


def _response(reply: RecordedReply) -> httpx.Response:
    if reply.status is None:
        raise exception_of(reply.failure, reply.reason)
    is_piece = not reply.failure and not reply.is_stream
    stream: httpx.AsyncByteStream = httpx.ByteStream(reply.body) if is_piece else _ReplayedStream(reply)
    return httpx.Response(reply.status, headers=[*reply.headers, (REPLAYED, "yes")], stream=stream)


def recorded(recordings: Recordings, open_below: Callable[[], httpx.AsyncBaseTransport]) -> RecordedTransport:
    """A transport with these recordings. The one below is opened only if something may be sent."""
    return RecordedTransport(recordings, None if recordings.is_offline else open_below())
