"""result_answer.py: the answer of a line, or the reason why it has none."""

from __future__ import annotations

import json
from typing import Any

import httpx
import pytest

from chatpipe.batch.provider_jobs.result_answer import answer_of

REQUEST = httpx.Request("POST", "http://a.test/v1/chat/completions")
AT = "2026-01-31T12:00:00.000Z"


@pytest.mark.parametrize(
    ("record", "says"),
    [
        ({"error": {"code": "batch_expired", "message": "too late"}}, "batch_expired: too late"),
        ({"error": {"message": "too late"}}, "too late"),
        ({"error": "too late"}, "too late"),
        ({"response": {"status_code": 0, "body": None}, "error": "too late"}, "too late"),
        ({"response": {"status_code": 200, "body": None}, "error": {"code": 7}}, "7"),
    ],
)
def test_the_reason_of_a_line_without_a_reply(record: dict[str, Any], says: str) -> None:
    answer = answer_of(record, json.dumps(record).encode(), REQUEST, AT)
    assert answer is not None
    assert answer.fault is not None
    assert (answer.fault.what, answer.attempts) == (says, 0)


@pytest.mark.parametrize("record", [{}, {"error": None}, {"error": ""}, {"response": {}, "error": [1]}])
def test_a_line_that_says_nothing(record: dict[str, Any]) -> None:
    assert answer_of(record, json.dumps(record).encode(), REQUEST, AT) is None


@pytest.mark.parametrize(
    ("status", "body"),
    [
        (200, {"choices": [{"message": {"content": "Hi"}, "finish_reason": "stop"}]}),
        (200, [{"choices": [{"message": {"content": "Hi"}, "finish_reason": "stop"}]}]),
        (400, {"error": {"message": "no"}}),
    ],
)
def test_an_answer_is_of_the_time_when_its_file_came(status: int, body: Any) -> None:
    record = {"response": {"status_code": status, "body": body}, "error": None}
    answer = answer_of(record, json.dumps(record).encode(), REQUEST, AT)
    assert answer is not None
    assert (answer.at, answer.fault is None) == (AT, status == 200)


def test_a_line_that_a_job_had_no_room_for_goes_into_the_next_run() -> None:
    """The rate and the retries of this run do not matter."""
    body = {"error": {"message": "slow down"}}
    record = {"response": {"status_code": 429, "body": body}, "error": None}
    answer = answer_of(record, json.dumps(record).encode(), REQUEST, AT)
    assert answer is not None
    assert answer.fault is not None
    assert (answer.fault.http_status, answer.fault.fix) == (429, "run the same command again")
