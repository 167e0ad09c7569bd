"""The server behind this one: a request of a client -> the same request to it.

A target that begins with /v1 has the base URL in its place; any other one is asked of the server as it is.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from urllib.parse import SplitResult

import httpx

from chatpipe.errors import BadConfiguration
from chatpipe.options.server import ServerOptions
from chatpipe.serve.exchange_recorder import ExchangeListener
from chatpipe.serve.served_request import ServedRequest
from chatpipe.serve.upstream_reply import OF_CONNECTION, UpstreamReply
from chatpipe.server import hosts, proxies
from chatpipe.server.base_url import parse_base_url
from chatpipe.server.endpoints import Endpoint
from chatpipe.server.profiles import DEFAULT
from chatpipe.server.request_extensions import IN_PIECES
from chatpipe.server.server import Server, refuse_plain_http
from chatpipe.server.url_refusals import FORMS
from chatpipe.wire.transports import open_transport

_PLACE = "--upstream"
_OPTION = re.compile(r"(?:^| )-")  # this command has no profiles, no keys of its own, and one other server
_OWN_ROOT = "/v1"
_MOST_CONNECTIONS = 20_000
_CONNECT_S = 60.0
_MADE_ANEW = frozenset(("host", "content-length", "accept-encoding", "expect"))


class Upstream:
    """A server that is asked what clients ask, with their keys and no other one. url is its base URL."""

    def __init__(self, url: SplitResult, transport: httpx.AsyncBaseTransport) -> None:
        self._url = url
        self._transport = transport

    def reply_to(self, request: ServedRequest, listener: ExchangeListener) -> UpstreamReply:
        """The reply of the server, which is asked when the reply begins."""
        return UpstreamReply(self._transport, partial(self._forwarded, request), listener)

    def is_at(self, port: int) -> bool:
        """Return True for the server at this port of this machine."""
        return hosts.is_loopback_url(self._url) and self._url.port == port

    async def aclose(self) -> None:
        await self._transport.aclose()

    def _forwarded(self, request: ServedRequest) -> httpx.Request:
        """Raises httpx.InvalidURL."""
        origin = httpx.URL(self._url._replace(path="", query="").geturl())
        return httpx.Request(
            request.method,
            origin.copy_with(raw_path=self._target(request).encode("latin-1")),
            headers=[*_forwarded_headers(request.headers), (b"accept-encoding", b"identity")],
            content=request.body or None,
            # Clients have time limits of their own, and go away after them.
            extensions={"timeout": {"connect": _CONNECT_S}, IN_PIECES: True},
        )

    def _target(self, request: ServedRequest) -> str:
        path, query = request.path, request.target.partition("?")[2]
        if path == _OWN_ROOT or path.startswith(f"{_OWN_ROOT}/"):
            path = self._url.path + path.removeprefix(_OWN_ROOT)
            query = "&".join(each for each in (self._url.query, query) if each)
        return f"{path or '/'}?{query}" if query else path or "/"


def open_upstream(
    text: str, environ: Mapping[str, str], note: Callable[[str], None], *, allow_http: bool
) -> Upstream:
    """The server with this base URL. note gets a line if the text was taken for another one.

    Raises BadConfiguration and MissingInput.
    """
    try:
        url = parse_base_url(text, _PLACE, note)
    except BadConfiguration as fault:
        if _OPTION.search(fault.fix or ""):
            fault.fix = FORMS
        raise
    proxy = proxies.proxy_for(url.geturl(), None, environ)
    if url.scheme == "http" and not allow_http:
        refuse_plain_http("the keys of clients", url, proxy)
    server = Server(Endpoint(url.geturl(), (), None, DEFAULT), (), proxy, ServerOptions())
    return Upstream(url, open_transport(server, environ, _MOST_CONNECTIONS))


def _forwarded_headers(headers: Mapping[str, str]) -> Iterator[tuple[bytes, bytes]]:
    named = {each.strip().lower() for each in headers.get("connection", "").split(",")}
    for name, value in headers.items():
        if name not in OF_CONNECTION and name not in _MADE_ANEW and name not in named:
            yield name.encode("latin-1"), value.encode("latin-1")
