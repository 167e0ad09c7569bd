"""One reply that comes at once: whole or streamed, under whatever name, in whatever pieces."""

from __future__ import annotations

import gzip
import zlib
from collections.abc import Callable
from typing import Any

import orjson
import pytest

from chatpipe.errors import Status
from exchange.scripted import DONE, Body, Receiver, error, event, piece, plain, served, stream, whole

import httpx  # isort: skip - after chatpipe.wire, which keeps httpx's own command line out

JSON = (
    b'{"id":"c1","choices":[{"index":0,'
    b'"message":{"role":"assistant","content":"hi"},"finish_reason":"stop"}]}'
)
STREAM = [piece("h"), piece("i"), piece("", "stop"), DONE]


def content(answer: Any) -> Any:
    return answer.completion["choices"][0]["message"]["content"]


@pytest.mark.parametrize(
    "pieces",
    [
        pytest.param([JSON], id="at once"),
        pytest.param([JSON[index : index + 1] for index in range(len(JSON))], id="byte by byte"),
        pytest.param([b"\n\n", b"\n", JSON], id="blank lines before, which keep the connection"),
        pytest.param([b" " * 5000 + JSON], id="blanks before"),
        pytest.param([JSON, b"\n\n"], id="blank lines behind"),
        pytest.param([b"\xef\xbb\xbf" + JSON], id="byte order mark"),
        pytest.param([b"", JSON], id="an empty piece first"),
    ],
)
def test_whole_answer(pieces: list[bytes]) -> None:
    server, receiver = served(plain(*pieces)), Receiver()
    answer = server.ask(receiver)
    assert (answer.completion, answer.body, answer.fault) == (orjson.loads(JSON), b"".join(pieces), None)
    assert (receiver.data, receiver.payloads) == (b"", [])
    assert server.all_closed
    assert (server.slept, server.notes) == ([], [])


@pytest.mark.parametrize(
    "pieces",
    [
        pytest.param(STREAM, id="an event a piece"),
        pytest.param([b"".join(STREAM)], id="at once"),
        pytest.param([bytes([byte]) for byte in b"".join(STREAM)], id="byte by byte"),
        pytest.param([b": wait\n\n", b"\n", *STREAM], id="a comment before"),
        pytest.param([b"\n\n", *STREAM], id="blank lines before"),
        pytest.param([b"\xef\xbb\xbf", *STREAM], id="byte order mark"),
        pytest.param([part.replace(b"\n", b"\r\n") for part in STREAM], id="CRLF"),
        pytest.param([*STREAM[:-1]], id="no [DONE], but a finish_reason"),
        pytest.param([*STREAM[:2], piece("", None), DONE], id="no finish_reason, but [DONE]"),
        pytest.param([*STREAM[:-1], b"data: [DONE]"], id="no line end behind [DONE]"),
        pytest.param([*STREAM[:-2], STREAM[-2].rstrip()], id="no line end behind the last event"),
    ],
)
def test_streamed_answer(pieces: list[bytes]) -> None:
    server, receiver = served(stream(*pieces)), Receiver()
    answer = server.ask(receiver)
    assert (content(answer), answer.body, answer.fault) == ("hi", None, None)
    assert len(receiver.payloads) == 3
    assert receiver.data == b"".join(pieces)
    assert server.all_closed


@pytest.mark.parametrize(
    "kind",
    [
        "text/event-stream",
        "text/event-stream; charset=utf-8",
        "Text/Event-Stream;charset=UTF-8",
        "application/json",
        "text/plain",
        "",
    ],
)
@pytest.mark.parametrize(
    "pieces",
    [
        pytest.param(STREAM, id="events"),
        pytest.param([b": OPENROUTER PROCESSING\n\n", *STREAM], id="comment"),
        pytest.param([b"event: message\n" + STREAM[0], *STREAM[1:]], id="event"),
        pytest.param([b"id: 1\n" + STREAM[0], *STREAM[1:]], id="id"),
        pytest.param([b"retry: 1\n", *STREAM], id="retry"),
        pytest.param([b"\xef\xbb\xbf" + STREAM[0], *STREAM[1:]], id="byte order mark"),
        pytest.param([b"\n", *STREAM], id="blank line"),
        pytest.param([bytes([byte]) for byte in b"".join(STREAM)], id="byte by byte"),
        pytest.param([b"", *STREAM], id="an empty piece first"),
    ],
)
def test_stream_is_told_by_its_name_or_by_its_bytes(kind: str, pieces: list[bytes]) -> None:
    """Also for a request that did not ask for one: what it is, is for the server to say."""
    answer = served(stream(*pieces, kind=kind)).ask()
    assert (content(answer), answer.fault) == ("hi", None)


@pytest.mark.parametrize(
    ("name", "pack"),
    [
        pytest.param("gzip", gzip.compress, id="gzip"),
        pytest.param("GZIP", gzip.compress, id="GZIP"),
        pytest.param("deflate", zlib.compress, id="deflate"),
        pytest.param("identity", bytes, id="identity"),
        pytest.param("Identity", bytes, id="Identity"),
    ],
)
@pytest.mark.parametrize("size", [1, 7, 10_000])
def test_server_that_compresses_though_not_asked_to(
    name: str, pack: Callable[[bytes], bytes], size: int
) -> None:
    for body, headers in ((JSON, {}), (b"".join(STREAM), {"content-type": "text/event-stream"})):
        packed = pack(body)
        pieces = [packed[index : index + size] for index in range(0, len(packed), size)]
        answer = served(plain(*pieces, headers={"content-encoding": name, **headers})).ask()
        assert (content(answer), answer.fault) == ("hi", None)


def test_compressed_error_is_read_as_well() -> None:
    body = gzip.compress(b'{"error":{"message":"too hot"}}')
    answer = served(plain(body, status=400, headers={"content-encoding": "gzip"})).ask()
    assert answer.fault is not None
    assert "too hot" in answer.fault.what


def test_nothing_is_read_behind_done() -> None:
    """A server may keep the connection open behind [DONE], for a minute or for ever."""
    body = Body([*STREAM, AssertionError("asked for more")])
    server = served(httpx.Response(200, headers={"content-type": "text/event-stream"}, stream=body))
    assert server.ask().fault is None
    assert (body.taken, body.closed) == (4, True)


@pytest.mark.parametrize(
    "rest",
    [event({"choices": []}), b'data: {"choices":[]}', b"data: {", DONE],
    ids=["event", "open", "cut", "again"],
)
def test_what_follows_done_is_handed_to_nobody(rest: bytes) -> None:
    receiver = Receiver()
    answer = served(stream(b"".join(STREAM) + rest)).ask(receiver)
    assert (content(answer), answer.fault) == ("hi", None)
    assert len(receiver.payloads) == 3


def test_chunks_are_handed_on_as_they_were_sent() -> None:
    odd = b'{ "choices":[{"index":0,"delta":{"content":"\\ud83d"},"finish_reason":"stop"}],  "x":1.50 }'
    receiver = Receiver()
    served(stream(b"data: " + odd.replace(b"\\ud83d", b"\\u00e4") + b"\n\n", DONE)).ask(receiver)
    assert receiver.payloads == [odd.replace(b"\\ud83d", b"\\u00e4")]


# What is no answer


@pytest.mark.parametrize(
    ("body", "what", "kept"),
    [
        pytest.param(b"", "the answer is empty", False, id="nothing"),
        pytest.param(b" \n\n ", "the answer is empty", False, id="white space"),
        pytest.param(
            b"<html>Sign in</html>",
            "the answer is not JSON (expecting value): '<html>Sign in</html>'",
            True,
            id="a page",
        ),
        pytest.param(b'{"id":', "the answer is not JSON (expecting value): '{\"id\":'", True, id="cut JSON"),
        pytest.param(b"[1]", "the answer is not a JSON object: '[1]'", True, id="array"),
        pytest.param(b"null", "the answer is not a JSON object: 'null'", True, id="null"),
        pytest.param(
            b"\xff", "the answer is not JSON (byte 0xff is not UTF-8): '\ufffd'", True, id="no UTF-8"
        ),
        pytest.param(
            b"x" * 500,
            "the answer is not JSON (expecting value): '" + "x" * 77 + "...'",
            True,
            id="long",
        ),
    ],
)
def test_no_answer_is_76(body: bytes, what: str, kept: bool) -> None:
    answer = served(plain(body)).ask(retries=0)
    assert answer.fault is not None
    assert (answer.fault.status, answer.fault.what) == (Status.BROKEN_ANSWER, what)
    assert (answer.completion, answer.body) == (None, body if kept else None)


@pytest.mark.parametrize(
    ("body", "status"),
    [
        pytest.param({"error": {"message": "no credit", "code": 402}}, Status.NO_ACCESS, id="402"),
        pytest.param({"error": {"message": "slow down", "code": 429}}, Status.TRY_LATER, id="429"),
        pytest.param({"error": {"message": "down", "code": 502}}, Status.UNREACHABLE, id="502"),
        pytest.param(
            {"error": {"message": "odd", "code": "server_error"}}, Status.BROKEN_ANSWER, id="a word"
        ),
        pytest.param({"error": {"message": "odd", "code": True}}, Status.BROKEN_ANSWER, id="true"),
        pytest.param({"error": {"message": "odd"}}, Status.BROKEN_ANSWER, id="no code"),
        pytest.param({"error": "odd"}, Status.BROKEN_ANSWER, id="a string"),
        pytest.param({"error": {"message": "odd"}, "choices": []}, Status.BROKEN_ANSWER, id="no choices"),
        pytest.param({"error": {"code": "insufficient_quota"}}, Status.NO_ACCESS, id="quota"),
    ],
)
def test_error_inside_200_ends_as_its_code_says(body: Any, status: Status) -> None:
    answer = served(plain(orjson.dumps(body))).ask(retries=0)
    assert answer.fault is not None
    assert (answer.fault.status, answer.completion) == (status, None)
    assert answer.fault.body == orjson.dumps(body)


def test_answer_beside_an_error_is_an_answer() -> None:
    """Its choices were paid for; response/judge.py calls it broken."""
    body = {"error": {"message": "odd"}, "choices": [{"index": 0, "message": {"content": "hi"}}]}
    answer = served(plain(orjson.dumps(body))).ask()
    assert (answer.completion, answer.fault) == (body, None)


@pytest.mark.parametrize("value", [None, {}, ""])
def test_error_that_is_none(value: Any) -> None:
    body = {"error": value, "choices": [{"index": 0, "message": {"content": "hi"}}]}
    assert served(plain(orjson.dumps(body))).ask().fault is None


@pytest.mark.parametrize(
    ("pieces", "what", "text"),
    [
        pytest.param([], "the answer is empty", None, id="nothing"),
        pytest.param(
            [b": wait\n\n"], "the stream was cut: neither finish_reason nor [DONE]", None, id="comments only"
        ),
        pytest.param(STREAM[:2], "the stream was cut: neither finish_reason nor [DONE]", "hi", id="no end"),
        pytest.param(
            [STREAM[0], STREAM[1][:-9]],
            "the stream was cut: neither finish_reason nor [DONE]",
            "h",
            id="inside an event",
        ),
        pytest.param(
            [STREAM[0], b"data: {broken\n\n", DONE],
            "an event of the stream is not JSON "
            "(expecting property name enclosed in double quotes): '{broken'",
            "h",
            id="an event that is not JSON",
        ),
        pytest.param(
            [STREAM[0], b"data: 5\n\n"],
            "an event of the stream is not a JSON object: '5'",
            "h",
            id="a number",
        ),
        pytest.param(
            [STREAM[0], httpx.ReadError("reset")],
            "the stream was cut: lost the connection to the server: reset",
            "h",
            id="connection lost",
        ),
        pytest.param(
            [STREAM[0], event({"error": {"message": "out of  memory"}}), DONE],
            "the server reports an error in mid-stream: out of memory",
            "h",
            id="an error event",
        ),
        pytest.param(
            [event({"error": {"message": "x" * 600}})],
            "the server reports an error in mid-stream: " + "x" * 497 + "...",
            None,
            id="the server's words are cut",
        ),
    ],
)
def test_broken_stream_is_76_and_what_came_is_kept(
    pieces: list[bytes | Exception], what: str, text: str | None
) -> None:
    receiver = Receiver(started_at=1)
    answer = served(stream(*pieces)).ask(receiver, retries=0)
    assert answer.fault is not None
    assert answer.fault.status == Status.BROKEN_ANSWER
    if pieces:
        assert answer.fault.what == what
    assert (content(answer) if answer.completion else None) == text


def test_connection_lost_behind_the_last_event_is_no_fault() -> None:
    answer = served(stream(*STREAM[:3], httpx.ReadError("reset"))).ask()
    assert (content(answer), answer.fault) == ("hi", None)


def test_facts_of_the_reply_are_in_the_fault() -> None:
    answer = served(error(400, "x", x_request_id="r1")).ask()
    assert answer.fault is not None
    assert (answer.fault.http_status, answer.fault.request_id) == (400, "r1")
    assert answer.fault.body == b'{"error":{"message":"no","type":null,"param":null,"code":"x"}}'


class Full(Exception):
    """What a receiver may raise."""


@pytest.mark.parametrize("behind", [0, 1])
def test_what_the_receiver_raises_passes_through_and_the_connection_is_closed(behind: int) -> None:
    server = served(stream(*STREAM[:behind], *STREAM))
    with pytest.raises(Full):
        server.ask(Receiver(raised=Full()))
    assert server.all_closed
    assert len(server.requests) == 1


def test_verbose_details_hide_secrets() -> None:
    headers = {"Authorization": "Bearer s3cret", "X-A": "b", "Host": "h", "Content-Length": "0"}
    request = httpx.Request("POST", "http://u:s3cret@h/v1?k=s3cret", headers=headers)
    server = served(whole(headers={"set-cookie": "s3cret", "x-request-id": "r"}))
    server.ask(request=request)
    assert not any("s3cret" in line for line in server.details)
    for line in ("> POST http://h/v1", "> x-a: b", "> authorization: Bearer ***", "< x-request-id: r"):
        assert line in [
            detail.lower().replace("post", "POST").replace("bearer", "Bearer") for detail in server.details
        ]
    assert "< 200 after 0.000 s" in server.details
