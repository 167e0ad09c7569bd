"""One reply that comes at once: whole or streamed, under whatever name, in whatever pieces."""

from __future__ import annotations

import gzip
import zlib
from collections.abc import Callable
from typing import Any

import httpx
import orjson
import pytest

from chatpipe.errors import BrokenAnswer, Interrupted, Status, UnreadableReply
from chatpipe.system import secrets
from exchange.scripted import DONE, Body, Receiver, content, error, event, piece, plain, served, stream, whole
from support.parametrize import cases

KEY = "sk-canary-0123456789abcdef"
JSON = (
    b'{"id":"c1","choices":[{"index":0,'
    b'"message":{"role":"assistant","content":"hi"},"finish_reason":"stop"}]}'
)
CUT = "the stream was cut: neither finish_reason nor [DONE]"
OLDER = b'{"choices":[{"index":0,"text":"%b"}]}'
STREAM = [piece("h"), piece("i"), piece("", "stop"), DONE]


@cases(
    "pieces",
    {
        "at once": [JSON],
        "byte by byte": [JSON[index : index + 1] for index in range(len(JSON))],
        "blank lines before, which keep the connection": [b"\n\n", b"\n", JSON],
        "blanks before": [b" " * 5000 + JSON],
        "blank lines behind": [JSON, b"\n\n"],
        "byte order mark": [b"\xef\xbb\xbf" + JSON],
        "an empty piece first": [b"", JSON],
    },
)
def test_whole_answer(pieces: list[bytes]) -> None:
    server, receiver = served(plain(*pieces)), Receiver()
    answer = server.ask(receiver)
    assert (answer.completion, answer.body, answer.fault) == (orjson.loads(JSON), b"".join(pieces), None)
    assert (receiver.data, receiver.payloads) == (b"", [])
    assert server.all_closed
    assert (server.slept, server.notes) == ([], [])


@cases(
    "pieces",
    {
        "an event a piece": STREAM,
        "at once": [b"".join(STREAM)],
        "byte by byte": [bytes([byte]) for byte in b"".join(STREAM)],
        "a comment before": [b": wait\n\n", b"\n", *STREAM],
        "blank lines before": [b"\n\n", *STREAM],
        "byte order mark": [b"\xef\xbb\xbf", *STREAM],
        "CRLF": [part.replace(b"\n", b"\r\n") for part in STREAM],
        "no [DONE], but a finish_reason": [*STREAM[:-1]],
        "no finish_reason, but [DONE]": [*STREAM[:2], piece("", None), DONE],
        "no line end behind [DONE]": [*STREAM[:-1], b"data: [DONE]"],
        "no line end behind the last event": [*STREAM[:-2], STREAM[-2].rstrip()],
    },
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
@cases(
    "pieces",
    {
        "events": STREAM,
        "comment": [b": OPENROUTER PROCESSING\n\n", *STREAM],
        "event": [b"event: message\n" + STREAM[0], *STREAM[1:]],
        "id": [b"id: 1\n" + STREAM[0], *STREAM[1:]],
        "retry": [b"retry: 1\n", *STREAM],
        "byte order mark": [b"\xef\xbb\xbf" + STREAM[0], *STREAM[1:]],
        "blank line": [b"\n", *STREAM],
        "byte by byte": [bytes([byte]) for byte in b"".join(STREAM)],
        "an empty piece first": [b"", *STREAM],
    },
)
def test_a_stream_is_recognized_by_its_type_or_by_its_bytes(kind: str, pieces: list[bytes]) -> None:
    """Also for a request that did not ask for one: what it is, is for the server to say."""
    answer = served(stream(*pieces, kind=kind)).ask()
    assert (content(answer), answer.fault) == ("hi", None)


KINDS = ["text/event-stream", "application/json", "text/plain", ""]
LINES = b"".join(line.removeprefix(b"data: ").rstrip() + b"\n" for line in STREAM)


@pytest.mark.parametrize("kind", KINDS)
@cases(
    "body",
    {
        "a completion": JSON,
        "a completion in several lines": orjson.dumps(orjson.loads(JSON), option=orjson.OPT_INDENT_2),
        "a completion behind white space": b" \n\r\n\t" + JSON + b"\n",
        "a completion behind a byte order mark": b"\n\xef\xbb\xbf" + JSON,
        "a completion, then [DONE]": JSON + b"\n\ndata: [DONE]\n\n",
        "a completion in an array": b"[" + JSON + b"]",
        "a completion of the older API": b'{"choices":[{"index":0,"text":"hi","finish_reason":null}]}',
        "chunks of the older API": b"\n".join([OLDER % b"h", OLDER % b"i", b"[DONE]\n"]),
        "chunks in an array": b"[" + b",\n".join(LINES.splitlines()[:-1]) + b"]",
        "chunks and [DONE] in an array": b"[" + b",".join(LINES.splitlines()[:-1]) + b',"[DONE]"]',
        "chunks in an array, as an event": b"data: [" + b",".join(LINES.splitlines()[:-1]) + b"]\n\n",
        "events that say nothing": b'data: ""\n\ndata: " "\n\ndata: []\n\n' + b"".join(STREAM),
        "a completion as an event": b"data: " + JSON + b"\n\n",
        "chunks, one a line": LINES,
        "chunks, one a line, no [DONE]": LINES[: -len(b"[DONE]\n")],
        "a chunk, no line end": piece("hi", "stop").removeprefix(b"data: ").rstrip(),
        "chunks behind a line that is none": b'{"id":"x"}\n' + LINES,
        "a stream behind white space": b"  \n " + b"".join(STREAM),
        "a stream behind a byte order mark": b" \n\xef\xbb\xbf" + b"".join(STREAM),
        "a stream behind a comment": b": wait\n\n" + b"".join(STREAM),
    },
)
@pytest.mark.parametrize("size", [1, 10_000])
def test_the_body_decides_before_its_content_type(kind: str, body: bytes, size: int) -> None:
    pieces = [body[index : index + size] for index in range(0, len(body), size)]
    server = served(stream(*pieces, kind=kind))
    answer = server.ask()
    assert (content(answer), answer.fault, server.slept) == ("hi", None, [])


@pytest.mark.parametrize("kind", KINDS)
@cases(
    "body, status, what",
    {
        "an error": (b'{"error":{"message":"slow down","code":429}}', Status.TRY_LATER, "slow down"),
        "an error in lines": (b'{\n"error": {"message":"no","code":401}\n}', Status.NO_ACCESS, "no"),
        "an error in an array": (b'[{"error":{"message":"no","code":401}}]', Status.NO_ACCESS, "no"),
        "an error in words": (b"Rate limit exceeded.", Status.TRY_LATER, "Rate limit exceeded"),
        "an error in words, as JSON": (b'"rate limit exceeded"', Status.TRY_LATER, "rate limit exceeded"),
        "a status in words": (b'"HTTP 503 Service Unavailable"', Status.UNREACHABLE, "503"),
        "an error in words, as an event": (b'data: "too many requests"\n\n', Status.TRY_LATER, "too many"),
        "an error event": (b"event: error\ndata: invalid api key\n\n", Status.NO_ACCESS, "invalid api key"),
        "an error event in other words": (b"event: error\ndata: oops\n\n", Status.BROKEN_ANSWER, "oops"),
        "an error in lines, in a stream": (
            STREAM[0] + b'{\n  "error": {\n    "code": 429\n  }\n}\n',
            Status.TRY_LATER,
            "429",
        ),
        "several completions": (
            b"[" + JSON + b"," + JSON.replace(b"hi", b"ho") + b"]",
            Status.BROKEN_ANSWER,
            "the reply has 2 answers",
        ),
        "a long text": (b"rate limit exceeded " * 60, Status.BROKEN_ANSWER, "is not JSON"),
        "a string in other words": (b'"hello"', Status.BROKEN_ANSWER, "not a JSON object"),
        "an error field": (b"error: too busy\n\n", Status.BROKEN_ANSWER, "too busy"),
        "a page": (
            b"<!doctype html>\n<html><head><title>Sign in</title></head>\ndata: x\n</html>",
            Status.BROKEN_ANSWER,
            "the answer is a web page, 'Sign in'",
        ),
        "text": (b"Please log in\n", Status.BROKEN_ANSWER, "'Please log in'"),
    },
)
def test_what_is_no_answer_is_told_whatever_its_content_type(
    kind: str, body: bytes, status: Status, what: str
) -> None:
    fault = served(stream(body, kind=kind)).fault(retries=0)
    assert fault.status == status
    assert what in fault.what


@pytest.mark.parametrize("kind", KINDS)
@cases(
    "body",
    {"a page": b"<html><title>Sign in</title></html>", "text": b"Please log in", "an answer": JSON},
)
def test_nothing_that_came_whole_is_sent_again(kind: str, body: bytes) -> None:
    """Nor where the connection breaks behind it."""
    for pieces in ([body], [body, httpx.ReadError("reset")] if body is JSON else [body]):
        server = served(stream(*pieces, kind=kind), stream(*STREAM))
        answer = server.ask()
        assert server.slept == []
        assert (answer.fault is None) == (body is JSON)


def test_an_object_that_is_cut_is_sent_again() -> None:
    server = served(plain(JSON[:-1], httpx.ReadError("reset")), plain(JSON))
    assert content(server.ask()) == "hi"
    assert len(server.slept) == 1


def test_chunks_one_a_line_are_passed_on_at_once() -> None:
    receiver = Receiver()
    lines = LINES.splitlines(keepends=True)
    body = Body([lines[0], lines[1], httpx.ReadError("reset")])
    server = served(httpx.Response(200, headers={"content-type": "application/json"}, stream=body))
    server.ask(receiver, retries=0)
    assert len(receiver.payloads) == 2


@cases(
    "name, pack",
    {
        "gzip": ("gzip", gzip.compress),
        "GZIP": ("GZIP", gzip.compress),
        "deflate": ("deflate", zlib.compress),
        "identity": ("identity", bytes),
        "Identity": ("Identity", bytes),
    },
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
    fault = served(plain(body, status=400, headers={"content-encoding": "gzip"})).fault()
    assert "too hot" in fault.what


def test_nothing_is_read_behind_done() -> None:
    """A server may keep the connection open behind [DONE], for a minute or for ever."""
    body = Body([*STREAM, AssertionError("asked for more")])
    server = served(httpx.Response(200, headers={"content-type": "text/event-stream"}, stream=body))
    assert server.ask().fault is None
    assert (body.taken, body.closed) == (4, True)


@cases(
    "rest",
    {"event": event({"choices": []}), "open": b'data: {"choices":[]}', "cut": b"data: {", "again": DONE},
)
def test_bytes_after_done_are_ignored(rest: bytes) -> None:
    receiver = Receiver()
    answer = served(stream(b"".join(STREAM) + rest)).ask(receiver)
    assert (content(answer), answer.fault) == ("hi", None)
    assert len(receiver.payloads) == 3


@pytest.mark.parametrize("size", [1, 7, 10_000])
def test_an_integer_beyond_64_bits_stays_exact_wherever_a_read_cuts_it(size: int) -> None:
    data = b"".join([piece("h"), piece("i").replace(b"{", b'{"seed":1%030d,' % 0, 1), *STREAM[2:]])
    server = served(stream(*(data[at : at + size] for at in range(0, len(data), size))))
    completion = server.ask().completion
    assert completion is not None
    assert completion["seed"] == 10**30


def test_chunks_are_handed_on_as_they_were_sent() -> None:
    odd = b'{ "choices":[{"index":0,"delta":{"content":"\\ud83d"},"finish_reason":"stop"}],  "x":1.50 }'
    receiver = Receiver()
    served(stream(b"data: " + odd.replace(b"\\ud83d", b"\\u00e4") + b"\n\n", DONE)).ask(receiver)
    assert receiver.payloads == [odd.replace(b"\\ud83d", b"\\u00e4")]


# What is no answer


@cases(
    "body, what, kept",
    {
        "nothing": (b"", "the answer is empty", False),
        "white space": (b" \n\n ", "the answer is empty", False),
        "a page": (
            b"<html>Sign in</html>",
            "the answer is not JSON (expecting value): '<html>Sign in</html>'",
            True,
        ),
        "cut JSON": (b'{"id":', "the answer is not JSON (expecting value): '{\"id\":'", True),
        "array": (b"[1]", "the answer is not a JSON object: '[1]'", True),
        "null": (b"null", "the answer is not a JSON object: 'null'", True),
        "no UTF-8": (b"\xff", "the answer is not JSON (byte 0xff is not UTF-8): '\ufffd'", True),
        "long": (b"x" * 500, "the answer is not JSON (expecting value): '" + "x" * 77 + "...'", True),
    },
)
def test_no_answer_is_76(body: bytes, what: str, kept: bool) -> None:
    answer, fault = served(plain(body)).failure(retries=0)
    assert (fault.status, fault.what) == (Status.BROKEN_ANSWER, what)
    assert (answer.completion, answer.body) == (None, body if kept else None)


@cases(
    ("body", "kind"),
    {
        "a page": (b"<html>Sign in</html>", UnreadableReply),
        "text": (b"Welcome", UnreadableReply),
        "an array": (b"[1]", UnreadableReply),
        "another API, in an array": (b'[{"candidates":[]}]', UnreadableReply),
        "another API, in lines": (b'{"response":"H","done":false}\n' * 2, UnreadableReply),
        "JSON that was cut": (b'{"id":', BrokenAnswer),
        "a stream that was cut": (b'data: {"choices":[]}\n\n', BrokenAnswer),
        "nothing": (b"", BrokenAnswer),
    },
)
def test_what_comes_again_however_often_it_is_asked_for_is_unreadable(
    body: bytes, kind: type[BrokenAnswer]
) -> None:
    """A run ends after 20 of them."""
    assert type(served(plain(body)).failure(retries=0)[1]) is kind


@cases(
    "body, status",
    {
        "402": ({"error": {"message": "no credit", "code": 402}}, Status.NO_ACCESS),
        "429": ({"error": {"message": "slow down", "code": 429}}, Status.TRY_LATER),
        "502": ({"error": {"message": "down", "code": 502}}, Status.UNREACHABLE),
        "a word": ({"error": {"message": "odd", "code": "server_error"}}, Status.BROKEN_ANSWER),
        "true": ({"error": {"message": "odd", "code": True}}, Status.BROKEN_ANSWER),
        "no code": ({"error": {"message": "odd"}}, Status.BROKEN_ANSWER),
        "a string": ({"error": "odd"}, Status.BROKEN_ANSWER),
        "no choices": ({"error": {"message": "odd"}, "choices": []}, Status.BROKEN_ANSWER),
        "quota": ({"error": {"code": "insufficient_quota"}}, Status.NO_ACCESS),
    },
)
def test_error_inside_200_ends_as_its_code_says(body: Any, status: Status) -> None:
    answer, fault = served(plain(orjson.dumps(body))).failure(retries=0)
    assert (fault.status, answer.completion) == (status, None)
    assert fault.body == orjson.dumps(body)


def test_answer_beside_an_error_is_an_answer() -> None:
    """Its choices were paid for; response/judge.py calls it broken."""
    body = {"error": {"message": "odd"}, "choices": [{"index": 0, "message": {"content": "hi"}}]}
    answer = served(plain(orjson.dumps(body))).ask()
    assert (answer.completion, answer.fault) == (body, None)


@pytest.mark.parametrize("value", [None, {}, ""])
def test_error_that_is_none(value: Any) -> None:
    body = {"error": value, "choices": [{"index": 0, "message": {"content": "hi"}}]}
    assert served(plain(orjson.dumps(body))).ask().fault is None


@cases(
    "pieces, what, text",
    {
        "nothing": ([], "the answer is empty", None),
        "comments only": ([b": wait\n\n"], CUT, None),
        "no end": (STREAM[:2], CUT, "hi"),
        "inside an event": ([STREAM[0], STREAM[1][:-9]], CUT, "h"),
        "an event that is not JSON": (
            [STREAM[0], b"data: {broken\n\n", DONE],
            (
                "an event of the stream is not JSON "
                "(expecting property name enclosed in double quotes): '{broken'"
            ),
            "h",
        ),
        "a number": ([STREAM[0], b"data: 5\n\n"], "an event of the stream is not a JSON object: '5'", "h"),
        "connection lost": (
            [STREAM[0], httpx.ReadError("reset")],
            "the stream was cut: lost the connection to the server: reset",
            "h",
        ),
        "connection lost behind a notice": (
            [event({"message": "queue position 3"}), httpx.ReadError("reset")],
            "the stream was cut: lost the connection to the server: reset",
            None,
        ),
        "an error event": (
            [STREAM[0], event({"error": {"message": "out of  memory"}}), DONE],
            "the server reports an error in mid-stream: out of memory",
            "h",
        ),
        "the server's words are cut": (
            [event({"error": {"message": "x" * 600}})],
            "the server reports an error in mid-stream: " + "x" * 497 + "...",
            None,
        ),
    },
)
def test_a_broken_stream_is_76_and_its_beginning_is_kept(
    pieces: list[bytes | Exception], what: str, text: str | None
) -> None:
    receiver = Receiver(started_at=1)
    answer, fault = served(stream(*pieces)).failure(receiver, retries=0)
    assert fault.status == Status.BROKEN_ANSWER
    if pieces:
        assert fault.what == what
    assert (content(answer) if answer.completion else None) == text


def test_a_notice_is_no_part_of_the_answer_but_its_usage_counts() -> None:
    notice = event({"type": "status", "usage": {"total_tokens": 7}, "id": "n"})
    completion = served(stream(STREAM[0], notice, *STREAM[1:])).ask().completion
    assert completion is not None
    assert (completion["id"], completion["usage"]["total_tokens"], "type" in completion) == ("c1", 7, False)


def test_a_stream_that_falls_silent_names_the_limit() -> None:
    """The other ways in which a stream is cut may not come again."""
    silent = stream(STREAM[0], httpx.ReadTimeout("no byte for 2 s"))
    _, fault = served(silent).failure(Receiver(started_at=1))
    assert (fault.status, fault.fix) == (Status.BROKEN_ANSWER, "raise --timeout")


def test_connection_lost_behind_the_last_event_is_no_fault() -> None:
    answer = served(stream(*STREAM[:3], httpx.ReadError("reset"))).ask()
    assert (content(answer), answer.fault) == ("hi", None)


def test_facts_of_the_reply_are_in_the_fault() -> None:
    fault = served(error(400, "x", x_request_id="r1")).fault()
    assert (fault.http_status, fault.request_id) == (400, "r1")
    assert fault.body == b'{"error":{"message":"no","type":null,"param":null,"code":"x"}}'


class Full(Exception):
    """An exception of a receiver."""


@pytest.mark.parametrize("behind", [0, 1])
def test_an_exception_of_the_receiver_propagates_and_closes_the_connection(behind: int) -> None:
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


@cases(
    ("pieces", "content"),
    {
        "nothing": ((), None),
        "a part": ((piece("Hel"), piece("lo")), "Hello"),
        "a key": ((piece("It is "), piece(f"{KEY}.")), "It is ***."),
        "the beginning of a key": ((piece("It is "), piece(KEY[:10])), "It is ***"),
    },
)
def test_a_signal_has_the_part_that_came_without_keys(
    pieces: tuple[bytes, ...], content: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(secrets, "_known", [KEY])
    server = served(stream(*pieces, Interrupted(15)))
    with pytest.raises(Interrupted) as raised:
        server.ask(Receiver())
    part = raised.value.completion
    assert (part and part["choices"][0]["message"]["content"]) == content
    assert server.all_closed
    assert len(server.requests) == 1
