"""The in-process transport: httpx sees a reply, and nothing in it ever waits."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Coroutine
from typing import Any, TypeVar

import httpx
import orjson

from chatpipe.local import model
from chatpipe.local.transport import EchoTransport
from support.parametrize import cases

T = TypeVar("T")

BODY = orjson.dumps({"messages": [{"role": "user", "content": "one two"}]})
STREAM = orjson.dumps({"messages": [{"role": "user", "content": "one two"}], "stream": True})
URL = "http://echo.invalid/v1/chat/completions"


def driven(coroutine: Coroutine[Any, Any, T]) -> T:
    """The result of a coroutine that must not suspend, without an event loop."""
    try:
        coroutine.send(None)
    except StopIteration as end:
        result: T = end.value
        return result
    coroutine.close()
    raise AssertionError("it waited for something")


async def exchanged(request: httpx.Request) -> tuple[httpx.Response, list[bytes]]:
    response = await EchoTransport().handle_async_request(request)
    pieces = [piece async for piece in response.aiter_raw()]
    await response.aclose()
    return response, pieces


async def in_parts() -> AsyncIterator[bytes]:
    yield BODY[:10]
    yield BODY[10:]


@cases("content", {"bytes": BODY, "async-iterator": in_parts()})
def test_reply_without_an_event_loop(content: Any) -> None:
    response, pieces = driven(exchanged(httpx.Request("POST", URL, content=content)))
    assert response.status_code == 200
    assert response.headers["content-type"] == "application/json"
    assert orjson.loads(b"".join(pieces))["choices"][0]["message"]["content"] == "one two"


def test_stream_comes_one_delta_a_piece() -> None:
    """The end comes with the last delta."""
    response, pieces = driven(exchanged(httpx.Request("POST", URL, content=STREAM)))
    assert response.headers["content-type"] == "text/event-stream; charset=utf-8"
    assert pieces == list(model.answer_http("POST", "/v1/chat/completions", STREAM).pieces)
    assert len(pieces) == 3


def test_stream_left_in_the_middle_is_quiet() -> None:
    async def first() -> bytes:
        response = await EchoTransport().handle_async_request(httpx.Request("POST", URL, content=STREAM))
        assert isinstance(response.stream, httpx.AsyncByteStream)
        piece = await anext(aiter(response.stream))
        await response.aclose()
        return piece

    assert driven(first()).startswith(b'data: {"id":')


def test_error_keeps_its_status() -> None:
    response, _ = driven(exchanged(httpx.Request("GET", "http://echo.invalid/v1/models/none")))
    assert response.status_code == 404


def test_path_is_taken_as_it_was_written() -> None:
    response, _ = driven(exchanged(httpx.Request("GET", "http://echo.invalid/v1/models/%65cho?x=1")))
    assert response.status_code == 200


def test_client_of_httpx_takes_it() -> None:
    async def talk() -> httpx.Response:
        async with httpx.AsyncClient(transport=EchoTransport()) as client:
            return await client.post(URL, content=BODY)

    assert asyncio.run(talk()).json()["choices"][0]["message"]["content"] == "one two"
