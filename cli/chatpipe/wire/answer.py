"""HTTP reply -> Answer, passed on to a receiver as it arrives. No socket, no clock.

error status  -> a fault, and a Failure for the retry decision
event stream  -> chunks, each passed on at once, then assembled
anything else -> one JSON body
"""

from __future__ import annotations

import re
from collections.abc import AsyncIterator, Mapping
from contextlib import suppress
from typing import Literal, Protocol

import httpx

from chatpipe.errors import BrokenAnswer, ChatpipeError, Interrupted, ReplyTooLong
from chatpipe.inputs.values import NotJSON, Value, loads, loads_exact
from chatpipe.line_record import LineRecord
from chatpipe.response.assemble import within_limits
from chatpipe.response.body_form import (
    BodyForm,
    FormDetector,
    as_event_stream,
    begins_with_object_line,
    count_answers,
    event_of,
    is_usual,
    sole_completion,
    texts_of,
    usual_form,
    without_prefix,
)
from chatpipe.response.server_error import ServerError, error_of
from chatpipe.response.stream_reader import ChunkReceiver, StreamReader
from chatpipe.system.escape import shorten
from chatpipe.system.signals import hold_signals
from chatpipe.wire.http1 import LOST_KEPT, OverlongReply
from chatpipe.wire.reply_body import ReplyBody, whole_body
from chatpipe.wire.retry import FailedAttempt

# Far more than any error needs, and an endless one ends here.
_ERROR_BYTES = 1_000_000
# An object, or an array of objects.
_JSON_START = rb"\{|\[\s*\{"
_PIECE = BodyForm.PIECE  # see OK in options/outcomes.py

# The extension of a request that says how many choices it asks for.
CHOICES = "choices"
# The extension of a request whose exchanges are recorded: its attempts, which redirects and retries share.
RECORDED_AS = "recorded_as"


class Receiver(ChunkReceiver, Protocol):
    """Receives an answer as it arrives. started is true once part of it is written and cannot be undone.

    takes names the pieces that are of use to it: the bytes of the stream beside the chunks, the chunks alone,
    or neither. `body` is for a reply that is no completion: see whole_body.py.
    """

    @property
    def takes(self) -> Literal["bytes", "chunks", "nothing", "body"]: ...

    @property
    def started(self) -> bool: ...


class NullReceiver:
    """A receiver for whom whole answers are of use, so that an interrupted attempt can be repeated."""

    started = False
    takes: Literal["nothing"] = "nothing"

    def raw(self, data: bytes) -> None:
        """Discard data."""

    def chunk(self, payload: bytes, chunk: Mapping[str, Value]) -> None:
        """Discard a chunk."""

    def expect_end(self) -> None:
        """Do nothing: no chunk waits."""


class Answer(LineRecord):
    """The result of an exchange.

    body holds the bytes of an answer in one piece and is None for a stream. fault is the reason if
    the answer is not complete. completion is then the part that arrived, or None if nothing
    readable arrived.

    After earlier turns (conversation/loop.py), earlier_usage holds the usage of each, null if the server
    did not report it, and failed_tools the names of the tools whose command failed. turns_exhausted is
    true if the answer calls tools but no further turn is allowed. server is the name of the one that sent it,
    of several in one run. engine is the way in which it came, None for the usual one.
    """

    completion: dict[str, Value] | None
    body: bytes | None = None
    fault: ChatpipeError | None = None
    request_id: str | None = None
    attempts: int = 1
    earlier_usage: tuple[Value, ...] = ()
    failed_tools: tuple[str, ...] = ()
    turns_exhausted: bool = False
    server: str | None = None
    engine: str | None = None


# The answer of one attempt, and its failure for the retry decision: None if no retry can help.
AttemptResult = tuple[Answer, FailedAttempt | None]


def read_arrived(
    response: httpx.Response, headers: Mapping[str, str], request: httpx.Request
) -> AttemptResult | None:
    """Read a reply that has arrived as a usual completion, as nearly all of a run do. None for any other.

    Arguments as for read_reply(), with a receiver that takes nothing.
    """
    body = None if response.status_code != 200 else whole_body(response, headers, request)
    if body is None or usual_form(body) is not _PIECE:
        return None
    try:
        value = loads_exact(body)
    except NotJSON:
        return None
    return _read_json(value, headers, request, body) if is_usual(value) else None


async def read_reply(
    response: httpx.Response, headers: Mapping[str, str], request: httpx.Request, receiver: Receiver
) -> AttemptResult:
    """Read the reply. The Failure is the input of the retry decision, None if no retry can help.

    headers have lower-case names. The caller closes the response. Never raises exceptions of httpx.
    """
    status = response.status_code
    body = None if status != 200 else whole_body(response, headers, request)
    if body is not None and usual_form(body) is _PIECE:
        return await _read_whole(headers, request, body, None, receiver)
    pieces = ReplyBody(response, headers, request)
    try:
        if not response.is_success:
            return read_error(status, headers, request, await _error_body(pieces))
        form, start, rest = await _read_start(pieces, headers)
        if form is BodyForm.STREAM:
            return await _read_stream(start, rest, receiver, request)
        return await _read_piece(headers, request, start, rest, receiver)
    except (httpx.HTTPError, httpx.InvalidURL) as error:
        return answer_from_error(error, request)
    finally:
        pieces.close()


async def _error_body(pieces: AsyncIterator[bytes]) -> bytes:
    """The start of the body of an error reply: the status matters more than its end."""
    body = bytearray()
    with suppress(httpx.HTTPError, httpx.InvalidURL):
        async for piece in pieces:
            body += piece
            if len(body) >= _ERROR_BYTES:
                break
    return bytes(body)


def _is_declared(headers: Mapping[str, str]) -> bool:
    """Return True if the Content-Type is that of an event stream."""
    return headers.get("content-type", "").lower().startswith("text/event-stream")


async def _read_start(
    pieces: AsyncIterator[bytes], headers: Mapping[str, str]
) -> tuple[BodyForm, bytes, AsyncIterator[bytes]]:
    """The form of the body, its bytes as far as they had to be read to tell, and the rest of them."""
    first = await anext(pieces, b"")
    if (form := usual_form(first)) is not None:
        return form, first, pieces
    detector = FormDetector(is_declared=_is_declared(headers))
    rest = pieces
    try:
        if (form := detector.feed(first)) is not None:
            return form, first, rest
        async for piece in pieces:
            if (form := detector.feed(piece)) is not None:
                return form, bytes(detector.start), rest
    except (httpx.HTTPError, httpx.InvalidURL) as error:
        rest = _broken_rest(error)
    return detector.end(), bytes(detector.start), rest


async def _broken_rest(error: Exception | None) -> AsyncIterator[bytes]:
    """The rest of a body that is read to its end, or to the error that ended it."""
    if error is not None:
        raise error
    return
    yield b""  # makes it a generator


async def _read_piece(
    headers: Mapping[str, str],
    request: httpx.Request,
    start: bytes,
    rest: AsyncIterator[bytes],
    receiver: Receiver,
) -> AttemptResult:
    """Read an answer in one piece, which begins with start."""
    body, broken = await collect(start, rest)
    return await _read_whole(headers, request, body, broken, receiver)


async def _read_whole(
    headers: Mapping[str, str],
    request: httpx.Request,
    body: bytes,
    broken: Exception | None,
    receiver: Receiver,
) -> AttemptResult:
    """Read an answer in one piece from all of its bytes. broken is the error that ended them, if any.

    An object that came whole is taken although the connection then broke: no prefix of one is an object.
    """
    try:
        value = loads_exact(body if body.startswith(b"{") else without_prefix(body))
    except NotJSON as error:
        if broken is None and (texts := texts_of(body)):
            return await _read_texts(texts, body, receiver, request)
        if begins_with_object_line(body):
            answer, failure = await _read_stream(body, _broken_rest(broken), receiver, request)
            return answer if answer.completion else answer._replace(body=body), failure
        if broken is not None or not body.strip():
            return _without_json(body, broken, request)
        if (refused := _refused_in_words(headers, request, body)) is not None:
            return refused
        fault, failure = not_json(body, error)
        return Answer(None, body, fault), failure
    if not is_usual(value):
        value, body = sole_completion(value, body)
        if (events := as_event_stream(value, body)) is not None:
            return await _read_stream(events, _broken_rest(None), receiver, request)
    if broken is not None and not isinstance(value, dict):
        return _without_json(body, broken, request)
    answer, failure = _read_json(value, headers, request, body)
    if receiver.takes == "bytes" and answer.fault is None and _is_declared(headers):
        receiver.raw(body)
    return answer, failure


async def _read_texts(
    texts: list[bytes], body: bytes, receiver: Receiver, request: httpx.Request
) -> AttemptResult:
    """Read a body of several JSON texts: the chunks of one answer, or more answers than one."""
    if (count := count_answers([loads_exact(text) for text in texts])) > 1:
        return Answer(None, body, _several_fault(count, body)), None
    events = b"".join(map(event_of, texts))
    answer, failure = await _read_stream(events, _broken_rest(None), receiver, request)
    return answer if answer.completion else answer._replace(body=body), failure


async def collect(start: bytes, rest: AsyncIterator[bytes]) -> tuple[bytes, Exception | None]:
    """The whole body, and the error that ended it, if any."""
    body = bytearray(start)
    try:
        async for piece in rest:
            body += piece
    except (httpx.HTTPError, httpx.InvalidURL) as error:
        return bytes(body), error
    return bytes(body), None


def _without_json(body: bytes, broken: Exception | None, request: httpx.Request) -> AttemptResult:
    """The answer if the connection broke before its end, or if it is empty."""
    if broken is None:
        return Answer(None, None, BrokenAnswer("the answer is empty", fix="try again")), FailedAttempt()
    answer, failure = answer_from_error(broken, request)
    return (answer._replace(body=body), None) if isinstance(broken, OverlongReply) else (answer, failure)


def not_json(body: bytes, error: NotJSON) -> tuple[BrokenAnswer, FailedAttempt | None]:
    """The fault of a body that came whole and is no JSON.

    JSON that was cut or garbled on its way may come whole the next time. A page or another text would come
    again.
    """
    from chatpipe.wire import refusals  # see read_error

    title = refusals.page_title(body)
    if title:
        what = f"the answer is a web page, '{shorten(title, 80)}'"
    else:
        what = f"the answer is not JSON ({error.what}): '{_excerpt(body)}'"
    if re.match(_JSON_START, without_prefix(body)):
        return BrokenAnswer(what, fix="try again", body=body), FailedAttempt()
    return BrokenAnswer(what, fix="check the base URL", body=body), None


def read_error(status: int, headers: Mapping[str, str], request: httpx.Request, body: bytes) -> AttemptResult:
    """An error reply, or an error inside one with status 200."""
    from chatpipe.wire import refusals  # its tables are needed after a failure only

    fault, failure = refusals.from_reply(status, headers, body, request)
    return Answer(None, None, fault), failure


def _refused_in_words(
    headers: Mapping[str, str], request: httpx.Request, body: bytes
) -> AttemptResult | None:
    """An error with status 200 that is only text. None if its words are not known to be those of an error."""
    from chatpipe.wire import refusals  # see read_error

    if refusals.error_in_words(body) is None:
        return None
    return read_error(200, headers, request, body)


def _read_json(
    value: Value, headers: Mapping[str, str], request: httpx.Request, body: bytes
) -> AttemptResult:
    """An answer in one piece, with HTTP 200. It may be an error all the same; OpenRouter sends some."""
    if not (isinstance(value, dict) and value.get("choices")) and error_of(value) is not None:
        return read_error(200, headers, request, body)
    if not isinstance(value, dict):
        if isinstance(value, str) and (refused := _refused_in_words(headers, request, body)) is not None:
            return refused
        if isinstance(value, list) and (count := count_answers(value)) > 1:
            return Answer(None, body, _several_fault(count, body)), None
        if (other := _other_fault(value)) is not None:
            return Answer(None, body, other), None
        what = f"the answer is not a JSON object: '{_excerpt(body)}'"
        return Answer(None, body, BrokenAnswer(what, fix="check the base URL", body=body)), None
    value, excess = within_limits(value, request.extensions.get(CHOICES, 1))
    if excess:
        return Answer(value, None, _excess_fault(excess, fix="check the base URL")), None
    hold_signals()  # see _read_stream
    return Answer(value, body), None


def _several_fault(count: int, body: bytes) -> BrokenAnswer:
    what = f"the reply has {count} answers where one was asked for"
    return BrokenAnswer(what, fix="chatpipe show writes each of them", body=body)


def _other_fault(value: Value) -> BrokenAnswer | None:
    """The fault for a reply that is no completion, if it is known what it is."""
    from chatpipe.response.other_json import other_json  # hardly any reply needs its table

    other = other_json(value)
    return None if other is None else BrokenAnswer(f"the reply is {other.what}", fix=other.fix)


def _excess_fault(excess: str, fix: str) -> ReplyTooLong:
    return ReplyTooLong(f"the answer was cut off: {excess}", fix=fix)


def _excerpt(body: bytes) -> str:
    return shorten(body[:400].decode("utf-8", "replace"), 80)


async def _read_stream(
    first: bytes, pieces: AsyncIterator[bytes], receiver: Receiver, request: httpx.Request
) -> AttemptResult:
    """Read a streamed answer and pass on each chunk at once.

    Reading stops at `[DONE]`, because a server may keep the connection open after it. A signal propagates
    with the part that came; once that is the whole answer, signals are held.
    """
    stream = StreamReader(receiver, request.extensions.get(CHOICES, 1))
    fault: ChatpipeError | None = None
    failure: FailedAttempt | None = FailedAttempt()
    try:
        data: bytes | None = first
        while data is not None and not stream.done:
            stream.feed(data)
            data = None if stream.done else await anext(pieces, None)
        stream.end()
        if stream.answer.error is not None:
            fault, failure = _event_fault(stream.answer.error, stream.error_payload, request)
        elif not stream.is_whole():
            fault, failure = _end_fault(stream)
        else:
            hold_signals()  # until it is written: see call.py
    except (httpx.HTTPError, httpx.InvalidURL) as error:
        stream.end()
        if not stream.is_whole():
            fault = _cut_fault(error)
            failure = None if isinstance(error, OverlongReply) else failure
    except BrokenAnswer as error:  # an event that is not a JSON object
        stream.answer.end()
        fault, failure = _broken_event_fault(error, request)
    except Interrupted as interruption:
        interruption.completion = stream.answer.assembly.completion()
        raise
    if excess := stream.answer.assembly.excess:
        fault, failure = _excess_fault(excess, fix="see what the server sends with -f sse"), None
    if fault is None and (flaw := stream.answer.flaw()):
        fault, failure = BrokenAnswer(flaw, fix="try again"), None
    completion = stream.answer.assembly.completion()
    return Answer(completion if completion["choices"] or fault is None else None, None, fault), failure


def _end_fault(stream: StreamReader) -> tuple[ChatpipeError, FailedAttempt | None]:
    """The fault for a stream that ended too early, or that is one of another API and has no choice."""
    completion = stream.answer.assembly.completion()
    if not completion["choices"] and (other := _other_fault(completion)) is not None:
        return other, None
    return BrokenAnswer(
        "the stream was cut: neither finish_reason nor [DONE]", fix="try again"
    ), FailedAttempt()


def _event_fault(
    error: ServerError, payload: bytes, request: httpx.Request
) -> tuple[ChatpipeError, FailedAttempt]:
    """The fault for an error event in the middle of a stream."""
    from chatpipe.wire import refusals  # see read_error

    return refusals.from_event(error, payload, request)


def _broken_event_fault(broken: BrokenAnswer, request: httpx.Request) -> tuple[ChatpipeError, FailedAttempt]:
    """The fault for an event that is not a JSON object. Gemini sends its errors in a list, others as text."""
    from chatpipe.wire import refusals  # see read_error

    payload = broken.body or b""
    try:
        error = error_of(loads(payload))
    except NotJSON:
        error = None
    error = error or refusals.error_in_words(payload)
    return (broken, FailedAttempt()) if error is None else _event_fault(error, payload, request)


def _cut_fault(error: Exception) -> ChatpipeError:
    from chatpipe.wire import faults  # see read_error

    return faults.from_cut_stream(error)


def answer_from_error(error: Exception, request: httpx.Request) -> AttemptResult:
    """The answer if no complete reply arrived."""
    from chatpipe.wire import faults  # see read_error

    fault = faults.from_exception(error, str(request.url), request.extensions)
    if not faults.is_transient(error):
        return Answer(None, None, fault), None
    lost_kept = request.extensions.get(LOST_KEPT, False)
    return Answer(None, None, fault), FailedAttempt(
        is_unreached=not fault.reached_server, has_lost_kept=lost_kept
    )
