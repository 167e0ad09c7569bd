"""Retries: their conditions, their delays, and the message when there are no more."""

from __future__ import annotations

from typing import Any

import httpx
import pytest

from chatpipe.errors import Status
from chatpipe.options.server import ExchangeLimits
from exchange.scripted import (
    DONE,
    URL,
    Receiver,
    Step,
    content,
    error,
    event,
    piece,
    plain,
    served,
    stream,
    whole,
)
from support.parametrize import cases

CUT = "the stream was cut: neither finish_reason nor [DONE]"


@cases(
    "first, waits",
    {
        "429": ([error(429)], [0.5]),
        "429 with Retry-After": ([error(429, retry_after="7")], [7.0]),
        "in milliseconds": ([error(429, retry_after_ms="1500", retry_after="7")], [1.5]),
        "as a date": ([error(429, retry_after="Tue, 14 Nov 2023 22:14:20 GMT")], [60.0]),
        "the longest wait": ([error(503, retry_after="120")], [120.0]),
        "503": ([error(503)], [0.5]),
        "doubling": ([error(500), error(502), error(504)], [0.5, 1.0, 2.0]),
        "up to the last": ([error(408), error(409), error(529), error(500)], [0.5, 1.0, 2.0, 4.0]),
        "400, but the server says so": ([error(400, x_should_retry="true")], [0.5]),
        "no connection": ([httpx.ConnectError("refused")], [0.5]),
        "connecting took too long": ([httpx.ConnectTimeout("slow")], [0.5]),
        "no reply in time": ([httpx.ReadTimeout("slow")], [0.5]),
        "closed without a reply": ([httpx.RemoteProtocolError("closed")], [0.5]),
        "an empty answer": ([plain(b"")], [0.5]),
        "cut in an answer in one piece": ([plain(b'{"id"', httpx.ReadError("reset"))], [0.5]),
        "ended early": ([plain(b"{", httpx.RemoteProtocolError("short"))], [0.5]),
        "JSON that ends early": ([plain(b'{"id": "x", "choices": [{"ind')], [0.5]),
        "JSON with a hole": ([plain(b'{"id": "x", "choi\xff": 1}')], [0.5]),
        "JSON with a byte order mark, cut": ([plain(b'\xef\xbb\xbf {"id": ')], [0.5]),
        "an array of chunks, cut": ([plain(b'[ {"id": "x"},')], [0.5]),
        "cut stream": ([stream(piece("h"))], [0.5]),
        "connection lost in a stream": ([stream(piece("h"), httpx.ReadError("reset"))], [0.5]),
        "connection lost behind a notice": (
            [stream(event({"message": "queue position 3"}), httpx.ReadError("reset"))],
            [0.5],
        ),
        "connection lost behind a state": (
            [stream(event({"status": "queued"}), httpx.ReadError("reset"))],
            [0.5],
        ),
        "silence in a stream": ([stream(httpx.ReadTimeout("slow"))], [0.5]),
        "an event that is not JSON": ([stream(b"data: {broken\n\n")], [0.5]),
        "error event 503": ([stream(event({"error": {"message": "busy", "code": 503}}))], [0.5]),
        "error event": ([stream(event({"error": {"message": "busy"}}))], [0.5]),
        "error in 200": ([plain(b'{"error":{"message":"busy","code":429}}')], [0.5]),
        "Retry-After that cannot be read": ([error(500, retry_after="x")], [0.5]),
    },
)
def test_sent_again(first: list[Step], waits: list[float]) -> None:
    server = served(*first, whole("late"))
    answer = server.ask()
    assert answer.fault is None
    assert content(answer) == "late"
    assert server.slept == waits
    assert len(server.notes) == len(waits)
    assert [request.content for request in server.requests] == [b'{"a":1}'] * (len(waits) + 1)
    assert server.all_closed


@cases(
    "first, status",
    {
        "400": (error(400), Status.BAD_INPUT),
        "401": (error(401), Status.NO_ACCESS),
        "402": (error(402), Status.NO_ACCESS),
        "403": (error(403), Status.NO_ACCESS),
        "404": (error(404), Status.BAD_INPUT),
        "413": (error(413), Status.BAD_INPUT),
        "422": (error(422), Status.BAD_INPUT),
        "quota": (error(429, "insufficient_quota"), Status.NO_ACCESS),
        "quota, with a wait": (error(429, "insufficient_quota", retry_after="1"), Status.NO_ACCESS),
        "503, but the server says so": (error(503, x_should_retry="false"), Status.UNREACHABLE),
        "not JSON": (plain(b"<html>"), Status.BROKEN_ANSWER),
        "words in brackets": (plain(b"[hello]"), Status.BROKEN_ANSWER),
        "a JSON string, cut": (plain(b'"hello'), Status.BROKEN_ANSWER),
        "no object": (plain(b"[]"), Status.BROKEN_ANSWER),
        "402 in 200": (plain(b'{"error":{"code":402,"message":"x"}}'), Status.NO_ACCESS),
        "quota in an event": (
            stream(event({"error": {"code": "insufficient_quota", "message": "x"}})),
            Status.NO_ACCESS,
        ),
        "402 in a list in an event": (
            stream(event([{"error": {"code": 402, "message": "x"}}])),
            Status.NO_ACCESS,
        ),
        "400 in an event": (stream(event({"error": {"code": 400, "message": "x"}})), Status.BAD_INPUT),
        "a bad key in a message, then no connection": (
            stream(event({"message": "Invalid API key"}), httpx.ReadError("reset")),
            Status.NO_ACCESS,
        ),
        "a job in a stream": (stream(event({"status": "queued"})), Status.BROKEN_ANSWER),
        "a job with words": (
            stream(event({"id": "j", "status": "in_progress", "message": "m"}), DONE),
            Status.BROKEN_ANSWER,
        ),
        "no such protocol": (httpx.UnsupportedProtocol("x"), Status.BAD_CONFIGURATION),
        "cannot be sent": (httpx.LocalProtocolError("x"), Status.BAD_CONFIGURATION),
        "no URL": (httpx.InvalidURL("x"), Status.BAD_CONFIGURATION),
    },
)
def test_not_sent_again(first: Step, status: Status) -> None:
    server = served(first)
    fault = server.fault()
    assert fault.status == status
    assert (server.slept, server.notes) == ([], [])
    assert server.all_closed


@cases(
    "pieces, what",
    {
        "cut": ([piece("h")], CUT),
        "connection lost": (
            [piece("h"), httpx.ReadError("reset")],
            "the stream was cut: lost the connection to the server: reset",
        ),
        "error event": (
            [piece("h"), event({"error": {"message": "lost", "code": 500}})],
            "the server reports an error in mid-stream: lost",
        ),
        "broken": ([piece("h"), b"data: x\n\n"], "an event of the stream is not JSON (expecting value): 'x'"),
    },
)
def test_nothing_is_sent_again_once_something_was_written(pieces: list[Any], what: str) -> None:
    server = served(stream(*pieces))
    answer, fault = server.failure(Receiver(started_at=1))
    assert (fault.what, fault.status) == (what, Status.BROKEN_ANSWER)
    assert content(answer) == "h"
    assert len(server.requests) == 1


def test_a_busy_server_is_not_asked_again_either_once_something_was_written() -> None:
    server = served(stream(piece("h"), event({"error": {"message": "busy", "code": 503}})))
    answer, fault = server.failure(Receiver(started_at=1))
    assert (content(answer), fault.status, len(server.requests)) == ("h", Status.UNREACHABLE, 1)


def test_given_up_after_all_tries() -> None:
    server = served(*[error(503) for _ in range(5)])
    fault = server.fault()
    assert fault.what == f"503 from '{URL}': no, after 5 tries"
    assert fault.status == Status.UNREACHABLE
    assert server.slept == [0.5, 1.0, 2.0, 4.0]
    assert server.notes[0] == f"503 from '{URL}': no: trying again in 0.5 s (1 of 4)"
    assert server.notes[-1] == f"503 from '{URL}': no: trying again in 4.0 s (4 of 4)"


def test_fault_of_the_last_try_counts() -> None:
    fault = served(error(503), error(429), error(401)).fault()
    assert (fault.status, fault.what) == (Status.NO_ACCESS, f"401 from '{URL}': no, after 3 tries")


def test_no_retries() -> None:
    server = served(error(503))
    fault = server.fault(retries=0)
    assert (fault.what, server.slept) == (f"503 from '{URL}': no", [])


@pytest.mark.parametrize("status", [429, 503])
def test_too_long_a_wait_is_75_and_says_how_long(status: int) -> None:
    server = served(error(status, retry_after="121", x_request_id="r1"))
    fault = server.fault()
    assert str(fault) == f"{status} from '{URL}': no, and the server asks for a wait of 121 s: try again then"
    assert (fault.status, fault.http_status, fault.request_id) == (Status.TRY_LATER, status, "r1")
    assert server.slept == []


def test_streamed_answer_behind_a_cut_one_is_not_mixed_with_it() -> None:
    server, receiver = served(stream(piece("a")), stream(piece("b", "stop"), DONE)), Receiver()
    answer = server.ask(receiver)
    assert content(answer) == "b"


# The deadline and the limits


def test_limits_go_with_the_request() -> None:
    server = served(whole())
    server.ask(limits=ExchangeLimits(connect_s=1.0, between_bytes_s=2.0, deadline_s=30.0))
    assert server.requests[0].extensions["timeout"] == {
        "connect": 1.0,
        "read": 2.0,
        "write": 2.0,
        "pool": 1.0,
    }
    assert server.requests[0].extensions["deadline"] == 130.0


def test_no_deadline() -> None:
    server = served(whole())
    server.ask()
    assert server.requests[0].extensions["deadline"] is None


def test_deadline_is_the_same_for_all_tries() -> None:
    server = served(error(503), error(503), whole())
    server.ask(limits=ExchangeLimits(deadline_s=30.0))
    assert [request.extensions["deadline"] for request in server.requests] == [130.0, 130.0, 130.0]


@cases(
    "deadline_s, waits",
    {
        "the first wait would be too long": (0.4, []),
        "or end with it": (0.5, []),
        "the second": (0.6, [0.5]),
        "the third": (3.0, [0.5, 1.0]),
    },
)
def test_wait_that_would_outlast_the_deadline_is_not_begun(deadline_s: float, waits: list[float]) -> None:
    server = served(*[error(503) for _ in range(5)])
    fault = server.fault(limits=ExchangeLimits(deadline_s=deadline_s))
    assert fault.fix == "raise --deadline"
    assert server.slept == waits
    assert len(server.requests) == len(waits) + 1


def test_time_spent_on_a_try_counts() -> None:
    server = served()
    server.steps = [server.advance(29.6, error(503)), whole()]
    assert server.ask(limits=ExchangeLimits(deadline_s=30.0)).fault is not None
    assert server.slept == []


# Redirects


def moved(status: int, location: str) -> httpx.Response:
    return plain(b"", status=status, headers={"location": location})


@pytest.mark.parametrize("status", [307, 308])
@pytest.mark.parametrize(
    "location", ["/v2/chat", "http://127.0.0.1:9/v2/chat", "//127.0.0.1:9/v2/chat", "../v2/chat"]
)
def test_redirect_within_the_origin_is_followed(status: int, location: str) -> None:
    server = served(moved(status, location), whole())
    headers = {"Authorization": "Bearer k"}
    answer = server.ask(
        request=httpx.Request("POST", "http://127.0.0.1:9/v1/x", headers=headers, content=b"{}")
    )
    assert answer.fault is None
    sent = server.requests[1]
    assert (sent.method, str(sent.url), sent.content) == ("POST", "http://127.0.0.1:9/v2/chat", b"{}")
    assert sent.headers["authorization"] == "Bearer k"
    assert server.all_closed


@cases(
    "status, location",
    {
        "another port": (307, "http://127.0.0.1:10/v1"),
        "another scheme": (307, "https://127.0.0.1:9/v1"),
        "another host": (308, "http://evil.example/v1"),
        "lookalike": (307, "http://127.0.0.1.evil.example:9/v1"),
        "301": (301, "/v2"),
        "302": (302, "/v2"),
        "303": (303, "/v2"),
    },
)
def test_any_other_redirect_is_78(status: int, location: str) -> None:
    server = served(moved(status, location))
    fault = server.fault()
    assert fault.status == Status.BAD_CONFIGURATION
    assert len(server.requests) == 1
    assert server.all_closed


def test_redirects_that_lead_to_one_another_are_78() -> None:
    server = served(*[moved(307, "/v1/chat/completions") for _ in range(9)])
    fault = server.fault()
    assert fault.status == Status.BAD_CONFIGURATION
    assert server.slept == []
    assert server.all_closed


@pytest.mark.parametrize("location", ["http://[::1", "http://a:b:c/", "\x7f"])
def test_redirect_to_nowhere_is_a_fault_and_closes_the_connection(location: str) -> None:
    server = served(moved(307, location))
    fault = server.fault()
    assert fault.status == Status.BAD_CONFIGURATION
    assert server.all_closed
