"""What failed -> status, line and hint. Every exception of httpx, every shape of error body."""

from __future__ import annotations

import errno
import socket
import ssl
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
    Status,
    TryLater,
)
from chatpipe.inputs import values
from chatpipe.wire import faults
from chatpipe.wire.timeouts import DEADLINE
from parametrize import cases

URL = "http://127.0.0.1:9/v1/chat/completions"
SHOWN = f"'{URL}'"


def caused(error: httpx.TransportError, cause: Exception) -> httpx.TransportError:
    """As our transport raises it; by way of httpcore there is one more in between, see below."""
    error.__cause__ = cause
    return error


def unconnected(cause: Exception) -> httpx.TransportError:
    return caused(httpx.ConnectError("x"), cause)


REFUSED = ConnectionRefusedError(errno.ECONNREFUSED, "Connection refused")


def untrusted(message: str) -> ssl.SSLCertVerificationError:
    error = ssl.SSLCertVerificationError(1, f"[SSL: CERTIFICATE_VERIFY_FAILED] {message} (_ssl.c:1006)")
    error.verify_message = message
    return error


# Every class of httpx's tree, by name, with the status that it ends in
EXPECTED = {
    httpx.ConnectTimeout: Status.TRY_LATER,
    httpx.ReadTimeout: Status.TRY_LATER,
    httpx.WriteTimeout: Status.TRY_LATER,
    httpx.PoolTimeout: Status.TRY_LATER,
    httpx.TimeoutException: Status.TRY_LATER,
    httpx.ConnectError: Status.UNREACHABLE,
    httpx.ReadError: Status.UNREACHABLE,
    httpx.WriteError: Status.UNREACHABLE,
    httpx.CloseError: Status.UNREACHABLE,
    httpx.NetworkError: Status.UNREACHABLE,
    httpx.ProxyError: Status.UNREACHABLE,
    httpx.TransportError: Status.UNREACHABLE,
    httpx.RequestError: Status.UNREACHABLE,
    httpx.HTTPError: Status.UNREACHABLE,
    httpx.RemoteProtocolError: Status.BROKEN_ANSWER,
    httpx.ProtocolError: Status.BROKEN_ANSWER,
    httpx.DecodingError: Status.BROKEN_ANSWER,
    httpx.LocalProtocolError: Status.BAD_CONFIGURATION,
    httpx.UnsupportedProtocol: Status.BAD_CONFIGURATION,
    httpx.InvalidURL: Status.BAD_CONFIGURATION,
    httpx.TooManyRedirects: Status.BAD_CONFIGURATION,
    httpx.HTTPStatusError: Status.NO_ACCESS,  # by the 401 made below
    httpx.CookieConflict: Status.BUG,
    httpx.StreamError: Status.BUG,
    httpx.StreamConsumed: Status.BUG,
    httpx.StreamClosed: Status.BUG,
    httpx.ResponseNotRead: Status.BUG,
    httpx.RequestNotRead: Status.BUG,
}


def test_the_table_has_every_exception_of_httpx() -> None:
    public = [value for name, value in vars(httpx).items() if name in httpx.__all__]
    assert {value for value in public if isinstance(value, type) and issubclass(value, Exception)} == set(
        EXPECTED
    )


@pytest.mark.parametrize(
    ("kind", "status"), EXPECTED.items(), ids=lambda value: getattr(value, "__name__", value)
)
def test_every_exception_of_httpx_has_a_status_and_one_line(kind: type[Exception], status: Status) -> None:
    if kind is httpx.HTTPStatusError:
        request = httpx.Request("POST", URL)
        error: Exception = httpx.HTTPStatusError("no", request=request, response=httpx.Response(401))
    elif kind in (httpx.StreamConsumed, httpx.StreamClosed, httpx.ResponseNotRead, httpx.RequestNotRead):
        error = kind()
    else:
        error = kind("It broke\n\x1b[2J.")
    fault = faults.from_exception(error, URL)
    assert fault.status is status
    assert fault.what
    assert str(fault).isprintable()


UNTRUSTED = "certificate verify failed: unable to get local issuer certificate"
MISMATCH = "IP address mismatch, certificate is not valid for '127.0.0.1'"
EXPIRED = "certificate verify failed: certificate has expired"
ALERT = "tlsv13 alert certificate required"
LINE_END = "a line end or NUL in header 'Authorization'"

LINES: dict[str, tuple[Exception, str]] = {
    "refused": (
        caused(httpx.ConnectError("Connection refused"), REFUSED),
        f"cannot reach {SHOWN}: connection refused: check the base URL and that the server runs",
    ),
    "refused, by httpcore": (
        caused(httpx.ConnectError("[Errno 111] Connection refused"), unconnected(REFUSED)),
        f"cannot reach {SHOWN}: connection refused: check the base URL and that the server runs",
    ),
    "unknown name": (
        unconnected(socket.gaierror(socket.EAI_NONAME, "Name or service not known")),
        f"cannot reach {SHOWN}: name or service not known: check the base URL and that the server runs",
    ),
    "unknown authority": (
        unconnected(untrusted("unable to get local issuer certificate")),
        f"cannot trust {SHOWN}: {UNTRUSTED}: if the server's authority is your own, name it with --cacert",
    ),
    "wrong name": (
        unconnected(untrusted(MISMATCH)),
        f"cannot trust {SHOWN}: certificate verify failed: {MISMATCH}: check the host name in the base URL",
    ),
    "expired": (
        unconnected(untrusted("certificate has expired")),
        f"cannot trust {SHOWN}: {EXPIRED}: the server needs a new certificate",
    ),
    "tls alert": (
        unconnected(ssl.SSLError(1, f"[SSL: TLSV13_ALERT_CERTIFICATE_REQUIRED] {ALERT} (_ssl.c:1)")),
        f"no TLS with {SHOWN}: {ALERT}: the server wants a --client-cert that it knows",
    ),
    "connect time-out": (
        httpx.ConnectTimeout("no connection within 10 s"),
        f"cannot reach {SHOWN}: no connection within 10 s: raise --connect-timeout",
    ),
    "read time-out": (
        httpx.ReadTimeout("no byte for 600 s"),
        f"gave up on {SHOWN}: no byte for 600 s: raise --timeout",
    ),
    "deadline": (
        httpx.ReadTimeout(DEADLINE),
        f"no whole answer from {SHOWN} within the deadline: raise --deadline",
    ),
    "deadline while connecting": (
        httpx.ConnectTimeout(DEADLINE),
        f"no whole answer from {SHOWN} within the deadline: raise --deadline",
    ),
    "reset": (
        caused(httpx.ReadError("x"), ConnectionResetError(errno.ECONNRESET, "Connection reset by peer")),
        f"lost the connection to {SHOWN}: connection reset by peer: try again",
    ),
    "cut": (
        httpx.RemoteProtocolError("peer closed connection before the end of its reply"),
        f"broken answer from {SHOWN}: peer closed connection before the end of its reply: try again",
    ),
    "proxy": (
        httpx.ProxyError("407 Proxy Authentication Required"),
        (
            f"no way to {SHOWN} through the proxy: 407 Proxy Authentication Required: "
            "it wants a name and a password: --proxy"
        ),
    ),
    "bad header": (
        httpx.LocalProtocolError(LINE_END),
        f"the request cannot be sent to {SHOWN}: {LINE_END}: check the key and the headers",
    ),
    "an OSError that nobody caught": (
        REFUSED,
        f"lost the connection to {SHOWN}: connection refused: try again",
    ),
    "anything else": (KeyError("x"), f"unexpected KeyError from {SHOWN}: 'x'"),
}


@pytest.mark.parametrize(("error", "line"), LINES.values(), ids=LINES)
def test_an_exception_has_its_line(error: Exception, line: str) -> None:
    assert str(faults.from_exception(error, URL)) == line


def test_without_a_url_it_is_the_server() -> None:
    assert faults.from_exception(httpx.ReadError("x"), "").what == "lost the connection to the server: x"


def test_plain_http_behind_https_gets_its_hint() -> None:
    error = unconnected(ssl.SSLError(1, "[SSL: WRONG_VERSION_NUMBER] wrong version number (_ssl)"))
    fault = faults.from_exception(error, "https://127.0.0.1:9/v1")
    assert (fault.status, fault.fix) == (Status.UNREACHABLE, "is it http rather than https?")


def test_secrets_in_the_url_are_not_shown() -> None:
    fault = faults.from_exception(httpx.ReadError("x"), "https://me:s3cret@h.example/v1?key=s3cret")
    assert fault.what == "lost the connection to 'https://h.example/v1': x"


def test_an_error_of_ours_stays_what_it_is() -> None:
    error = BadInput("x")
    assert faults.from_exception(error, URL) is error


@cases(
    ("error", "passing"),
    {
        "refused": (unconnected(REFUSED), True),
        "resolver down": (unconnected(socket.gaierror(socket.EAI_AGAIN, "x")), True),
        "proxy refused": (caused(httpx.ProxyError("x"), REFUSED), True),
        "time-out": (httpx.ReadTimeout("no byte for 1 s"), True),
        "connect time-out": (httpx.ConnectTimeout("timed out"), True),
        "read": (httpx.ReadError("x"), True),
        "cut": (httpx.RemoteProtocolError("x"), True),
        "certificate": (unconnected(untrusted("expired")), False),
        "tls": (unconnected(ssl.SSLError(1, "x")), False),
        "no such host": (unconnected(socket.gaierror(socket.EAI_NONAME, "x")), False),
        "proxy says no": (httpx.ProxyError("407"), False),
        "deadline": (httpx.ReadTimeout(DEADLINE), False),
        "bad header": (httpx.LocalProtocolError("x"), False),
        "scheme": (httpx.UnsupportedProtocol("x"), False),
        "url": (httpx.InvalidURL("x"), False),
        "ours": (BadInput("x"), False),
    },
)
def test_only_passing_faults_may_be_retried(error: Exception, passing: bool) -> None:
    assert faults.is_transient(error) is passing


# Replies


def from_reply(status: int, body: bytes = b"", **headers: str) -> ChatpipeError:
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return faults.from_reply(status, httpx.Headers(named), body, URL)


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
    assert faults.error_codes(body) == codes


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
