"""Result lines: writing them, and reading ours, those of the Batch API and damaged ones."""

from __future__ import annotations

from typing import Any

import orjson
import pytest

from chatpipe.inputs import values
from chatpipe.options.outcomes import Outcome
from chatpipe.response.result_line import (
    LineError,
    LineKey,
    Metadata,
    ResultLine,
    is_result,
    make_good_lines,
    make_line,
    make_response,
    parse_timestamp,
    read_key,
    timestamp,
)
from chatpipe.response.usage import Usage
from support.parametrize import cases

COMPLETION = {"model": "m", "choices": [{"message": {"content": "a"}, "finish_reason": "stop"}]}
USED = {"prompt_tokens": 3, "completion_tokens": 1}


def line_of(custom_id: str = "c", fingerprint: str = "f") -> bytes:
    return make_line(
        custom_id, Metadata(2, Outcome.ok, fingerprint), make_response(200, "r", COMPLETION), None
    )


def test_a_line_is_written_with_its_keys_in_order() -> None:
    metadata = Metadata(7, Outcome.unsent, "f", 3, 1.23456, (USED, None), timestamp(0.9996), "http://h/v1")
    assert make_line("c", metadata, None, LineError("unsent", "why")) == (
        b'{"id":"chatpipe-f","custom_id":"c","response":null,"error":{"code":"unsent","message":"why"},'
        b'"chatpipe":{"line":7,"outcome":"unsent","fingerprint":"f","attempts":3,"latency_s":1.235,'
        b'"at":"1970-01-01T00:00:00.999Z","server":"http://h/v1",'
        b'"turns":2,"earlier_usage":[{"prompt_tokens":3,"completion_tokens":1},null]}}'
    )


def test_a_line_without_a_request_is_written_under_its_custom_id() -> None:
    assert make_line("c", Metadata(1, Outcome.input), None, LineError("input", "why")) == (
        b'{"id":"chatpipe-c","custom_id":"c","response":null,"error":{"code":"input","message":"why"},'
        b'"chatpipe":{"line":1,"outcome":"input","fingerprint":null,"attempts":0,"latency_s":null,'
        b'"at":null,"server":null}}'
    )


def test_good_lines_that_are_made_together_are_like_others() -> None:
    names = [("c", 2, "f1"), ('"é"', 3, "f2"), ("\ud800", 40, "f3")]
    metadata = Metadata(0, Outcome.ok, "", 1, 1.23456, (), timestamp(0.9996), "http://h/v1", "batch-api")
    response = make_response(200, "r", COMPLETION)
    assert make_good_lines(names, [values.dumps(response)] * 3, metadata) == [
        make_line(name, metadata._replace(line=line, fingerprint=fingerprint), response, None)
        for name, line, fingerprint in names
    ]


@pytest.mark.parametrize("now", [0.0, 1.001, 1_799_999_999.25, 4_102_444_800.0])
def test_a_time_is_read_back_to_the_millisecond(now: float) -> None:
    assert parse_timestamp(timestamp(now)) == pytest.approx(now, abs=0.001)


def test_a_line_is_read_back() -> None:
    metadata = Metadata(2, Outcome.ok, "f", earlier_usage=(USED,))
    line = ResultLine(orjson.loads(make_line("c", metadata, make_response(200, "r", COMPLETION), None)))
    assert (line.custom_id, line.fingerprint, line.outcome, line.model) == ("c", "f", "ok", "m")
    assert (line.completion, line.good_answer, line.earlier_usage) == (COMPLETION, COMPLETION, (USED,))
    assert line.spent_usage() == Usage(3, 0, 1, 4)


@cases(
    "response, outcome",
    {
        "an answer": ({"status_code": 200, "body": COMPLETION}, "ok"),
        "cut": (
            {
                "status_code": 200,
                "body": {"choices": [{"message": {"content": "a"}, "finish_reason": "length"}]},
            },
            "truncated",
        ),
        "broken": ({"status_code": 200, "body": {"choices": []}}, None),
        "an error": ({"status_code": 400, "body": COMPLETION}, None),
        "none": (None, None),
    },
)
def test_a_line_of_the_batch_api_has_the_outcome_of_its_answer(response: Any, outcome: str | None) -> None:
    assert ResultLine({"custom_id": "c", "response": response, "error": None}).outcome == outcome


@pytest.mark.parametrize("value", [None, 5, "text", [1], True, {"earlier_usage": 5}, {"body": 5}])
@pytest.mark.parametrize("key", ["custom_id", "response", "error", "chatpipe"])
def test_no_reader_fails_on_a_damaged_field(key: str, value: Any) -> None:
    whole = orjson.loads(line_of())
    line = ResultLine({**whole, key: value})
    for read in ("custom_id", "fingerprint", "outcome", "body", "completion", "good_answer", "model"):
        getattr(line, read)
    assert line.earlier_usage == ()
    assert line.spent_usage() == Usage()
    assert line.error("network") == LineError("network", "network")
    assert line.renamed("d", 3, Outcome.ok, is_good=True).custom_id == "d"
    assert line.content()


def test_a_good_line_gets_no_error_and_a_bad_one_keeps_its_own() -> None:
    line = ResultLine({**orjson.loads(line_of()), "error": {"code": "truncated", "message": "cut"}})
    good = line.renamed("d", 9, Outcome.truncated, is_good=True)
    bad = line.renamed("d", 9, Outcome.truncated, is_good=False)
    assert (good.record["custom_id"], good.record["error"], good.record["chatpipe"]["line"]) == ("d", None, 9)
    assert bad.error("truncated") == LineError("truncated", "cut")
    recorded = ResultLine({**line.record, "error": None}).renamed(
        "d", 9, Outcome.empty, is_good=False, reason="there is no content"
    )
    assert recorded.error("empty") == LineError("empty", "there is no content")


def of_provider(**metadata: object) -> ResultLine:
    """An answer of the Batch API, with what is known about it, if anything is."""
    response = {"status_code": 200, "body": COMPLETION}
    record = {"id": "batch_req_1", "custom_id": "c", "response": response, "error": None}
    return ResultLine({**record, **({"chatpipe": metadata} if metadata else {})})


@pytest.mark.parametrize("known", [{}, {"at": "t", "server": "http://h/v1", "engine": "batch-api"}])
def test_a_copy_of_a_batch_api_line_is_found_by_its_id_and_is_no_other_answer(known: dict[str, str]) -> None:
    line = of_provider(**known)
    copy = line.renamed("c", 3, Outcome.ok, is_good=True)
    at, server = known.get("at"), known.get("server")
    for each in (line, copy):
        assert not each.is_damaged
        assert each.key(by_id=True) == LineKey("c", "ok", at, server)
        assert each.key(by_id=False) == LineKey(None, "ok", at, server)
    assert copy.content() == line.content()
    assert copy.record["chatpipe"] == {
        "line": 3,
        "outcome": "ok",
        "fingerprint": None,
        "attempts": 1,
        "latency_s": None,
        "at": None,
        "server": None,
        **known,
    }
    assert line.content() != of_provider(at="later").content()


def test_the_custom_id_of_a_line_in_a_job_of_a_run_is_its_fingerprint() -> None:
    """Of another one it is a name, and of a line of ours, too."""
    digits = "0123456789abcdef" * 2
    of_job = ResultLine({**of_provider().record, "custom_id": digits})
    assert of_job.key(by_id=False) == LineKey(digits, "ok")
    copy = of_job.renamed("line-1", 1, Outcome.ok, is_good=True)
    assert (copy.fingerprint, copy.custom_id, copy.content()) == (digits, "line-1", of_job.content())
    for other in (digits[:-1], digits + "0", digits.upper()):
        assert ResultLine({**of_provider().record, "custom_id": other}).fingerprint is None
    assert ResultLine(orjson.loads(line_of(digits, "f"))).fingerprint == "f"


@cases(
    "line, by_body, by_id",
    {
        "ours": (line_of(), LineKey("f", "ok"), LineKey("c", "ok")),
        "no fingerprint": (line_of(fingerprint=""), LineKey(None, "ok"), LineKey("c", "ok")),
        "a time and a server": (
            make_line("c", Metadata(1, Outcome.ok, "f", at="t", server='"chatpipe":'), None, None),
            LineKey("f", "ok", "t", '"chatpipe":'),
            LineKey("c", "ok", "t", '"chatpipe":'),
        ),
        "quotes in the name": (line_of('a"b'), LineKey("f", "ok"), LineKey('a"b', "ok")),
        "spaces": (line_of().replace(b'"chatpipe":', b'"chatpipe": ') + b" ", None, None),
        "of the Batch API": (b'{"id":"b","custom_id":"c","response":null,"error":null}', None, None),
        "another line": (b"{}", None, None),
    },
)
def test_a_key_is_read_from_the_ends_of_our_lines_only(
    line: bytes, by_body: LineKey | None, by_id: LineKey | None
) -> None:
    assert (read_key(line, by_id=False), read_key(line, by_id=True)) == (by_body, by_id)


@cases(
    "record, expected",
    {
        "ours": (orjson.loads(line_of()), True),
        "without an error": ({"custom_id": "c", "response": None}, True),
        "without a name": ({"error": None, "response": None}, True),
        "a completion": (COMPLETION, False),
        "a Batch line": ({"custom_id": "c", "body": {}}, False),
    },
)
def test_a_result_line_is_recognized(record: dict[str, Any], expected: bool) -> None:
    assert is_result(record) == expected
