"""Keys of requests: which requests are the same."""

from __future__ import annotations

from typing import Any

import pytest

from chatpipe.recordings.exchange_record import RecordedRequest
from chatpipe.recordings.request_key import LOOSE, request_key, route_of
from chatpipe.request.fingerprint import body_digest
from support.parametrize import cases

BODY: dict[str, Any] = {"model": "m", "messages": [{"role": "user", "content": "Hello"}]}
PATH = "/v1/chat/completions"


def key(body: Any = BODY, path: str = PATH, method: str = "POST", *, loose: bool = False) -> str:
    return request_key(RecordedRequest(method, path, body), loose=loose)


def test_the_key_of_a_completion_is_the_digest_of_a_run() -> None:
    assert key() == body_digest(BODY).hex()


@cases(
    "body, path",
    {
        "another base URL": (BODY, "/openai/v1/chat/completions"),
        "a query": (BODY, "/v1/chat/completions?api-version=1"),
        "order": (dict(reversed(BODY.items())), PATH),
        "a stream": ({**BODY, "stream": True, "stream_options": {"include_usage": True}}, PATH),
    },
)
def test_the_same(body: Any, path: str) -> None:
    assert key(body, path) == key()


@cases(
    "body, path, method",
    {
        "model": ({**BODY, "model": "n"}, PATH, "POST"),
        "message": ({**BODY, "messages": []}, PATH, "POST"),
        "seed": ({**BODY, "seed": 1}, PATH, "POST"),
        "1 and 1.0": ({**BODY, "temperature": 1.0}, PATH, "POST"),
        "no model": ({"messages": BODY["messages"]}, PATH, "POST"),
        "route": (BODY, "/v1/responses", "POST"),
        "method": (BODY, PATH, "GET"),
        "an array": ([BODY], PATH, "POST"),
        "text": ("Hello", PATH, "POST"),
        "bytes": (b"\xff", PATH, "POST"),
        "empty": ("", "/v1/models", "GET"),
        "one model": ("", "/v1/models/m", "GET"),
    },
)
def test_another_request_has_another_key(body: Any, path: str, method: str) -> None:
    assert key(body, path, method) != key()


def test_all_others_differ_from_one_another() -> None:
    requests = [
        ({"messages": []}, "/openai/deployments/one/chat/completions", "POST"),
        ({"messages": []}, "/openai/deployments/two/chat/completions", "POST"),
        ("", "/v1/models", "GET"),
        ("", "/v1/files", "GET"),
        ("", "/v1/files", "POST"),
        ("a", "/v1/files", "POST"),
    ]
    assert len({key(*each) for each in requests}) == len(requests)


@pytest.mark.parametrize("name", sorted(LOOSE))
def test_loose_leaves_out_what_does_not_change_the_answer(name: str) -> None:
    assert key({**BODY, name: "x"}, loose=True) == key(loose=True) == key()


@pytest.mark.parametrize("name", ["model", "temperature", "tools", "n", "max_tokens", "response_format"])
def test_loose_keeps_the_rest(name: str) -> None:
    assert key({**BODY, name: "x"}, loose=True) != key()


@cases(
    "path, route",
    {
        "plain": ("/v1/chat/completions", "/v1/chat/completions"),
        "a prefix": ("/gateway/k-123/v1/chat/completions", "/v1/chat/completions"),
        "no version": ("/api/chat/completions", "/chat/completions"),
        "a deployment": ("/openai/deployments/d/chat/completions", "/deployments/d/chat/completions"),
        "something below": ("/v1/files/file-1/content", "/v1/files/file-1/content"),
        "a query": ("/v1/models?key=1", "/v1/models"),
        "unknown": ("/other", "/other"),
    },
)
def test_the_route_of_a_path_at_any_server(path: str, route: str) -> None:
    assert route_of(path) == route


def test_half_a_character_in_a_request_line_is_part_of_its_key() -> None:
    """A file by hand may have one, and no server."""
    one, other = (request_key(RecordedRequest("\ud800", path, "")) for path in ("/a", "/b"))
    assert one != other
