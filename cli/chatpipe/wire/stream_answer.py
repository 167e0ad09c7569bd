"""The body of a streamed answer -> its chunks, each passed on at once, and the Answer that they make."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Literal

import httpx

from chatpipe.errors import BrokenAnswer, ChatpipeError, Interrupted, ReplyTooLong, UnreadableReply
from chatpipe.inputs.values import NotJSON, Value, loads
from chatpipe.response.assemble import TOO_MANY_CALLS
from chatpipe.response.server_error import ServerError, error_of
from chatpipe.response.stream_reader import StreamReader
from chatpipe.server.request_extensions import CHOICES
from chatpipe.system.signals import hold_signals
from chatpipe.wire.answer import Answer, AttemptResult, Receiver
from chatpipe.wire.http1 import OverlongReply
from chatpipe.wire.retry import FailedAttempt

# The fault of a stream, and its failure for the retry decision. Neither for one that came whole.
_Ending = tuple[ChatpipeError | None, FailedAttempt | None]
_WHOLE: _Ending = (None, None)


async def read_stream(
    first: bytes, pieces: AsyncIterator[bytes], receiver: Receiver, request: httpx.Request
) -> AttemptResult:
    """Read a streamed answer and pass on each chunk at once. first are its bytes before those of pieces.

    A signal propagates with the part that came; once that is the whole answer, signals are held.
    """
    stream = StreamReader(receiver, request.extensions.get(CHOICES, 1))
    fault, failure = await _read_to_end(stream, first, pieces, request)
    assembly = stream.answer.assembly
    if assembly.excess:
        fault, failure = excess_fault(assembly.excess, form="sse"), None
    if fault is None and (flaw := stream.answer.flaw()):
        fault, failure = BrokenAnswer(flaw, fix="try again"), None
    completion = assembly.completion()
    return Answer(completion if completion["choices"] or fault is None else None, None, fault), failure


async def _read_to_end(
    stream: StreamReader, first: bytes, pieces: AsyncIterator[bytes], request: httpx.Request
) -> _Ending:
    """Read until `[DONE]`, because a server may keep the connection open after it, or until the body ends."""
    try:
        data: bytes | None = first
        while data is not None and not stream.done:
            stream.feed(data)
            data = None if stream.done else await anext(pieces, None)
        stream.end()
        if stream.answer.error is not None or not stream.is_whole():
            return _end_fault(stream, request)
        hold_signals()  # until it is written: see call.py
    except (httpx.HTTPError, httpx.InvalidURL) as error:
        stream.end()
        if not stream.is_whole():
            return _cut_fault(error, stream, request)
    except BrokenAnswer as error:  # an event that is not a JSON object
        stream.answer.end()
        return _broken_event_fault(error, request)
    except Interrupted as interruption:
        interruption.completion = stream.answer.assembly.completion()
        raise
    return _WHOLE


async def broken_rest(error: Exception | None) -> AsyncIterator[bytes]:
    """The rest of a body that is read to its end, or to the error that ended it."""
    if error is not None:
        raise error
    return
    yield b""  # makes it a generator


def _end_fault(stream: StreamReader, request: httpx.Request) -> tuple[ChatpipeError, FailedAttempt | None]:
    """The fault for a stream that ended too early, with an error, or with something else than an answer."""
    answer = stream.answer
    completion = answer.assembly.completion()
    has_choices = bool(completion["choices"])
    if not has_choices and (job := job_fault(completion)) is not None:
        return job, None
    if answer.error is not None:
        return _event_fault(answer.error, answer.error_payload, request)
    if not has_choices and (other := other_fault(completion)) is not None:
        return other, None
    return BrokenAnswer(
        "the stream was cut: neither finish_reason nor [DONE]", fix="try again"
    ), FailedAttempt()


def _event_fault(
    error: ServerError, payload: bytes, request: httpx.Request
) -> tuple[ChatpipeError, FailedAttempt]:
    """The fault for an error event in the middle of a stream."""
    from chatpipe.wire import refusals  # see answer_from_refusal

    return refusals.from_event(error, payload, request)


def _broken_event_fault(broken: BrokenAnswer, request: httpx.Request) -> tuple[ChatpipeError, FailedAttempt]:
    """The fault for an event that is not a JSON object. Gemini sends its errors in a list, others as text."""
    from chatpipe.wire import refusals  # see answer_from_refusal

    payload = broken.body or b""
    try:
        error = error_of(loads(payload))
    except NotJSON:
        error = None
    error = error or refusals.error_in_words(payload)
    return (broken, FailedAttempt()) if error is None else _event_fault(error, payload, request)


def _cut_fault(
    error: Exception, stream: StreamReader, request: httpx.Request
) -> tuple[ChatpipeError, FailedAttempt | None]:
    """The fault for a stream that error ended. A message before it may be known as that of a refusal."""
    from chatpipe.wire import faults  # see answer_from_refusal

    answer = stream.answer
    if answer.error is not None:
        refused = _event_fault(answer.error, answer.error_payload, request)
        if refused[0].refusal_status is not None:
            return refused
    return faults.from_cut_stream(error), None if isinstance(error, OverlongReply) else FailedAttempt()


def other_fault(value: Value) -> UnreadableReply | None:
    """The fault for a reply that is no completion, if it is known what it is."""
    from chatpipe.response.other_json import other_reply  # hardly any reply needs its table

    other = other_reply(value)
    return None if other is None else UnreadableReply(other.what, fix=other.fix)


def job_fault(value: Value) -> UnreadableReply | None:
    """The fault for a reply that is the state of a job, whose answer would come later. None for any other."""
    from chatpipe.response.other_json import JOB, other_json  # see other_fault

    return other_fault(value) if other_json(value) is JOB else None


def excess_fault(excess: str, form: Literal["sse", "json"]) -> ReplyTooLong:
    """The fault for an answer beyond a limit. form is the format that shows such an answer as it came."""
    is_of_model = excess == TOO_MANY_CALLS
    fix = "limit the answer with --max-tokens" if is_of_model else f"see what the server sends with -f {form}"
    return ReplyTooLong(f"the answer was cut off: {excess}", fix=fix)
