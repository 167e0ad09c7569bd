"""A body that came in one piece -> Answer: a completion, chunks without the form of a stream, or a fault."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator, Mapping

import httpx

from chatpipe.errors import BrokenAnswer, UnreadableReply
from chatpipe.inputs.values import NotJSON, Value, loads_exact
from chatpipe.named_tuple import NamedTuple
from chatpipe.response.assemble import within_limits
from chatpipe.response.body_form import (
    as_event_stream,
    begins_with_object_line,
    count_answers,
    event_of,
    is_usual,
    sole_completion,
    texts_of,
    without_prefix,
)
from chatpipe.response.server_error import error_of
from chatpipe.server.request_extensions import CHOICES
from chatpipe.system.escape import shorten
from chatpipe.system.signals import hold_signals
from chatpipe.wire.answer import (
    Answer,
    AttemptResult,
    Receiver,
    answer_from_error,
    answer_from_refusal,
)
from chatpipe.wire.http1 import OverlongReply
from chatpipe.wire.retry import FailedAttempt
from chatpipe.wire.stream_answer import broken_rest, excess_fault, job_fault, other_fault, read_stream

# An object, or an array of objects.
_JSON_START = rb"\{|\[\s*\{"
# The status of a reply that is sent before the work is done, as by NVIDIA's functions. Its body may be empty.
_ACCEPTED = 202
# Of a page or another text, which may have no end. Its error is at the beginning.
_TEXT_BYTES = 1_000_000


class WholeReply(NamedTuple):
    """All bytes of a reply with a status of success. broken is the error that ended them, if any."""

    headers: Mapping[str, str]
    request: httpx.Request
    body: bytes
    broken: Exception | None = None
    status: int = 200


async def read_whole_answer(reply: WholeReply, receiver: Receiver) -> AttemptResult:
    """Read an answer in one piece.

    An object that came whole is taken although the connection then broke: no prefix of one is an object.
    """
    body = reply.body
    if reply.status == _ACCEPTED and b'"choices"' not in body:
        return Answer(None, body or None, job_fault({"status": "accepted"})), None
    try:
        value = loads_exact(body if body.startswith(b"{") else without_prefix(body))
    except NotJSON as error:
        return await _read_text(reply, error, receiver)
    if not is_usual(value):
        value, body = sole_completion(value, body)
        if (events := as_event_stream(value, body)) is not None:
            return await read_stream(events, broken_rest(None), receiver, reply.request)
    if reply.broken is not None and not isinstance(value, dict):
        return _without_json(reply)
    answer, failure = read_json(value, reply.headers, reply.request, body)
    if receiver.takes == "bytes" and answer.fault is None and is_declared_stream(reply.headers):
        receiver.raw(body)
    return answer, failure


async def _read_text(reply: WholeReply, error: NotJSON, receiver: Receiver) -> AttemptResult:
    """Read a body that is not one JSON value: several of them, a stream after all, an error in words."""
    body = reply.body
    if reply.broken is None and (texts := texts_of(body)):
        if (count := count_answers([loads_exact(text) for text in texts])) > 1:
            return Answer(None, body, _several_fault(count, body)), None
        return await _read_as_stream(b"".join(map(event_of, texts)), reply, receiver)
    if begins_with_object_line(body):
        return await _read_as_stream(body, reply, receiver)
    if reply.broken is not None or not body.strip():
        return _without_json(reply)
    if (refused := _refused_in_words(reply.headers, reply.request, body)) is not None:
        return refused
    fault, failure = not_json_answer(body, error)
    return Answer(None, body, fault), failure


async def _read_as_stream(events: bytes, reply: WholeReply, receiver: Receiver) -> AttemptResult:
    """Read a body that has the events of a stream. Without an answer in them its bytes are kept."""
    answer, failure = await read_stream(events, broken_rest(reply.broken), receiver, reply.request)
    return answer if answer.completion else answer._replace(body=reply.body), failure


def _without_json(reply: WholeReply) -> AttemptResult:
    """The answer if the connection broke before its end, or if it is empty."""
    if reply.broken is None:
        return Answer(None, None, BrokenAnswer("the answer is empty", fix="try again")), FailedAttempt()
    answer, failure = answer_from_error(reply.broken, reply.request)
    if isinstance(reply.broken, OverlongReply):
        return answer._replace(body=reply.body), None
    return answer, failure


def not_json_answer(body: bytes, error: NotJSON) -> tuple[BrokenAnswer, FailedAttempt | None]:
    """The fault of a body that came whole and is no JSON.

    JSON that was cut or garbled on its way may come whole the next time. A page or another text would come
    again.
    """
    from chatpipe.wire import refusals  # see answer_from_refusal

    title = refusals.page_title(body)
    if title:
        what = f"the answer is a web page, '{shorten(title, 80)}'"
    else:
        what = f"the answer is not JSON ({error.what}): '{_excerpt(body)}'"
    if re.match(_JSON_START, without_prefix(body)):
        return BrokenAnswer(what, fix="try again", body=body), FailedAttempt()
    return UnreadableReply(what, fix="check the base URL", body=body), None


def _refused_in_words(
    headers: Mapping[str, str], request: httpx.Request, body: bytes
) -> AttemptResult | None:
    """An error with status 200 that is only text. None if its words are not known to be those of an error."""
    from chatpipe.wire import refusals  # see answer_from_refusal

    if refusals.error_in_words(body) is None:
        return None
    return answer_from_refusal(200, headers, request, body)


def read_json(value: Value, headers: Mapping[str, str], request: httpx.Request, body: bytes) -> AttemptResult:
    """An answer in one piece, with HTTP 200. It may be an error all the same; OpenRouter sends some."""
    if not (isinstance(value, dict) and value.get("choices")):
        if (job := job_fault(value)) is not None:
            return Answer(None, body, job), None
        if error_of(value) is not None:
            return answer_from_refusal(200, headers, request, body)
    if not isinstance(value, dict):
        return _read_other_value(value, headers, request, body)
    value, excess = within_limits(value, request.extensions.get(CHOICES, 1))
    if excess:
        return Answer(value, None, excess_fault(excess, form="json")), None
    hold_signals()  # until it is written: see call.py
    return Answer(value, body), None


def _read_other_value(
    value: Value, headers: Mapping[str, str], request: httpx.Request, body: bytes
) -> AttemptResult:
    """The answer for JSON that is no object."""
    if isinstance(value, str) and (refused := _refused_in_words(headers, request, body)) is not None:
        return refused
    if isinstance(value, list) and (count := count_answers(value)) > 1:
        return Answer(None, body, _several_fault(count, body)), None
    if (other := other_fault(value)) is not None:
        return Answer(None, body, other), None
    what = f"the answer is not a JSON object: '{_excerpt(body)}'"
    return Answer(None, body, UnreadableReply(what, fix="check the base URL", body=body)), None


def _several_fault(count: int, body: bytes) -> BrokenAnswer:
    what = f"the reply has {count} answers where one was asked for"
    return BrokenAnswer(what, fix="chatpipe show writes each of them", body=body)


def _excerpt(body: bytes) -> str:
    return shorten(body[:400].decode("utf-8", "replace"), 80)


async def collect_body(start: bytes, rest: AsyncIterator[bytes]) -> tuple[bytes, Exception | None]:
    """The whole body, and the error that ended it, if any. A text that is no JSON is not read to its end."""
    body = bytearray(start)
    is_text: bool | None = None
    try:
        async for piece in rest:
            body += piece
            if is_text is None and len(body) > _TEXT_BYTES:
                is_text = not without_prefix(bytes(body)).startswith((b"{", b"["))
            if is_text:
                break
    except (httpx.HTTPError, httpx.InvalidURL) as error:
        return bytes(body), error
    return bytes(body), None


def is_declared_stream(headers: Mapping[str, str]) -> bool:
    """Return True if the Content-Type is that of an event stream."""
    return headers.get("content-type", "").lower().startswith("text/event-stream")
