"""A recorded reply in the form that is asked for: a stream as one completion, a completion as a stream."""

from __future__ import annotations

from collections.abc import Iterator

from chatpipe.errors import BrokenAnswer
from chatpipe.inputs import values
from chatpipe.inputs.values import NotJSON, Value, as_list
from chatpipe.recordings.exchange_record import ExchangeRecord, RecordedReply
from chatpipe.response.body_form import event_of
from chatpipe.response.stream_reader import StreamReader
from chatpipe.wire.answer import NullReceiver

_JSON, _EVENTS = "application/json", "text/event-stream; charset=utf-8"
# The first bytes of a stream of events, whatever the headers say.
EVENT_STARTS = (b"data:", b"event:", b":")
_DONE = b"data: [DONE]\n\n"


def reply_to(record: ExchangeRecord, body: Value) -> RecordedReply:
    """The recorded reply to a request with this body: as it came if the same form was asked for then."""
    return record.reply if _streams(record.request.body) == _streams(body) else as_asked(record.reply, body)


def as_asked(reply: RecordedReply, body: Value) -> RecordedReply:
    """The reply to a request with this body, whichever form was recorded.

    Refusals, and replies that are neither a completion nor a stream of one, stay as they are.
    """
    if reply.status != 200 or not isinstance(body, dict):
        return reply
    is_stream = reply.is_stream or reply.body.startswith(EVENT_STARTS)
    if _streams(body):
        options = body.get("stream_options")
        with_usage = isinstance(options, dict) and options.get("include_usage") is True
        return reply if is_stream or reply.failure else _as_stream(reply, with_usage=with_usage)
    return _as_completion(reply, body.get("n")) if is_stream else reply


def _streams(body: Value) -> bool:
    return isinstance(body, dict) and body.get("stream") is True


def _as_completion(reply: RecordedReply, choices: Value) -> RecordedReply:
    """A stream in one piece. One that was cut is a reply of which nothing came before the cut."""
    stream = StreamReader(NullReceiver(), choices if isinstance(choices, int) else 1)
    try:
        stream.feed(reply.body)
        stream.end()
    except BrokenAnswer:
        return reply
    if stream.answer.error is not None:
        data = stream.answer.error_payload
    elif stream.is_whole():
        data = values.dumps(stream.answer.assembly.completion())
    else:
        return _with_body(reply, b"")._replace(failure=reply.failure or "cut")
    return _with_body(reply, data)._replace(failure="", reason="")


def _as_stream(reply: RecordedReply, *, with_usage: bool) -> RecordedReply:
    try:
        completion = values.loads_exact(reply.body)
    except NotJSON:
        return reply
    if not isinstance(completion, dict) or not as_list(completion.get("choices")):
        return reply
    events = tuple((0, event) for event in _events(completion, with_usage=with_usage))
    return reply._replace(headers=_typed(reply, _EVENTS), pieces=events)


def _events(completion: dict[str, Value], *, with_usage: bool) -> Iterator[bytes]:
    """The events of a completion: one for each choice, then their ends, then the usage."""
    envelope = {name: value for name, value in completion.items() if name not in ("choices", "usage")}
    envelope["object"] = "chat.completion.chunk"
    usage: dict[str, Value] = {"usage": None} if with_usage else {}

    def event(choices: list[Value]) -> bytes:
        return event_of(values.dumps({**envelope, "choices": choices, **usage}))

    choices = [each for each in as_list(completion["choices"]) if isinstance(each, dict)]
    for at, choice in enumerate(choices):
        others = {name: value for name, value in choice.items() if name != "message"}
        delta = _delta_of(choice.get("message"))
        yield event([{"index": at, **others, "delta": delta, "finish_reason": None}])
    for at, choice in enumerate(choices):
        finish: dict[str, Value] = {
            "delta": {},
            "logprobs": None,
            "finish_reason": choice.get("finish_reason"),
        }
        yield event([{"index": choice.get("index", at), **finish}])
    if with_usage:
        usage["usage"] = completion.get("usage")
        yield event([])
    yield _DONE


def _delta_of(message: Value) -> Value:
    """The delta that makes a message: its tool calls are numbered there."""
    calls = as_list(message.get("tool_calls")) if isinstance(message, dict) else []
    if not calls:
        return message
    numbered = [{"index": at, **call} for at, call in enumerate(calls) if isinstance(call, dict)]
    return {**message, "tool_calls": numbered}


def _with_body(reply: RecordedReply, data: bytes) -> RecordedReply:
    return reply._replace(headers=_typed(reply, _JSON), pieces=((0, data),) if data else ())


def _typed(reply: RecordedReply, kind: str) -> tuple[tuple[str, str], ...]:
    """The headers of a reply with another content type."""
    others = [header for header in reply.headers if header[0] != "content-type"]
    return (("content-type", kind), *others)
