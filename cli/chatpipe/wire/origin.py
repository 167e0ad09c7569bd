"""Where a connection leads, and with whose certificates it is checked."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple, TypeAlias

import httpx

if TYPE_CHECKING:
    import ssl
    from collections.abc import Callable

    Context: TypeAlias = ssl.SSLContext | Callable[[], ssl.SSLContext]


class Origin(NamedTuple):
    """As origin_of() in blocking.py tells it: no brackets around the address of an IPv6 host."""

    scheme: str
    host: bytes
    port: int


def origin_of(url: httpx.URL) -> tuple[str, bytes, int]:
    return url.scheme, url.raw_host, url.port or (443 if url.scheme == "https" else 80)
