"""The one factory of transports: the model in this process, a proxy, one blocking connection, or a pool.

Only this module makes TLS contexts and parses the URLs of proxies.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import httpx

from chatpipe.options.server import ServerOptions
from chatpipe.server.endpoints import Endpoint
from chatpipe.server.proxies import proxy_for, proxy_place
from chatpipe.server.server import Server
from chatpipe.server.variables import variable
from chatpipe.wire.sync import BlockingTransport

if TYPE_CHECKING:
    import ssl


def open_transport(
    server: Server, environ: Mapping[str, str], max_connections: int | None = None
) -> httpx.AsyncBaseTransport:
    """A transport for max_connections concurrent requests under asyncio.

    Without max_connections it is for one request at a time, and none of its awaits suspends, so it
    needs no event loop. The caller must keep to max_connections, because a transport through a
    proxy does not enforce it. Raises MissingInput and BadConfiguration for unusable certificates
    and proxies.
    """
    if server.around is not None:
        own = server._replace(around=None)
        return server.around(lambda: open_transport(own, environ, max_connections))
    if server.in_process:
        from chatpipe.local.transport import EchoTransport

        return EchoTransport()
    proxy = _parse_proxy(server.proxy, server.proxy_place)
    context = _tls_context(server.endpoint, proxy, server.options, environ)
    if proxy is not None:
        from chatpipe.wire import proxy as proxied  # few users have a proxy

        is_blocking = max_connections is None
        return (proxied.open_blocking if is_blocking else proxied.open_concurrent)(proxy, context)
    if max_connections is None:
        return BlockingTransport(context)
    from chatpipe.wire.pool import PoolTransport  # imports asyncio

    return PoolTransport(context, max_connections=max_connections)


def check_transport(endpoint: Endpoint, options: ServerOptions, environ: Mapping[str, str]) -> None:
    """Raise what open_transport() would raise, without a key and without opening a transport.

    The system's certificates are not loaded, because that takes 25 ms.
    """
    if endpoint.in_process:
        return
    place = proxy_place(endpoint.base_url, options.proxy, environ)
    proxy = _parse_proxy(proxy_for(endpoint.base_url, options.proxy, environ), place)
    files = (options.cacert, options.client_cert, options.client_key, variable(environ, "SSL_CERT_FILE"))
    if any(files):
        _tls_context(endpoint, proxy, options, environ)


def _parse_proxy(proxy: str | None, place: str | None) -> httpx.URL | None:
    """The URL of a proxy, None for a direct connection. Raises BadConfiguration for an unusable one."""
    if proxy is None:
        return None
    from chatpipe.wire import proxy as proxied

    return proxied.parse_proxy_url(proxy, place or "--proxy")


def _tls_context(
    endpoint: Endpoint, proxy: httpx.URL | None, options: ServerOptions, environ: Mapping[str, str]
) -> ssl.SSLContext | None:
    """The TLS context, None if no connection on the way uses TLS.

    It is made here and not at the first request, so that a bad file is reported before anything else happens.
    """
    needs_tls = endpoint.base_url.startswith("https:") or (proxy is not None and proxy.scheme == "https")
    if not needs_tls:
        return None
    from chatpipe.server.tls import tls_context  # plain http does without it

    return tls_context(options, environ)
