"""The meaning of a failed attempt at one of several servers, for its line and for the server."""

from __future__ import annotations

from typing import Any

import httpx
import pytest

from chatpipe.batch.fleet.line_tries import Diagnosis, LineTries
from chatpipe.errors import (
    BadInput,
    BrokenAnswer,
    ChatpipeError,
    NoAccess,
    ReplyTooLong,
    TryLater,
    Unreachable,
)
from chatpipe.wire.answer import Answer
from chatpipe.wire.retry import FailedAttempt, GiveUp
from support.parametrize import cases

ANSWER: dict[str, Any] = {"choices": [{"message": {"content": "hi"}, "finish_reason": "stop"}]}


def unreached() -> Unreachable:
    fault = Unreachable("cannot reach it")
    fault.reached_server = False
    return fault


def refused(status: int) -> BadInput:
    return BadInput("refused", http_status=status)


def tries_after(fault: ChatpipeError | None, failure: FailedAttempt | None) -> tuple[LineTries, Answer]:
    tries = LineTries(lambda: 0.0)
    tries.prepare(httpx.Request("POST", "http://a/v1"))
    if failure is not None:
        assert isinstance(tries.decide(failure), GiveUp)
    return tries, Answer(ANSWER if fault is None else None, None, fault)


@cases(
    "fault, failure, diagnosis",
    {
        "an answer": (None, None, Diagnosis.ANSWERED),
        "no connection": (unreached(), FailedAttempt(), Diagnosis.DOWN),
        "an unknown host": (unreached(), None, Diagnosis.DOWN),
        "busy": (TryLater("later"), FailedAttempt(429), Diagnosis.BUSY),
        "busy behind a proxy": (TryLater("later"), FailedAttempt(503), Diagnosis.BUSY),
        "no credit": (NoAccess("pay"), FailedAttempt(402), Diagnosis.REFUSED),
        "a key that is wrong": (NoAccess("key"), FailedAttempt(401), Diagnosis.REFUSED),
        "no key": (NoAccess("no new key"), None, Diagnosis.REFUSED),
        "another model": (refused(404), FailedAttempt(404), Diagnosis.REFUSED),
        "a field": (refused(422), FailedAttempt(422), Diagnosis.REFUSED),
        "500": (Unreachable("broken", http_status=500), FailedAttempt(500), Diagnosis.FAILED),
        "500, and it says not to try again": (
            Unreachable("broken", http_status=500),
            FailedAttempt(500, {"x-should-retry": "false"}),
            Diagnosis.REFUSED,
        ),
        "a connection that broke": (Unreachable("lost it"), FailedAttempt(), Diagnosis.LOST),
        "a kept connection that was closed": (
            BrokenAnswer("no reply"),
            FailedAttempt(has_lost_kept=True),
            Diagnosis.LOST,
        ),
        "our time-out": (TryLater("gave up"), FailedAttempt(), Diagnosis.SPENT),
        "the server's": (TryLater("408", http_status=408), FailedAttempt(408), Diagnosis.SPENT),
        "a gateway's": (Unreachable("504", http_status=504), FailedAttempt(504), Diagnosis.SPENT),
        "Cloudflare's": (Unreachable("524", http_status=524), FailedAttempt(524), Diagnosis.SPENT),
        "a stream that was cut": (BrokenAnswer("cut"), FailedAttempt(), Diagnosis.SPENT),
        "JSON that was cut": (BrokenAnswer("not JSON"), FailedAttempt(), Diagnosis.SPENT),
        "a page": (BrokenAnswer("not JSON"), None, Diagnosis.REFUSED),
        "a reply beyond the limit": (ReplyTooLong("too long"), None, Diagnosis.FINAL),
        "the deadline": (TryLater("deadline"), None, Diagnosis.FINAL),
    },
)
def test_a_failure_is_of_the_line_or_of_the_server(
    fault: ChatpipeError | None, failure: FailedAttempt | None, diagnosis: Diagnosis
) -> None:
    tries, answer = tries_after(fault, failure)
    assert tries.judge(answer) is diagnosis


@cases(
    "answer",
    {
        "no choices": {},
        "none of them": {"choices": []},
        "no message": {"choices": [{"message": None}]},
        "one of two": {"choices": [*ANSWER["choices"], {"finish_reason": "error"}]},
        "an error beside it": {**ANSWER, "error": {"message": "lost"}},
    },
)
def test_an_answer_without_anything_in_it_is_broken(answer: dict[str, Any]) -> None:
    tries, _ = tries_after(None, None)
    assert tries.judge(Answer(answer, None, None)) is Diagnosis.BROKEN


@cases(
    ("contents", "diagnosis"),
    {
        "empty": (["", None], Diagnosis.EMPTY),
        "one of two": (["", "x"], Diagnosis.ANSWERED),
    },
)
def test_an_empty_answer_is_none_of_a_sound_server(contents: list[str | None], diagnosis: Diagnosis) -> None:
    tries, _ = tries_after(None, None)
    choices = [{"message": {"content": each}, "finish_reason": "stop"} for each in contents]
    assert tries.judge(Answer({"choices": choices}, None, None)) is diagnosis


def test_an_object_that_is_no_completion_may_have_been_paid_for() -> None:
    tries, answer = tries_after(BrokenAnswer("the reply is another API's"), None)
    assert tries.judge(answer._replace(body=b'{"output": []}')) is Diagnosis.BROKEN


def test_a_line_that_breaks_a_second_connection_costs_a_try() -> None:
    """It may be what breaks them: it must not take all servers down for nothing."""
    tries, answer = tries_after(Unreachable("lost it"), FailedAttempt())
    assert [tries.judge(answer), tries.judge(answer)] == [Diagnosis.LOST, Diagnosis.SPENT]


UNREACHED = Diagnosis.DOWN, unreached()
FAILED = Diagnosis.FAILED, Unreachable("500")
NO_KEY = Diagnosis.REFUSED, NoAccess("key")
BAD, UNKNOWN = (Diagnosis.REFUSED, refused(400)), (Diagnosis.REFUSED, refused(422))


@cases(
    "failures, decisive, is_refused",
    {
        "a refusal says more than no connection": ([UNREACHED, BAD], 1, True),
        "of refusals one of the line": ([NO_KEY, BAD], 1, True),
        "of equals the first": ([BAD, UNKNOWN], 0, True),
        "one has only failed": ([FAILED, BAD], 1, False),
        "nobody refuses": ([UNREACHED, FAILED], 1, False),
    },
)
def test_what_stands_for_a_round(
    failures: list[tuple[Diagnosis, ChatpipeError]], decisive: int, *, is_refused: bool
) -> None:
    tries = LineTries(lambda: 0.0)
    for index, (diagnosis, fault) in reversed(list(enumerate(failures))):
        tries.fail(index, diagnosis, Answer(None, None, fault))
    assert tries.decisive().fault is failures[decisive][1]
    assert tries.is_refused is is_refused


def test_who_has_refused_is_not_asked_in_the_next_round() -> None:
    tries = LineTries(lambda: 0.0)
    tries.fail(0, Diagnosis.REFUSED, Answer(None, None, refused(400)))
    tries.fail(1, Diagnosis.FAILED, Answer(None, None, Unreachable("500")))
    tries.begin_round()
    assert list(tries.failures) == [0]


@pytest.mark.parametrize("deadline", [None, 10.0])
def test_every_attempt_has_the_deadline_of_the_first(deadline: float | None) -> None:
    tries = LineTries(lambda: 8.0)
    first, second = httpx.Request("POST", "http://a/v1"), httpx.Request("POST", "http://b/v1")
    tries.prepare(first)
    first.extensions["deadline"] = deadline
    tries.prepare(second)
    assert second.extensions["deadline"] == deadline
    assert tries.is_late(1.0) is False
    assert tries.is_late(2.0) is (deadline is not None)
