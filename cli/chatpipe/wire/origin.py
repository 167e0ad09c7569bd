"""The origin that a connection leads to, and the type of its TLS context."""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeAlias

import httpx

from chatpipe.named_tuple import NamedTuple

if TYPE_CHECKING:
    import ssl
    from collections.abc import Callable

    Context: TypeAlias = ssl.SSLContext | Callable[[], ssl.SSLContext]


class Origin(NamedTuple):
    """Scheme, host and port of a URL. An IPv6 host has no brackets; the port is never missing."""

    scheme: str
    host: bytes
    port: int

    @property
    def address(self) -> bytes:
        """The host as the system resolves it. The `%` before a zone of IPv6 is %25 in URLs: RFC 6874."""
        return self.host.replace(b"%25", b"%")

    @property
    def tls_name(self) -> bytes:
        """The host as certificates have it: without a zone, which only this machine knows."""
        return self.host.partition(b"%")[0].rstrip(b".")


def origin_of(url: httpx.URL) -> Origin:
    return Origin(url.scheme, url.raw_host, url.port or (443 if url.scheme == "https" else 80))
