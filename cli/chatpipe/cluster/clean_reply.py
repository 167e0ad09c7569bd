"""A reply as it came to a worker -> the same reply without keys: it leaves through Ray.

In a failure every secret is hidden; in content only a key that cannot be a word: see system/secrets.py.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

import httpx

from chatpipe.cluster.parcels import WorkerReply
from chatpipe.inputs import values
from chatpipe.inputs.values import NotJSON, Value
from chatpipe.response.key_pieces import without_keys
from chatpipe.response.key_spans import may_hold
from chatpipe.system import secrets
from chatpipe.wire.key_filter import read_without_secrets

_SUCCESS = 200


async def clean_reply(reply: WorkerReply) -> None:
    """Hide the secrets in a reply."""
    if not secrets.are_known():
        return
    received = reply.body
    reply.headers = [(name, secrets.hide(value)) for name, value in reply.headers]
    reply.body = await _clean_body(reply)
    reply.reason = secrets.hide(reply.reason)
    reply.has_key = reply.body is not received and reply.status == _SUCCESS


async def _clean_body(reply: WorkerReply) -> bytes:
    """The body without secrets; itself if it has none."""
    body, keys = reply.body, secrets.in_content()
    if reply.status != _SUCCESS or not body:
        return secrets.hide_body(body)
    if not body.lstrip().startswith(b"{"):
        return await _clean_stream(reply) if keys else body
    if not may_hold(keys, body) and b'"choices"' in body:
        return body
    try:
        value = values.loads_exact(body)
    except NotJSON:
        return secrets.hide_bytes(body, words=False)
    clean = without_keys(value, keys)
    if not value.get("choices") or value.get("error"):
        clean = secrets.hide_value(clean)
    return body if clean == value else values.dumps(clean)


class _Collector:
    """A receiver of the bytes of a stream. See Receiver."""

    started = False
    takes: Literal["bytes"] = "bytes"

    def __init__(self) -> None:
        self.pieces: list[bytes] = []

    def raw(self, data: bytes) -> None:
        self.pieces.append(data)

    def chunk(self, payload: bytes, chunk: Mapping[str, Value]) -> None:
        """Discard a chunk: its bytes are there."""

    def expect_end(self) -> None:
        """Do nothing: no chunk waits."""


async def _clean_stream(reply: WorkerReply) -> bytes:
    """The body of a stream without keys, which may be split over its events."""
    collector = _Collector()
    headers = dict(reply.headers)
    response = httpx.Response(_SUCCESS, headers=reply.headers, stream=httpx.ByteStream(reply.body))
    request = httpx.Request("POST", "http://localhost/")
    answer, _, has_key = await read_without_secrets(response, headers, request, collector)
    clean = b"".join(collector.pieces)
    if clean == reply.body:
        return reply.body
    if not has_key and answer.completion is None:  # no stream that can be read, or only a part of one
        return secrets.hide_bytes(reply.body, words=False)
    return clean
