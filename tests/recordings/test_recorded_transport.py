"""Exchanges over a recorded transport: what is recorded, and what a replay of it says. No socket."""

from __future__ import annotations

import gzip
import itertools
import socket
import ssl
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import httpx
import orjson
import pytest

from chatpipe.errors import CannotWrite, NotRecorded
from chatpipe.exchange import run_without_loop
from chatpipe.recordings.exchange_record import FAILURES as RECORDED_FAILURES
from chatpipe.recordings.exchange_record import ExchangeRecord, read_record
from chatpipe.recordings.recorded_attempts import Recordings
from chatpipe.recordings.recorded_transport import RecordedTransport
from chatpipe.recordings.recording_index import RecordingIndex
from chatpipe.recordings.recording_writer import RecordingWriter
from chatpipe.recordings.transport_failures import exception_of, recorded_failure
from chatpipe.system.lock import LockPatience
from chatpipe.wire.faults import CarriedFault, from_exception, is_transient
from chatpipe.wire.http1 import MalformedReply, NotHTTP, OverlongReply
from chatpipe.wire.retry import REPLAYED
from chatpipe.wire.unpack import UnreadableBody
from support.parametrize import cases

URL = "https://user:password@api.example.com/secret-token/v1/chat/completions?key=secret"
BODY = {"model": "m", "messages": [{"role": "user", "content": "Hello"}]}
JSON, EVENTS = {"content-type": "application/json"}, {"content-type": "text/event-stream"}
STREAM = (
    b'data: {"choices":[{"index":0,"delta":{"content":"\xf0\x9f',
    b'\x98\x80"}}]}\n\n',
    b"data: [DONE]\n\n",
)


class Pieces(httpx.AsyncByteStream):
    """A body in pieces. An exception among them is raised."""

    def __init__(self, *pieces: bytes | Exception) -> None:
        self._pieces = pieces
        self.is_closed = False

    async def __aiter__(self) -> AsyncIterator[bytes]:
        for each in self._pieces:
            if isinstance(each, Exception):
                raise each
            yield each

    async def aclose(self) -> None:
        self.is_closed = True


class Replies(httpx.AsyncBaseTransport):
    """A transport that gives these replies in turn."""

    def __init__(self, *replies: httpx.Response | Exception) -> None:
        self._replies = iter(replies)

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        reply = next(self._replies)
        if isinstance(reply, Exception):
            raise reply
        return reply


def post(body: Any = BODY) -> httpx.Request:
    return httpx.Request("POST", URL, headers={"Authorization": "Bearer k"}, content=orjson.dumps(body))


def reply(status: int = 200, headers: Any = JSON, body: Any = b"{}") -> httpx.Response:
    stream = httpx.ByteStream(body) if isinstance(body, bytes) else Pieces(*body)
    return httpx.Response(status, headers=headers, stream=stream)


Outcome = tuple[int | None, list[bytes], Exception | None]


def exchange(transport: httpx.AsyncBaseTransport, request: httpx.Request, *, most: int = 99) -> Outcome:
    """Send a request, and read at most so many pieces."""

    async def read() -> Outcome:
        pieces: list[bytes] = []
        status, error = None, None
        try:
            response = await transport.handle_async_request(request)
        except httpx.HTTPError as raised:
            return None, [], raised
        assert isinstance(response.stream, httpx.AsyncByteStream)
        status = response.status_code
        try:
            if most:
                async for piece in response.stream:
                    pieces += [piece] if piece else []
                    if len(pieces) >= most:
                        break
        except httpx.HTTPError as raised:
            error = raised
        finally:
            await response.stream.aclose()
        return status, pieces, error

    return run_without_loop(read())


def clock() -> Callable[[], float]:
    """Each look at it is 10 ms after the one before."""
    ticks = itertools.count()
    return lambda: next(ticks) / 100


class Recorder:
    """Records exchanges in a file, and replays them."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def record(self, *replies: httpx.Response | Exception) -> httpx.AsyncBaseTransport:
        self.writer = RecordingWriter(str(self.path), LockPatience(lambda text: None))
        recordings = Recordings(None, self.writer, now=lambda: 0.0)
        return RecordedTransport(recordings, Replies(*replies), clock())

    def replay(self, *, loose: bool = False) -> httpx.AsyncBaseTransport:
        return RecordedTransport(Recordings(RecordingIndex(str(self.path), loose=loose), None), None)

    @property
    def records(self) -> list[ExchangeRecord]:
        return [read_record(line) for line in self.path.read_bytes().splitlines()]


@pytest.fixture
def recorder(tmp_path: Path) -> Recorder:
    return Recorder(tmp_path / "r")


RESET = httpx.ReadError("connection reset by peer")
CUT = httpx.RemoteProtocolError("connection closed before the end of the reply")
PACKED = gzip.compress(b'{"a":1}')


@cases(
    "response, pieces, failure",
    {
        "JSON": (reply(), [b"{}"], ""),
        "JSON in pieces": (reply(body=(b'{"a"', b":1}")), [b'{"a":1}'], ""),
        "a refusal": (reply(429, {"retry-after": "7"}, b"busy"), [b"busy"], ""),
        "an empty body": (reply(204, {}, b""), [], ""),
        "a stream": (reply(headers=EVENTS, body=STREAM), list(STREAM), ""),
        "a stream that is reset": (
            reply(headers=EVENTS, body=(*STREAM[:1], RESET)),
            list(STREAM[:1]),
            "reset",
        ),
        "JSON that is cut": (reply(body=(b'{"a"', CUT)), [b'{"a"'], "cut"),
        "a packed body": (reply(headers={**JSON, "content-encoding": "gzip"}, body=PACKED), [b'{"a":1}'], ""),
        "a packed body that no header names": (reply(headers=JSON, body=PACKED), [b'{"a":1}'], ""),
        "a packed body in pieces": (
            reply(headers={**JSON, "content-encoding": "gzip"}, body=(PACKED[:20], PACKED[20:])),
            [b'{"a":1}'],
            "",
        ),
        "a body that is said to be packed": (
            reply(headers={**JSON, "content-encoding": "gzip"}, body=b'{"a":1}'),
            [b'{"a":1}'],
            "",
        ),
    },
)
def test_a_replay_says_what_was_said(
    recorder: Recorder, response: httpx.Response, pieces: list[bytes], failure: str
) -> None:
    body = {**BODY, "stream": True}
    status, _, error = exchange(recorder.record(response), post(body))
    [record] = recorder.records
    assert record.reply.failure == failure
    again = exchange(recorder.replay(), post(body))
    assert again[:2] == (status, pieces)
    assert str(again[2]) == str(error)
    assert type(again[2]) is type(error)


def test_a_record_has_no_secrets_and_all_facts(recorder: Recorder) -> None:
    headers = {**EVENTS, "x-request-id": "r1", "set-cookie": "id=secret"}
    exchange(recorder.record(reply(headers=headers, body=STREAM)), post())
    text = recorder.path.read_text()
    assert not any(word in text for word in ("secret", "password", "example.com", "Bearer"))
    [record] = recorder.records
    assert (record.request.method, record.request.path) == ("POST", "/v1/chat/completions")
    assert record.request.body == BODY
    assert [ms for ms, _ in record.reply.pieces] == [10, 20, 30]
    assert (record.at, record.took_ms) == ("1970-01-01T00:00:00.000Z", 40)


@cases(
    "most, pieces, failure",
    {
        "nothing": (0, [], "cut"),
        "a part": (1, [STREAM[0]], "cut"),
        "up to the end of the answer": (3, list(STREAM), ""),
    },
)
def test_a_reply_that_is_not_read_to_its_end(
    recorder: Recorder, most: int, pieces: list[bytes], failure: str
) -> None:
    """As by Ctrl-C. Nobody reads behind `[DONE]`."""
    body = Pieces(*STREAM, b"never read")
    exchange(recorder.record(httpx.Response(200, headers=EVENTS, stream=body)), post(), most=most)
    [record] = recorder.records
    assert [data for _, data in record.reply.pieces] == pieces
    assert record.reply.failure == failure
    assert body.is_closed


def caused(error: Exception, cause: Exception) -> Exception:
    error.__cause__ = cause
    return error


NO_HOST = socket.gaierror(socket.EAI_NONAME, "Name or service not known")
FAILURES = {
    "no-host": caused(httpx.ConnectError("no"), NO_HOST),
    "refused": caused(httpx.ConnectError("no"), ConnectionRefusedError(111, "Connection refused")),
    "tls": caused(httpx.ConnectError("no"), ssl.SSLError(1, "[SSL: WRONG] wrong version (_ssl.c:1)")),
    "connect-timeout": httpx.ConnectTimeout("no connection within 10 s"),
    "timeout": httpx.ReadTimeout("no byte for 600 s"),
    "deadline": httpx.ReadTimeout("deadline"),
    "proxy": httpx.ProxyError("407 Proxy Authentication Required"),
    "proxy-down": caused(httpx.ProxyError("Connection refused"), ConnectionRefusedError(111, "refused")),
    "reset": caused(httpx.ReadError("no"), ConnectionResetError(104, "Connection reset by peer")),
    "cut": httpx.RemoteProtocolError("the server closed the connection"),
    "too-long": OverlongReply("longer than 1 kB", "raise --max-reply"),
    "no-http": NotHTTP("it says 'SSH-2.0'"),
    "malformed": MalformedReply("unexpected status 101"),
    "broken": httpx.DecodingError("its compressed data are broken"),
    "unreadable": UnreadableBody("it is compressed with 'x-own'"),
}


@pytest.mark.parametrize("error", FAILURES.values(), ids=FAILURES)
def test_a_failure_before_a_reply_comes_back(recorder: Recorder, error: Exception) -> None:
    """With the same words, the same status, and the same decision about a retry."""
    exchange(recorder.record(error), post())
    status, _, again = exchange(recorder.replay(), post())
    assert status is None
    assert again is not None
    faults = [from_exception(each, "https://h") for each in (error, again)]
    assert faults[1].what.lower() == faults[0].what.lower()
    assert faults[1].status == faults[0].status
    assert is_transient(again) == is_transient(error)


@pytest.mark.parametrize("failure", sorted(RECORDED_FAILURES))
def test_failures_have_one_exception_each(failure: str) -> None:
    assert recorded_failure(exception_of(failure, "why")) == (failure, "why")


@pytest.mark.parametrize("failure", sorted(RECORDED_FAILURES))
def test_a_failure_without_a_reason_has_words(failure: str) -> None:
    """A client that went away itself leaves none."""
    assert str(exception_of(failure, "")) == RECORDED_FAILURES[failure]


def test_a_request_that_cannot_be_sent_is_not_recorded(recorder: Recorder) -> None:
    exchange(recorder.record(httpx.LocalProtocolError("illegal header")), post())
    assert recorder.records == []


def test_attempts_of_one_request_are_replayed_in_turn(recorder: Recorder) -> None:
    """And those of equal requests apart: each has its own occurrence."""
    transport = recorder.record(reply(body=b"1"), reply(503), reply(body=b"2"), reply(body=b"3"))
    first, second, third = post(), post(), post()
    for request in (first, second, second, third):
        exchange(transport, request)
    assert [(each.occurrence, each.n) for each in recorder.records] == [(1, 1), (2, 1), (2, 2), (3, 1)]
    again = recorder.replay()
    first, second, third, more = post(), post(), post(), post()
    found = [exchange(again, request)[:2] for request in (first, second, third, second, more)]
    assert found == [(200, [b"1"]), (503, [b"{}"]), (200, [b"3"]), (200, [b"2"]), (200, [b"3"])]


def test_a_redirect_is_an_attempt_of_its_own(recorder: Recorder) -> None:
    transport = recorder.record(reply(307, {"location": "/v2/chat/completions"}), reply())
    first = post()
    exchange(transport, first)
    second = httpx.Request("POST", "https://h/v2", extensions=first.extensions, stream=first.stream)
    exchange(transport, second)
    one, other = recorder.records
    assert (one.n, other.n, other.key) == (1, 2, one.key)


def test_a_request_that_was_not_recorded(recorder: Recorder) -> None:
    exchange(recorder.record(reply()), post())
    _, _, error = exchange(recorder.replay(), post({**BODY, "seed": 1}))
    assert isinstance(error, CarriedFault)
    assert isinstance(error.fault, NotRecorded)
    assert not is_transient(error)


def test_a_loose_match_ignores_members_that_change_no_answer(recorder: Recorder) -> None:
    exchange(recorder.record(reply(body=b"1")), post({**BODY, "seed": 1}))
    assert exchange(recorder.replay(loose=True), post({**BODY, "user": "me"}))[1] == [b"1"]


def test_replies_of_a_replay_say_so(recorder: Recorder) -> None:
    exchange(recorder.record(reply()), post())
    response = run_without_loop(recorder.replay().handle_async_request(post()))
    assert response.headers[REPLAYED] == "yes"


@pytest.mark.parametrize("copies", [False, True])
def test_use_and_add(tmp_path: Path, copies: bool) -> None:
    """What is recorded is used, what is not is asked for and added; copies are made for another file."""
    old = Recorder(tmp_path / "old")
    exchange(old.record(reply(body=b"1")), post())
    new = Recorder(tmp_path / ("new" if copies else "old"))
    new.record()
    recordings = Recordings(RecordingIndex(str(old.path)), new.writer, copies=copies)
    transport = RecordedTransport(recordings, Replies(reply(body=b"2")))
    assert exchange(transport, post())[1] == [b"1"]
    assert exchange(transport, post({**BODY, "seed": 1}))[1] == [b"2"]
    assert [each.reply.body for each in new.records] == [b"1", b"2"]


def test_other_methods_are_neither_recorded_nor_replayed(recorder: Recorder) -> None:
    transport = recorder.record(reply())
    assert exchange(transport, httpx.Request("GET", "https://h/metrics"))[0] == 200
    assert recorder.records == []


def test_what_cannot_be_recorded_does_not_harm_its_answer(recorder: Recorder) -> None:
    transport = recorder.record(reply(body=b"1"), reply(body=b"2"))
    recorder.writer.failure = CannotWrite("no space left", place="r")
    _, _, error = exchange(transport, post())
    assert isinstance(error, CarriedFault)  # the next request is not sent
    recorder.writer.failure = None
    assert exchange(transport, post())[1] == [b"1"]
