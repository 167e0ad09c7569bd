"""Records of the exchanges with another server: what it answered, piece by piece, and how that ended."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping

from chatpipe.recordings.clean_record import record_without_secrets
from chatpipe.recordings.exchange_record import ExchangeRecord, RecordedReply, kept_headers
from chatpipe.recordings.recording_writer import RecordingWriter
from chatpipe.recordings.try_counter import NumberedRequest, TryCounter
from chatpipe.recordings.unpacked_reply import unpacked
from chatpipe.response.result_line import timestamp
from chatpipe.server import redact
from chatpipe.system import secrets

# The reason of a failure for which the client is, and not the other server.
CLIENT_LEFT = "the client closed the connection"
# A body that is larger is passed on, and not recorded.
_MOST_BYTES = 64_000_000
# Keys of clients, which are looked for in what is recorded. A request with one more is not recorded.
_MOST_KEYS = 100


class ExchangeRecorder:
    """The recorder of one server. warn gets what is not recorded; fail gets a file that cannot be written."""

    def __init__(
        self,
        writer: RecordingWriter,
        counter: TryCounter,
        warn: Callable[[str], None],
        fail: Callable[[BaseException], None],
    ) -> None:
        self._writer = writer
        self._counter = counter
        self._warn = warn
        self._fail = fail

    def begin(self, headers: Mapping[str, str], numbered: NumberedRequest) -> ExchangeListener:
        """The record of a request that is sent now, with these headers."""
        if not self._knows_keys(headers):
            self._warn(f"exchanges with more than {_MOST_KEYS} different keys are not recorded")
            return ExchangeListener()
        return OpenRecord(self, numbered)

    def end(self, numbered: NumberedRequest, reply: RecordedReply, took_ms: int | None) -> None:
        """Append the record of an exchange that has ended. took_ms is None for a reply that is too large."""
        self._counter.end(numbered, reply, took_ms)
        if took_ms is None:
            self._warn(f"an answer of more than {_MOST_BYTES // 1_000_000} MB is not recorded")
            return
        request, key, occurrence, n = numbered
        at = timestamp(time.time())
        self._writer.append(
            record_without_secrets(ExchangeRecord(key, request, reply, occurrence, n, at, took_ms))
        )
        if self._writer.failure is not None:
            self._fail(self._writer.failure)

    def close(self) -> None:
        self._writer.close()

    def _knows_keys(self, headers: Mapping[str, str]) -> bool:
        """Hide the keys of a request from now on. Return False if there are too many of them."""
        if len(secrets.in_content()) < _MOST_KEYS:
            redact.hide_headers(headers.items())
            return True
        return all(redact.header(name, value) == value for name, value in headers.items())


class ExchangeListener:
    """A listener to an exchange that is not recorded: it does nothing."""

    def head(self, status: int, headers: dict[str, str]) -> None:
        """Take the head of the reply. Names of headers are in lower case."""

    def piece(self, data: bytes) -> None:
        """Take a piece of the body, just when it came."""

    def end(self, failure: str = "", reason: str = "") -> None:
        """Take the end. failure is a name of FAILURES, empty for a whole reply."""


class OpenRecord(ExchangeListener):
    """The record of an exchange that has not ended."""

    def __init__(self, recorder: ExchangeRecorder, numbered: NumberedRequest) -> None:
        self._recorder = recorder
        self._numbered = numbered
        self._began = time.monotonic()
        self._status: int | None = None
        self._headers: dict[str, str] = {}
        self._pieces: list[tuple[int, bytes]] = []
        self._bytes = 0

    def head(self, status: int, headers: dict[str, str]) -> None:
        self._status, self._headers = status, headers

    def piece(self, data: bytes) -> None:
        self._bytes += len(data)
        if self._bytes > _MOST_BYTES:
            self._pieces.clear()
        else:
            self._pieces.append((self._ms(), data))

    def end(self, failure: str = "", reason: str = "") -> None:
        kept = kept_headers(self._headers)
        reply = RecordedReply(self._status, kept, tuple(self._pieces), failure, reason)
        if reason == CLIENT_LEFT and reply.has_last_event:  # it has all that it waits for
            reply = reply._replace(failure="", reason="")
        reply = unpacked(reply, self._headers)
        is_kept = self._bytes <= _MOST_BYTES
        self._recorder.end(self._numbered, reply, self._ms() if is_kept else None)

    def _ms(self) -> int:
        return int((time.monotonic() - self._began) * 1000)
