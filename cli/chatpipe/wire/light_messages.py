"""httpx's request and response at a fifth of the cost, for runs of many requests.

httpx.Request copies its URL and headers, and httpx.Response decodes and lowers every header. In a run nearly
all requests have the same head, and hardly a reply needs its headers twice.
"""

from __future__ import annotations

from typing import Any

import httpx


class LightRequest(httpx.Request):
    """A POST that shares its URL and headers with other requests. Nobody changes these; replace them.

    The headers have no Content-Length.
    """

    def __init__(
        self, url: httpx.URL, headers: httpx.Headers, body: bytes, extensions: dict[str, Any]
    ) -> None:
        self.method = "POST"
        self.url = url
        self.headers = headers
        self.extensions = extensions
        self.body = body
        self.stream = httpx.ByteStream(body)


class LightResponse(httpx.Response):
    """A response whose headers are made when they are first read. raw_headers are those that came.

    It has no content yet: stream has the body.
    """

    def __init__(
        self,
        status: int,
        raw_headers: list[tuple[bytes, bytes]],
        stream: httpx.AsyncByteStream,
        request: httpx.Request,
        extensions: dict[str, Any],
    ) -> None:
        self.status_code = status
        self.raw_headers = raw_headers
        self.stream = stream
        self.extensions = extensions
        self.next_request = None
        self.history = []
        self.is_closed = False
        self.is_stream_consumed = False
        self.default_encoding = "utf-8"
        self._request = request
        self._num_bytes_downloaded = 0

    def __getattr__(self, name: str) -> Any:
        if name != "headers":
            raise AttributeError(name)
        self.headers = httpx.Headers(self.raw_headers)
        return self.headers


def headers_by_name(response: httpx.Response) -> dict[str, str]:
    """The headers of a reply as a dict with lower-case names. Repeated ones are joined with ", ".

    httpx.Headers is slower: each look-up scans and decodes all headers.
    """
    found: dict[str, str] = {}
    raw_headers = response.raw_headers if type(response) is LightResponse else response.headers.raw
    for raw, data in raw_headers:
        name = raw.decode("latin-1").lower()
        try:
            value = data.decode()
        except UnicodeDecodeError:
            value = data.decode("latin-1")
        found[name] = f"{found[name]}, {value}" if name in found else value
    return found
