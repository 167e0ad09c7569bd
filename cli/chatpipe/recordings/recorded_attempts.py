"""The attempts of a call or a run, with the recordings that answer them and those that are made of them."""

from __future__ import annotations

import time
from collections.abc import Callable

import httpx

from chatpipe.errors import BadInput, ChatpipeError, NotRecorded
from chatpipe.recordings.clean_record import record_without_secrets
from chatpipe.recordings.exchange_record import ExchangeRecord, RecordedReply, RecordedRequest, request_body
from chatpipe.recordings.recording_index import RecordingIndex
from chatpipe.recordings.recording_writer import RecordingWriter
from chatpipe.recordings.request_key import request_key, route_of
from chatpipe.request.fingerprint import OccurrenceCounter
from chatpipe.response.result_line import timestamp
from chatpipe.server.request_extensions import RECORDED_AS
from chatpipe.wire.faults import CarriedFault


class RecordedAttempt:
    """The last attempt of a request. n counts them from 1, occurrence the equal requests.

    is_replayed: it has a recorded reply, or a recorded failure.
    """

    __slots__ = ("is_replayed", "key", "n", "occurrence", "request")

    def __init__(self, request: RecordedRequest, key: str, occurrence: int) -> None:
        self.request = request
        self.key = key
        self.occurrence = occurrence
        self.n = 0
        self.is_replayed = False


class Recordings:
    """The recordings that answer requests, None for none, and those that are made, None for none.

    With copies, an exchange that was answered by a recording is recorded, too.
    """

    def __init__(
        self,
        index: RecordingIndex | None,
        writer: RecordingWriter | None,
        *,
        copies: bool = False,
        now: Callable[[], float] = time.time,
    ) -> None:
        self._index = index
        self._writer = writer
        self._copies = copies
        self._now = now
        self._misses = 0
        self._occurrences = OccurrenceCounter()

    @property
    def is_offline(self) -> bool:
        """True if nothing may be sent: there is nothing to record."""
        return self._writer is None

    def begin(self, sent: httpx.Request, body: bytes) -> RecordedAttempt:
        """Count an attempt of a request."""
        attempt: RecordedAttempt | None = sent.extensions.get(RECORDED_AS)
        if attempt is None:
            # The base URL may hold a key before the route: that of a gateway, for example.
            route = route_of(sent.url.raw_path.decode("ascii", "replace"))
            request = RecordedRequest(sent.method, route, request_body(body))
            key = request_key(request)
            attempt = RecordedAttempt(request, key, self._occurrences.count(bytes.fromhex(key)))
            sent.extensions[RECORDED_AS] = attempt
        attempt.n += 1
        return attempt

    def replay(self, attempt: RecordedAttempt, *, is_needed: bool) -> ExchangeRecord | None:
        """The recording that answers an attempt, or None. Raises CarriedFault if one is_needed."""
        attempt.is_replayed = False
        if self._index is None:
            return None
        try:
            record = self._find(self._index, attempt)
            if record is None and is_needed:
                raise self._no_recording(self._index, attempt)
        except ChatpipeError as fault:
            raise CarriedFault(fault) from fault
        if record is None:
            return None
        attempt.is_replayed = True
        if self._copies:
            self.record(attempt, record.reply, record.took_ms)
        return record

    def record(self, attempt: RecordedAttempt, reply: RecordedReply, took_ms: int) -> None:
        """Record an exchange. Raises nothing but Interrupted: see check()."""
        if self._writer is not None:
            made = ExchangeRecord(
                attempt.key,
                attempt.request,
                reply,
                attempt.occurrence,
                attempt.n,
                timestamp(self._now()),
                took_ms,
            )
            self._writer.append(record_without_secrets(made))

    def check(self) -> None:
        """Raise CarriedFault if something could not be recorded."""
        if self._writer is not None and self._writer.failure is not None:
            raise CarriedFault(self._writer.failure)

    def _find(self, index: RecordingIndex, attempt: RecordedAttempt) -> ExchangeRecord | None:
        try:
            found = index.find(attempt.key, attempt.occurrence, attempt.n)
            if found is None and index.loose:
                found = index.find_loosely(request_key(attempt.request, loose=True), attempt.n)
        except BadInput as fault:
            raise NotRecorded(fault.what, place=fault.place, fix=fault.fix) from fault
        return found

    def _no_recording(self, index: RecordingIndex, attempt: RecordedAttempt) -> NotRecorded:
        """The fault of an attempt that was not recorded. Only the first is examined: it ends the run."""
        from chatpipe.recordings.recording_miss import no_recording  # most requests were recorded

        self._misses += 1
        if self._misses > 1:
            return NotRecorded("no recording of this request", place=index.path)
        return no_recording(index, attempt.request, attempt.n)
