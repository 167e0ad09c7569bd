"""Any JSON value from a server -> the error inside it, if there is one.

Replies with an error status, errors inside HTTP 200 and events of a stream are all read here.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping

from chatpipe.inputs import values
from chatpipe.inputs.values import Value, as_object, objects_in
from chatpipe.named_tuple import NamedTuple

# In the usual spelling, see _usual_names().
_MESSAGE_FIELDS = (
    *("message", "error_message", "error_msg", "err_msg", "status_msg", "error_description"),
    *("detail", "details", "msg", "description", "reason", "title"),
)
# A message under one of these is an error even without a code or a type beside it.
_PLAIN_MESSAGE_FIELDS = ("message", "error_message", "error_msg", "err_msg")
_CODE_FIELDS = ("code", "error_code", "status_code", "err_code", "err_no")
_TYPE_FIELDS = ("type", "error_type", "status", "reason")
_STATUS_FIELDS = (*_CODE_FIELDS, "status", "http_status", "http_code")
# Their unit is in the name; without one it is a second.
_DELAY_FIELDS_S = ("retry_after", "retry_after_seconds", "retry_delay", "estimated_time")
_DELAY_FIELDS_MS = ("retry_after_ms", "retry_after_milliseconds")
# Objects that some servers put around everything. The last one is a failed event of the Responses API.
ENVELOPES = ("data", "result", "body", "output", "response")
_USUAL_NAMES = {
    name.replace("_", ""): name
    for name in (
        *("error", "errors", *_MESSAGE_FIELDS, *_TYPE_FIELDS, *_STATUS_FIELDS),
        *(*_DELAY_FIELDS_S, *_DELAY_FIELDS_MS, *ENVELOPES, "metadata", "param", "object"),
    )
} | {"fault": "error", "faultstring": "message"}  # Apigee
# Codes and texts that report no error. MiniMax and others put one beside every answer.
_SUCCESS_WORDS = frozenset({"0", "200", "201", "202", "ok", "success", "none", "null"})
# The type or the state of a notice, in these fields and without "_", "-" and blanks. Gateways send some while
# they wait for a machine or for the model.
_KIND_FIELDS = ("type", "error_type", "status", "reason", "event", "level", "state", "phase")
_NOTICE_KINDS = (
    r"ping|pong|heartbeat|keepalive|status|info|debug|log|notice|notification|message|event|200|ok|success"
    r"|queued?|queueing|pending|wait(?:ing)?|accepted|created|scheduled|submitted|processing|(?:in)?progress"
    r"|running|active|start(?:ed|ing)|thinking|(?:model)?loading(?:model)?|initializing|warm(?:ing)?up|coldstart"
)
# `type` of the wrapper, not of the error.
_WRAPPER_TYPES = frozenset({"error"})
_STATUS = r"(?:(?:http|status|code|error)[ _:-]*)*([45]\d\d)(?:\.0)?(?![\w.])"
# A status in a message, as OpenAI's SDK, axios, requests and httpx word it and proxies repeat it.
_STATUS_IN_WORDS = (
    r"\s*(?:error code|(?:http|api)(?:/[\d.]+)?(?: error| status)?)[ :-]+([45]\d\d)\b|\s*([45]\d\d)\s*$"
    r"|.{0,80}?\bstatus(?: code)?[ :=]+([45]\d\d)\b"
    r"|.{0,80}?\b([45]\d\d)[ :-]+(?:client error|server error|bad request|unauthorized|payment required"
    r"|forbidden|not found|request time-?out|too many requests|internal server error|bad gateway"
    r"|service (?:temporarily )?unavailable|gateway time-?out)\b"
)
_MAX_DEPTH = 6  # errors in errors; a gateway of a gateway needs three
_MAX_SEARCHED_CHARS = 20_000  # of a message that may have JSON in it


class ServerError(NamedTuple):
    """An error as a server reports it. Servers disagree on code: 429, "429", "rate_limit_exceeded".

    codes are all the words by which programs tell errors apart, those of an error that a gateway
    wrapped included; MiniMax's numbers are among them as "base_resp:1002". status is the HTTP status
    inside the error. delay_s is the delay that the server asks for, and headers are those that a
    gateway quotes (lower case).
    """

    message: str
    type: str | None = None
    code: str | int | None = None
    param: str | None = None
    status: int | None = None
    codes: frozenset[str] = frozenset()
    delay_s: float | None = None
    headers: Mapping[str, str] | None = None


def error_of(value: Value) -> ServerError | None:
    """The error inside a chunk, a completion or an error body; None if there is none. Never raises.

        {"error": {...}}                       with or without choices next to it (OpenRouter sends both)
        {"error": "text"}                      its code and type may stand beside it (TGI, xAI)
        {"detail": ...}                        FastAPI: text, or a list of {"msg", "loc"}
        {"errors": [...]}
        {"message": ..., "code": ...}          the error itself, also as error_message, error_code, msg
        {"base_resp": {"status_code": 1002}}   MiniMax
        {"x_groq": {"error": "text"}}          Groq, in a chunk of a stream that it stops
        [{...}]                                any of these as the only item of a list (Gemini)
        {"data": {...}}                        any of these in an object around everything

    Names are compared without case, "_", "-" and blanks. An error that says nothing, or that all went well,
    is none: null, {}, "", {"message": ""}, code 0.
    """
    if type(value) is list and len(value) == 1:
        value = value[0]
    if type(value) is not dict:
        return None
    if value.get("choices") is not None and not may_have_error(value):
        return None  # nearly all
    found = _marked_error(value)
    if found is not None or value.get("choices") is not None:
        return found
    return _error_alone(_usual_names(value))


def may_have_error(value: Mapping[str, Value]) -> bool:
    """Return False for an object with choices in which error_of() finds nothing: nearly every chunk."""
    return "error" in value or "base_resp" in value or "x_groq" in value


def is_notice(value: Mapping[str, Value], *, in_answer: bool) -> bool:
    """Return True for an object of a stream that is a notice: no part of the answer, and no error.

    It has a message or a word for its kind, and nothing that calls it an error: `{"message": "queue position
    3"}`, `{"status": "queued"}`. Some servers report errors as a message alone, so after the first part of an
    answer (in_answer) a word such as `"type": "ping"` has to stand there. error_of() reads the message of a
    notice as an error.
    """
    if value.get("choices") is not None:
        return False
    usual = _usual_names(dict(value))
    marks = (*map(usual.get, ("error", "errors", "detail", *_CODE_FIELDS)), usual.get("object") == "error")
    kinds = [_squeezed(kind) for kind in map(usual.get, _KIND_FIELDS) if kind]
    if any(marks) or not all(re.fullmatch(_NOTICE_KINDS, kind) for kind in kinds):
        return False
    return bool(kinds) or (not in_answer and _is_words(usual.get("message")))


def _marked_error(value: dict[str, Value]) -> ServerError | None:
    """The error that an object names as one, which it may do beside an answer."""
    error = value.get("error")
    if error and not _is_empty(error, beside_choices=bool(value.get("choices"))):
        return _read_error(error, value, 0)
    base = value.get("base_resp")
    if type(base) is dict and not _is_empty(base, beside_choices=True):
        return _minimax_error(base)
    stopped = as_object(value.get("x_groq")).get("error")
    return _read_error(stopped, {}, 0) if stopped else None


def _error_alone(value: dict[str, Value]) -> ServerError | None:
    """The error in an object without choices, whose names are the usual ones."""
    if (found := _marked_error(value)) is not None:
        return found
    if value.get("detail") or value.get("errors") or _is_flat(value):
        return _read_error(value, {}, 0)
    for envelope in ENVELOPES:
        inner = _usual_names(as_object(value.get(envelope)))
        if inner.get("choices") is None and (inner.get("error") or any(map(inner.get, _CODE_FIELDS))):
            found = _marked_error(inner) or (_read_error(inner, {}, 0) if _is_flat(inner) else None)
            if found is not None:
                return found
    return None


def _usual_names(value: dict[str, Value]) -> dict[str, Value]:
    """The object with its fields in the spelling of the tables above: errorMsg is error_msg."""
    usual: dict[str, Value] = {}
    for name, field in value.items():
        known = _USUAL_NAMES.get(_squeezed(name), name)
        usual[name if known in value else known] = field
    return usual


def _squeezed(name: Value) -> str:
    return str(name).lower().replace("_", "").replace("-", "").replace(" ", "")


def _is_empty(error: Value, *, beside_choices: bool) -> bool:
    """Return True if an error says nothing. Beside choices, a code of success is enough."""
    if type(error) is list:
        return all(not item or (type(item) is dict and not any(item.values())) for item in error)
    if type(error) is str:
        return not error.strip() or (beside_choices and error.strip().lower() in _SUCCESS_WORDS)
    if type(error) is not dict:
        return not error
    error = _usual_names(error)
    codes = [_text(error[name]).lower() for name in _STATUS_FIELDS if name in error]
    if any(code in _SUCCESS_WORDS for code in codes):
        return beside_choices or not any(error.get(name) for name in _MESSAGE_FIELDS)
    return not any(error.values())


def _is_flat(value: dict[str, Value]) -> bool:
    """Return True if the value is an error without a wrapper."""
    codes = [_text(value[name]).lower() for name in _CODE_FIELDS if value.get(name) not in (None, "")]
    if any(code in _SUCCESS_WORDS for code in codes):
        return False
    if value.get("object") == "error" or any(_is_words(value.get(name)) for name in _PLAIN_MESSAGE_FIELDS):
        return True
    is_marked = bool(codes) or _first_status([value.get("status")]) is not None
    return is_marked and any(_is_words(value.get(name)) for name in _MESSAGE_FIELDS)


def _is_words(value: Value) -> bool:
    return type(value) is str and value.strip() != ""


def _minimax_error(base: dict[str, Value]) -> ServerError:
    code = base.get("status_code")
    message = base.get("status_msg")
    return ServerError(
        message if type(message) is str and message else values.dumps(base).decode(),
        code=code if type(code) in (str, int) else None,
        codes=frozenset({f"base_resp:{_text(code)}"}),
    )


def _read_error(error: Value, outer: dict[str, Value], depth: int) -> ServerError:
    """Read the value of `error`. outer is the object around it, which may hold what it lacks."""
    if type(error) is list and len(error) == 1 and depth < _MAX_DEPTH:
        return _read_error(error[0], outer, depth + 1)
    if type(error) is str:
        return _read_text_error(error, outer, depth)
    if type(error) is not dict:
        return _read_flag(error, outer, depth)
    error, outer = _usual_names(error), _usual_names(outer)
    inner = _wrapped(error, depth)
    metadata = as_object(error.get("metadata"))
    fields = _fields(error, outer, metadata)
    read = ServerError(
        message=_message_of(error, metadata, inner),
        type=_first_text(fields, "type"),
        code=next((code for code in fields["code"] if type(code) in (str, int)), None),
        param=error["param"] if type(error.get("param")) is str else None,
        status=_first_status(fields["status"]) or _status_in_words(error),
        codes=frozenset(_codes(fields, error)),
        delay_s=_delay_of(error, metadata, outer),
        headers=_quoted_headers(metadata),
    )
    return read if inner is None else _merge(read, inner)


def _read_flag(error: Value, outer: dict[str, Value], depth: int) -> ServerError:
    """Read an error that is true, a number or a list. A sentence beside it says what it is about."""
    beside = {name: field for name, field in _usual_names(outer).items() if name != "error"}
    status = error if type(error) is int and 400 <= error < 600 else None
    if type(error) is not list and any(_is_words(beside.get(name)) for name in _MESSAGE_FIELDS):
        read = _read_error(beside, {}, depth)
        return read._replace(status=read.status or status)
    return ServerError(_message(error), status=status)


def _read_text_error(text: str, outer: dict[str, Value], depth: int) -> ServerError:
    """Read an error that is text. A sentence beside it is the message, and the text is then its type."""
    outer = _usual_names(outer)
    beside = {name: field for name, field in outer.items() if name not in ("error", "object")}
    sentence = next((beside[name] for name in _MESSAGE_FIELDS if _is_words(beside.get(name))), None)
    if sentence is not None:
        return _read_error({"message": sentence, "error_type": text, **beside}, {}, depth)
    return _read_error({**beside, "message": text}, {}, depth)


def _wrapped(error: dict[str, Value], depth: int) -> ServerError | None:
    """The error inside an error: a nested object, JSON text in a message, or what OpenRouter quotes."""
    if depth >= _MAX_DEPTH:
        return None
    nested = error.get("error") or error.get("errors")
    if nested and not _is_empty(nested, beside_choices=False):
        return _read_error(nested[0] if type(nested) is list else nested, {}, depth + 1)
    quoted = as_object(error.get("metadata")).get("raw")
    for text in (quoted, error.get("message"), error.get("detail")):
        if type(text) is dict and ("message" in text or "error" in text):
            return _read_error(text, {}, depth + 1)
        if (inner := _error_in_text(text)) is not None:
            return inner
    return ServerError(str(quoted)) if _is_words(quoted) else None


def _error_in_text(text: Value) -> ServerError | None:
    """The error in a JSON object that ends a text. Its message begins with the words before it."""
    if type(text) is not str or len(text) > _MAX_SEARCHED_CHARS or not text.rstrip().endswith(("}", "]")):
        return None
    start = text.find("{")
    if start < 0:
        return None
    start -= text[:start].endswith("[")
    try:
        inner = error_of(values.loads(text[start:].encode("utf-8", "surrogatepass")))
    except values.NotJSON:
        return None
    return None if inner is None else inner._replace(message=text[:start] + inner.message)


def _merge(outer: ServerError, inner: ServerError) -> ServerError:
    """An error that a gateway wrapped: what the gateway says, completed by what it quotes."""
    return outer._replace(
        type=outer.type or inner.type,
        code=inner.code if outer.code is None else outer.code,
        status=outer.status or inner.status,
        codes=outer.codes | inner.codes,
        delay_s=outer.delay_s or inner.delay_s,
        headers=outer.headers or inner.headers,
    )


def _message_of(error: dict[str, Value], metadata: dict[str, Value], inner: ServerError | None) -> str:
    """The words of an error, with those of the error inside it and the reasons of a moderation."""
    own = next((error[name] for name in _MESSAGE_FIELDS if error.get(name)), None)
    if inner is None:
        return _with_reasons(_message(error if own is None else own), metadata)
    if not _is_words(own) or _error_in_text(own) is not None:
        return inner.message
    words = str(own)
    return words if inner.message in words else f"{words}: {inner.message}"


def _with_reasons(message: str, metadata: dict[str, Value]) -> str:
    reasons = metadata.get("reasons")  # OpenRouter, for a moderation
    if type(reasons) is not list or not reasons:
        return message
    return f"{message} ({', '.join(_message(reason) for reason in reasons)})"


def _fields(
    error: dict[str, Value], outer: dict[str, Value], metadata: dict[str, Value]
) -> dict[str, list[Value]]:
    """The candidates for code, type and status, the best first."""
    kinds = [error.get(name) for name in _TYPE_FIELDS]
    return {
        "code": [error.get(name) for name in _CODE_FIELDS] + [outer.get(name) for name in _CODE_FIELDS],
        "type": [kinds[0], metadata.get("error_type"), *kinds[1:], outer.get("error_type")],
        "status": [error.get(name) for name in _STATUS_FIELDS]
        + [error.get("type"), metadata.get("code"), *(outer.get(name) for name in _STATUS_FIELDS)],
    }


def _first_text(fields: dict[str, list[Value]], name: str) -> str | None:
    texts = (text for text in fields[name] if type(text) is str and text not in _WRAPPER_TYPES)
    return next((text for text in texts if text and not text.isdecimal()), None)


def _first_status(candidates: Iterable[Value]) -> int | None:
    """The first HTTP status of an error: 429, 429.0, "429", "HTTP_429", "429 Too Many Requests"."""
    for candidate in candidates:
        if candidate and (found := re.match(_STATUS, _text(candidate), re.IGNORECASE | re.ASCII)):
            return int(found[1])
    return None


def _status_in_words(error: dict[str, Value]) -> int | None:
    """The HTTP status that the message of an error names."""
    message = next((error[name] for name in _MESSAGE_FIELDS if _is_words(error.get(name))), "")
    found = re.match(_STATUS_IN_WORDS, str(message), re.IGNORECASE | re.ASCII)
    return None if found is None else int(next(filter(None, found.groups())))


def _codes(fields: dict[str, list[Value]], error: dict[str, Value]) -> Iterator[str]:
    """All codes of an error as text, and the reasons of Google, Azure and Apigee.

    Numbers are Zhipu's from 1100 on; a lower one may be anybody's.
    """
    reasons = [item.get("reason") for item in objects_in(error.get("details"))]
    deeper = map(as_object, map(error.get, ("innererror", "inner_error", "detail")))
    reasons += [code for item in map(_usual_names, deeper) for code in map(item.get, _CODE_FIELDS)]
    for code in [*fields["code"], *fields["type"], *reasons]:
        if type(code) is int and 1100 <= code < 10_000:
            yield str(code)
        elif type(code) is str and code and code not in _WRAPPER_TYPES:
            yield code


def _delay_of(error: dict[str, Value], metadata: dict[str, Value], outer: dict[str, Value]) -> float | None:
    """The delay that the fields of an error ask for, else its words: in seconds, above 0."""
    from chatpipe.response.delays import delay_in_words, parse_duration  # for errors only

    for place in map(_usual_names, (error, metadata, *objects_in(error.get("details")), outer)):
        for names, unit_s in ((_DELAY_FIELDS_MS, 1e-3), (_DELAY_FIELDS_S, 1.0)):
            for name in names:
                seconds = parse_duration(_text(place[name])) if name in place else None
                if seconds:
                    return seconds * unit_s
    return next((delay_in_words(error[name]) for name in _MESSAGE_FIELDS if _is_words(error.get(name))), None)


def _quoted_headers(metadata: dict[str, Value]) -> dict[str, str] | None:
    """The headers that OpenRouter quotes: X-RateLimit-Remaining and others."""
    quoted = metadata.get("headers")
    if type(quoted) is not dict:
        return None
    return {name.lower(): _text(text) for name, text in quoted.items()}


def _text(value: Value) -> str:
    """A word or a number as text, anything else as ""."""
    if type(value) is str:
        return value
    return str(value) if type(value) in (int, float) else ""


def _message(value: Value) -> str:
    if type(value) is dict and type(value.get("detail")) in (str, list):
        value = value["detail"]
    if type(value) is str:
        return value
    if type(value) is list and value and all(type(item) is dict and "msg" in item for item in value):
        return "; ".join(_validation_message(item) for item in value)
    return values.dumps(value).decode()


def _validation_message(item: dict[str, Value]) -> str:
    """The text of one FastAPI validation error: {"loc": ["body", "messages", 0], "msg": "..."}."""
    loc = item.get("loc")
    location = ".".join(str(step) for step in loc) if type(loc) is list else ""
    return f"{location}: {item['msg']}" if location else str(item["msg"])
