"""Cassettes of VCR for Python and for Ruby -> the records of their exchanges.

    {"interactions": [{"request": {"method", "uri", "body", "headers"},
                       "response": {"status": {"code", "message"}, "headers", "body": {"string"}}}]}

Ruby has `http_interactions`, and its bodies of requests are objects, too. JSON is read as it is, YAML with
the package PyYAML. Headers of requests are left out, and of those of replies only those are kept that a
recording keeps. A cassette has neither times nor replies that were cut off.

Source: vcrpy 8.1, vcr/serialize.py; VCR 6.3, vcr/structs.rb.
"""

from __future__ import annotations

import os
from base64 import b64decode
from collections.abc import Iterator
from typing import Any
from urllib.parse import urlsplit

from chatpipe.errors import BadInput
from chatpipe.inputs import values
from chatpipe.inputs.values import NotJSON, Value
from chatpipe.recordings.exchange_record import (
    ExchangeRecord,
    RecordedReply,
    RecordedRequest,
    kept_headers,
    request_body,
    write_record,
)
from chatpipe.recordings.try_counter import TryCounter
from chatpipe.recordings.unpacked_reply import unpacked
from chatpipe.system.extras import installation
from chatpipe.system.temporary_file import cannot_keep, close_temporary, open_temporary

_START_BYTES = 4096
_LISTS = ("interactions", "http_interactions")
_YAML_STARTS = (b"interactions:", b"http_interactions:", b"---", b"version:")


class _WrongEntry(Exception):
    """A part of a cassette that is missing, or that has the wrong type. Its text is the name."""


def as_recordings(fd: int, path: str) -> int:
    """A file of the records, a line for each exchange, in place of the cassette at fd; else fd itself.

    Raises BadInput, CannotWrite, and OSError.
    """
    if not is_cassette(os.pread(fd, _START_BYTES, 0)):
        return fd
    with open(fd, "rb", closefd=True) as cassette:
        data = cassette.read()
    made = open_temporary()
    try:
        made.writelines(write_record(record) + b"\n" for record in read_cassette(data, path))
        made.flush()
        return os.dup(made.fileno())
    except OSError as error:
        raise cannot_keep(error) from error
    finally:
        close_temporary(made)


def is_cassette(start: bytes) -> bool:
    """Return True if a file that begins with these bytes may be a cassette."""
    text = start.lstrip(b"\xef\xbb\xbf \t\r\n")
    if text.startswith(_YAML_STARTS):
        return True
    return text.startswith(b"{") and any(f'"{name}"'.encode() in start for name in _LISTS)


def read_cassette(data: bytes, path: str) -> Iterator[ExchangeRecord]:
    """The exchanges of a cassette, in order. Raises BadInput."""
    cassette = _parsed(data, path)
    entries = next((cassette[name] for name in _LISTS if isinstance(cassette.get(name), list)), None)
    if entries is None:
        raise BadInput("not recordings, and not a cassette of VCR", place=path)
    counter = TryCounter()
    for number, entry in enumerate(entries):
        try:
            request, reply = _request(_object(entry, "request")), _reply(_object(entry, "response"))
        except _WrongEntry as error:
            place = f"{path}: /interactions/{number}"
            raise BadInput(f"not an exchange: '{error}' is missing or wrong", place=place) from None
        numbered = counter.begin(request)
        counter.end(numbered, reply, 0)
        yield ExchangeRecord(numbered.key, request, reply, numbered.occurrence, numbered.n)


def _parsed(data: bytes, path: str) -> dict[str, Any]:
    try:
        value: Any = values.loads(data)
    except NotJSON as error:
        if data.lstrip(b"\xef\xbb\xbf \t\r\n").startswith(b"{"):
            raise BadInput(f"not JSON: {error.what}", place=path) from None
        value = _from_yaml(data, path)
    if not isinstance(value, dict):
        raise BadInput("not recordings, and not a cassette of VCR", place=path)
    return value


def _from_yaml(data: bytes, path: str) -> Any:
    try:
        import yaml  # an extra
    except ImportError:
        fix = f"convert it to JSON, or {installation('yaml')}"
        raise BadInput("YAML needs the package 'PyYAML'", place=path, fix=fix) from None
    loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
    try:
        return yaml.load(data, Loader=loader)  # noqa: S506  # it is a safe one
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        raise BadInput(f"not YAML: {str(error).splitlines()[0]}", place=path) from error


def _request(entry: dict[str, Any]) -> RecordedRequest:
    uri, method = entry.get("uri"), entry.get("method")
    if not isinstance(method, str):
        raise _WrongEntry("method")
    try:
        path = urlsplit(uri).path if isinstance(uri, str) else None
    except ValueError:  # brackets around something else than an IPv6 address
        path = None
    if path is None:
        raise _WrongEntry("uri")
    return RecordedRequest(method.upper(), path or "/", request_body(_body(entry.get("body"))))


def _reply(entry: dict[str, Any]) -> RecordedReply:
    status = _object(entry, "status").get("code")
    if type(status) is not int or not 100 <= status <= 599:
        raise _WrongEntry("status")
    headers = {name.lower(): text for name, text in _headers(entry.get("headers") or {})}
    body = _body(entry.get("body"))
    reply = RecordedReply(status, kept_headers(headers), ((0, body),) if body else ())
    # A cassette may hold the plain body under the headers of a compressed one.
    plain = unpacked(reply, headers)
    return reply if plain.failure else plain


def _headers(value: Any) -> Iterator[tuple[str, str]]:
    if not isinstance(value, dict):
        raise _WrongEntry("headers")
    for name, texts in value.items():
        several = texts if isinstance(texts, list) else [texts]
        yield str(name), ", ".join(str(each) for each in several)


def _body(value: Any) -> bytes:
    """The bytes of a body: a text, bytes, or an object with one of them, or with base64."""
    if isinstance(value, dict):
        if isinstance(coded := value.get("base64_string"), str):
            try:
                return b64decode(coded)
            except ValueError:
                raise _WrongEntry("base64_string") from None
        value = value.get("string", value)
    if value is None:
        return b""
    if isinstance(value, bytes):
        return value
    if isinstance(value, str):
        return value.encode("utf-8", "surrogatepass")
    if isinstance(value, dict | list):  # a serializer of somebody's own
        return values.dumps(value)
    raise _WrongEntry("body")


def _object(value: Value, name: str) -> dict[str, Any]:
    found = value.get(name) if isinstance(value, dict) else None
    if not isinstance(found, dict):
        raise _WrongEntry(name)
    return found
