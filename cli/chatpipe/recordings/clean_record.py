"""A record without the secrets of this process, wherever the request or the server put them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

from chatpipe.inputs import values
from chatpipe.inputs.values import NotJSON, Value
from chatpipe.recordings.exchange_record import ExchangeRecord, RecordedReply, RecordedRequest
from chatpipe.recordings.reply_forms import EVENT_STARTS
from chatpipe.response.key_pieces import without_keys
from chatpipe.response.key_spans import may_hold
from chatpipe.system import secrets
from chatpipe.wire.key_filter import KeyFilter


def record_without_secrets(record: ExchangeRecord) -> ExchangeRecord:
    """The record without secrets: as key_filter.py has it in an answer, and all of them in a failure."""
    if not secrets.are_known():
        return record
    return record._replace(request=_clean_request(record.request), reply=_clean_reply(record.reply))


def _clean_request(request: RecordedRequest) -> RecordedRequest:
    body = request.body
    if isinstance(body, bytes):
        body = secrets.hide_bytes(body, words=False)
    elif isinstance(body, str):
        body = secrets.hide(body, words=False)
    else:
        body = without_keys(body, secrets.in_content())
    return RecordedRequest(request.method, secrets.hide(request.path, words=False), body)


def _clean_reply(reply: RecordedReply) -> RecordedReply:
    headers = tuple((name, secrets.hide(value, words=False)) for name, value in reply.headers)
    reason = secrets.hide(reply.reason, words=False)
    return reply._replace(headers=headers, pieces=_clean_pieces(reply), reason=reason)


def _clean_pieces(reply: RecordedReply) -> tuple[tuple[int, bytes], ...]:
    body = reply.body
    if not body:
        return reply.pieces
    if reply.status == 200 and (reply.is_stream or body.startswith(EVENT_STARTS)):
        pieces = _clean_events(reply.pieces)
    else:
        clean = _clean_content(body) if reply.status == 200 else secrets.hide_body(body)
        pieces = ((reply.pieces[0][0], clean),)
    return reply.pieces if b"".join([data for _, data in pieces]) == body else pieces


def _clean_events(pieces: tuple[tuple[int, bytes], ...]) -> tuple[tuple[int, bytes], ...]:
    collector = _PieceCollector()
    events = KeyFilter(collector, secrets.in_content())
    for ms, data in pieces:
        collector.ms = ms
        events.raw(data)
    events.end()
    return tuple(collector.pieces)


def _clean_content(body: bytes) -> bytes:
    """A body with status 200: as content if it is an answer, else as a failure, which it may be, too."""
    try:
        value = values.loads_exact(body)
    except NotJSON:
        return secrets.hide_body(body)
    if not (isinstance(value, dict) and value.get("choices")) or value.get("error"):
        return secrets.hide_body(body)
    keys = secrets.in_content()
    if not keys or not may_hold(keys, body):
        return body
    clean: Value = without_keys(value, keys)
    return body if clean == value else values.dumps(clean)


class _PieceCollector:
    """A receiver of the bytes of a stream. ms is the time of those that come now."""

    takes: Literal["bytes"] = "bytes"
    started = False

    def __init__(self) -> None:
        self.ms = 0
        self.pieces: list[tuple[int, bytes]] = []

    def raw(self, data: bytes) -> None:
        self.pieces.append((self.ms, data))

    def chunk(self, payload: bytes, chunk: Mapping[str, Value]) -> None:
        """Ignore a chunk: its bytes come by themselves."""

    def expect_end(self) -> None:
        """Do nothing: no chunk waits."""
