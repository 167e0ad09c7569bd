"""Every shape of error that servers send."""

from __future__ import annotations

import json
from typing import Any, NamedTuple

import pytest

from chatpipe.response.server_error import error_of, is_notice
from response.streams import SHARED, needs_shared
from support.parametrize import cases


class Read(NamedTuple):
    """The fields of a ServerError that people and exit statuses depend on."""

    message: str
    type: str | None = None
    code: str | int | None = None
    status: int | None = None
    delay_s: float | None = None


def read(value: Any) -> Read | None:
    error = error_of(value)
    return error and Read(error.message, error.type, error.code, error.status, error.delay_s)


def quoted(raw: str, **fields: Any) -> dict[str, Any]:
    """An error of OpenRouter about one of its providers."""
    return {"error": {"message": "Provider returned error", "code": 429, "metadata": {"raw": raw, **fields}}}


GEMINI = {
    "error": {
        "code": 429,
        "message": "m",
        "status": "RESOURCE_EXHAUSTED",
        "details": [
            {"@type": "type.googleapis.com/google.rpc.QuotaFailure", "violations": [{"quotaId": "x"}]},
            {"@type": "type.googleapis.com/google.rpc.RetryInfo", "retryDelay": "34s"},
        ],
    }
}


@cases(
    ("value", "error"),
    {
        "openai": ({"error": {"message": "m", "type": "t", "param": "p", "code": "c"}}, Read("m", "t", "c")),
        "nulls": (
            {"error": {"message": "m", "type": "server_error", "param": None, "code": None}},
            Read("m", "server_error"),
        ),
        "llama.cpp": (
            {"error": {"code": 500, "message": "m", "type": "server_error"}},
            Read("m", "server_error", 500, 500),
        ),
        "openrouter, with choices": (
            {"error": {"code": 429, "message": "m", "metadata": {"error_type": "slow"}}, "choices": [{}]},
            Read("m", "slow", 429, 429),
        ),
        "code a string": ({"error": {"code": "429", "message": "m"}}, Read("m", None, "429", 429)),
        "code in words": (
            {"error": {"code": "HTTP_429 Too Many Requests", "message": "m"}},
            Read("m", None, "HTTP_429 Too Many Requests", 429),
        ),
        "code a float": ({"error": {"code": 429.0, "message": "m"}}, Read("m", None, None, 429)),
        "code with more digits": ({"error": {"code": "40301", "message": "m"}}, Read("m", None, "40301")),
        "the SDK's words": (
            {"error": {"message": "Error code: 429 - x"}},
            Read("Error code: 429 - x", status=429),
        ),
        "alibaba": ({"Code": "Throttling", "Message": "m"}, Read("m", None, "Throttling")),
        "gemini": (GEMINI, Read("m", "RESOURCE_EXHAUSTED", 429, 429, 34.0)),
        "gemini, in a list": ([GEMINI], Read("m", "RESOURCE_EXHAUSTED", 429, 429, 34.0)),
        "anthropic": (
            {"type": "error", "error": {"type": "overloaded_error", "message": "m"}, "request_id": "r"},
            Read("m", "overloaded_error"),
        ),
        "bare string": ({"error": "m"}, Read("m")),
        "bare string, with choices": ({"error": "m", "choices": []}, Read("m")),
        "bare string, beside an answer": ({"error": "over capacity", "choices": [{}]}, Read("over capacity")),
        "a word of success alone": ({"error": "ok"}, Read("ok")),
        "xai": ({"code": "c c", "error": "m"}, Read("m", None, "c c")),
        "tgi": ({"error": "m", "error_type": "overloaded"}, Read("m", "overloaded")),
        "spring": (
            {"timestamp": "x", "status": 404, "error": "Not Found", "path": "/v1"},
            Read("Not Found", None, None, 404),
        ),
        "fastify": (
            {"message": "Route POST:/v1 not found", "error": "Not Found", "statusCode": 404},
            Read("Route POST:/v1 not found", "Not Found", 404, 404),
        ),
        "oauth": ({"error": "invalid_token", "error_description": "m"}, Read("m", "invalid_token")),
        "databricks": (
            {"error_code": "REQUEST_LIMIT_EXCEEDED", "message": "m"},
            Read("m", None, "REQUEST_LIMIT_EXCEEDED"),
        ),
        "a type and a status": (
            {"error": {"type": "t", "status": "INTERNAL", "message": "m"}},
            Read("m", "t"),
        ),
        "a type without a message": ({"error": {"type": "t"}}, Read('{"type":"t"}', "t")),
        "Amazon": ({"__type": "t", "message": "m"}, Read("m", "t")),
        "text, and a type beside it": ({"error": "m", "type": "t"}, Read("m", "t")),
        "error_message": ({"error_type": "t", "error_message": "m"}, Read("m", "t")),
        "msg and a number": ({"code": 500, "msg": "m", "success": False}, Read("m", None, 500, 500)),
        "minimax": (
            {"choices": None, "base_resp": {"status_code": 1004, "status_msg": "login fail"}},
            Read("login fail", None, 1004),
        ),
        "minimax, beside an answer": (
            {"choices": [{}], "base_resp": {"status_code": 1004, "status_msg": "m"}},
            Read("m", None, 1004),
        ),
        "minimax, no words": (
            {"base_resp": {"status_code": 1004, "status_msg": ""}},
            Read('{"status_code":1004,"status_msg":""}', None, 1004),
        ),
        "groq, in a stream": (
            {"choices": [{"delta": {}}], "x_groq": {"id": "r", "error": "over capacity"}},
            Read("over capacity"),
        ),
        "status beside it": ({"status": 429, "error": {"message": "m"}}, Read("m", None, None, 429)),
        "a status and a title": ({"status": 503, "title": "m"}, Read("m", None, None, 503)),
        "code 200 and a message": ({"error": {"code": 200, "message": "m"}}, Read("m", None, 200)),
        "problem details": (
            {"type": "about:blank", "title": "t", "status": 403, "detail": "m"},
            Read("m", "about:blank", None, 403),
        ),
        "detail": ({"detail": "m"}, Read("m")),
        "detail, a list": (
            {"detail": [{"loc": ["body", "messages", 0], "msg": "too short"}, {"msg": "bad"}]},
            Read("body.messages.0: too short; bad"),
        ),
        "detail inside": ({"error": {"detail": "m"}}, Read("m")),
        "mistral": (
            {"object": "error", "message": {"detail": [{"loc": ["body", "n"], "msg": "bad"}]}, "code": "1"},
            Read("body.n: bad", None, "1"),
        ),
        "mistral, in error": (
            {"error": {"message": {"detail": [{"loc": ["body", "n"], "msg": "bad"}]}}},
            Read("body.n: bad"),
        ),
        "no wrapper": (
            {"object": "error", "message": "m", "type": "BadRequestError", "param": None, "code": 400},
            Read("m", "BadRequestError", 400, 400),
        ),
        "errors": (
            {"success": False, "errors": [{"code": 10000, "message": "m"}], "result": None},
            Read("m", None, 10000),
        ),
        "errors, text": ({"errors": ["m"]}, Read("m")),
        "error in an error": ({"error": {"error": {"message": "m", "code": 401}}}, Read("m", None, 401, 401)),
        "an error as a message": (
            {"error": {"message": {"message": "m", "code": 429}}},
            Read("m", None, 429, 429),
        ),
        "a delay in an error in an error": (
            {"error": {"message": "above", "error": {"message": "m", "retry_after": 2}}},
            Read("above: m", delay_s=2.0),
        ),
        "nothing in an error": ({"error": {"message": "m", "error": {"message": ""}}}, Read("m")),
        "error in an error, with words": (
            {"error": {"message": "above", "error": {"message": "m", "type": "t"}}},
            Read("above: m", "t"),
        ),
        "JSON in a message": (
            {"error": {"message": '{"error": {"message": "m", "code": 429}}', "type": "proxy"}},
            Read("m", "proxy", 429, 429),
        ),
        "JSON in a detail": (
            {"error": {"detail": '{"error": {"message": "m", "code": 429}}'}},
            Read("m", None, 429, 429),
        ),
        "JSON behind words": (
            {"error": {"message": 'HTTP 429: [{"error": {"message": "m", "status": "X"}}]\n'}},
            Read("HTTP 429: m", "X", status=429),
        ),
        "JSON that is no error": (
            {"error": {"message": 'bad schema {"type": "object"}'}},
            Read('bad schema {"type": "object"}'),
        ),
        "openrouter, words of the provider": (
            quoted("m is rate-limited upstream"),
            Read("Provider returned error: m is rate-limited upstream", None, 429, 429),
        ),
        "openrouter, JSON of the provider": (
            quoted('{"error":{"message":"m","type":"t","code":"c"}}', provider_name="x"),
            Read("Provider returned error: m", "t", 429, 429),
        ),
        "openrouter, moderation": (
            {"error": {"code": 403, "message": "m", "metadata": {"reasons": ["violence", "hate"]}}},
            Read("m (violence, hate)", None, 403, 403),
        ),
        "openrouter, no reasons": ({"error": {"message": "m", "metadata": {"reasons": []}}}, Read("m")),
        "a type that is a status": ({"error": {"message": "m", "type": "429"}}, Read("m", status=429)),
        "gateway": ({"message": "no route"}, Read("no route")),
        "delay as a number": ({"error": {"message": "m", "retry_after": 2}}, Read("m", delay_s=2.0)),
        "delay in milliseconds": (
            {"error": {"message": "m", "retry_after_ms": "20"}},
            Read("m", delay_s=0.02),
        ),
        "delay beside it": ({"error": "m", "retry_after": 7.5}, Read("m", delay_s=7.5)),
        "delay in words": (
            {"error": {"message": "Slow down. Please try again in 6m0s."}},
            Read("Slow down. Please try again in 6m0s.", delay_s=360.0),
        ),
        "time to load a model": ({"error": "m", "estimated_time": 20.5}, Read("m", delay_s=20.5)),
        "no delay": ({"error": {"message": "m", "retry_after": 0, "retry_after_ms": None}}, Read("m")),
        "no message: all of it": ({"error": {"code": 7}}, Read('{"code":7}', None, 7)),
        "message an object": ({"error": {"message": {"en": "x"}}}, Read('{"en":"x"}')),
        "true": ({"error": True}, Read("true")),
        "true, words beside it": ({"error": True, "message": "m", "code": 429}, Read("m", None, 429, 429)),
        "a number, words beside it": ({"error": 401, "msg": "m"}, Read("m", None, None, 401)),
        "text that is a status": ({"error": "429"}, Read("429", status=429)),
        "text that begins with a status": (
            {"error": "503 Service Unavailable: m"},
            Read("503 Service Unavailable: m", status=503),
        ),
        "axios": (
            {"error": {"message": "Request failed with status code 429"}},
            Read("Request failed with status code 429", status=429),
        ),
        "a number that is no status": ({"error": "at most 400 tokens"}, Read("at most 400 tokens")),
        "other spellings": ({"errorCode": "429", "ErrorMsg": "m"}, Read("m", None, "429", 429)),
        "capitals": ({"Error": {"Message": "m", "Code": "401"}}, Read("m", None, "401", 401)),
        "capitals, text": ({"ERROR": "m", "Status-Code": 503}, Read("m", None, 503, 503)),
        "numbered": ({"err_no": 18, "err_msg": "m"}, Read("m", None, 18)),
        "in data": ({"data": {"error": {"message": "m", "code": 429}}}, Read("m", None, 429, 429)),
        "in data, no wrapper": ({"data": {"code": 429, "msg": "m"}}, Read("m", None, 429, 429)),
        "in a response": (
            {
                "type": "response.failed",
                "response": {"error": {"code": "rate_limit_exceeded", "message": "m"}},
            },
            Read("m", None, "rate_limit_exceeded"),
        ),
        "apigee": (
            {"fault": {"faultstring": "m", "detail": {"errorcode": "policies.ratelimit.QuotaViolation"}}},
            Read("m"),
        ),
        "a number": ({"error": 503}, Read("503", status=503)),
        "the least status of an error": ({"error": 400}, Read("400", status=400)),
        "a number that is no status of HTTP": ({"error": 600}, Read("600")),
        "a list": ({"error": [1, "x"]}, Read('[1,"x"]')),
        "a list of one": ({"error": [{"message": "m", "code": 401}]}, Read("m", None, 401, 401)),
        "impossible types": (
            {"error": {"message": "m", "type": 3, "code": True, "param": ["p"], "metadata": "x"}},
            Read("m"),
        ),
    },
)
def test_error_is_found(value: Any, error: Read | None) -> None:
    assert read(value) == error


@cases(
    ("value", "codes"),
    {
        "code and type": ({"error": {"message": "m", "type": "t", "code": "c"}}, {"t", "c"}),
        "a number": ({"error": {"message": "m", "type": "t", "code": 404}}, {"t"}),
        "none": ({"error": "m"}, set()),
        "google": (
            {"error": {"message": "m", "status": "S", "details": [{"reason": "API_KEY_INVALID"}]}},
            {"S", "API_KEY_INVALID"},
        ),
        "azure": ({"error": {"message": "m", "code": "c", "innererror": {"code": "i"}}}, {"c", "i"}),
        "azure, otherwise": ({"error": {"message": "m", "inner_error": {"code": "i"}}}, {"i"}),
        "the first number of zhipu": ({"error": {"message": "m", "code": 1100}}, {"1100"}),
        "a number that is none of zhipu": ({"error": {"message": "m", "code": 10_000}}, set()),
        "apigee": ({"fault": {"faultstring": "m", "detail": {"errorcode": "x.y"}}}, {"x.y"}),
        "minimax": ({"base_resp": {"status_code": 1008, "status_msg": "m"}}, {"base_resp:1008"}),
        "wrapped": (quoted('{"error":{"message":"m","type":"t","code":"c"}}'), {"t", "c"}),
    },
)
def test_all_codes_of_an_error_are_collected(value: Any, codes: set[str]) -> None:
    error = error_of(value)
    assert error is not None
    assert error.codes == codes


def test_the_parameter_that_an_error_is_about() -> None:
    error = error_of({"error": {"message": "m", "param": "p"}})
    assert error is not None
    assert error.param == "p"


def test_headers_that_a_gateway_quotes() -> None:
    error = error_of(quoted("x", headers={"X-RateLimit-Remaining": "0", "X-RateLimit-Reset": 1700000030000}))
    assert error is not None
    assert error.headers == {"x-ratelimit-remaining": "0", "x-ratelimit-reset": "1700000030000"}


GOOD = [{"index": 0, "message": {"content": "hi"}}]


@cases(
    "value",
    {
        "chunk": {"choices": []},
        "null": {"choices": [], "error": None},
        "empty object": {"choices": [], "error": {}},
        "empty string": {"choices": [], "error": ""},
        "other fields of a chunk": {"choices": [], "detail": "x", "message": "y"},
        "null, and other fields of an answer": {"choices": GOOD, "error": None, "detail": "x"},
        "no choices": {"prompt_progress": {"total": 3}},
        "a message, not words": {"message": {"role": "assistant"}},
        "empty message": {"message": ""},
        "empty": {},
        "list, beside an answer": {"choices": GOOD, "error": []},
        "empty message, beside an answer": {"choices": GOOD, "error": {"message": "", "code": None}},
        "code 0": {"choices": GOOD, "error": {"code": 0, "message": "success"}},
        "code 200": {"choices": GOOD, "error": {"code": 200, "message": "fine"}},
        "code 200 as text": {"choices": GOOD, "error": {"code": "200"}},
        "code 202": {"choices": GOOD, "error": {"code": 202, "message": "queued"}},
        "ok": {"choices": GOOD, "error": "ok"},
        "false": {"choices": GOOD, "error": False},
        "list of nothing": {"choices": GOOD, "error": [None, {}, {"message": ""}]},
        "minimax, all well": {"choices": GOOD, "base_resp": {"status_code": 0, "status_msg": ""}},
        "minimax, all well, no answer": {
            "choices": None,
            "base_resp": {"status_code": 0, "status_msg": "success"},
        },
        "code 200, no words": {"error": {"code": 200, "message": ""}},
        "an empty code": {"description": "x", "code": ""},
        "an object that is not an error": {"code": 0, "msg": "ok", "data": {}},
        "a note": {"description": "x"},
        "an answer in data": {"data": {"choices": GOOD, "code": 1, "message": "m"}},
        "data that went well": {"data": {"code": 0, "message": "m"}},
        "data without a code": {"data": {"message": "m"}},
        "list of several": [{"error": "m"}, {}],
        "empty list": [],
        "string": "error",
        "nothing": None,
    },
)
def test_no_error_is_found(value: Any) -> None:
    assert error_of(value) is None


@cases(
    "value, before, inside",
    {
        "a message alone": ({"message": "queue position 3"}, True, False),
        "beside null": ({"message": "m", "error": None, "choices": None, "code": None}, True, False),
        "a kind alone": ({"type": "ping", "time": 5}, True, True),
        "a state alone": ({"id": "j", "status": "queued"}, True, True),
        "a state of success beside usage": ({"status": "ok", "usage": {}}, True, True),
        "a state of an answer": ({"status": "queued", "choices": []}, False, False),
        "a state of another kind": ({"status": "completed"}, False, False),
        "usage alone": ({"usage": {}}, False, False),
        "a sign of life": ({"type": "ping", "message": "m"}, True, True),
        "a state": ({"status": "in_progress", "message": "m", "queue_position": 3}, True, True),
        "in other spellings": ({"Status": "Warming Up", "Message": "m"}, True, True),
        "a status of success": ({"status": 200, "message": "m"}, True, True),
        "a type of error": ({"type": "overloaded_error", "message": "m"}, False, False),
        "two words, one of an error": ({"type": "status", "status": "failed", "message": "m"}, False, False),
        "a status of failure": ({"status": 503, "message": "m"}, False, False),
        "a code": ({"code": 1113, "message": "m"}, False, False),
        "an error": ({"error": "x", "message": "m"}, False, False),
        "an object of this name": ({"object": "error", "message": "m"}, False, False),
        "a detail": ({"detail": "Not Found"}, False, False),
        "a kind and a detail": ({"type": "ping", "detail": "x"}, False, False),
        "a kind and errors": ({"type": "ping", "errors": ["x"]}, False, False),
        "a message of an error": ({"error_message": "m"}, False, False),
        "an error in a wrapper": ({"data": {"error": "x"}}, False, False),
        "no words": ({"message": ""}, False, False),
    },
)
def test_notice_of_a_stream(value: Any, before: bool, inside: bool) -> None:
    """Before an answer, a message alone is a notice. Inside it, a word such as `ping` must call it one."""
    assert (is_notice(value, in_answer=False), is_notice(value, in_answer=True)) == (before, inside)


def test_error_nested_too_deeply_for_recursion_is_still_an_error() -> None:
    deep: Any = "x"
    for _ in range(5000):
        deep = [deep]
    found = read({"error": deep})
    assert found is not None
    assert found.message.strip("[]") == '"x"'
    inner: Any = {"message": "m"}
    for _ in range(5000):
        inner = {"error": inner}
    found = read({"error": inner})
    assert found is not None
    assert found.message.rstrip("}").endswith('"error":{"message":"m"')


@needs_shared
@pytest.mark.parametrize(
    ("name", "error"),
    [
        ("error-402-openrouter", Read("Insufficient credits", None, 402, 402)),
        (
            "error-429-quota",
            Read(
                "You exceeded your current quota, please check your plan and billing details.",
                "insufficient_quota",
                "insufficient_quota",
            ),
        ),
        (
            "error-503",
            Read("The engine is currently overloaded, please try again later", "server_error"),
        ),
    ],
)
def test_error_body_of_the_api_notes(name: str, error: Read) -> None:
    reply = json.loads((SHARED / f"{name}.http.json").read_text())
    assert read(reply["body"]) == error
