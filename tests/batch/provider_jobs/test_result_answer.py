"""result_answer.py: the answer of a line, or the reason why it has none."""

from __future__ import annotations

import json
from typing import Any

import httpx
import pytest

from chatpipe.batch.provider_jobs.result_answer import answer_of, plain_answers
from chatpipe.system import secrets
from support.parametrize import cases

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


def result(custom_id: str = "a", /, **changes: Any) -> dict[str, Any]:
    """A result of a job. changes are those of the response, and of what stands around it."""
    choice = {"index": 0, "message": {"role": "assistant", "content": "Hi"}, "finish_reason": "stop"}
    response = {"status_code": 200, "request_id": "r", "body": {"choices": [choice]}}
    response.update({name: changes.pop(name) for name in response if name in changes})
    return {"id": "x", "custom_id": custom_id, "response": response, "error": None, **changes}


def line_of(record: dict[str, Any], separators: tuple[str, str] = (",", ":")) -> bytes:
    return json.dumps(record, separators=separators).encode() + b"\n"


@cases(
    "lines",
    {
        "compact": [line_of(result("a")), line_of(result("b"))],
        "with spaces": [line_of(result("a"), (", ", ": ")), line_of(result("b"), (", ", ": "))],
        "names in texts": [line_of(result("a", id='"response":"error":null}')), line_of(result("b"))],
        "a name twice": [
            line_of(result("a")),
            line_of(result("b")).replace(b'"error"', b'"error":1,"error"'),
        ],
    },
)
def test_plain_answers_are_those_that_each_line_has(lines: list[bytes]) -> None:
    answers = plain_answers(lines, ["a", "b"], 1.0, AT)
    assert answers is not None
    records = [json.loads(line) for line in lines]
    for record, line, completion, text in zip(
        records, lines, answers.completions, answers.responses, strict=True
    ):
        answer = answer_of(record, line, REQUEST, AT)
        assert answer is not None
        assert (answer.completion, answer.request_id, answer.at) == (completion, "r", answers.at)
        assert json.loads(b'{"response":%b}' % text)["response"] == record["response"]


CALLS = {"choices": [{"message": {"content": "Hi", "tool_calls": [{}]}, "finish_reason": "stop"}]}


@cases(
    "line",
    {
        "for another request": line_of(result("c")),
        "an error": line_of(result("b", error={"code": "x"})),
        "another status": line_of(result("b", status_code=400)),
        "no completion": line_of(result("b", body=None)),
        "an error in the completion": line_of(result("b", body={**result()["response"]["body"], "error": 1})),
        "calls": line_of(result("b", body=CALLS)),
        "no response": line_of(result("b", response=None)),
        "more names": line_of(result("b", more=1)),
        "no name of the request": line_of(result("b", request_id=None)),
        "such a name that is not ASCII": line_of(result("b", request_id="é")),
        "no id": line_of({name: value for name, value in result("b").items() if name != "id"}),
        "an id that is an object": line_of(result("b", id={"response": 1})),
        "a name with escapes": line_of(result("b")).replace(b'"response"', b'"\\u0072esponse"'),
        "an error with escapes": line_of(result("b")).replace(b'"error"', b'"\\u0065rror"'),
        "another end": line_of(result("b"))[:-1] + b" \r\n",
        "half a character": line_of(result("b", id="\ud800")),
        "no JSON": line_of(result("b"))[:-3],
        "an array": b"[]\n",
        "text": b'"abcd"\n',
        "null": b"null\n",
    },
)
def test_one_other_line_among_plain_answers(line: bytes) -> None:
    assert plain_answers([line_of(result("a")), line], ["a", "b"], 1.0, AT) is None


def test_a_secret_among_plain_answers() -> None:
    key = "sk-0123456789abcdef0123456789abcdef"
    lines = [line_of(result("a")), line_of(result("b", request_id=key))]
    assert plain_answers(lines, ["a", "b"], 1.0, AT) is not None
    secrets.add(key)
    assert plain_answers(lines, ["a", "b"], 1.0, AT) is None
