"""One recorded exchange <-> one line of JSON.

    {"v":1,"key":"5f...","occurrence":1,"n":1,
     "request":{"method":"POST","path":"/v1/chat/completions","body":{...}},
     "response":{"status":200,"headers":{"content-type":"text/event-stream"},
                 "chunks":[[41,"data: ..."],[55,{"base64":"..."}]],"error":null},
     "at":"2026-01-31T12:00:00.000Z","took_ms":61}

A reply has `chunks`, each with the milliseconds since the request was sent, if it is an event stream or did
not come whole. Any other has a `body`. JSON is a value if it can be written again byte for byte. Everything
else is text, or base64 where it is not UTF-8. The members of a record that are not known here are ignored.
"""

from __future__ import annotations

import math
import re
from base64 import b64decode, b64encode
from collections.abc import Mapping
from typing import Any

from chatpipe.errors import BadInput
from chatpipe.inputs import values
from chatpipe.inputs.values import NotJSON, Value
from chatpipe.named_tuple import NamedTuple
from chatpipe.response.sse import has_last_event

VERSION = 1
RECORD_START = b'{"v":1,"key":"'  # of a line as write_record() writes it

# The ways in which an exchange can fail, by the name in a record. From `timeout` on, a reply may have begun.
FAILURES = {
    "no-host": "the name of the server is not known",
    "tls": "no TLS with the server",
    "refused": "no connection to the server",
    "connect-timeout": "no connection within the time limit",
    "no-http": "what answers at the address is not an HTTP server",
    "proxy": "no way through the proxy",
    "proxy-down": "no connection to the proxy",
    "timeout": "no byte within the time limit",
    "reset": "the connection was lost",
    "cut": "the reply ended too early, or was not read to its end",
    "malformed": "the reply breaks the rules of HTTP",
    "broken": "the reply cannot be unpacked",
    "unreadable": "the reply is in a compression that cannot be read here",
    "too-long": "the reply is longer than a limit of the client",
}

# Names of headers that are recorded; those that end in `-` are beginnings of names. No other header is kept.
_KEPT_HEADERS = frozenset(
    {
        *("content-type", "retry-after", "retry-after-ms", "x-should-retry"),
        *("x-request-id", "request-id", "apim-request-id", "openai-processing-ms", "openai-model"),
        *("openai-version", "ratelimit", "ratelimit-policy", "location", "allow"),
    }
)
_KEPT_PREFIXES = ("x-ratelimit-", "ratelimit-", "anthropic-ratelimit-")


class RecordedRequest(NamedTuple):
    """A request. path has no query. body is a JSON object or array, other text, or bytes that are no text."""

    method: str
    path: str
    body: Value


class RecordedReply(NamedTuple):
    """A reply. status is None if none came.

    headers are those that may be kept, with names in lower case. pieces holds the body as it arrived, with
    the milliseconds since the request was sent; it is not compressed. failure is a name of FAILURES, empty if
    the reply came whole, and reason is what the system said.
    """

    status: int | None
    headers: tuple[tuple[str, str], ...] = ()
    pieces: tuple[tuple[int, bytes], ...] = ()
    failure: str = ""
    reason: str = ""

    @property
    def body(self) -> bytes:
        return b"".join([data for _, data in self.pieces])

    @property
    def is_stream(self) -> bool:
        """True for a stream of events, by its headers."""
        kinds = (value for name, value in self.headers if name == "content-type")
        return next(kinds, "").lower().startswith("text/event-stream")

    @property
    def has_last_event(self) -> bool:
        """True if the body ends with the event that ends a stream: a client may read no further."""
        return has_last_event([data for _, data in self.pieces])


class ExchangeRecord(NamedTuple):
    """One request and its reply.

    key identifies the request (request_key.py); a record written by hand may have an empty one. occurrence
    counts the equal requests of a run from 1, and n the attempts of one of them. at is the time of the end.
    """

    key: str
    request: RecordedRequest
    reply: RecordedReply
    occurrence: int = 1
    n: int = 1
    at: str = ""
    took_ms: int = 0


def kept_headers(headers: Mapping[str, str]) -> tuple[tuple[str, str], ...]:
    """Those of the headers, with names in lower case, that are recorded.

    The target of a redirect is kept only if it is a path without a query, which holds no key.
    """
    return tuple(
        (name, value)
        for name, value in headers.items()
        if (name in _KEPT_HEADERS or name.startswith(_KEPT_PREFIXES))
        and (name != "location" or re.fullmatch(r"/[^/?#][^?#]*", value))
    )


def request_body(data: bytes) -> Value:
    """The body of a request as a record holds it."""
    try:
        value = values.loads_exact(data)
    except NotJSON:
        value = None
    is_readable = isinstance(value, dict | list) and not _is_base64(value)
    return value if is_readable else _as_text(data)


def write_record(record: ExchangeRecord) -> bytes:
    """The line of a record, without its newline."""
    request, reply = record.request, record.reply
    response: dict[str, Value] = {"status": reply.status, "headers": dict(reply.headers)}
    if reply.is_stream or reply.failure:
        response["chunks"] = [[ms, _written(_as_text(data))] for ms, data in reply.pieces]
    else:
        response["body"] = _written(_reply_body(reply.body))
    response["error"] = reply.failure or None
    if reply.reason:
        response["reason"] = reply.reason
    return values.dumps(
        {
            "v": VERSION,
            "key": record.key,
            "occurrence": record.occurrence,
            "n": record.n,
            "request": {"method": request.method, "path": request.path, "body": _written(request.body)},
            "response": response,
            "at": record.at,
            "took_ms": record.took_ms,
        }
    )


def read_record(line: bytes) -> ExchangeRecord:
    """The record in a line. Raises BadInput, without a place, for a line that is none."""
    value = _read_object(line)
    try:
        return ExchangeRecord(
            key=_member(value, "key", str, ""),
            request=_read_request(_member(value, "request", dict)),
            reply=_read_reply(_member(value, "response", dict)),
            occurrence=_count(value, "occurrence"),
            n=_count(value, "n"),
            at=_member(value, "at", str, ""),
            took_ms=_member(value, "took_ms", int, 0),
        )
    except _WrongMember as error:
        raise _not_a_record(error) from None


def read_request(line: bytes) -> tuple[RecordedRequest, str]:
    """The request of the record in a line, and the key that it names, or "".

    Raises BadInput as read_record(), but reads no reply.
    """
    value = _read_object(line)
    try:
        return _read_request(_member(value, "request", dict)), _member(value, "key", str, "")
    except _WrongMember as error:
        raise _not_a_record(error) from None


def _read_object(line: bytes) -> dict[str, Value]:
    try:
        value = values.loads_exact(line)
    except NotJSON as error:
        raise BadInput(f"not JSON: {error.what}") from None
    if not isinstance(value, dict) or "request" not in value or "response" not in value:
        raise BadInput("not a recorded exchange")
    version = value.get("v", VERSION)
    if type(version) is not int:
        raise _not_a_record(_WrongMember("v"))
    if version > VERSION:
        raise BadInput(
            f"was recorded by a newer chatpipe (version {version})", fix="replay it with that version"
        )
    return value


def _not_a_record(error: _WrongMember) -> BadInput:
    return BadInput(f"not a recorded exchange: '{error}' is missing or wrong")


class _WrongMember(Exception):
    """A member of a record that is missing, or that has the wrong type. Its text is the name."""


def _read_request(value: dict[str, Value]) -> RecordedRequest:
    body = value.get("body", "")
    return RecordedRequest(
        _member(value, "method", str, "POST"),
        _member(value, "path", str, "/v1/chat/completions"),
        _bytes_of(body) if _is_base64(body) else body,
    )


def _read_reply(value: dict[str, Value]) -> RecordedReply:
    failure = value.get("error") or ""
    if failure and (type(failure) is not str or failure not in FAILURES):
        raise _WrongMember("error")
    status = value.get("status")
    if not ((failure and status is None) or (type(status) is int and 100 <= status <= 599)):
        raise _WrongMember("status")
    headers = []
    for name, each in _member(value, "headers", dict, {}).items():
        if type(each) is not str:
            raise _WrongMember("headers")
        headers.append((name.lower(), each))
    return RecordedReply(
        status, tuple(headers), tuple(_pieces(value)), failure, _member(value, "reason", str, "")
    )


def _pieces(value: dict[str, Value]) -> list[tuple[int, bytes]]:
    if "chunks" not in value:
        data = _bytes_of(value.get("body", ""))
        return [(0, data)] if data else []
    pieces = []
    for chunk in _member(value, "chunks", list):
        if not isinstance(chunk, list) or len(chunk) != 2 or type(chunk[0]) not in (int, float):
            raise _WrongMember("chunks")
        if not abs(chunk[0]) < math.inf:
            raise _WrongMember("chunks")
        pieces.append((int(chunk[0]), _bytes_of(chunk[1])))
    return pieces


def _member(value: dict[str, Value], name: str, kind: type, default: Any = None) -> Any:
    found = value.get(name, default)
    if type(found) is not kind:
        raise _WrongMember(name)
    return found


def _count(value: dict[str, Value], name: str) -> int:
    count: int = _member(value, name, int, 1)
    if count < 1:
        raise _WrongMember(name)
    return count


def _as_text(data: bytes) -> str | bytes:
    try:
        return data.decode()
    except UnicodeDecodeError:
        return data


def _reply_body(data: bytes) -> Value:
    """The value in a body if it is written again as it was, else its text, or the bytes themselves."""
    if data[:1] in (b"{", b"["):
        try:
            value = values.loads_exact(data)
        except NotJSON:
            return _as_text(data)
        if values.dumps(value) == data and not _is_base64(value):
            return value
    return _as_text(data)


def _written(value: Value) -> Value:
    return {"base64": b64encode(value).decode()} if isinstance(value, bytes) else value


def _is_base64(value: Value) -> bool:
    return isinstance(value, dict) and value.keys() == {"base64"} and type(value["base64"]) is str


def _bytes_of(value: Value) -> bytes:
    """The bytes of a body or a piece. A value of JSON is written as chatpipe writes it."""
    if isinstance(value, str):
        return value.encode("utf-8", "surrogatepass")
    if _is_base64(value):
        try:
            return b64decode(value["base64"], validate=True)
        except ValueError:
            raise _WrongMember("base64") from None
    if isinstance(value, dict | list):
        return values.dumps(value)
    if value is None:
        return b""
    raise _WrongMember("body")
