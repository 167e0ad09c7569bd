"""Recorded exchanges as replies: the same pieces at the same times, cuts and resets included."""

from __future__ import annotations

import errno
import os
import time
from collections.abc import Callable, Iterator, Mapping, Sequence

from chatpipe.options.serve import FaultRule
from chatpipe.recordings import recording_miss
from chatpipe.recordings.exchange_record import FAILURES, ExchangeRecord, RecordedReply
from chatpipe.recordings.recording_index import RecordingIndex
from chatpipe.recordings.reply_forms import as_asked
from chatpipe.recordings.request_key import request_key
from chatpipe.recordings.try_counter import NumberedRequest
from chatpipe.serve.later_reply import collect_steps
from chatpipe.serve.reply_steps import Close, Pause, ReplyPlan, Reset, Step, note_cut
from chatpipe.serve.router import UPSTREAM_ERROR, error_reply

# It gets the request, its reply, and the milliseconds that it took.
ExchangeEnd = Callable[[NumberedRequest, RecordedReply, int], None]

_FOREVER_S = 1e9
# Time for the search of nearest recordings, which reads the whole file. A run without any would never end.
_SEARCH_S = 5.0
_NOT_RECORDED = "no recording of this request"
_STARTS = {"application/json": (b"{", b"["), "text/event-stream": (b"data:", b"event:", b":")}
# The ends of a connection by the name of a failure. After a time-out nothing comes, and the client decides.
_ENDINGS: Mapping[str, Step] = {"reset": Reset(), "cut": Close(), "timeout": Pause(_FOREVER_S)}


class Replay:
    """The recordings of one server. speed divides their times; infinite for none.

    A request gets the last recorded try if it is tried more often, and the last occurrence if it occurs more
    often.
    """

    def __init__(self, index: RecordingIndex, speed: float, ended: ExchangeEnd) -> None:
        self._index = index
        self._speed = speed
        self._ended = ended
        self._searched_s = 0.0

    def find(self, numbered: NumberedRequest, *, exactly: bool) -> ReplayedReply | None:
        """The recorded reply, None if there is none. exactly: not that of an earlier try.

        Raises MissingInput and BadInput.
        """
        for n in range(numbered.n, 0 if not exactly else numbered.n - 1, -1):
            record = self._record(numbered._replace(n=n))
            if record is not None:
                return ReplayedReply(record, numbered, self._speed, self._ended)
        return None

    def miss(self, numbered: NumberedRequest) -> str:
        """The words for a request that was not recorded. Raises MissingInput and BadInput."""
        if self._searched_s > _SEARCH_S:
            return _NOT_RECORDED
        began = time.monotonic()
        fault = recording_miss.no_recording(self._index, numbered.request, numbered.n)
        self._searched_s += time.monotonic() - began
        return f"{fault.place}: {fault.what}"

    def close(self) -> None:
        self._index.close()

    def _record(self, numbered: NumberedRequest) -> ExchangeRecord | None:
        found = self._index.find(numbered.key, numbered.occurrence, numbered.n)
        if found is None and self._index.loose:
            return self._index.find_loosely(request_key(numbered.request, loose=True), numbered.n)
        return found


class ReplayedReply:
    """One recorded reply, the source of a ReplyPlan."""

    def __init__(
        self,
        record: ExchangeRecord,
        numbered: NumberedRequest,
        speed: float,
        ended: ExchangeEnd,
    ) -> None:
        self.faults: Sequence[FaultRule] = ()
        self._took_ms = record.took_ms
        self._reply = record.reply
        self._shown = as_asked(record.reply, numbered.request.body)
        self._numbered = numbered
        self._speed = speed
        self._ended = ended

    def begin(self, plan: ReplyPlan) -> Iterator[Step]:
        reply = self._shown
        self._began = time.monotonic()
        is_timed = any(ms for ms, _ in reply.pieces)  # else it came whole, or was made of one that did
        yield from self._wait(reply.pieces[0][0] if is_timed else self._took_ms)
        if reply.status is None:
            yield from _without_reply(reply, plan)
            return
        plan.status, plan.headers = reply.status, (*_headers(reply), *plan.headers)
        plan.framing = "chunked" if reply.failure else ""
        plan.pieces = note_cut(plan, self._pieces())
        yield from collect_steps(plan, self.faults)

    def close(self) -> None:
        self._ended(self._numbered, self._reply, self._took_ms)

    def _pieces(self) -> Iterator[Step]:
        for ms, data in self._shown.pieces:
            yield from self._wait(ms)
            if data:
                yield data
        if self._shown.failure:
            yield from self._wait(self._took_ms)
            yield _ending(self._shown)

    def _wait(self, ms: int) -> Iterator[Step]:
        """A pause until this time after the beginning, as far as it has not passed."""
        left_s = self._began + ms / 1000 / self._speed - time.monotonic()
        if left_s > 0:
            yield Pause(left_s)


def _without_reply(reply: RecordedReply, plan: ReplyPlan) -> Iterator[Step]:
    """The end of an exchange that had no reply, or the words for what was in the way."""
    if reply.failure in _ENDINGS:
        yield _ending(reply)
        return
    message = f"{FAILURES[reply.failure]}: {reply.reason}".removesuffix(": ")
    answer = error_reply(502, message, type=UPSTREAM_ERROR)
    plan.status, plan.headers, plan.pieces = answer.status, (*answer.headers, *plan.headers), answer.pieces


def _ending(reply: RecordedReply) -> Step:
    """The end of the connection. A reset after a head is a cut reply in a record, for this reason."""
    if reply.failure == "cut" and os.strerror(errno.ECONNRESET).lower() in reply.reason.lower():
        return Reset()
    return _ENDINGS.get(reply.failure, Close())


def _headers(reply: RecordedReply) -> tuple[tuple[str, str], ...]:
    """The recorded headers. A record by hand may lack the type, without which no client reads a body."""
    if any(name == "content-type" for name, _ in reply.headers):
        return reply.headers
    body = reply.body
    kind = next((kind for kind, starts in _STARTS.items() if body.startswith(starts)), None)
    return reply.headers if kind is None else (*reply.headers, ("content-type", kind))
