"""The reply to a request -> the answer, handed on as it comes. No socket, no clock."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from typing import NamedTuple, Protocol

import httpx

from chatpipe.errors import BrokenAnswer, ChatpipeError
from chatpipe.inputs.values import NotJSON, Value, loads
from chatpipe.response import chunks, sse
from chatpipe.response.assemble import Assembly
from chatpipe.response.chunks import StreamError
from chatpipe.wire import faults
from chatpipe.wire.retry import Failure
from chatpipe.wire.timeouts import DEADLINE

# What an event stream begins with, for servers that call it something else.
_STREAM_STARTS = (b"data:", b"event:", b"id:", b"retry:", b":")
_LONGEST_START = max(map(len, _STREAM_STARTS))


class Receiver(Protocol):
    """Who is told of an answer as it comes. started: something was handed on that cannot be taken back."""

    @property
    def started(self) -> bool: ...

    def raw(self, data: bytes) -> None: ...

    def chunk(self, payload: bytes, chunk: Mapping[str, Value]) -> None: ...


class Answer(NamedTuple):
    """What came. body holds the bytes of an answer in one piece, None when it was streamed.

    fault says why there is no whole answer, when there is none; completion then is the part that
    came, None when nothing did, or nothing that can be read.

    Where turns came before it (dialogue/converse.py), earlier holds the usage of each, null where
    the server does not say; is_exhausted: it calls tools, and no further turn is allowed.
    """

    completion: dict[str, Value] | None
    body: bytes | None = None
    fault: ChatpipeError | None = None
    request_id: str | None = None
    tries: int = 1
    earlier: tuple[Value, ...] = ()
    is_exhausted: bool = False


async def read_reply(
    response: httpx.Response, headers: Mapping[str, str], request: httpx.Request, receiver: Receiver
) -> tuple[Answer, Failure | None]:
    status = response.status_code
    pieces = _pieces(response, headers)
    try:
        if not response.is_success:
            return _refused(status, headers, request, await _as_far_as_it_goes(pieces))
        if headers.get("content-type", "").lower().startswith("text/event-stream"):
            return await _streamed(b"", pieces, receiver)
        first = await _first_piece(pieces)
        # What it is, is for the server to say, whatever was asked; some call a stream something else.
        if _begin(first).startswith(_STREAM_STARTS):
            return await _streamed(first, pieces, receiver)
        body = first + b"".join([piece async for piece in pieces])
        return _whole(status, headers, request, body)
    except (httpx.HTTPError, httpx.InvalidURL) as error:
        return answer_from_error(error, request)


async def _as_far_as_it_goes(pieces: AsyncIterator[bytes]) -> bytes:
    """The body of an error. Its status says most: that the connection breaks inside is not the news."""
    body = b""
    try:
        async for piece in pieces:
            body += piece
    except (httpx.HTTPError, httpx.InvalidURL):
        pass
    return body


def _pieces(response: httpx.Response, headers: Mapping[str, str]) -> AsyncIterator[bytes]:
    """The body as it comes. httpx is needed between only where a server compresses though not asked to."""
    if headers.get("content-encoding", "identity").lower() == "identity":
        assert isinstance(response.stream, httpx.AsyncByteStream)
        return aiter(response.stream)
    return response.aiter_bytes()


async def _first_piece(pieces: AsyncIterator[bytes]) -> bytes:
    """The body up to where one can see what it is. White space before it keeps some connections alive."""
    first = b""
    async for piece in pieces:
        first += piece
        head = _begin(first)
        if len(head) >= _LONGEST_START or (
            head and not any(each.startswith(head) for each in _STREAM_STARTS)
        ):
            break
    return first


def _begin(data: bytes) -> bytes:
    return data.removeprefix(b"\xef\xbb\xbf").lstrip()


def _refused(
    status: int, headers: Mapping[str, str], request: httpx.Request, body: bytes
) -> tuple[Answer, Failure | None]:
    """A reply that is an error."""
    fault = faults.from_reply(status, headers, body, str(request.url))
    return Answer(None, None, fault), Failure(status, headers, faults.error_codes(body))


def _whole(
    status: int, headers: Mapping[str, str], request: httpx.Request, body: bytes
) -> tuple[Answer, Failure | None]:
    """An answer in one piece."""
    if not body.strip():
        return Answer(None, None, BrokenAnswer("the answer is empty", fix="try again")), Failure()
    try:
        completion = loads(body)
    except NotJSON as error:
        what = f"the answer is not JSON ({error.what}): '{_excerpt(body)}'"
        return Answer(None, body, BrokenAnswer(what, fix="is the base URL right?", body=body)), None
    if not isinstance(completion, dict):
        what = f"the answer is not a JSON object: '{_excerpt(body)}'"
        return Answer(None, body, BrokenAnswer(what, fix="is the base URL right?", body=body)), None
    reported = chunks.error_of(completion)
    if reported is not None and not completion.get("choices"):  # inside HTTP 200, as OpenRouter sends it
        fault = faults.from_reply(status, headers, body, str(request.url))
        return Answer(None, None, fault), Failure(_http_status(reported), headers, faults.error_codes(body))
    return Answer(completion, body), None


def _excerpt(body: bytes) -> str:
    return chunks.shorten(body[:400].decode("utf-8", "replace"), 80)


class _Stream:
    """An event stream on its way: decoded, handed on, assembled. over: `[DONE]` or an error event came."""

    def __init__(self, receiver: Receiver) -> None:
        self.assembly = Assembly()
        self.error: StreamError | None = None
        self.over = False
        self._receiver = receiver
        self._decoder = sse.Decoder()

    def feed(self, data: bytes) -> None:
        if data:
            self._receiver.raw(data)
        self._take(self._decoder.feed(data))

    def end(self) -> None:
        if not self.over:
            self._take(self._decoder.end())

    def is_whole(self) -> bool:
        """`[DONE]` came, or every choice has a finish_reason."""
        return self.over or self.assembly.finished()

    def _take(self, payloads: list[bytes]) -> None:
        for payload in payloads:
            if sse.is_done(payload):
                self.over = True
                return
            chunk = chunks.parse(payload)
            self._receiver.chunk(payload, chunk)
            self.assembly.add(chunk)
            if (error := chunks.error_of(chunk)) is not None:
                self.error, self.over = error, True
                return


async def _streamed(
    first: bytes, pieces: AsyncIterator[bytes], receiver: Receiver
) -> tuple[Answer, Failure | None]:
    """An answer in pieces, each handed on at once. Nothing is read behind `[DONE]`: a server may linger."""
    stream = _Stream(receiver)
    fault: ChatpipeError | None = None
    failure: Failure | None = Failure()
    try:
        data: bytes | None = first
        while data is not None and not stream.over:
            stream.feed(data)
            data = None if stream.over else await anext(pieces, None)
        stream.end()
        if stream.error is not None:
            fault, failure = _error_event(stream.error)
        elif not stream.is_whole():
            fault = BrokenAnswer("the stream was cut: neither finish_reason nor [DONE]", fix="try again")
    except (httpx.HTTPError, httpx.InvalidURL) as error:
        stream.end()
        if not stream.is_whole():
            fault = _cut(error)
    except BrokenAnswer as error:  # an event that is not JSON
        fault = error
    completion = stream.assembly.completion()
    return Answer(completion if completion["choices"] or fault is None else None, None, fault), failure


def _error_event(error: StreamError) -> tuple[ChatpipeError, Failure]:
    """An error that the server sent in the middle of a stream."""
    status = _http_status(error)
    codes = [code for code in (error.type, error.code) if isinstance(code, str)]
    what = f"the server reports an error in mid-stream: {chunks.shorten(error.message)}"
    return BrokenAnswer(what, fix="try again"), Failure(status, None, codes)


def _http_status(error: StreamError) -> int | None:
    """The status that the error would have come with, had the reply not begun: many servers say."""
    return error.code if isinstance(error.code, int) and 400 <= error.code < 600 else None


def _cut(error: Exception) -> ChatpipeError:
    """The connection failed with a part of the answer there. The user's own deadline is not it."""
    if str(error) == DEADLINE:
        return faults.from_exception(error, "")
    return BrokenAnswer(f"the stream was cut: {faults.from_exception(error, '').what}", fix="try again")


def answer_from_error(error: Exception, request: httpx.Request) -> tuple[Answer, Failure | None]:
    """No whole reply."""
    fault = faults.from_exception(error, str(request.url))
    return Answer(None, None, fault), Failure() if faults.is_passing(error) else None


def headers_by_name(headers: list[tuple[bytes, bytes]]) -> dict[str, str]:
    """Headers by their names in lower case, repeated ones joined with ", ".

    Read once: httpx.Headers goes through all of them, and decodes each, whenever one is looked up.
    """
    found: dict[str, str] = {}
    for raw, data in headers:
        name, value = raw.decode("latin-1").lower(), _text(data)
        found[name] = f"{found[name]}, {value}" if name in found else value
    return found


def _text(data: bytes) -> str:
    try:
        return data.decode()
    except UnicodeDecodeError:
        return data.decode("latin-1")
