"""Error replies -> status, line and fix: every shape of body."""

from __future__ import annotations

import unicodedata

import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st

from chatpipe.errors import (
    BadConfiguration,
    BadInput,
    BrokenAnswer,
    ChatpipeError,
    NoAccess,
    TryLater,
)
from chatpipe.inputs import values
from chatpipe.wire import refusals
from parametrize import cases

URL = "http://127.0.0.1:9/v1/chat/completions"
SHOWN = f"'{URL}'"


def from_reply(status: int, body: bytes = b"", **headers: str) -> ChatpipeError:
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return refusals.from_reply(status, httpx.Headers(named), body, URL)


def api_error(message: str, type: str = "invalid_request_error", code: str = "null") -> bytes:
    return (
        f'{{"error": {{"message": "{message}", "type": "{type}", "param": null, "code": {code}}}}}'.encode()
    )


@pytest.mark.parametrize(
    ("status", "exit_status", "fix"),
    [
        (302, 78, "set the base URL to where it leads, if you trust that"),
        (308, 78, "set the base URL to where it leads, if you trust that"),
        (400, 65, "fix the request"),
        (401, 77, "check the key"),
        (402, 77, "add credit to the account"),
        (403, 77, "ask for access with this key, or use another"),
        (404, 65, "is the model one that the server offers?"),
        (405, 78, "is the base URL right? most end in /v1"),
        (407, 77, "the proxy wants a name and a password: --proxy"),
        (408, 75, "try again"),
        (409, 75, "try again"),
        (410, 65, "fix the request"),
        (413, 65, "send less: fewer messages, smaller files"),
        (422, 65, "fix the request"),
        (429, 75, "lower the rate or raise --retries"),
        (500, 69, "try later"),
        (503, 69, "the server is overloaded or starting, try later"),
        (529, 69, "try later"),
        (200, 76, "try again"),
    ],
)
def test_each_status_has_its_exit_status_and_hint(status: int, exit_status: int, fix: str) -> None:
    fault = from_reply(status, api_error("It says so"))
    assert (int(fault.status), fault.fix, fault.http_status) == (exit_status, fix, status)


@cases(
    ("body", "ours"),
    {
        "OpenAI, model": (api_error("The model 'x' does not exist", code='"model_not_found"'), False),
        "Moonshot, model": (api_error("Not found the model x or Permission denied"), False),
        "Ollama, model": (api_error("model 'x' not found"), False),
        "OpenAI, path": (api_error("Invalid URL (POST /v1/v1/chat/completions)"), True),
        "llama.cpp": (b'{"error":{"code":404,"message":"File Not Found","type":"not_found_error"}}', True),
        "FastAPI": (b'{"detail":"Not Found"}', True),
        "LM Studio": (b'{"error":"Unexpected endpoint or method. (POST /chat)"}', True),
        "Go": (b"404 page not found", True),
        "nginx": (b"<html><title>404 Not Found</title></html>", True),
        "empty": (b"", True),
    },
)
def test_a_404_that_is_not_about_the_request_is_about_the_base_url(body: bytes, ours: bool) -> None:
    fault = from_reply(404, body)
    assert type(fault) is (BadConfiguration if ours else BadInput)
    assert ("base URL" in fault.fix) is ours


@cases(
    ("body", "said"),
    {
        "OpenAI": (api_error("Bad thing"), "Bad thing"),
        "llama.cpp": (b'{"error":{"code":400,"message":"Too long","type":"x","n_ctx":5}}', "Too long"),
        "Gemini": (b'[{"error":{"code":400,"message":"Bad key","status":"INVALID"}}]', "Bad key"),
        "error is a string": (b'{"error":"just words"}', "just words"),
        "message on top": (b'{"message":"Unauthorized"}', "Unauthorized"),
        "vLLM of old": (b'{"object":"error","message":"vLLM of old","code":400}', "vLLM of old"),
        "detail": (b'{"detail":"Nope"}', "Nope"),
        "detail is a list": (
            b'{"detail":[{"loc":["body","n"],"msg":"too small"}]}',
            '[{"loc":["body","n"],"msg":"too small"}]',
        ),
        "error without message": (b'{"error":{"code":7}}', '{"code":7}'),
        "empty message": (b'{"error":{"message":""}}', '{"message":""}'),
        "JSON string": (b'"bare string"', "bare string"),
        "another object": (b'{"a":1}', '{"a":1}'),
        "text": (b"plain  text\n", "plain text"),
        "not UTF-8": (b"caf\xe9", "caf\ufffd"),
        "empty": (b"", "bad request"),
        "blank": (b" \n", "bad request"),
        "HTML with title": (
            b"<!DOCTYPE html>\n<html><head><TITLE>502 &amp; Bad\n Gateway</TITLE></head><p>x</p></html>",
            "502 & Bad Gateway",
        ),
        "HTML without title": (
            b"<html><style>p{}</style><script>x=1</script><body><h1>Blocked</h1> by <b>us</b></body>",
            "Blocked by us",
        ),
        "no HTML": (b"a <b> c", "a <b> c"),
        "controls": (
            b'{"error":{"message":"a\\u001b[2J\\u009b\\u202eb\\ud83d\\n\\tc"}}',
            "a\\x1b[2J\\u009b\\u202eb\\ud83d c",
        ),
    },
)
def test_the_server_is_quoted_whatever_the_shape_of_its_body(body: bytes, said: str) -> None:
    fault = from_reply(400, body)
    assert fault.what == f"400 from {SHOWN}: {said}"
    assert fault.body == body


def test_the_servers_words_are_cut_at_500_characters() -> None:
    said = from_reply(400, api_error("word " * 1000)).what.removeprefix(f"400 from {SHOWN}: ")
    assert (len(said), said[-6:]) == (500, " word…")


def test_a_redirect_to_nowhere_in_particular() -> None:
    assert from_reply(300).what == f"300 from {SHOWN}: multiple choices"


def test_request_id_is_kept() -> None:
    assert from_reply(500, b"", x_request_id="req_1").request_id == "req_1"
    assert from_reply(500).request_id is None


@pytest.mark.parametrize("code", ["insufficient_quota", "credit_balance_exhausted"])
def test_an_exhausted_quota_is_no_access(code: str) -> None:
    fault = from_reply(429, api_error("You exceeded your current quota", type=code, code=f'"{code}"'))
    assert type(fault) is NoAccess
    assert fault.fix == "add credit to the account, or use another key"


def test_a_rate_limit_is_not_a_quota() -> None:
    fault = from_reply(429, api_error("Slow down", type="requests", code='"rate_limit_exceeded"'))
    assert type(fault) is TryLater


@cases(
    "body",
    {
        "OpenAI": api_error("Too many", code='"context_length_exceeded"'),
        "llama.cpp": b'{"error":{"code":400,"message":"x","type":"exceed_context_size_error"}}',
        "vLLM": api_error("This model's maximum context length is 5 tokens"),
    },
)
def test_a_prompt_that_is_too_long_gets_its_hint(body: bytes) -> None:
    assert from_reply(400, body).fix == "shorten the messages or lower --max-tokens"


@cases(
    ("location", "shown"),
    {
        "another origin": ("https://other.example/v1?token=s3cret", "https://other.example"),
        "userinfo": ("https://me:s3cret@other.example/", "https://other.example"),
        "same origin": ("/v2", "http://127.0.0.1:9"),
        "no URL": ("http://h:port", "nowhere"),
    },
)
def test_a_redirect_is_reported_with_its_origin(location: str, shown: str) -> None:
    assert (
        from_reply(301, b"<title>Moved</title>", location=location).what
        == f"301 from {SHOWN}: leads on to '{shown}'"
    )


@pytest.mark.parametrize(
    ("code", "kind"), [("429", TryLater), ("401", NoAccess), ('"429"', BrokenAnswer), ("null", BrokenAnswer)]
)
def test_an_error_inside_200_counts_by_its_code(code: str, kind: type[ChatpipeError]) -> None:
    assert type(from_reply(200, api_error("x", code=code))) is kind


@pytest.mark.parametrize(
    ("body", "codes"),
    [
        (api_error("x", type="a", code='"b"'), {"a", "b"}),
        (b'{"error":{"code":404,"type":"a"}}', {"a"}),
        (b'{"error":"a"}', set()),
        (b'{"code":"a"}', set()),
        (b"[]", set()),
        (b"<html>", set()),
        (b"", set()),
    ],
)
def test_error_codes_are_found_in_a_body(body: bytes, codes: set[str]) -> None:
    assert refusals.error_codes(body) == codes


JSON = st.recursive(
    st.none() | st.integers() | st.text(max_size=9),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.sampled_from(["error", "message", "code", "type", "detail"]), inner, max_size=3)
    ),
    max_leaves=9,
)


@given(st.binary(max_size=200) | JSON.map(values.dumps))
def test_any_body_makes_one_harmless_line(body: bytes) -> None:
    for status in (200, 404, 429):
        line = str(from_reply(status, body))
        assert not [c for c in line if unicodedata.category(c) in ("Cc", "Cs", "Zl", "Zp")]
