"""Records of exchanges: what a line keeps, and lines that are no records."""

from __future__ import annotations

import json
from typing import Any

import pytest

from chatpipe.errors import BadInput
from chatpipe.recordings.exchange_record import (
    FAILURES,
    ExchangeRecord,
    RecordedReply,
    RecordedRequest,
    kept_headers,
    read_record,
    request_body,
    write_record,
)
from support.parametrize import cases

REQUEST = RecordedRequest("POST", "/v1/chat/completions", {"model": "m", "messages": []})
STREAM = (("content-type", "text/event-stream"),)


def record(reply: RecordedReply) -> ExchangeRecord:
    return ExchangeRecord("5f", REQUEST, reply, 2, 3, "2026-01-31T12:00:00.000Z", 61)


def response(reply: RecordedReply) -> dict[str, Any]:
    value: dict[str, Any] = json.loads(write_record(record(reply)))["response"]
    return value


@cases(
    "reply",
    {
        "JSON": RecordedReply(200, (), ((0, b'{"a":1}'),)),
        "JSON with spaces": RecordedReply(200, (), ((0, b'{"a": 1}\n'),)),
        "a number of one form in many": RecordedReply(200, (), ((0, b'{"a":1e0}'),)),
        "a long number": RecordedReply(200, (), ((0, b'{"a":123456789012345678901234567890}'),)),
        "a name twice": RecordedReply(200, (), ((0, b'{"a":1,"a":2}'),)),
        "half an emoji": RecordedReply(200, (), ((0, b'{"a":"\\ud83d"}'),)),
        "JSON that looks like base64": RecordedReply(200, (), ((0, b'{"base64":"YQ=="}'),)),
        "a JSON string": RecordedReply(200, (), ((0, b'"a"'),)),
        "a page": RecordedReply(502, (("content-type", "text/html"),), ((0, "<p>für</p>".encode()),)),
        "no text": RecordedReply(200, (), ((0, b"\xff\x00"),)),
        "empty": RecordedReply(204),
        "a stream": RecordedReply(200, STREAM, ((4, b"data: 1\n"), (9, b"\n"))),
        "a stream of one piece": RecordedReply(200, STREAM, ((4, b"data: 1\n\n"),)),
        "a stream cut in a character": RecordedReply(200, STREAM, ((1, b"\xf0\x9f"), (2, b"\x98\x80"))),
        "a cut body": RecordedReply(200, (), ((3, b'{"a":'),), "reset", "connection reset by peer"),
        "no reply": RecordedReply(None, (), (), "refused", "connection refused"),
    },
)
def test_a_reply_comes_back_as_it_was(reply: RecordedReply) -> None:
    line = write_record(record(reply))
    assert b"\n" not in line
    assert read_record(line) == record(reply)


def test_pieces_of_what_is_no_stream_are_one_body() -> None:
    reply = RecordedReply(200, (), ((3, b'{"a"'), (5, b":1}")))
    assert response(reply)["body"] == {"a": 1}
    assert read_record(write_record(record(reply))).reply.body == b'{"a":1}'


@cases(
    "reply, name, value",
    {
        "JSON is a value": (RecordedReply(200, (), ((0, b'{"a":1}'),)), "body", {"a": 1}),
        "with spaces it is text": (RecordedReply(200, (), ((0, b'{"a": 1}'),)), "body", '{"a": 1}'),
        "bytes are base64": (RecordedReply(200, (), ((0, b"\xff"),)), "body", {"base64": "/w=="}),
        "a stream keeps its pieces": (RecordedReply(200, STREAM, ((4, b"a"),)), "chunks", [[4, "a"]]),
        "half a character": (
            RecordedReply(200, STREAM, ((4, b"\xf0"),)),
            "chunks",
            [[4, {"base64": "8A=="}]],
        ),
        "no failure": (RecordedReply(200), "error", None),
        "a failure": (RecordedReply(None, (), (), "reset"), "error", "reset"),
    },
)
def test_a_line_is_written_for_people(reply: RecordedReply, name: str, value: object) -> None:
    assert response(reply)[name] == value


@cases(
    "data, body",
    {
        "an object": (b'{"model": "m"}', {"model": "m"}),
        "an array": (b"[1]", [1]),
        "text": (b"hello", "hello"),
        "a JSON string is text": (b'"a"', '"a"'),
        "looks like base64": (b'{"base64":"YQ=="}', '{"base64":"YQ=="}'),
        "bytes": (b"\xff", b"\xff"),
        "empty": (b"", ""),
    },
)
def test_body_of_a_request(data: bytes, body: object) -> None:
    assert request_body(data) == body
    request = RecordedRequest("POST", "/v1/files", body)
    made = ExchangeRecord("", request, RecordedReply(200))
    assert read_record(write_record(made)).request == request


def test_a_record_by_hand_needs_little() -> None:
    line = b'{"request":{"body":{"model":"m"}},"response":{"status":200,"body":{"a":1}},"note":"mine"}'
    assert read_record(line) == ExchangeRecord(
        "",
        RecordedRequest("POST", "/v1/chat/completions", {"model": "m"}),
        RecordedReply(200, (), ((0, b'{"a":1}'),)),
    )


GOOD = {"request": {"body": {}}, "response": {"status": 200}}


@cases(
    "line, what",
    {
        "not JSON": (b"{", "not JSON"),
        "no object": (b"[]", "not a recorded exchange"),
        "a result line": (b'{"id":"1","response":{}}', "not a recorded exchange"),
        "a request": (b'{"request":{}}', "not a recorded exchange"),
        "newer": ({**GOOD, "v": 2}, "newer chatpipe"),
        "version": ({**GOOD, "v": "1"}, "'v' is missing or wrong"),
        "request": ({**GOOD, "request": 1}, "'request' is missing or wrong"),
        "method": ({**GOOD, "request": {"method": 1}}, "'method'"),
        "n": ({**GOOD, "n": 0}, "'n'"),
        "true is no number": ({**GOOD, "n": True}, "'n'"),
        "occurrence": ({**GOOD, "occurrence": "1"}, "'occurrence'"),
        "no status": ({**GOOD, "response": {}}, "'status'"),
        "status": ({**GOOD, "response": {"status": 99}}, "'status'"),
        "status is text": ({**GOOD, "response": {"status": "200"}}, "'status'"),
        "headers": ({**GOOD, "response": {"status": 200, "headers": {"a": 1}}}, "'headers'"),
        "failure": ({**GOOD, "response": {"error": "tired"}}, "'error'"),
        "body": ({**GOOD, "response": {"status": 200, "body": 7}}, "'body'"),
        "base64": ({**GOOD, "response": {"status": 200, "body": {"base64": "?"}}}, "'base64'"),
        "a time without end": (
            b'{"request":{"body":{}},"response":{"status":200,"chunks":[[1e999,""]]}}',
            "'chunks'",
        ),
        "no time": (b'{"request":{"body":{}},"response":{"status":200,"chunks":[[NaN,""]]}}', "'chunks'"),
        "chunks": ({**GOOD, "response": {"status": 200, "chunks": {}}}, "'chunks'"),
        "a chunk": ({**GOOD, "response": {"status": 200, "chunks": ["data"]}}, "'chunks'"),
        "time": ({**GOOD, "response": {"status": 200, "chunks": [["1", "data"]]}}, "'chunks'"),
    },
)
def test_a_line_that_is_no_record(line: bytes | dict[str, Any], what: str) -> None:
    with pytest.raises(BadInput, match=what):
        read_record(line if isinstance(line, bytes) else json.dumps(line).encode())


def test_headers_are_kept_by_a_list() -> None:
    headers = {
        "content-type": "application/json",
        "x-ratelimit-remaining-requests": "9",
        "retry-after": "2",
        "x-request-id": "req_1",
        "set-cookie": "session=1",
        "openai-organization": "org",
        "x-new": "1",
        "location": "/v2/chat/completions",
    }
    kept = dict(kept_headers(headers))
    assert kept.keys() == headers.keys() - {"set-cookie", "openai-organization", "x-new"}


@pytest.mark.parametrize("target", ["/v1?sig=secret", "https://user:password@example.com/", "//example.com"])
def test_targets_of_redirects_that_may_hold_a_key_are_not_kept(target: str) -> None:
    assert kept_headers({"location": target}) == ()


def test_failures_are_those_of_the_manual() -> None:
    assert {"refused", "timeout", "reset", "cut"} <= FAILURES.keys()
