"""A GET: its whole JSON, with the retries, limits and faults of every request."""

from __future__ import annotations

import gzip

import httpx
import pytest

from chatpipe.errors import Status
from chatpipe.options.server import ExchangeLimits
from chatpipe.system import secrets
from exchange.scripted import Step, error, plain, served
from support.parametrize import cases

KEY = "sk-canary-0123456789abcdef"
LIST = b'{"data":[{"id":"m"}]}'
PAGE = b"<html><head><title>Sign in</title></head></html>"


def moved(status: int, location: str) -> httpx.Response:
    return plain(b"", status=status, headers={"location": location})


@cases(
    "steps, body",
    {
        "an object": ([plain(LIST)], LIST),
        "in pieces": ([plain(LIST[:9], LIST[9:])], LIST),
        "an array": ([plain(b"[]")], b"[]"),
        "compressed": ([plain(gzip.compress(LIST), headers={"content-encoding": "gzip"})], LIST),
        "message and status of the thing itself": (
            [plain(b'{"id":"m","message":"hi","status":"error","code":5}')],
            b'{"id":"m","message":"hi","status":"error","code":5}',
        ),
        "busy, then there": ([error(503), plain(LIST)], LIST),
        "an error in 200, then there": ([plain(b'{"error":{"message":"x","code":429}}'), plain(LIST)], LIST),
        "cut, then there": ([plain(LIST[:9], httpx.ReadError("reset")), plain(LIST)], LIST),
        "empty, then there": ([plain(b""), plain(LIST)], LIST),
        "cut JSON, then there": ([plain(LIST[:9]), plain(LIST)], LIST),
        **{f"moved by {s}": ([moved(s, "/v2/models"), plain(LIST)], LIST) for s in (301, 302, 303, 307, 308)},
    },
)
def test_fetch_returns_the_body_of_a_get(steps: list[Step], body: bytes) -> None:
    server = served(*steps)
    answer = server.fetch()
    assert (answer.fault, answer.body, answer.completion) == (None, body, None)
    assert {request.method for request in server.requests} == {"GET"}
    assert server.all_closed


@cases(
    "step, status, words",
    {
        "no such route": (error(404), Status.BAD_INPUT, "404 from"),
        "wrong key": (error(401), Status.NO_ACCESS, "401 from"),
        "a page": (plain(PAGE), Status.BROKEN_ANSWER, "a web page, 'Sign in'"),
        "text": (plain(b"hello"), Status.BROKEN_ANSWER, "not JSON"),
        "error in 200": (
            plain(b'{"error":{"message":"no credit","code":402}}'),
            Status.NO_ACCESS,
            "no credit",
        ),
        "an error of text": (
            plain(b'{"error":"Unexpected endpoint"}'),
            Status.BROKEN_ANSWER,
            "Unexpected endpoint",
        ),
        "moved away": (
            moved(302, "http://elsewhere.example/models"),
            Status.BAD_CONFIGURATION,
            "leads on to 'http://elsewhere.example'",
        ),
        "too long": (plain(LIST * 10), Status.BROKEN_ANSWER, "longer than 100 bytes"),
        "cut": (plain(LIST[:9], httpx.ReadError("reset")), Status.UNREACHABLE, "reset"),
        "empty": (plain(b" "), Status.BROKEN_ANSWER, "empty"),
    },
)
def test_fetch_fails_with_a_status_and_no_body(step: Step, status: Status, words: str) -> None:
    server = served(step)
    answer = server.fetch(ExchangeLimits(max_reply_bytes=100), retries=0)
    assert answer.fault is not None
    assert answer.fault.status == status
    assert words in answer.fault.what
    assert answer.body is None
    assert server.all_closed


def test_key_that_is_sent_back_is_replaced(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(secrets, "_known", [KEY])
    server = served(plain(b'{"data":[{"id":"%b"}]}' % KEY.encode()))
    answer = server.fetch()
    assert answer.body == b'{"data":[{"id":"***"}]}'
    assert server.warned == ["the server sent the key back in its answer: it is replaced by '***'"]
    fault = served(plain(b'{"error":{"message":"bad %b"}}' % KEY.encode())).fetch(retries=0).fault
    assert fault is not None
    assert KEY not in f"{fault}{fault.body!r}"
