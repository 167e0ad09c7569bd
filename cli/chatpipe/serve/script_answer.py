"""The answer of a rule of a script: its words -> what to write, and the reply to a request. Pure."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any

from chatpipe.inputs import values
from chatpipe.inputs.values import Value
from chatpipe.local import model
from chatpipe.local.answer_writer import ModelCall, tokens_of
from chatpipe.local.chat_body import ChatBody
from chatpipe.local.model import GivenAnswer, Reply
from chatpipe.named_tuple import NamedTuple
from chatpipe.options.serve import FaultRule
from chatpipe.response.delays import parse_duration
from chatpipe.serve.fault_grammar import NoFault, parse_fault
from chatpipe.serve.reply_steps import TimedReply
from chatpipe.serve.router import json_reply
from chatpipe.serve.script_match import NoRule, shown_value, tried, unknown, whole_number

_ROOT = "/answer"
_LONGEST_S = 86_400.0
_FRAMING = ("content-length", "transfer-encoding", "connection", "keep-alive")
_HEADER = r"[!#$%&'*+.^_`|~0-9A-Za-z-]{1,100}"
_CONTENT = frozenset(
    {"content", "tool_calls", "refusal", "reasoning", "finish_reason", "usage", "model", "chunks"}
)
_KINDS = ("error", "events", "body", "echo")
_EVERYWHERE = frozenset({"delay", "chunk_delay", "headers", "fault"})
NAMES = _CONTENT | _EVERYWHERE | {*_KINDS, "status"}
_WITHOUT_BODY = (204, 205, 304)
# The parts of a reply that some words change. All other words have an effect on any reply.
_CHUNKS, _CHOICES, _CALLS = "chunks", "choices", "tool calls"
_CHANGED_BY = {
    "itl": _CHUNKS,
    "no-done": _CHUNKS,
    "comment": _CHUNKS,
    "length": _CHOICES,
    "filter": _CHOICES,
    "refuse": _CHOICES,
    "tool": _CALLS,
}
_ERROR_NAMES = frozenset({"status", "message", "type", "code", "param", "retry_after"})
_CALL_NAMES = frozenset({"name", "arguments", "input", "id"})
_TYPES = {
    400: "invalid_request_error",
    401: "invalid_request_error",
    403: "permission_error",
    429: "requests",
}

Headers = tuple[tuple[str, str], ...]


class GivenBody(NamedTuple):
    """An answer in one piece, or a refusal: its status and the value of its body."""

    status: int
    value: Value
    headers: Headers


class RuleAnswer(NamedTuple):
    """The answer of a rule. Of given, body and events one is there, or none for an echo.

    delay_s and chunk_delay_s are seconds, None for those of the server.
    """

    given: GivenAnswer | None = None
    body: GivenBody | None = None
    events: tuple[bytes, ...] | None = None
    headers: Headers = ()
    delay_s: float = 0.0
    chunk_delay_s: float | None = None
    faults: tuple[FaultRule, ...] = ()

    def reply_to(self, body: ChatBody) -> Reply:
        """The reply to a request for a completion, the body of which is JSON."""
        if self.body is not None:
            given = json_reply(self.body.status, self.body.value)
            reply = Reply(
                given.status, (*given.headers, *_request_id(body), *self.body.headers), given.pieces
            )
        elif self.events is not None:
            kind = ("content-type", "text/event-stream; charset=utf-8")
            reply = Reply(200, (kind, *_request_id(body)), self.events)
        else:
            reply = model.answer_chat(body, self.given)
        names = {name for name, _ in self.headers}
        kept = tuple(header for header in reply.headers if header[0] not in names)
        return TimedReply(
            reply.status,
            (*kept, *self.headers),
            reply.pieces,
            reply.usage,
            self.delay_s,
            self.chunk_delay_s,
            self.faults,
        )


def _request_id(body: ChatBody) -> Headers:
    return (("x-request-id", body.request_id),)


# A rule's words -> the answer. Each parser raises NoRule for the whole of its value, and adds what is wrong
# with its parts to faults.


def parse_answer(value: Value, faults: list[NoRule]) -> RuleAnswer:
    """The answer of a rule. What is wrong with its parts is added to faults. Raises NoRule for the whole."""
    fields = _object(_ROOT, "answer", value)
    strange = _strange(_ROOT, fields, NAMES, "a part of an answer")
    faults += strange
    kinds = [name for name in _KINDS if name in fields] + (["content"] if _CONTENT & fields.keys() else [])
    if len(kinds) > 1:
        raise NoRule(_ROOT, f"an answer has either '{kinds[0]}' or '{kinds[1]}'", "leave one of them out")
    if not kinds and not strange:  # a misspelt name may be the kind
        fix = 'add "content": TEXT, or "echo": true'
        raise NoRule(_ROOT, "there is nothing to answer", fix)
    if kinds != ["body"] and "status" in fields:
        fix = "leave it out: an error has it in its object, another answer has 200"
        faults.append(NoRule(f"{_ROOT}/status", "only 'body' has a 'status' beside it", fix))
    answer = tried(faults, _KIND_PARSERS[kinds[0]], fields, faults) if kinds else None
    chunk_delay = fields.get("chunk_delay", ...)
    answer = (answer or RuleAnswer())._replace(
        headers=tried(faults, _headers, fields.get("headers", {}), faults) or (),
        delay_s=tried(faults, _seconds, "delay", fields.get("delay", 0)) or 0.0,
        chunk_delay_s=None if chunk_delay is ... else tried(faults, _seconds, "chunk_delay", chunk_delay),
        faults=_faults(fields.get("fault", []), faults),
    )
    faults += _without_effect(kinds[0] if kinds else "", fields, answer.faults)
    return answer


def _without_effect(
    kind: str, fields: Mapping[str, Value], reply_faults: Iterable[FaultRule]
) -> Iterator[NoRule]:
    """The parts of an answer that change nothing in its reply."""
    if kind == "error":
        missing = {_CHUNKS, _CHOICES, _CALLS}
    elif kind == "body":
        missing = {_CHUNKS}
    else:
        missing = {_CALLS} if kind == "content" and not fields.get("tool_calls") else set()
    if "chunk_delay" in fields and _CHUNKS in missing:
        what = f"it has no effect: the reply of '{kind}' has no {_CHUNKS}"
        yield NoRule(f"{_ROOT}/chunk_delay", what, "leave it out, or use 'delay'")
    for fault in reply_faults:
        if (part := _CHANGED_BY.get(fault.kind)) in missing:
            what = f"'{fault.kind}' has no effect: the reply of '{kind}' has no {part}"
            yield NoRule(f"{_ROOT}/fault", what, "leave it out")


def _content(fields: Mapping[str, Value], faults: list[NoRule]) -> RuleAnswer:
    content = fields.get("content")
    names = ("refusal", "reasoning", "finish_reason", "model")
    texts = {name: tried(faults, _optional_text, fields, name) for name in names}
    if content is not None and texts["refusal"] is not None:
        what = "an answer has either 'content' or 'refusal'"
        raise NoRule(f"{_ROOT}/refusal", what, "leave one of them out")
    text = content if isinstance(content, str) or content is None else values.dumps(content).decode()
    calls = tried(faults, _calls, fields.get("tool_calls"), faults) or ()
    if text is None and not calls and texts["refusal"] is None:
        text = ""
    tokens = tried(faults, _tokens, text, fields.get("chunks"))
    usage = tried(faults, _usage, fields.get("usage"), faults)
    return RuleAnswer(given=GivenAnswer(tokens, calls, usage=usage, **texts))


def _tokens(text: str | None, chunks: Value) -> tuple[str, ...] | None:
    """The pieces of the content, as `chunks` cuts it: a number of characters, or the pieces themselves."""
    pointer = f"{_ROOT}/chunks"
    if chunks is not None and text is None:
        raise NoRule(pointer, "there is no content to cut", "leave it out")
    if text is None:
        return None
    if chunks is None:
        return tuple(tokens_of(text))
    if isinstance(chunks, list):
        if not all(isinstance(each, str) for each in chunks) or "".join(chunks) != text:
            raise NoRule(
                pointer, "the chunks are not the content", "cut the same text into an array of texts"
            )
        return tuple(chunks)
    size = whole_number(pointer, "chunks", chunks, 1)
    return tuple(text[at : at + size] for at in range(0, len(text), size))


def _calls(value: Value, faults: list[NoRule]) -> tuple[ModelCall, ...]:
    if value is None:
        return ()
    if not isinstance(value, list):
        raise NoRule(f"{_ROOT}/tool_calls", f"'tool_calls' is {shown_value(value)}, not an array")
    pointer = f"{_ROOT}/tool_calls"
    calls = [tried(faults, _call, f"{pointer}/{at}", each, faults) for at, each in enumerate(value)]
    return tuple(call for call in calls if call is not None)


def _call(pointer: str, value: Value, faults: list[NoRule]) -> ModelCall:
    fields = _object(pointer, "call", value)
    strange = _strange(pointer, fields, _CALL_NAMES, "a part of a call")
    faults += strange
    call_name, call_id = fields.get("name"), fields.get("id")
    if call_id is not None and not isinstance(call_id, str):
        faults.append(NoRule(f"{pointer}/id", f"'id' is {shown_value(call_id)}, not a text"))
    if "input" in fields and "arguments" in fields:
        faults.append(NoRule(pointer, "a call has either 'arguments' or 'input'", "leave one of them out"))
    if (not isinstance(call_name, str) or not call_name) and not strange:  # a misspelt one may be the name
        faults.append(NoRule(pointer, "a call has no name", 'add "name": NAME'))
    payload = fields.get("input", fields.get("arguments", {}))
    text = payload if isinstance(payload, str) else values.dumps(payload).decode()
    return ModelCall("custom" if "input" in fields else "function", str(call_name), text, call_id)


def _usage(value: Value, faults: list[NoRule]) -> Mapping[str, Value] | None:
    if value is None:
        return None
    usage = _object(f"{_ROOT}/usage", "usage", value)
    for name in ("prompt_tokens", "completion_tokens", "total_tokens"):
        if name in usage:
            tried(faults, whole_number, f"{_ROOT}/usage/{name}", name, usage[name], 0)
    return usage


def _error(fields: Mapping[str, Value], faults: list[NoRule]) -> RuleAnswer:
    pointer = f"{_ROOT}/error"
    error = _object(pointer, "error", fields["error"])
    faults += _strange(pointer, error, _ERROR_NAMES, "a part of an error")
    status = tried(faults, _error_status, f"{pointer}/status", error.get("status", 500)) or 500
    type_ = _TYPES.get(status, "server_error" if status >= 500 else "invalid_request_error")
    value = {
        "message": error.get("message", f"This error is that of a script: status {status}"),
        "type": error.get("type", type_),
        "param": error.get("param"),
        "code": error.get("code"),
    }
    waits: Headers = ()
    if "retry_after" in error:
        seconds = tried(faults, _seconds, "error/retry_after", error["retry_after"]) or 0.0
        waits = (("retry-after", str(math.ceil(seconds))),)
        if seconds % 1:
            waits += (("retry-after-ms", str(math.ceil(seconds * 1000))),)
    return RuleAnswer(body=GivenBody(status, {"error": value}, waits))


def _error_status(pointer: str, value: Value) -> int:
    if not isinstance(value, int) or isinstance(value, bool) or not 400 <= value <= 599:
        raise NoRule(pointer, f"{shown_value(value)} is not the status of an error", "use 400 to 599")
    return value


def _strange(pointer: str, fields: Mapping[str, Value], known: frozenset[str], kind: str) -> list[NoRule]:
    """The faults of the names that are not known."""
    return [unknown(f"{pointer}/{name}", name, known, kind) for name in fields if name not in known]


def _events(fields: Mapping[str, Value], _: list[NoRule]) -> RuleAnswer:
    """The events of a stream as they are: a text is the data of one, any other value is its JSON."""
    events = fields["events"]
    if not isinstance(events, list) or not events:
        raise NoRule(f"{_ROOT}/events", "'events' is not an array with events")
    data = [each if isinstance(each, str) else values.dumps(each).decode() for each in events]
    lines = ("".join(f"data: {line}\n" for line in re.split("\r\n|\r|\n", text)) for text in data)
    return RuleAnswer(events=tuple(f"{each}\n".encode("utf-8", "surrogatepass") for each in lines))


def _body(fields: Mapping[str, Value], faults: list[NoRule]) -> RuleAnswer:
    """The body of an answer that is not a stream, as it is."""
    value = _object(f"{_ROOT}/body", "body", fields["body"])
    status = tried(faults, _body_status, f"{_ROOT}/status", fields.get("status", 200)) or 200
    return RuleAnswer(body=GivenBody(status, value, ()))


def _body_status(pointer: str, value: Value) -> int:
    if not isinstance(value, int) or isinstance(value, bool) or not 200 <= value <= 599:
        raise NoRule(pointer, f"{shown_value(value)} is not the status of a reply", "use 200 to 599")
    if value in _WITHOUT_BODY:
        raise NoRule(pointer, f"a reply with the status {value} has no body", "use another one")
    return value


def _echo(fields: Mapping[str, Value], _: list[NoRule]) -> RuleAnswer:
    if fields["echo"] is not True:
        raise NoRule(f"{_ROOT}/echo", f"'echo' is {shown_value(fields['echo'])}, not true")
    return RuleAnswer()


_KIND_PARSERS: Mapping[str, Callable[[Mapping[str, Value], list[NoRule]], RuleAnswer]] = {
    "content": _content,
    "error": _error,
    "events": _events,
    "body": _body,
    "echo": _echo,
}


def _headers(value: Value, faults: list[NoRule]) -> Headers:
    headers = _object(f"{_ROOT}/headers", "headers", value)
    found = [tried(faults, _header, name, given) for name, given in headers.items()]
    return tuple(header for header in found if header is not None)


def _header(name: str, value: Value) -> tuple[str, str]:
    pointer = f"{_ROOT}/headers/{name}"
    text = str(value) if isinstance(value, int) and not isinstance(value, bool) else value
    if not re.fullmatch(_HEADER, name):
        raise NoRule(pointer, f"'{name}' is not the name of a header")
    if isinstance(text, float):
        raise NoRule(
            pointer,
            f"'{name}' is the number {shown_value(value)}",
            f'write it as a text: "{shown_value(value)}"',
        )
    if not isinstance(text, str) or not re.fullmatch("[ -~]*", text):
        raise NoRule(pointer, f"'{name}' is {shown_value(value)}, not a text in ASCII or a whole number")
    if name.lower() in _FRAMING:
        raise NoRule(pointer, f"'{name}' is written by the server", "leave it out, or use a fault")
    return name.lower(), text


def _seconds(name: str, value: Value) -> float:
    """Seconds: a number of them, or a text such as `50ms`."""
    text = str(value) if isinstance(value, int | float) and not isinstance(value, bool) else value
    seconds = parse_duration(text) if isinstance(text, str) else None
    if seconds is None or seconds > _LONGEST_S:
        raise NoRule(f"{_ROOT}/{name}", f"'{value}' is not a time such as 50ms, of at most a day")
    return seconds


def _faults(value: Value, faults: list[NoRule]) -> tuple[FaultRule, ...]:
    pointer = f"{_ROOT}/fault"
    listed = isinstance(value, list)
    texts = [(f"{pointer}/{at}", each) for at, each in enumerate(value)] if listed else [(pointer, value)]
    found = [tried(faults, _fault, place, text) for place, text in texts]
    return tuple(fault for fault in found if fault is not None)


def _fault(pointer: str, text: Value) -> FaultRule:
    if not isinstance(text, str):
        raise NoRule(pointer, f"'{text}' is not a text")
    if ":" in text:
        raise NoRule(pointer, f"'{text}' has a condition, and those of a rule are in its 'match'")
    try:
        fault = parse_fault(text)
    except NoFault as error:
        raise NoRule(pointer, str(error)) from error
    if fault.place != "chat":
        raise NoRule(pointer, f"'{text}' is not a fault of an answer")
    return fault


def _optional_text(fields: Mapping[str, Value], name: str) -> str | None:
    text = fields.get(name)
    if text is not None and not isinstance(text, str):
        raise NoRule(f"{_ROOT}/{name}", f"'{name}' is {shown_value(text)}, not a text")
    return text


def _object(pointer: str, name: str, value: Value) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise NoRule(pointer, f"'{name}' is {shown_value(value)}, not an object")
    return value
