"""An answer, who receives it while it arrives, and the answers that are made of errors."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal, Protocol

import httpx

from chatpipe.errors import ChatpipeError
from chatpipe.inputs.values import Value
from chatpipe.line_record import LineRecord
from chatpipe.response.stream_reader import ChunkReceiver
from chatpipe.server.request_extensions import LOST_KEPT
from chatpipe.wire.retry import FailedAttempt


class Receiver(ChunkReceiver, Protocol):
    """Receives an answer as it arrives. started is true once part of it is written and cannot be undone.

    takes names the pieces that are of use to it: the bytes of the stream and the chunks, the chunks alone,
    or neither. `body` is for a reply that is no completion: see json_body.py.
    """

    @property
    def takes(self) -> Literal["bytes", "chunks", "nothing", "body"]: ...

    @property
    def started(self) -> bool: ...


class NullReceiver:
    """A receiver that takes nothing while an answer arrives, so that a failed attempt can be repeated."""

    started = False
    takes: Literal["nothing"] = "nothing"

    def raw(self, data: bytes) -> None:
        """Discard data."""

    def chunk(self, payload: bytes, chunk: Mapping[str, Value]) -> None:
        """Discard a chunk."""

    def expect_end(self) -> None:
        """Do nothing: no chunk waits."""


class Answer(LineRecord):
    """The result of an exchange.

    body holds the bytes of an answer in one piece and is None for a stream. fault is the reason if
    the answer is not complete. completion is then the part that arrived, or None if nothing
    readable arrived.

    After earlier turns (conversation/loop.py), earlier_usage holds the usage of each, null if the server
    did not report it, and failed_tools the names of the tools whose command failed. turns_exhausted is
    true if the answer calls tools but no further turn is allowed. server is the name of the one that sent it,
    of several in one run. engine is the way in which it came, None for the usual one. at is the time when it
    came, as timestamp() writes it, None for this moment.
    """

    completion: dict[str, Value] | None
    body: bytes | None = None
    fault: ChatpipeError | None = None
    request_id: str | None = None
    attempts: int = 1
    earlier_usage: tuple[Value, ...] = ()
    failed_tools: tuple[str, ...] = ()
    turns_exhausted: bool = False
    server: str | None = None
    engine: str | None = None
    at: str | None = None


# An answer, and the seconds that its last attempt took: 0 if there was none.
TimedAnswer = tuple[Answer, float]

# The answer of one attempt, and its failure for the retry decision: None if no retry can help.
AttemptResult = tuple[Answer, FailedAttempt | None]


def answer_from_refusal(
    status: int, headers: Mapping[str, str], request: httpx.Request, body: bytes
) -> AttemptResult:
    """An error reply, or an error inside one with status 200."""
    from chatpipe.wire import refusals  # its tables are needed after a failure only

    fault, failure = refusals.from_reply(status, headers, body, request)
    return Answer(None, None, fault), failure


def answer_from_error(error: Exception, request: httpx.Request) -> AttemptResult:
    """The answer if no complete reply arrived."""
    from chatpipe.wire import faults  # see answer_from_refusal

    fault = faults.from_exception(error, str(request.url), request.extensions)
    if not faults.is_transient(error):
        return Answer(None, None, fault), None
    lost_kept = request.extensions.get(LOST_KEPT, False)
    return Answer(None, None, fault), FailedAttempt(
        is_unreached=not fault.reached_server, has_lost_kept=lost_kept
    )
