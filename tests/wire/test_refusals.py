"""Error replies -> status, line and fix: every shape of body."""

from __future__ import annotations

import time
import timeit
import unicodedata

import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st

from chatpipe.errors import (
    BadConfiguration,
    BadInput,
    ChatpipeError,
    NoCredit,
    NotRecorded,
    Status,
)
from chatpipe.inputs import values
from chatpipe.response.server_error import ServerError, error_of
from chatpipe.server.request_extensions import THROUGH_PROXY
from chatpipe.wire import refusals
from chatpipe.wire.retry import FailedAttempt, is_retryable
from support.parametrize import cases

URL = "http://127.0.0.1:9/v1/chat/completions"
SHOWN = f"'{URL}'"
REQUEST = httpx.Request("POST", URL, headers={"Authorization": "Bearer k"})


def from_reply(status: int, body: bytes = b"", **headers: str) -> ChatpipeError:
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return refusals.from_reply(status, httpx.Headers(named), body, REQUEST)[0]


def api_error(message: str, type: str = "invalid_request_error", code: str = "null") -> bytes:
    return (
        f'{{"error": {{"message": "{message}", "type": "{type}", "param": null, "code": {code}}}}}'.encode()
    )


@cases(
    ("status", "body", "headers", "fix"),
    {
        "the server's key": (401, api_error("bad key"), {}, "check the key"),
        "a page about a key": (401, b"<html>who?</html>", {}, "check the key"),
        "the proxy's password": (
            401,
            b"<html>who?</html>",
            {"WWW-Authenticate": 'Basic realm="proxy"'},
            "check the name and the password in HTTP_PROXY",
        ),
        "no way": (502, b"bad gateway", {}, "check the base URL, or try later"),
        "an error of the server": (502, api_error("bad gateway"), {}, "try later"),
    },
)
def test_a_reply_through_a_proxy_that_is_not_json_names_the_proxy(
    status: int, body: bytes, headers: dict[str, str], fix: str
) -> None:
    request = httpx.Request("POST", URL, headers={"Authorization": "Bearer k"})
    request.extensions = {THROUGH_PROXY: ("http://p:3128", "HTTP_PROXY")}
    fault, failure = refusals.from_reply(status, httpx.Headers(headers), body, request)
    assert fault.fix == fix
    assert failure.status == fault.refusal_status == (407 if "password" in fix else status)
    through = " through the proxy 'http://p:3128' (HTTP_PROXY)"
    assert (through in str(fault)) is (not body.startswith(b"{"))


@cases(
    "url, proxy",
    {
        "a tunnel": ("https://h.example/v1/chat/completions", "http://p:3128"),
        "SOCKS": (URL.replace("https:", "http:"), "socks5://p:1080"),
    },
)
def test_a_proxy_that_only_carries_bytes_is_not_blamed(url: str, proxy: str) -> None:
    request = httpx.Request("POST", url, headers={"Authorization": "Bearer k"})
    request.extensions = {THROUGH_PROXY: (proxy, "ALL_PROXY")}
    fault, _ = refusals.from_reply(502, {}, b"bad gateway", request)
    assert "proxy" not in str(fault)
    assert fault.fix == "try later"


@pytest.mark.parametrize(
    ("status", "exit_status", "fix"),
    [
        (302, 78, "check the base URL"),
        (308, 78, "check the base URL"),
        (400, 65, "fix the request"),
        (401, 77, "check the key"),
        (402, 77, "add credit to the account, raise its limit, or use another key"),
        (403, 77, "ask for access with this key, or use another"),
        (404, 65, "is the model one that the server offers?"),
        (405, 78, "check the base URL"),
        (407, 77, "the proxy wants a name and a password: --proxy"),
        (408, 75, "try again"),
        (409, 75, "try again"),
        (410, 65, "fix the request"),
        (414, 78, "check the base URL"),
        (421, 78, "check the base URL"),
        (431, 78, "shorten the key and the headers"),
        (451, 65, "use another server or model: this one must not answer here"),
        (501, 69, "check the base URL"),
        (505, 69, "check the base URL"),
        (511, 69, "log in to the network, with a browser"),
        (413, 65, "send less: fewer messages, smaller files"),
        (422, 65, "fix the request"),
        (426, 78, "check the base URL"),
        (429, 75, "lower the rate or raise --retries"),
        (500, 69, "try later"),
        (503, 69, "the server is overloaded or starting, try later"),
        (425, 75, "try again"),
        (498, 69, "the server is overloaded or starting, try later"),
        (520, 69, "the server is overloaded or starting, try later"),
        (524, 69, "try later"),
        (529, 69, "the server is overloaded or starting, try later"),
        (530, 69, "try later"),
    ],
)
def test_each_status_has_its_exit_status_and_fix(status: int, exit_status: int, fix: str) -> None:
    fault = from_reply(status, api_error("It says so"))
    assert (int(fault.status), fault.fix, fault.http_status) == (exit_status, fix, status)


LOAD_LATER = "try again when the model is loaded, or raise --retries"
NO_ROOM = "free memory of the server, or use a smaller model"


@cases(
    ("status", "body", "fix"),
    {
        "llama.cpp": (503, api_error("Loading model", type="unavailable_error"), LOAD_LATER),
        "Hugging Face": (503, b'{"error":"Model a/b is currently loading"}', LOAD_LATER),
        "Ollama": (500, api_error("model requires more system memory (8 GiB) than is available"), NO_ROOM),
        "Ollama's runner": (500, api_error("llama runner process has terminated: exit status 2"), NO_ROOM),
        "LM Studio": (
            400,
            api_error(
                'Failed to load model \\"x\\". Error: Model loading aborted due to insufficient system '
                "resources."
            ),
            NO_ROOM,
        ),
    },
)
def test_a_model_that_is_not_loaded_has_its_own_fix(status: int, body: bytes, fix: str) -> None:
    fault = from_reply(status, body)
    assert (int(fault.status), fault.fix) == (69, fix)


@cases(
    ("status", "message", "fix"),
    {
        "a rate": (429, "Slow down", "lower the rate, or try again later"),
        "a model": (503, "Loading model", "try again when the model is loaded"),
        "another": (500, "Oops", "try later"),
    },
)
def test_a_refusal_that_is_not_retried_has_no_advice_for_retries(status: int, message: str, fix: str) -> None:
    headers = {"x-should-retry": "false"}
    fault, _ = refusals.from_reply(status, headers, api_error(message), httpx.Request("POST", URL))
    assert fault.fix == fix


@cases(
    ("status", "body"),
    {
        "a busy server": (503, api_error("The model is overloaded")),
        "words of the prompt": (503, api_error("cannot answer 'loading model'")),
        "a name": (404, api_error("The model 'failed-to-load' does not exist")),
        "a bad request": (400, api_error("The message is too long")),
    },
)
def test_other_refusals_are_not_about_loading(status: int, body: bytes) -> None:
    assert from_reply(status, body).fix not in (LOAD_LATER, NO_ROOM)


@cases(
    "body",
    {
        "OpenAI": api_error("The model 'x' does not exist", code='"model_not_found"'),
        "Moonshot": api_error("Not found the model x or Permission denied"),
        "Ollama": api_error('model \\"x\\" not found, try pulling it first'),
        "Anthropic": b'{"type":"error","error":{"type":"not_found_error","message":"model: x"}}',
        "Gemini": b'[{"error":{"code":404,"message":"models/x is not found for API version v1main"}}]',
        "vLLM of old": b'{"object":"error","message":"The model `x` does not exist.","code":404}',
        "Azure": b'{"error":{"code":"DeploymentNotFound","message":"The API deployment for this resource '
        b'does not exist."}}',
        "Azure, words only": api_error("The API deployment for this resource does not exist."),
        "OpenRouter": b'{"error":{"message":"No endpoints found for x/y.","code":404}}',
        "Databricks": b'{"error_code":"RESOURCE_DOES_NOT_EXIST","message":"Serving endpoint \'x\' does not '
        b'exist"}',
        "Together": api_error("Unable to access model x. Please visit the site"),
        "Fireworks": api_error("Model not found, inaccessible, and/or not deployed", code='"NOT_FOUND"'),
        "xAI": b'{"code":"Some requested entity was not found","error":"The model x does not exist"}',
        "Hugging Face": b'{"error":"Model x/y does not exist"}',
        "FastAPI around it": b'{"detail":"The model `x` does not exist"}',
        "flat": b'{"message":"model x not found"}',
        "words only": b"model 'x' not found",
        "a code only": b'{"error":{"code":"model_not_found"}}',
        "a gateway around it": b'{"error":{"message":"Provider returned error","code":404,"metadata":'
        b'{"raw":"{\\"error\\":{\\"message\\":\\"no model x\\"}}"}}}',
        "a model of that name": api_error("The model 'page-not-found' does not exist"),
        "another thing of the API": api_error("No such File object: file-abc"),
    },
)
def test_a_404_about_a_model_is_bad_input(body: bytes) -> None:
    fault = from_reply(404, body)
    assert (type(fault), fault.fix) == (BadInput, "is the model one that the server offers?")


@cases(
    ("status", "body"),
    {
        "LiteLLM": (
            400,
            api_error("/chat/completions: Invalid model name passed in model=x. Call `/v1/models`"),
        ),
        "OpenRouter": (400, api_error("x is not a valid model ID")),
        "Mistral": (
            400,
            b'{"object":"error","message":"Invalid model: x","type":"invalid_model","code":"1500"}',
        ),
        "DeepSeek": (400, api_error("Model Not Exist", type="invalid_request_error")),
        "Perplexity": (
            400,
            api_error("Invalid model 'x'. Permitted models can be found in the documentation"),
        ),
        "GitHub": (400, api_error("Unknown model: x", code='"unknown_model"')),
        "Zhipu": (400, b'{"error":{"code":"1211","message":"\xe6\xa8\xa1\xe5\x9e\x8b"}}'),
        "Groq, of an old one": (
            400,
            api_error("The model `x` has been decommissioned", code='"model_decommissioned"'),
        ),
        "Bedrock": (400, b'{"message":"The provided model identifier is invalid."}'),
        "Cloudflare": (400, b'{"errors":[{"code":5007,"message":"No such model x"}],"success":false}'),
        "NVIDIA": (
            404,
            b'{"status":404,"title":"Not Found","detail":"Function \'f\': Not found for account \'a\'"}',
        ),
        "words of validation": (422, api_error("The model `x` does not exist")),
    },
)
def test_an_unknown_model_may_be_a_400(status: int, body: bytes) -> None:
    fault = from_reply(status, body)
    assert (type(fault), fault.fix) == (BadInput, "is the model one that the server offers?")


@cases(
    ("status", "body"),
    {
        "OpenAI": (403, api_error("Country, region, or territory not supported", type="request_forbidden")),
        "Gemini": (
            400,
            b'[{"error":{"code":400,"message":"User location is not supported for the API use."}}]',
        ),
        "another": (403, api_error("This service is not available in your country")),
    },
)
def test_a_place_that_is_not_served_needs_another_server(status: int, body: bytes) -> None:
    fault = from_reply(status, body)
    assert (int(fault.status), fault.fix) == (
        77,
        "use another server or model: this one must not answer here",
    )


@cases(
    "body",
    {
        "a parameter": api_error("Unsupported parameter: 'temperature' is not supported with this model."),
        "what it wrote": api_error("The model produced invalid output: invalid model output"),
        "its arguments": api_error("Invalid model_kwargs: x"),
        "what it cannot do": api_error("The model does not support images"),
        "a name in the prompt": api_error("Bad value 'unknown model: x'"),
        "a place of the user": api_error("web_search_options.user_location is not supported with this model"),
    },
)
def test_other_refusals_with_the_word_model_are_about_the_request(body: bytes) -> None:
    assert from_reply(400, body).fix == "fix the request"


def test_a_404_of_a_replay_is_about_no_model() -> None:
    """It is that of `serve`, whose path and words are those of any request."""
    body = api_error("r:1: no recording of this request: recorded POST /v1/x", type="no_recording")
    fault = from_reply(404, body)
    fix = "chatpipe serve --replay FILE --record FILE --upstream URL records it"
    assert (type(fault), fault.fix) == (NotRecorded, fix)


@cases(
    ("status", "error_class", "body"),
    {
        "Azure": (
            400,
            BadConfiguration,
            b'{"error":{"code":"BadRequest","message":"API version not supported"}}',
        ),
        "Azure, missing": (404, BadConfiguration, api_error("Missing required query parameter: api-version")),
        "a code": (400, BadConfiguration, api_error("No.", code='"UnsupportedApiVersion"')),
        "Azure's management": (400, BadConfiguration, api_error("x", code='"MissingApiVersionParameter"')),
        "version 1": (
            400,
            BadConfiguration,
            api_error("api-version query parameter is not allowed when using /v1 path"),
        ),
        "a parameter of a newer one": (
            400,
            BadInput,
            api_error("json_schema is enabled only for api versions 2024-08-01-preview and later"),
        ),
    },
)
def test_a_refusal_of_the_version_names_where_it_is_set(
    status: int, error_class: type[ChatpipeError], body: bytes
) -> None:
    fault = from_reply(status, body)
    fix = "set OPENAI_API_VERSION, or end the base URL in ?api-version=VERSION"
    assert (type(fault), fault.fix) == (error_class, fix)


@cases(
    "body",
    {
        "OpenAI": api_error("Invalid URL (POST /v1/v1/chat/completions)"),
        "a path with models in it": api_error("Invalid URL (POST /v1/models/chat/completions)"),
        "Groq": api_error("Unknown request URL: POST /v1/x. Please check the URL", code='"unknown_url"'),
        "llama.cpp": b'{"error":{"code":404,"message":"File Not Found","type":"not_found_error"}}',
        "Azure": b'{"error":{"code":"404","message":"Resource not found"}}',
        "Databricks": b'{"error_code":"ENDPOINT_NOT_FOUND","message":"No API found for \'POST /x\'"}',
        "Moonshot": b'{"code":5,"error":"url.not_found","message":"nothing here","method":"POST"}',
        "a code of the path": api_error("nothing here", code='"url.not_found"'),
        "a code of a route": api_error("nothing here", code='"route_not_found"'),
        "FastAPI": b'{"detail":"Not Found"}',
        "FastAPI, in a gateway": b'{"error":{"message":"{\\"detail\\":\\"Not Found\\"}","code":404}}',
        "bare, in the shape of the API": api_error("Not Found"),
        "LM Studio": b'{"error":"Unexpected endpoint or method. (POST /chat)"}',
        "Go": b"404 page not found",
        "Go, in the shape of the API": api_error("upstream: 404 page not found"),
        "Spring": b'{"timestamp":"t","status":404,"error":"Not Found","path":"/v1/chat/completions"}',
        "Spring 6": b'{"status":404,"message":"No static resource v1/chat/completions."}',
        "Fastify": b'{"message":"Route POST:/v1 not found","error":"Not Found","statusCode":404}',
        "Express": b"<!DOCTYPE html><body><pre>Cannot POST /v1/chat/completions</pre></body>",
        "Kong": b'{"message":"no Route matched with those values"}',
        "Apache": b"<html><p>The requested URL /v1 was not found on this server.</p></html>",
        "nginx": b"<html><title>404 Not Found</title></html>",
        "XHTML": b'\xef\xbb\xbf<?xml version="1.0"?>\n<!DOCTYPE html><title>404</title><p>Not Found</p>',
        "Railway": b'{"status":"error","code":404,"message":"Application not found","request_id":"r"}',
        "GitHub": b'{"message":"Not Found","documentation_url":"https://x","status":"404"}',
        "no words": b'{"error":{"code":404}}',
        "empty": b"",
    },
)
def test_a_404_about_the_path_is_about_the_base_url(body: bytes) -> None:
    fault = from_reply(404, body)
    assert (type(fault), fault.fix) == (BadConfiguration, "check the base URL")


@cases(
    ("url", "fix"),
    {
        "without a version": ("http://h/chat/completions", "check the base URL: most end in /v1"),
        "another version": ("http://h/v1/v2/chat/completions", "check the base URL: most end in /v1"),
        "the usual one": ("http://h/openai/v1/chat/completions", "check the base URL"),
        "a list": ("http://h/v1/models", "check the base URL"),
        "a file": ("http://h/v1/files/file-1", "check the base URL"),
        "a list without a version": ("http://h/models", "check the base URL: most end in /v1"),
    },
)
def test_the_usual_end_of_a_base_url_is_named_unless_it_is_there(url: str, fix: str) -> None:
    for status in (404, 405):
        assert refusals.from_reply(status, httpx.Headers(), b"", httpx.Request("POST", url))[0].fix == fix


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
            "body.n: too small",
        ),
        "error without message": (b'{"error":{"code":7}}', '{"code":7}'),
        "empty message": (b'{"error":{"message":""}}', '{"error":{"message":""}}'),
        "words under another name": (b'{"msg":"Nope"}', "Nope"),
        "as a stream": (b'event: error\ndata: {"error":{"message":"Nope"}}\n\n', "Nope"),
        "a stream of words": (b"data: Nope\n\n", "data: Nope"),
        "OpenRouter": (
            b'{"error":{"message":"Provider returned error","metadata":{"raw":"{\\"error\\":\\"Nope\\"}"}}}',
            "Provider returned error: Nope",
        ),
        "JSON string": (b'"bare string"', "bare string"),
        "another object": (b'{"a":1}', '{"a":1}'),
        "text": (b"plain  text\n", "plain text"),
        "not UTF-8": (b"caf\xe9", "caf\ufffd"),
        "empty": (b"", "bad request"),
        "blank": (b" \n", "bad request"),
        "an object without members": (b"{}", "bad request"),
        "null": (b"null", "bad request"),
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


def test_a_status_that_nobody_knows_has_no_words() -> None:
    assert from_reply(599).what == f"599 from {SHOWN}: no reason given"


def test_request_id_is_kept() -> None:
    assert from_reply(500, b"", x_request_id="req_1").request_id == "req_1"
    assert from_reply(500).request_id is None


@cases(
    "status, body",
    {
        "OpenAI": (429, api_error("You exceeded your current quota", code='"insufficient_quota"')),
        "its newer code": (429, api_error("x", type="credit_balance_exhausted")),
        "its limit": (
            400,
            api_error("Billing hard limit has been reached", code='"billing_hard_limit_reached"'),
        ),
        "Anthropic": (400, api_error("Your credit balance is too low to access the Anthropic API.")),
        "DeepSeek": (402, api_error("Insufficient Balance", code='"invalid_request_error"')),
        "Moonshot": (429, api_error("Your account is suspended", type="exceeded_current_quota_error")),
        "Zhipu": (429, b'{"error":{"code":"1113","message":"x"}}'),
        "MiniMax": (200, b'{"base_resp":{"status_code":1008,"status_msg":"insufficient balance"}}'),
        "DashScope": (400, b'{"error":{"code":"Arrearage","message":"Access denied, good standing."}}'),
        "DashScope, free tier": (403, b'{"code":"AllocationQuota.FreeTierOnly","message":"x"}'),
        "OpenRouter": (402, b'{"error":{"code":402,"message":"This request requires more credits"}}'),
        "OpenRouter, inside 200": (200, b'{"error":{"code":402,"message":"x"}}'),
        "xAI": (403, b'{"code":"x","error":"Your team has used all available credits"}'),
        "xAI, a limit": (429, b'{"code":"x","error":"Your team reached its monthly spending limit."}'),
        "xAI, nothing bought": (403, b'{"code":"x","error":"Your team doesn\'t have any credits yet."}'),
        "OpenRouter, a limit of the key": (
            403,
            api_error("Key limit exceeded (daily limit). See x"),
        ),
        "Anthropic, a limit": (400, api_error("You have reached your specified API usage limits.")),
        "Google": (403, api_error("This API method requires billing to be enabled.")),
        "Fireworks": (
            412,
            api_error("Account x is suspended, possibly due to a failure to pay past invoices"),
        ),
        "Hugging Face": (402, b'{"error":"You have exceeded your monthly included credits"}'),
        "SiliconFlow": (403, b'{"code":30001,"message":"Sorry, your account balance is insufficient"}'),
        "Novita": (403, b'{"code":403,"reason":"NOT_ENOUGH_BALANCE","message":"not enough balance"}'),
        "Volcengine": (403, api_error("x", code='"AccountOverdueError"')),
        "litellm": (400, api_error("Budget has been exceeded! Current cost: 2", type="budget_exceeded")),
        "one-api": (403, '{"error":{"code":"insufficient_user_quota","message":"用户额度不足"}}'.encode()),
        "a code as the message": (429, b'{"error":"insufficient_quota"}'),
        "words only": (429, api_error("You exceeded your current quota, please check your plan")),
        "Gemini, prepaid": (
            429,
            b'{"error":{"status":"RESOURCE_EXHAUSTED","message":"Your prepayment credits are depleted."}}',
        ),
        "quoted by a gateway": (
            429,
            b'{"error":{"code":429,"metadata":{"raw":"{\\"error\\":{\\"code\\":\\"insufficient_quota\\"}}"}}}',
        ),
    },
)
def test_exhausted_credit_is_no_access_and_final(status: int, body: bytes) -> None:
    fault, failure = refusals.from_reply(status, {"x-should-retry": "true"}, body, REQUEST)
    assert (type(fault), fault.http_status, fault.refusal_status) == (NoCredit, status, 402)
    assert fault.fix == "add credit to the account, raise its limit, or use another key"
    assert not is_retryable(failure)


@cases(
    "status, body, counted",
    {
        "OpenAI": (429, api_error("Slow down", type="requests", code='"rate_limit_exceeded"'), 429),
        "Gemini, per minute": (
            429,
            b'{"error":{"status":"RESOURCE_EXHAUSTED","message":"You exceeded your current quota."}}',
            429,
        ),
        "with a delay": (429, api_error("You exceeded your current quota. Try again in 3s"), 429),
        "words of the user": (400, api_error("bad word 'insufficient funds' in the prompt"), 400),
        "a request that never fits": (
            429,
            api_error("Request too large for m on tokens per min (TPM): Limit 3, Requested 5."),
            413,
        ),
        "Gemini, bad key": (
            400,
            b'[{"error":{"details":[{"reason":"API_KEY_INVALID"}],"message":"x"}}]',
            401,
        ),
        "xAI, bad key": (400, b'{"code":"x","error":"Incorrect API key provided: ab."}', 401),
        "Databricks, bad token": (403, b'{"error_code":"403","message":"Invalid access token."}', 401),
        "Amazon, bad token": (
            403,
            b'{"message":"The security token included in the request is expired"}',
            401,
        ),
        "a token that may not": (403, api_error("This token has no access to m"), 403),
        "throttled with 400": (400, b'{"__type":"ThrottlingException","message":"Slow down"}', 429),
        "throttled with 403": (403, api_error("x", code='"rate_limit_exceeded"'), 429),
        "a status that nobody knows": (200, b'{"error":{"code":418,"type":"RESOURCE_EXHAUSTED"}}', 429),
        "a key that may not": (403, api_error("x", code='"invalid_api_key"'), 403),
        "too large, though a rate": (413, api_error("x", code='"rate_limit_exceeded"'), 413),
        "a failure, though a rate": (500, api_error("x", code='"rate_limit_exceeded"'), 500),
        "a code of the body beside a status": (500, b'{"error":{"code":429,"message":"x"}}', 500),
    },
)
def test_other_refusals_count_as(status: int, body: bytes, counted: int) -> None:
    fault, failure = refusals.from_reply(status, {}, body, REQUEST)
    assert (fault.refusal_status, failure.status) == (counted, counted)
    assert not isinstance(fault, NoCredit)


@cases(
    "body",
    {
        "OpenAI": api_error("Too many", code='"context_length_exceeded"'),
        "llama.cpp": b'{"error":{"code":400,"message":"x","type":"exceed_context_size_error"}}',
        "vLLM": api_error("This model's maximum context length is 5 tokens"),
        "SGLang": b'{"object":"error","message":"The input (9) is longer than the context length."}',
        "Anthropic": api_error("prompt is too long: 210000 tokens > 200000 maximum"),
        "Gemini": b'[{"error":{"message":"The input token count (9) is above the maximum"}}]',
        "Groq": api_error("Please reduce the length of the messages or completion."),
        "xAI": b'{"code":"x","error":"This model\'s maximum prompt length is 5 but the request has 9"}',
        "Bedrock": b'{"message":"Input is too long for requested model."}',
        "DashScope": b'{"error":{"message":"Range of input length should be [1, 30720]"}}',
        "Zhipu": b'{"error":{"code":"1261","message":"x"}}',
        "TGI": b'{"error":"`inputs` tokens + `max_new_tokens` must be <= 4096","error_type":"validation"}',
        "GitHub": b'{"error":{"code":"tokens_limit_reached","message":"Request body too large for m"}}',
    },
)
@pytest.mark.parametrize("status", [400, 413, 422])
def test_a_prompt_that_is_too_long_gets_its_fix(status: int, body: bytes) -> None:
    fault = from_reply(status, body)
    assert (type(fault), fault.fix) == (BadInput, "shorten the messages or lower --max-tokens")


CHANGE_THE_PROMPT = "change the prompt: a filter of the provider held it back"


@cases(
    "status, body",
    {
        "OpenAI, usage policy": (400, api_error("No.", code='"invalid_prompt"')),
        "Azure": (400, api_error("The response was filtered", code='"content_filter"')),
        "Azure, by its inner error": (
            400,
            b'{"error":{"message":"no","code":null,"innererror":{"code":"ResponsibleAIPolicyViolation"}}}',
        ),
        "OpenRouter": (
            403,
            b'{"error":{"code":403,"message":"m requires moderation on X. Your input was flagged"}}',
        ),
        "xAI": (
            403,
            b'{"code":"no permission","error":"Content violates usage guidelines. Failed check: X"}',
        ),
        "DashScope": (400, api_error("Input text data may contain it", code='"data_inspection_failed"')),
        "Zhipu": (400, b'{"error":{"code":"1301","message":"no"}}'),
        "an error inside 200": (200, b'{"error":{"code":"content_filter","message":"no"}}'),
    },
)
def test_filtered_prompt_is_bad_input_and_not_the_fault_of_the_key(status: int, body: bytes) -> None:
    fault = from_reply(status, body)
    assert (int(fault.status), fault.fix, fault.refusal_status) == (65, CHANGE_THE_PROMPT, 400)


@pytest.mark.parametrize(
    "message",
    ["Your account was flagged", "This key has been flagged for abuse", "Access to content_filter is denied"],
)
def test_other_403_stay_about_access(message: str) -> None:
    assert from_reply(403, api_error(message)).status == Status.NO_ACCESS


@cases(
    ("query", "headers"),
    {
        "Azure": ("", {"api-key": "k"}),
        "Google": ("", {"X-Goog-Api-Key": "k"}),
        "OpenAI": ("", {"authorization": "k"}),
        "in the URL": ("?key=k", {}),
    },
)
@pytest.mark.parametrize(
    ("status", "fix"), [(401, "check the key"), (403, "ask for access with this key, or use another")]
)
def test_a_fix_speaks_of_a_key_only_if_one_was_sent(
    status: int, fix: str, query: str, headers: dict[str, str]
) -> None:
    with_key = httpx.Request("POST", URL + query, headers=headers)
    without = httpx.Request("POST", URL, headers={"proxy-authorization": "Basic eA=="})
    fixes = [refusals.from_reply(status, {}, b"", request)[0].fix for request in (with_key, without)]
    assert fixes == [fix, "no key was sent: pass --key-file FILE, --key-command CMD or --key-env NAME"]


FOLLOW = "set the base URL to where it leads, if you trust that"


@cases(
    ("location", "shown", "fix"),
    {
        "another origin": ("https://other.example/v1?token=s3cret", "https://other.example", FOLLOW),
        "userinfo": ("https://me:s3cret@other.example/", "https://other.example", FOLLOW),
        "another scheme": ("https://127.0.0.1:9/v1", "https://127.0.0.1:9", FOLLOW),
        "same origin": ("/login?next=s3cret", "http://127.0.0.1:9/login", "check the base URL"),
        "no URL": ("http://h:port", "nowhere", "check the base URL"),
    },
)
def test_a_redirect_is_reported_with_its_target(location: str, shown: str, fix: str) -> None:
    fault = from_reply(301, b"<title>Moved</title>", location=location)
    assert (fault.what, fault.fix) == (f"301 from {SHOWN}: leads on to '{shown}'", fix)


@cases(
    ("status", "body"),
    {
        "nginx": (
            400,
            b"<html><head><title>400 The plain HTTP request was sent to HTTPS port</title></head>",
        ),
        "Go": (400, b"Client sent an HTTP request to an HTTPS server.\n"),
        "Tomcat": (400, b"Bad Request\nThis combination of host and port requires TLS.\n"),
        "Google": (403, b'[{"error":{"code":403,"message":"SSL is required to perform this operation."}}]'),
    },
)
def test_plain_http_at_a_port_for_tls_is_about_the_base_url(status: int, body: bytes) -> None:
    fault = from_reply(status, body)
    assert (type(fault), fault.fix) == (BadConfiguration, "write https:// in the base URL")
    by_tls = httpx.Request("POST", URL.replace("http:", "https:"), headers=REQUEST.headers)
    assert type(refusals.from_reply(status, {}, body, by_tls)[0]) is not BadConfiguration


@cases(
    ("status", "body"),
    {
        "nginx": (400, b"<html><head><title>400 No required SSL certificate was sent</title></head>"),
        "nginx, a wrong one": (400, b"<html><head><title>400 The SSL certificate error</title></head>"),
        "in words": (403, api_error("Client certificate required")),
    },
)
def test_a_client_certificate_that_is_missing_is_named(status: int, body: bytes) -> None:
    by_tls = httpx.Request("POST", URL.replace("http:", "https:"), headers=REQUEST.headers)
    fault = refusals.from_reply(status, {}, body, by_tls)[0]
    assert (fault.status, fault.fix) == (Status.NO_ACCESS, "the server wants a --client-cert that it knows")


@pytest.mark.parametrize("code", ["tool_use_failed", "json_validate_failed"])
def test_a_model_that_fails_may_do_better_if_it_is_asked_again(code: str) -> None:
    """No retry of ours: the answer may have been paid for."""
    body = api_error("Failed", code=f'"{code}"')
    fault, failure = refusals.from_reply(400, {}, body, REQUEST)
    assert (fault.status, fault.fix) == (Status.BROKEN_ANSWER, "try again, or change the prompt")
    assert not is_retryable(failure)


@pytest.mark.parametrize("headers", [{}, {"Authorization": "Bearer k"}])
def test_a_403_with_a_web_page_speaks_of_no_key(headers: dict[str, str]) -> None:
    body = b"<!DOCTYPE html><html><head><title>Just a moment</title>"
    fault = refusals.from_reply(403, {}, body, httpx.Request("POST", URL, headers=headers))[0]
    assert fault.status is Status.NO_ACCESS
    assert fault.fix.startswith("a firewall in front of the server may have sent this page")


INSIDE: dict[str, tuple[str, int]] = {
    "429": ('"code":429', 75),
    "429 as text": ('"code":"429"', 75),
    "401": ('"code":401', 77),
    "402": ('"code":402', 77),
    "403": ('"status":403', 77),
    "400": ('"code":400', 65),
    "404": ('"code":404,"type":"model_not_found"', 65),
    "408": ('"code":408', 75),
    "503": ('"code":503', 69),
    "529": ('"status_code":529', 69),
    "rate_limit_exceeded": ('"code":"rate_limit_exceeded","type":"requests"', 75),
    "RESOURCE_EXHAUSTED": ('"status":"RESOURCE_EXHAUSTED"', 75),
    "Throttling.RateQuota": ('"code":"Throttling.RateQuota"', 75),
    "1302": ('"code":"1302"', 75),
    "overloaded_error": ('"type":"overloaded_error"', 69),
    "authentication_error": ('"type":"authentication_error"', 77),
    "invalid_api_key": ('"type":"invalid_request_error","code":"invalid_api_key"', 77),
    "permission_error": ('"type":"permission_error"', 77),
    "invalid_request_error": ('"type":"invalid_request_error"', 65),
    "insufficient_quota": ('"code":"insufficient_quota"', 77),
    "error_code": ('"error_code":"REQUEST_LIMIT_EXCEEDED"', 75),
    "words as short as a code": ('"message":"Too Many Requests"', 75),
    "words, a rate": ('"message":"Rate limit reached for m, please slow down"', 75),
    "words, busy": ('"message":"The model is currently overloaded with other requests"', 69),
    "words, a key": ('"message":"Your access token is invalid or has ended"', 77),
    "words, a time-out": ('"message":"Endpoint request timed out"', 69),
    "words, LM Studio without /v1": (
        '"message":"Unexpected endpoint or method. (POST /chat/completions)"',
        78,
    ),
    "words, LM Studio without a model": ('"message":"No models loaded. Please load a model"', 65),
    "words, a model": ('"message":"The model `m` does not exist"', 65),
    "words, a prompt that is too long": ('"message":"maximum context length is 4096 tokens"', 65),
    "words, a filter": ('"message":"Your prompt was flagged"', 65),
    "words of the user": ('"message":"no such word: \'rate limit exceeded\'"', 76),
    "words beside a code": (
        '"message":"m allows no more: rate limit exceeded","code":"invalid_request_error"',
        65,
    ),
    "status in words": ('"message":"upstream: request failed with status code 429"', 75),
    "Apigee": ('"code":"policies.ratelimit.SpikeArrestViolation"', 75),
    "1302 as a number": ('"code":1302', 75),
    "1001 as a number": ('"code":1001', 76),
    "server_error": ('"type":"server_error"', 76),
    "no code": ('"code":null', 76),
    "an unknown code": ('"code":"odd"', 76),
    "200": ('"code":200', 76),
}


@pytest.mark.parametrize(("fields", "exit_status"), INSIDE.values(), ids=INSIDE)
def test_an_error_inside_200_ends_as_its_code_says(fields: str, exit_status: int) -> None:
    body = f'{{"error":{{"message":"It says so",{fields}}}}}'.encode()  # the last message counts
    fault, failure = refusals.from_reply(200, {}, body, REQUEST)
    assert (int(fault.status), fault.http_status, fault.body) == (exit_status, 200, body)
    error = error_of(values.loads(body))
    assert error is not None
    in_stream, failure_in_stream = refusals.from_event(error, body, REQUEST)
    assert (int(in_stream.status), in_stream.http_status, in_stream.body) == (exit_status, 200, body)
    assert failure_in_stream.status == failure.status == fault.refusal_status


def test_a_server_that_fails_in_mid_stream_breaks_the_answer_off() -> None:
    body = b'{"error":{"message":"It says so","code":500}}'
    in_stream, failure = refusals.from_event(ServerError("x", status=500), body, REQUEST)
    assert (in_stream.status, failure.status) == (Status.BROKEN_ANSWER, 500)
    assert from_reply(200, body).status is Status.UNREACHABLE


def test_facts_for_a_retry() -> None:
    body = (
        b'{"error":{"code":429,"message":"Slow down","type":"t","metadata":{"headers":'
        b'{"X-RateLimit-Reset":"5","Retry-After":"9"},"retry_after":3}}}'
    )
    _, failure = refusals.from_reply(429, {"retry-after": "7"}, body, REQUEST)
    headers = {"x-ratelimit-reset": "5", "retry-after": "7"}
    assert failure == FailedAttempt(429, headers, {"t"}, 3.0)


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


@cases(
    "unit",
    {
        "titles": "<title",
        "titles with an end": "<title>",
        "titles without content": "<title></title>",
        "scripts": "<script ",
        "scripts with half an end": "<script></script ",
        "styles and scripts": "<style><script>",
        "tags without an end": "<",
        "tags": "<a>",
        "ends": ">",
        "entities": "&#x",
    },
)
def test_hostile_page_takes_time_in_proportion_to_its_length(unit: str) -> None:
    """Eight times the length would take 64 times as long if the time were quadratic."""

    def least_s(length: int) -> float:
        body = ("<html>" + unit * length)[:length].encode()
        return min(timeit.repeat(lambda: from_reply(500, body), "pass", time.process_time, 5, 1))

    assert least_s(64_000) < 24 * least_s(8_000) + 0.002


@cases(
    "page, text",
    {
        "a title over lines": ("<title\nlang=en>\n Bad\ngateway </title>", "Bad gateway"),
        "a second title": ("<title></title><title>Late</title>", "Late"),
        "a title without an end": ("<title>Bad <b>gateway</b>", "Bad gateway"),
        "a script": ("<body>a<script>b</script >c", "a c"),
        "a script that is cut": ("<body>a<script>b<i>c", "a"),
        "a tag that is cut": ("<body>a<b>b<i", "a b<i"),
        "an end alone": ("<body>a > b", "a > b"),
        "a number of many digits": (f"<body>a&#{'1' * 5_000};b", "a\ufffdb"),
        "a number": ("<body>a&#0000066;&#x43;", "aBC"),
    },
)
def test_text_of_a_page(page: str, text: str) -> None:
    page = f"<html>{page}"
    assert from_reply(500, page.encode()).what == f"500 from {SHOWN}: {text}"
