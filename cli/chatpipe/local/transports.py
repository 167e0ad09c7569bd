"""How requests of a run travel: the built-in echo, a proxy, or our own pool of connections."""

from __future__ import annotations

import contextlib
import resource
from collections.abc import Mapping

from chatpipe.wire import client
from chatpipe.wire.client import Dial
from chatpipe.wire.endpoints import Endpoint
from chatpipe.wire.options import Connection

import httpx  # isort: skip - after chatpipe.wire, which keeps httpx's own command line out

Headers = httpx.Headers

# Beside the connections: the three standard ones, input, journal, recorded files, what asyncio has.
_OTHER_DESCRIPTORS = 64


def transport_for(
    endpoint: Endpoint, connection: Connection, jobs: int, environ: Mapping[str, str]
) -> httpx.AsyncBaseTransport:
    """The transport for as many requests in flight."""
    if endpoint.in_process:
        from chatpipe.local.inprocess import EchoTransport

        return EchoTransport()
    url = httpx.URL(endpoint.url)
    dial = Dial(
        connection.proxy,
        connection.cacert,
        connection.client_cert,
        connection.client_key,
        connection.insecure,
    )
    proxy = client.proxy_for(url, dial.proxy, environ)
    context = client.tls_context(dial, environ) if url.scheme == "https" or proxy else None
    if proxy is not None:
        limits = httpx.Limits(max_connections=jobs, max_keepalive_connections=jobs)
        return _Proxied(proxy=httpx.Proxy(proxy), verify=context or True, limits=limits)
    from chatpipe.wire.pool import PoolTransport

    return PoolTransport(context, max_connections=jobs)


class _Proxied(httpx.AsyncHTTPTransport):
    """httpx's own, which wants to be told how long a body is: our pool finds that out by itself."""

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        if isinstance(request.stream, httpx.ByteStream):
            request.headers["Content-Length"] = str(sum(map(len, request.stream)))
        return await super().handle_async_request(request)


def raise_descriptor_limit(jobs: int) -> None:
    """As many descriptors as requests in flight, and some, as far as the system lets us."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = jobs + _OTHER_DESCRIPTORS
    if soft != resource.RLIM_INFINITY and soft < wanted:
        limit = wanted if hard == resource.RLIM_INFINITY else min(wanted, hard)
        with contextlib.suppress(OSError, ValueError):
            resource.setrlimit(resource.RLIMIT_NOFILE, (limit, hard))


def origin(url: str) -> str:
    """Scheme, host and port: limits are a server's, whatever the path."""
    parts = httpx.URL(url)
    return f"{parts.scheme}://{parts.netloc.decode()}"
