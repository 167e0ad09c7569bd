"""`chatpipe batch` as a process: its result lines, and its other formats."""

from __future__ import annotations

import re
from typing import Any

import orjson
import pytest

from batch.runs import (
    REFUSING,
    USAGE,
    batch,
    jsonl,
    paused,
)
from support.parametrize import cases
from support.servers.loopback import (
    completion,
    reply,
)


def without_variable_parts(record: dict[str, Any]) -> dict[str, Any]:
    """A result line without its times, server and fingerprint, where something was sent."""
    latency_s, fingerprint = record["chatpipe"].pop("latency_s"), record["chatpipe"].pop("fingerprint")
    at, server = record["chatpipe"].pop("at"), record["chatpipe"].pop("server")
    if fingerprint is not None:
        assert re.fullmatch("[0-9a-f]{32}", fingerprint)
        assert record.pop("id") == f"chatpipe-{fingerprint}"
    assert (fingerprint is None) == (record["chatpipe"]["outcome"] == "input")
    if record["chatpipe"]["attempts"] == 0:
        assert (latency_s, at, server) == (None, None, None)
        return record
    assert 0 <= latency_s < 10
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z", at)
    assert re.fullmatch(r"http://127\.0\.0\.1:\d+/v1", server)
    return record


def test_result_lines_of_every_outcome() -> None:
    stdin = jsonl("hi", "cut", "no", "nothing", "400", "500", "reset") + b"oops\n"
    done = batch("-k", "--retries", "0", stdin=stdin)
    written = [without_variable_parts(each) for each in done.records]
    messages = [each["error"] and each["error"].pop("message") for each in written]

    def good(body: dict[str, Any], request_id: str | None = None) -> dict[str, Any]:
        return {"status_code": 200, "request_id": request_id, "body": body}

    def failed(status: int, message: str, code: str | None, request_id: str | None) -> dict[str, Any]:
        what = {"message": message, "type": "invalid_request_error", "param": None, "code": code}
        return {"status_code": status, "request_id": request_id, "body": {"error": what}}

    expected: list[tuple[Any, Any, str, int]] = [
        (good(completion("HI"), "req-2"), None, "ok", 1),
        (good(completion("Once upon", finish_reason="length")), {"code": "truncated"}, "truncated", 1),
        (good(completion(None, message=REFUSING)), {"code": "refused"}, "refused", 1),
        (good(completion("")), {"code": "empty"}, "empty", 1),
        (failed(400, "no such thing", "bad", "req-400"), {"code": "http_400"}, "http", 1),
        (failed(500, "broken", None, None), {"code": "http_500"}, "http", 1),
        (None, {"code": "network"}, "network", 1),
        (None, {"code": "input"}, "input", 0),
    ]
    lost = {"network": {"lost_usage": {"prompt_tokens": 8, "completion_tokens": 2, "total_tokens": 10}}}
    assert done.status == 1
    assert written == [
        {
            **({"id": "chatpipe-line-8"} if outcome == "input" else {}),
            "custom_id": f"line-{line}",
            "response": response,
            "error": fault,
            "chatpipe": {"line": line, "outcome": outcome, "attempts": attempts, **lost.get(outcome, {})},
        }
        for line, (response, fault, outcome, attempts) in enumerate(expected, 1)
    ]
    assert messages[0] is None
    assert all(isinstance(message, str) and message for message in messages[1:])
    assert "no such thing" in messages[4]
    assert "finish_reason 'length'" in messages[1]


def test_unsent_lines_have_their_own_outcome() -> None:
    done = batch("--no-send", stdin=jsonl("hi"))
    assert done.requests == []
    [record] = done.records
    assert done.status == 1
    assert record["response"] is None
    assert record["error"] == {
        "code": "unsent",
        "message": "it has no recorded answer, and --no-send sends nothing",
    }
    assert record["chatpipe"]["outcome"] == "unsent"
    assert record["chatpipe"]["attempts"] == 0


@cases(
    "headers, expected",
    {
        "in any case": ([("X-REQUEST-ID", "r1")], "r1"),
        "repeated": ([("x-request-id", "r1"), ("X-Request-Id", "r2")], "r1, r2"),
        "not there": ([], None),
    },
)
@pytest.mark.parametrize("status", [200, 400])
def test_the_servers_name_of_a_request(
    status: int, headers: list[tuple[str, str]], expected: str | None
) -> None:
    body = completion("hi") if status == 200 else {"error": {"message": "no"}}
    done = batch(stdin=jsonl("a"), handler=lambda _: reply(status, body, headers))
    assert [each["response"]["request_id"] for each in done.records] == [expected]


def test_the_servers_own_bytes_are_in_the_line() -> None:
    """A pretty-printed answer is written on one line. Unknown fields and odd numbers are kept."""
    body = (
        b'{\r\n "choices": [{"index": 0, "message": {"content": "x"}, "finish_reason": "stop"}],\n "a": 1.50}'
    )
    sent = reply(200, body, {"content-type": "application/json"})
    done = batch(stdin=jsonl("hi"), handler=lambda _: sent)
    assert done.stdout.count(b"\n") == 1
    assert b'"a": 1.50}' in done.stdout


@cases(
    "allow, failed, status",
    {
        "nothing": ("", ["cut", "no", "nothing", "400", "reset", "bad"], 1),
        "truncated": ("truncated", ["no", "nothing", "400", "reset", "bad"], 1),
        "two at once": ("refused,empty", ["cut", "400", "reset", "bad"], 1),
        "failed is what has no answer": ("failed", ["cut", "no", "nothing"], 1),
        "everything": ("truncated,refused,empty,failed", [], 0),
    },
)
def test_error_is_null_exactly_on_successes(allow: str, failed: list[str], status: int) -> None:
    texts = ["hi", "cut", "no", "nothing", "400", "reset"]
    stdin = b"".join(orjson.dumps({"custom_id": text, "prompt": text}) + b"\n" for text in texts)
    stdin += b'{"custom_id":"bad","prompt":"bad","n":"one"}\n'
    options = ["--allow", allow] if allow else []
    done = batch("-k", "--retries", "0", *options, stdin=stdin)
    written = done.records
    assert len(written) == 7
    assert [each["custom_id"] for each in written if each["error"] is not None] == failed
    assert done.outcomes == ["ok", "truncated", "refused", "empty", "http", "network", "input"]
    assert done.status == status


FORMATS = {
    "string": jsonl("SLOW", None, "HI", None),
    "text": b"SLOW\n\nHI\n\n",
    "message": jsonl(
        {"role": "assistant", "content": "SLOW", "refusal": None},
        None,
        {"role": "assistant", "content": "HI", "refusal": None},
        None,
    ),
    "json": jsonl(completion("SLOW"), None, completion("HI"), None),
    "usage": jsonl({"model": "m", **USAGE}, None, {"model": "m", **USAGE}, None),
    "tool-calls": jsonl([], None, [], None),
}


@pytest.mark.parametrize(("shape", "expected"), FORMATS.items(), ids=FORMATS)
def test_other_formats_are_one_record_a_request_in_input_order(shape: str, expected: bytes) -> None:
    """The first line is answered last; the second and the fourth fail."""
    done = batch("-f", shape, stdin=jsonl("slow", "400", "hi") + b"oops\n", handler=paused(slow=0.1))
    assert (done.status, done.stdout) == (1, expected)


def test_tool_calls_are_final_only_where_text_is_written() -> None:
    text = batch("-f", "string", stdin=jsonl("call"))
    calls = batch("-f", "tool-calls", stdin=jsonl("call"))
    results = batch(stdin=jsonl("call"))
    assert (text.status, text.stdout) == (6, b"null\n")
    assert (calls.status, calls.stdout) == (0, b'[{"id":"c1","name":"f","arguments":{"x":1}}]\n')
    assert (results.status, results.outcomes) == (0, ["ok"])


def test_null_ends_texts_that_have_newlines() -> None:
    done = batch("-f", "text", "-0", stdin=jsonl("a\nb", "400", "c\n"))
    assert done.stdout == b"A\nB\0\0C\n\0"
