"""The numbers of a request in a recording: its occurrence among equal ones, and the try of that one.

A server cannot see which of its requests are tries of one another. It takes a request for the next try of an
equal one that failed and was not tried again since, and any other request for a new occurrence.
"""

from __future__ import annotations

from collections import OrderedDict, deque

from chatpipe.errors import BrokenAnswer
from chatpipe.inputs import values
from chatpipe.inputs.values import NotJSON, Value, as_object
from chatpipe.named_tuple import NamedTuple
from chatpipe.recordings.exchange_record import RecordedReply, RecordedRequest
from chatpipe.recordings.request_key import request_key
from chatpipe.request.fingerprint import OccurrenceCounter
from chatpipe.response.stream_reader import StreamReader
from chatpipe.wire.answer import NullReceiver
from chatpipe.wire.retry import BUSY, RETRYABLE

_MOST_FAILED = 100_000  # keys of requests that failed; the oldest are forgotten


class NumberedRequest(NamedTuple):
    """A request with its key, and its numbers, each from 1."""

    request: RecordedRequest
    key: str
    occurrence: int
    n: int


class TryCounter:
    """Counts the requests of one server, in 11 bytes for each different one."""

    def __init__(self) -> None:
        self._occurrences = OccurrenceCounter()
        self._failed: OrderedDict[str, deque[NumberedRequest]] = OrderedDict()

    def begin(self, request: RecordedRequest) -> NumberedRequest:
        """Count a request."""
        key = request_key(request)
        failed = self._failed.get(key)
        if not failed:
            occurrence = self._occurrences.count(bytes.fromhex(key))
            return NumberedRequest(request, key, occurrence, 1)
        before = failed.popleft()
        if not failed:
            del self._failed[key]
        return before._replace(n=before.n + 1)

    def end(self, numbered: NumberedRequest, reply: RecordedReply, took_ms: int | None) -> None:
        """Note the end of a request. The next one with its key is its next try if it failed."""
        if not has_failed(reply, numbered.request.body):
            return
        self._failed.setdefault(numbered.key, deque()).append(numbered)
        if len(self._failed) > _MOST_FAILED:
            self._failed.popitem(last=False)


def has_failed(reply: RecordedReply, body: Value = None) -> bool:
    """Return True for a reply after which the same request is the next try of the one that had it.

    After a refusal that stays the same, such as a wrong key, it is so once somebody has mended the cause.
    body is that of the request. Of a stream that was not cut the end may still be
    missing, or a chunk may be no JSON; an answer in one piece may be half a JSON text, or an error.
    """
    if reply.status is None or reply.failure:
        return True
    if reply.status != 200:
        return reply.status >= 400
    if reply.is_stream:
        choices = as_object(body).get("n")
        return not _is_whole_stream(reply.body, choices if isinstance(choices, int) else 1)
    if not reply.body.lstrip().startswith(b"{"):
        return False
    try:
        value = values.loads(reply.body)
    except NotJSON:
        return not reply.body.endswith(b"}\n")  # lines of results are no JSON text
    return isinstance(value, dict) and bool(value.get("error"))


def is_final(reply: RecordedReply) -> bool:
    """Return True for a refusal that no further try of the same client changes."""
    status = reply.status or 0
    return 400 <= status < 500 and not reply.failure and status not in BUSY | RETRYABLE


def _is_whole_stream(body: bytes, choices: int) -> bool:
    stream = StreamReader(NullReceiver(), choices)
    try:
        stream.feed(body)
        stream.end()
    except BrokenAnswer:
        return False
    return stream.answer.error is None and stream.is_whole()
