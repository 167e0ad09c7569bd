"""Light requests and responses: to their users they are those of httpx."""

from __future__ import annotations

import asyncio

import httpx

from chatpipe.wire.light_messages import LightRequest, LightResponse, headers_by_name

URL = httpx.URL("http://127.0.0.1:1/v1/chat/completions")
HEADERS = httpx.Headers({"Host": "127.0.0.1:1", "Authorization": "Bearer k"})
RAW = [(b"Content-Type", b"application/json"), (b"X-A", b"1"), (b"x-a", b"2")]


def response() -> LightResponse:
    return LightResponse(
        200,
        RAW,
        httpx.ByteStream(b"{}"),
        LightRequest(URL, HEADERS, b"{}", {}),
        {"http_version": b"HTTP/1.1"},
    )


def test_light_messages_have_all_attributes_of_those_of_httpx() -> None:
    request = httpx.Request("POST", URL, headers=HEADERS, stream=httpx.ByteStream(b"{}"))
    assert vars(request).keys() <= vars(LightRequest(URL, HEADERS, b"{}", {})).keys()
    of_httpx = httpx.Response(200, headers=RAW, stream=httpx.ByteStream(b"{}"), request=request)
    light = response()
    assert light.headers == of_httpx.headers
    assert vars(of_httpx).keys() <= vars(light).keys()


def test_light_messages_can_be_read() -> None:
    request = LightRequest(URL, HEADERS, b"{}", {})
    assert (request.method, request.read(), request.headers["host"]) == ("POST", b"{}", "127.0.0.1:1")
    light = response()
    assert asyncio.run(light.aread()) == b"{}"
    assert light.json() == {}
    assert light.is_success
    assert light.request.url == URL
    assert light.headers.get_list("x-a") == ["1", "2"]


def test_headers_by_name_are_those_of_either_response() -> None:
    found = {"content-type": "application/json", "x-a": "1, 2"}
    assert headers_by_name(response()) == headers_by_name(httpx.Response(200, headers=RAW)) == found
