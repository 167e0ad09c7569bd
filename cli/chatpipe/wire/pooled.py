"""How requests of a run travel: the built-in echo, a proxy, or our own pool of connections."""

from __future__ import annotations

import contextlib
import resource
from collections.abc import Mapping

import httpx

from chatpipe.options.server import ServerOptions
from chatpipe.server import tls
from chatpipe.server.endpoints import COMPLETIONS, Endpoint
from chatpipe.wire import transports

Headers = httpx.Headers

# Beside the connections: the three standard ones, input, journal, recorded files, what asyncio has.
_OTHER_DESCRIPTORS = 64


def transport_for(
    endpoint: Endpoint, connection: ServerOptions, jobs: int, environ: Mapping[str, str]
) -> httpx.AsyncBaseTransport:
    """The transport for as many requests in flight. Raises MissingInput and BadConfiguration."""
    if endpoint.in_process:
        from chatpipe.local.transport import EchoTransport

        return EchoTransport()
    return transports.open_pool(
        tls.transport_options(connection), httpx.URL(endpoint.url(COMPLETIONS)), environ, jobs
    )


def check(endpoint: Endpoint, connection: ServerOptions, environ: Mapping[str, str]) -> None:
    """Raise what transport_for() would, for a proxy or a certificate, before anything is read or made."""
    if not endpoint.in_process:
        transports.check_transport_options(
            tls.transport_options(connection), httpx.URL(endpoint.url(COMPLETIONS)), environ
        )


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
