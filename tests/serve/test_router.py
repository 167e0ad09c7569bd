"""router.py and reply_steps.py: who answers a request, and the bytes that are written."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest

from chatpipe.local.model import Reply
from chatpipe.serve.reply_steps import Close, Pause, ReplyPace, plan_of, steps_of_reply
from chatpipe.serve.router import Router
from chatpipe.serve.served_request import ServedRequest

CHAT = "/v1/chat/completions"
BODY = b'{"messages":[{"role":"user","content":"a b"}]}'
_METRICS = Reply(200, (), (b"metrics",))
STREAMED = BODY[:-1] + b',"stream":true}'


def router(key: str | None = None) -> Router:
    return Router(key, {"/metrics": lambda: _METRICS})


def request(method: str, target: str, body: bytes = b"", **headers: str) -> ServedRequest:
    return ServedRequest(
        method,
        target,
        {name.replace("_", "-").encode(): text.encode() for name, text in headers.items()},
        body,
    )


@pytest.mark.parametrize(
    ("method", "target", "status", "part"),
    [
        ("POST", CHAT, 200, '"content":"a b"'),
        ("POST", f"{CHAT}?api-version=1", 200, '"content":"a b"'),
        ("POST", "/openai/deployments/m/chat/completions", 200, '"content":"a b"'),
        ("GET", "/v1/models", 200, '"id":"echo"'),
        ("HEAD", "/v1/models", 200, '"id":"echo"'),
        ("GET", "/v1/models/echo", 200, '"id":"echo"'),
        ("GET", "http://api.example/v1/models?a=b", 200, '"id":"echo"'),
        ("GET", "http://api.example/health", 200, '"status":"ok"'),
        ("GET", "http://api.example", 404, "unknown_url"),
        ("GET", "/v1/models/m", 404, '"code":"model_not_found"'),
        ("GET", "/health", 200, '"status":"ok"'),
        ("GET", "/metrics", 200, "metrics"),
        ("POST", "/health", 404, '"code":"unknown_url"'),
        ("GET", CHAT, 405, "use POST"),
        ("DELETE", "/v1/models", 405, "use GET"),
        ("GET", "/", 404, "Unknown request URL: GET /"),
        ("OPTIONS", CHAT, 204, ""),
        ("OPTIONS", "*", 204, ""),
    ],
)
def test_each_route_has_its_reply(method: str, target: str, status: int, part: str) -> None:
    reply = router().reply_to(request(method, target, BODY))
    assert reply.status == status
    assert part in b"".join(reply.pieces).decode()


@pytest.mark.parametrize(
    ("headers", "status", "part"),
    [
        ({}, 401, "didn't provide"),
        ({"authorization": "Bearer k-1"}, 200, "echo"),
        ({"authorization": "bearer  k-1"}, 200, "echo"),
        ({"api_key": "k-1"}, 200, "echo"),
        ({"authorization": "Bearer k-2"}, 401, "Incorrect"),
        ({"authorization": "Bearer k-\xe9"}, 401, "Incorrect"),
        ({"authorization": "Basic k-1"}, 401, "didn't provide"),
        ({"authorization": "Bearer "}, 401, "Incorrect"),
    ],
)
def test_a_missing_or_wrong_key_is_401_and_not_repeated(
    headers: dict[str, str], status: int, part: str
) -> None:
    reply = router("k-1").reply_to(request("GET", "/v1/models", b"", **headers))
    text = b"".join(reply.pieces).decode()
    assert (reply.status, part in text, "k-1" in text) == (status, True, False)


def test_health_needs_no_key() -> None:
    assert router("k").reply_to(request("GET", "/health")).status == 200


def test_an_error_has_the_shape_of_the_api() -> None:
    (body,) = router("k").reply_to(request("GET", "/v1/models")).pieces
    error = json.loads(body)["error"]
    assert sorted(error) == ["code", "message", "param", "type"]


def written(asked: ServedRequest, delay: float = 0.0) -> tuple[bytes, list[object]]:
    """The bytes of the reply, and its other steps."""
    plan = plan_of(router().reply_to(asked))
    plan.pace = ReplyPace(chunk_delay_s=delay)
    steps = list(steps_of_reply(plan, asked))
    return b"".join(step for step in steps if isinstance(step, bytes)), [
        step for step in steps if not isinstance(step, bytes)
    ]


@pytest.mark.parametrize(
    ("asked", "has", "has_not", "others"),
    [
        (request("GET", "/health"), b'content-length: 15\r\n\r\n{"status":"ok"}', b"chunked", []),
        (request("HEAD", "/health"), b"content-length: 15\r\n\r\n", b"ok", []),
        (request("OPTIONS", CHAT), b"allow: POST, OPTIONS\r\n\r\n", b"content-length", []),
        (request("POST", CHAT, STREAMED), b"data: [DONE]\n\n\r\n0\r\n\r\n", b"content-length", []),
        (
            replace(request("POST", CHAT, STREAMED), can_chunk=False),
            b"connection: close\r\n",
            b"chunked",
            [Close()],
        ),
        (
            replace(request("GET", "/health"), keep_alive=False),
            b"connection: close\r\n",
            b"chunked",
            [Close()],
        ),
        (replace(request("GET", "/health"), can_chunk=False), b"connection: keep-alive\r\n", b"chunked", []),
    ],
    ids=["length", "HEAD", "OPTIONS", "chunked", "HTTP/1.0", "close", "HTTP/1.0 kept"],
)
def test_the_reply_is_framed_as_the_client_can_read_it(
    asked: ServedRequest, has: bytes, has_not: bytes, others: list[object]
) -> None:
    data, steps = written(asked)
    assert (has in data, has_not in data, steps) == (True, False, others)


def test_chunk_delay_is_between_two_chunks() -> None:
    data, steps = written(request("POST", CHAT, STREAMED), 0.5)
    assert steps == [Pause(0.5)] * 2  # the role, `a`, and ` b` with the end
    assert data.count(b"data: ") == 5
