"""Connection options -> the transport to a server: our own, or one through a proxy (proxied.py).

Only this module creates TLS contexts and reads proxy variables.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import httpx

from chatpipe.server.proxies import select_proxy
from chatpipe.server.tls import TransportOptions, tls_context
from chatpipe.wire.sync import BlockingTransport

if TYPE_CHECKING:
    import ssl


def open_transport(
    dial: TransportOptions, url: httpx.URL, environ: Mapping[str, str]
) -> httpx.AsyncBaseTransport:
    """A transport for one request at a time to the origin of url. None of its awaits suspends.

    Raises MissingInput and BadConfiguration for unusable certificates and proxies.
    """
    proxy = valid_proxy_for(dial, url, environ)
    context = _context_for(dial, url, proxy, environ)
    if proxy is None:
        return BlockingTransport(context)
    from chatpipe.wire import proxy as proxied  # few users have a proxy

    return proxied.open_blocking(proxy, context)


def open_pool(
    dial: TransportOptions, url: httpx.URL, environ: Mapping[str, str], max_connections: int
) -> httpx.AsyncBaseTransport:
    """A transport for max_connections concurrent requests under asyncio. Raises like open_transport().

    The caller must keep to max_connections, because a transport through a proxy does not enforce it.
    """
    proxy = valid_proxy_for(dial, url, environ)
    context = _context_for(dial, url, proxy, environ)
    if proxy is None:
        from chatpipe.wire.pool import PoolTransport  # imports asyncio

        return PoolTransport(context, max_connections=max_connections)
    from chatpipe.wire import proxy as proxied

    return proxied.open_concurrent(proxy, context)


def check_transport_options(dial: TransportOptions, url: httpx.URL, environ: Mapping[str, str]) -> None:
    """Raise what open_transport() and open_pool() would raise, without opening a transport.

    The system's certificates are not loaded, because that takes 25 ms.
    """
    proxy = valid_proxy_for(dial, url, environ)
    files = (dial.cacert, dial.client_cert, dial.client_key, environ.get("SSL_CERT_FILE"))
    if any(files):
        _context_for(dial, url, proxy, environ)


def _context_for(
    dial: TransportOptions, url: httpx.URL, proxy: httpx.URL | None, environ: Mapping[str, str]
) -> ssl.SSLContext | None:
    # Created here and not at the first request, so that a bad file is reported before anything else happens.
    needs_tls = url.scheme == "https" or (proxy is not None and proxy.scheme == "https")
    return tls_context(dial, environ) if needs_tls else None


# Proxies


def valid_proxy_for(dial: TransportOptions, url: httpx.URL, environ: Mapping[str, str]) -> httpx.URL | None:
    """The proxy for url, None for a direct connection. Raises BadConfiguration for an unusable one."""
    proxy = select_proxy(url, dial.proxy, environ)
    if proxy is None:
        return None
    from chatpipe.wire import proxy as proxied

    return proxied.parse_proxy_url(proxy, place="--proxy" if dial.proxy else "proxy variable")


# TLS
