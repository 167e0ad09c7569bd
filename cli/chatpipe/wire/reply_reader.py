"""HTTP reply -> Answer, passed on to a receiver as it arrives. No socket, no clock.

error status  -> a fault, and a FailedAttempt for the retry decision
event stream  -> chunks, each passed on at once, then assembled      stream_answer.py
anything else -> one JSON body                                       whole_answer.py
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from contextlib import suppress

import httpx

from chatpipe.inputs.values import NotJSON, loads_exact
from chatpipe.response.body_form import BodyForm, FormDetector, is_usual, usual_form
from chatpipe.response.stream_reader import MOST_IDLE_BYTES
from chatpipe.wire.answer import AttemptResult, Receiver, answer_from_error, answer_from_refusal
from chatpipe.wire.http1 import OverlongReply
from chatpipe.wire.reply_body import ReplyBody, arrived_body
from chatpipe.wire.stream_answer import broken_rest, read_stream
from chatpipe.wire.whole_answer import (
    WholeReply,
    collect_body,
    is_declared_stream,
    read_json,
    read_whole_answer,
)

# Far more than any error needs, and an endless one ends here.
_ERROR_BYTES = 1_000_000
_PIECE = BodyForm.PIECE  # a look-up of less for each reply: see OK in options/outcomes.py


def read_arrived(
    response: httpx.Response, headers: Mapping[str, str], request: httpx.Request
) -> AttemptResult | None:
    """Read a reply that has arrived as a usual completion, as nearly all of a run do. None for any other.

    Arguments as for read_reply(), with a receiver that takes nothing.
    """
    body = None if response.status_code != 200 else arrived_body(response, headers, request)
    if body is None or usual_form(body) is not _PIECE:
        return None
    try:
        value = loads_exact(body)
    except NotJSON:
        return None
    return read_json(value, headers, request, body) if is_usual(value) else None


async def read_reply(
    response: httpx.Response, headers: Mapping[str, str], request: httpx.Request, receiver: Receiver
) -> AttemptResult:
    """Read the reply. The FailedAttempt is for the retry decision, None if no retry can help.

    headers have lower-case names. The caller closes the response. Never raises exceptions of httpx.
    """
    status = response.status_code
    body = None if status != 200 else arrived_body(response, headers, request)
    if body is not None and usual_form(body) is _PIECE:
        return await read_whole_answer(WholeReply(headers, request, body), receiver)
    pieces = ReplyBody(response, headers, request)
    try:
        if not response.is_success:
            return answer_from_refusal(status, headers, request, await _error_body(pieces))
        form, start, rest = await _read_start(pieces, headers)
        if form is BodyForm.STREAM:
            return await read_stream(start, rest, receiver, request)
        body, broken = await collect_body(start, rest)
        return await read_whole_answer(WholeReply(headers, request, body, broken, status), receiver)
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


async def _read_start(
    pieces: AsyncIterator[bytes], headers: Mapping[str, str]
) -> tuple[BodyForm, bytes, AsyncIterator[bytes]]:
    """The form of the body, the bytes that were read to find it, and the rest of them."""
    first = await anext(pieces, b"")
    if (form := usual_form(first)) is not None:
        return form, first, pieces
    detector = FormDetector(is_declared=is_declared_stream(headers))
    rest = pieces
    try:
        if (form := detector.feed(first)) is not None:
            return form, first, rest
        async for piece in pieces:
            if (form := detector.feed(piece)) is not None:
                return form, bytes(detector.start), rest
            if detector.is_idle and len(detector.start) > MOST_IDLE_BYTES:
                raise OverlongReply("nothing but white space came")
    except (httpx.HTTPError, httpx.InvalidURL) as error:
        rest = broken_rest(error)
    return detector.end(), bytes(detector.start), rest
