"""Result lines of a run: the output lines of the Batch API, with the key `chatpipe` added.

    {"id", "custom_id",
     "response": {"status_code", "request_id", "body"} or null,
     "error": {"code", "message"} or null,
     "chatpipe": {"line", "outcome", "fingerprint", "attempts", "latency_s", "at", "server",
                  "engine"?, "turns"?, "earlier_usage"?, "failed_tools"?, "lost_usage"?}}

This module makes, reads and renames them. Its readers accept lines of the Batch API, whose `chatpipe` has
neither outcome nor fingerprint or is not there, and any other value in a field of a damaged line.
"""

from __future__ import annotations

import math
import re
import time
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from functools import lru_cache

import orjson

from chatpipe.inputs import values
from chatpipe.inputs.values import NotJSON, Value
from chatpipe.line_record import LineRecord
from chatpipe.named_tuple import NamedTuple
from chatpipe.options.engines import JOB_ENGINE
from chatpipe.options.outcomes import PAID, Outcome
from chatpipe.response import judge
from chatpipe.response.usage import Usage, counts_object, spent_usage

# Of a reply that was cut off at its limit there may be nothing to read.
_HAS_CHOICES = PAID - {Outcome.truncated}

# The last object of our lines can be found without parsing the text before it: inside a string its
# quotes would be escaped, and inside another object a second brace would follow.
_START = b'{"id":"'
_METADATA = b'"chatpipe":'
# The metadata in which a copy of a line may differ from it.
_OF_COPY = frozenset(("line", "outcome", "attempts", "fingerprint"))
# Those of an answer of a job, which a run that was killed leaves to the next run to collect again.
_OF_COLLECTED = _OF_COPY | {"at"}
_FINGERPRINT = re.compile("[0-9a-f]{32}")
_ID = re.compile(rb'\{"id":"[^"\\]*","custom_id":("[^"\\]*(?:\\.[^"\\]*)*"),')

# A line with a good answer, for the names and the response, and the end of its metadata.
_GOOD_LINE = (
    b'{"id":"chatpipe-%b","custom_id":%b,"response":%b,"error":null,'
    b'"chatpipe":{"line":%d,"outcome":"ok","fingerprint":"%b"%b}'
)


class LostAttempts(NamedTuple):
    """The attempts of a line whose usage is unknown: their estimated usage, and the number of the last."""

    usage: Usage = Usage()
    last: int = 0


class Metadata(LineRecord):
    """The value of `chatpipe`.

    line counts from 1. fingerprint is empty if there was no request. attempts covers all turns, latency_s
    is how long the last attempt took. at is the time when the answer ended, as timestamp() writes it,
    and server the server that gave it. All three are None if nothing was sent. earlier_usage holds the
    `usage` of each turn before the answer, failed_tools the names of the tools whose command failed in one
    of them. engine is the way in which the answer came, None for the usual one. lost_usage is the estimated
    usage of attempts that got no whole reply, and may have been paid for.
    """

    line: int
    outcome: Outcome
    fingerprint: str = ""
    attempts: int = 0
    latency_s: float | None = None
    earlier_usage: tuple[Value, ...] = ()
    at: str | None = None
    server: str | None = None
    engine: str | None = None
    failed_tools: tuple[str, ...] = ()
    lost_usage: Usage | None = None

    def record(self) -> dict[str, Value]:
        record: dict[str, Value] = {
            "line": self.line,
            "outcome": str(self.outcome),
            "fingerprint": self.fingerprint or None,
            "attempts": self.attempts,
            "latency_s": None if self.latency_s is None else _in_milliseconds(self.latency_s),
            "at": self.at,
            "server": self.server,
        }
        if self.engine is not None:
            record["engine"] = self.engine
        if self.earlier_usage:
            record["turns"] = _turns_sent(self.outcome, self.earlier_usage)
            record["earlier_usage"] = list(self.earlier_usage)
        if self.failed_tools:
            record["failed_tools"] = list(self.failed_tools)
        if self.lost_usage is not None:
            record["lost_usage"] = counts_object(self.lost_usage)
        return record


class LineError(NamedTuple):
    """The reason why a line is not good. code is its outcome, or `http_` and the status."""

    code: str
    message: str


class LineKey(NamedTuple):
    """The fingerprint or custom_id that a result line is found by, and facts that choose among several.

    A fact that the line does not state is None.
    """

    identity: str | None
    outcome: str | None
    at: str | None = None
    server: str | None = None
    has_failed_tool: bool = False

    @property
    def ended_at(self) -> float:
        """The time `at` in seconds since 1970. A line without a valid time is older than all others."""
        return -math.inf if self.at is None else parse_timestamp(self.at)


class ResultLine:
    """A result line that was read. No reader raises: a field that is missing or damaged is None or empty."""

    __slots__ = ("record",)

    def __init__(self, record: dict[str, Value]) -> None:
        self.record = record

    @property
    def custom_id(self) -> str | None:
        return _text(self.record.get("custom_id"))

    @property
    def fingerprint(self) -> str | None:
        """That of the request. The Batch API lines of a run have it as their custom_id."""
        if self._is_of_provider:
            custom_id = self.custom_id
            return custom_id if custom_id and _FINGERPRINT.fullmatch(custom_id) else None
        return _text(self._metadata().get("fingerprint"))

    @property
    def outcome(self) -> str | None:
        """The recorded outcome. That of a Batch API line is judged by its answer, and None without one."""
        if self._is_of_provider:
            return _batch_api_outcome(self.record.get("response"))
        return _text(self._metadata().get("outcome"))

    def key(self, *, by_id: bool) -> LineKey:
        metadata = self._metadata()
        identity = self.custom_id if by_id else self.fingerprint
        at, server = _text(metadata.get("at")), _text(metadata.get("server"))
        return LineKey(identity, self.outcome, at, server, bool(metadata.get("failed_tools")))

    @property
    def body(self) -> Value:
        """The body of the response: a completion, or the server's error as JSON or text."""
        response = self.record.get("response")
        return response.get("body") if type(response) is dict else None

    @property
    def completion(self) -> dict[str, Value] | None:
        """The body, if it is an object."""
        body = self.body
        return body if type(body) is dict else None

    @property
    def good_answer(self) -> dict[str, Value] | None:
        """The completion of a line without an error."""
        completion = None if self.record.get("error") else self.completion
        return completion if completion is not None and "choices" in completion else None

    @property
    def model(self) -> Value:
        return (self.completion or {}).get("model")

    @property
    def latency_s(self) -> float | None:
        latency = self._metadata().get("latency_s")
        return latency if type(latency) in (int, float) else None

    @property
    def is_of_job(self) -> bool:
        """True for an answer of the Batch API, which has a price of its own."""
        return self._metadata().get("engine") == JOB_ENGINE

    @property
    def earlier_usage(self) -> tuple[Value, ...]:
        usage = self._metadata().get("earlier_usage")
        return tuple(usage) if type(usage) is list else ()

    @property
    def has_failed_tool(self) -> bool:
        """True if the answer follows the failure of a tool."""
        return bool(self._metadata().get("failed_tools"))

    @property
    def is_damaged(self) -> bool:
        """True if the line is ours and was changed by hand: it cannot be the answer that it says it is."""
        if self._is_of_provider:
            return False
        outcome = self._metadata().get("outcome")
        if type(outcome) is not str:
            return True
        return outcome in _HAS_CHOICES and type((self.completion or {}).get("choices")) is not list

    def spent_usage(self) -> Usage:
        """The counts of all turns that led to the line."""
        return spent_usage(self.completion, self.earlier_usage)

    @property
    def lost_usage(self) -> Usage:
        """The estimated counts of the attempts that got no whole reply."""
        return spent_usage(None, [self._metadata().get("lost_usage")])

    def error(self, outcome: str) -> LineError:
        """The error. Without a code or a message, outcome stands in for it."""
        error = self.record.get("error")
        found = error if type(error) is dict else {}
        return LineError(_text(found.get("code")) or outcome, _text(found.get("message")) or outcome)

    def content(self) -> bytes:
        """The line without its place in the input, to compare what it holds with that of others.

        The outcome of an answer depends on the run, too, and the time of a job's answer is that at which it
        was collected. In a copy of a Batch API line the rest is unknown.
        """
        left_out = _OF_COLLECTED if self.is_of_job else _OF_COPY
        known = {
            name: value
            for name, value in self._metadata().items()
            if value is not None and name not in left_out
        }
        same = {
            "outcome": self.outcome in PAID,
            "fingerprint": self.fingerprint,
            "response": self.record.get("response"),
        }
        return values.dumps({**same, **known})

    def renamed(
        self, custom_id: str, number: int, outcome: Outcome, *, is_good: bool, reason: str = ""
    ) -> ResultLine:
        """The line under the names of another line of input, with an outcome and its error.

        reason is the message of the error; empty for the error that is recorded. A Batch API line of another
        request than one of a run has no fingerprint, and is found by its custom_id alone.
        """
        error = None
        if not is_good:
            error = {"code": str(outcome), "message": reason} if reason else self.record.get("error")
        unknown = {**_OF_PROVIDER, "fingerprint": self.fingerprint} if self._is_of_provider else {}
        metadata = {**unknown, **self._metadata(), "line": number, "outcome": str(outcome)}
        return ResultLine({**self.record, "custom_id": custom_id, "error": error, "chatpipe": metadata})

    @property
    def _is_of_provider(self) -> bool:
        """True for a line of the Batch API, which no run has recorded."""
        metadata = self.record.get("chatpipe", {})
        return type(metadata) is dict and "outcome" not in metadata and "fingerprint" not in metadata

    def _metadata(self) -> dict[str, Value]:
        metadata = self.record.get("chatpipe")
        return metadata if type(metadata) is dict else {}


def metadata_of_job(server: str, ended_at: float) -> dict[str, Value]:
    """The value of `chatpipe` in a Batch API line. ended_at is the end of its job, 0 if it is unknown."""
    at = {"at": timestamp(ended_at)} if ended_at else {}
    return {**at, "server": server, "engine": JOB_ENGINE}


# The metadata of a line that a provider made: it was sent once, and the rest is unknown.
_OF_PROVIDER = Metadata(0, Outcome.ok, attempts=1).record()


def make_line(custom_id: str, metadata: Metadata, response: Value, error: LineError | None) -> bytes:
    """A result line without its newline."""
    record = {
        "id": f"chatpipe-{metadata.fingerprint or custom_id}",
        "custom_id": custom_id,
        "response": response,
        "error": None if error is None else {"code": error.code, "message": error.message},
        "chatpipe": metadata.record(),
    }
    return values.dumps(record)


def make_good_lines(
    names: Iterable[tuple[str, int, str]], responses: Iterable[bytes], metadata: Metadata
) -> list[bytes]:
    """Lines without an error, as make_line() makes them, which have the same metadata but for their names.

    names are the custom_id, the number and the fingerprint of each line, responses the JSON of its response.
    """
    rest = values.dumps(metadata.record()).partition(b'"fingerprint":null')[2]
    return [
        _GOOD_LINE % (digits := fingerprint.encode(), values.dumps(name), response, number, digits, rest)
        for (name, number, fingerprint), response in zip(names, responses, strict=True)
    ]


def make_response(status_code: int, request_id: str | None, body: Value) -> dict[str, Value]:
    """The value of `response`."""
    return {"status_code": status_code, "request_id": request_id, "body": body}


def is_result(record: Mapping[str, Value]) -> bool:
    """Return True if an object is a result line of a run or of the Batch API."""
    return "response" in record and ("custom_id" in record or "error" in record)


def read_result(line: bytes) -> ResultLine | None:
    """The result line of a run or of the Batch API; None for anything else, and for a damaged line."""
    try:
        record = values.loads(line)
    except NotJSON:
        return None
    if type(record) is not dict or not is_result(record):
        return None
    found = ResultLine(record)
    return None if found.is_damaged else found


def _turns_sent(outcome: str, earlier_usage: Sequence[Value]) -> int:
    """The number of turns that were sent. An unsent line may have had some before the unsent one."""
    return len(earlier_usage) + (outcome != Outcome.unsent)


def read_key(line: bytes, *, by_id: bool) -> LineKey | None:
    """The key of a line that we wrote, from its ends only: a third of the time of parsing it, or less.

    None means that the line must be parsed: it has spaces, a carriage return, keys in another order,
    or comes from elsewhere. A key says nothing about damage in the middle of the line.
    """
    start = line.rfind(_METADATA)
    if start < 0 or not line.startswith(_START):
        return None
    try:
        metadata = orjson.loads(line[start + len(_METADATA) : -1])
        head = _ID.match(line) if by_id else None
        if by_id and head is None:
            return None
        return LineKey(
            _text(metadata["fingerprint"]) if head is None else orjson.loads(head[1]),
            _text(metadata["outcome"]),
            _text(metadata.get("at")),
            _text(metadata.get("server")),
            "failed_tools" in metadata,
        )
    except (ValueError, LookupError, TypeError, AttributeError):
        return None


def read_custom_id(line: bytes) -> str | None:
    """The custom_id of a result line, of one that we wrote from its beginning only."""
    if (head := _ID.match(line)) is not None:
        with suppress(ValueError):
            return _text(orjson.loads(head[1]))
    found = read_result(line)
    return None if found is None else found.custom_id


def timestamp(now: float) -> str:
    """Seconds since 1970 as UTC with milliseconds: `2026-01-31T12:00:00.000Z`. Source: RFC 3339."""
    milliseconds = int(now * 1000)
    return f"{_second_text(milliseconds // 1000)}.{milliseconds % 1000:03}Z"


def _in_milliseconds(seconds: float) -> float:
    """Seconds with three decimals, at a fifth of the cost of round()."""
    return int(seconds * 1000 + 0.5) / 1000


def parse_timestamp(text: str) -> float:
    """Seconds since 1970 of a time as RFC 3339 has it; minus infinity for any other text."""
    from datetime import UTC, datetime  # only where there are several answers to one request

    try:
        found = datetime.fromisoformat(text)
    except ValueError:
        return -math.inf
    return (found if found.tzinfo else found.replace(tzinfo=UTC)).timestamp()


@lru_cache(maxsize=1)
def _second_text(seconds: int) -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(seconds))


def _text(value: Value) -> str | None:
    return value if type(value) is str else None


def _batch_api_outcome(response: Value) -> str | None:
    """The outcome of the `response` of a Batch API line; None if it is not an answer."""
    body = response.get("body") if type(response) is dict else None
    if type(body) is not dict or response.get("status_code") != 200:
        return None
    verdict = judge.verdict(body, allow=frozenset(), text_format=False)
    if verdict is None:
        return str(Outcome.ok)
    return None if verdict.outcome is Outcome.broken else str(verdict.outcome)
