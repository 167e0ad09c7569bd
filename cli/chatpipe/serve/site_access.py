"""Requests that a web page of a foreign site made, told from those of clients by Host and Origin. Pure.

A browser sends what a page asks it to, also to a server that only this machine reaches:

DNS rebinding     the name of the page's own site leads to this machine, so the page may read the replies.
                  Host has that name, which no client uses.
cross-site POST   the page sends a form or a text. It cannot read the reply, but the request is answered, and
                  perhaps paid for. Origin has the page's site; a program sends none.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from urllib.parse import urlsplit

from chatpipe.options.serve import Origin
from chatpipe.server.hosts import comparable_origin, is_loopback_url

_NAME = r"[a-z0-9_](?:[a-z0-9_.-]{0,251}[a-z0-9_])?"
_HOST = re.compile(rf"({_NAME}|\[[0-9a-f:.]+(?:%[a-z0-9%._-]+)?\])\.?")
_HOST_HEADER = re.compile(rf"{_HOST.pattern}(?::\d*)?")
_ORIGIN = re.compile(rf"[a-z][a-z0-9+.-]*://{_HOST.pattern}(?::\d+)?")
_LONGEST_SHOWN = 100

_NULL: Origin = ("null", "", None)  # that of a page from a file, in two forms
_NULL_TEXTS = ("null", "file://")
_USUAL = {
    "host": "send that of the URL, or an IP address",
    "origin": "send none, or one such as https://app.example",
}


class SiteAccess:
    """The hosts and origins that may use a server.

    hosts are names that lead to it, besides localhost, names without a dot, and addresses. origins are those
    of web pages, besides pages at this machine.
    """

    def __init__(self, hosts: Iterable[str] = (), origins: Iterable[Origin] = ()) -> None:
        self._hosts = frozenset(name.lower().rstrip(".") for name in hosts)
        self._origins = frozenset(origins)

    def refusal(self, target: bytes, headers: Mapping[bytes, bytes]) -> str | None:
        """The reason to refuse a request with this target and these headers, None to answer it.

        A request without Host is answered: it is one of HTTP/1.0, and no browser's. So is one whose target is
        a URL, because its client uses the server as a proxy, which no page can decide.
        """
        if headers.get(b"host") and not target.startswith(b"http://"):
            host = headers[b"host"].decode("latin-1")
            name = _host_in(host)
            if name is None or not (_is_address(name) or _is_local(name) or name in self._hosts):
                return _refusal("host", host, name)
        if b"origin" in headers:
            text = headers[b"origin"].decode("latin-1")
            origin = _origin_in(text)
            if origin is None or not (is_loopback_url(urlsplit(text)) or origin in self._origins):
                return _refusal("origin", text, origin and text)
        return None


def parse_host(text: str) -> str:
    """A host that an option allows. Raises ValueError."""
    if _HOST.fullmatch(text.lower()) is None:
        raise ValueError(f"'{text}' is not a host name such as app.example, without a port")
    return text


def parse_origin(text: str) -> Origin:
    """An origin that an option allows. Raises ValueError."""
    origin = _origin_in(text)
    if origin is None:
        raise ValueError(f"'{text}' is not an origin such as https://app.example, without a path")
    return origin


def _host_in(header: str) -> str | None:
    """The host in `HOST` or `HOST:PORT`: in lower case, without a final dot. None if there is none."""
    found = _HOST_HEADER.fullmatch(header.lower())
    return None if found is None else found[1]


def _origin_in(header: str) -> Origin | None:
    """The origin in `SCHEME://HOST:PORT`, `null` or `file://`, as it is compared. None if there is none."""
    if header in _NULL_TEXTS:
        return _NULL
    if _ORIGIN.fullmatch(header.lower()) is None:
        return None
    try:
        return comparable_origin(urlsplit(header.lower()))
    except ValueError:  # an impossible port or address
        return None


def _is_address(host: str) -> bool:
    """Return True for an address, which no foreign site can have for its name.

    A name whose last label is a number is an address to every browser, also in an odd form such as 127.1.
    Source: WHATWG URL, section 3.5, as of November 2026.
    """
    return host.startswith("[") or host.rpartition(".")[2].isdecimal()


def _is_local(host: str) -> bool:
    """Return True for localhost, its names, and a name without a dot.

    Such a name leads to a container or to a machine of the same network. No public site has one.
    Source: IAB, Dotless Domains Considered Harmful, July 2013.
    """
    return "." not in host or host.endswith(".localhost")


def _refusal(kind: str, shown: str, value: str | None) -> str:
    if value is None or len(value) > _LONGEST_SHOWN:
        return f"The {kind} '{shown[:_LONGEST_SHOWN]}' is not allowed: {_USUAL[kind]}"
    return f"The {kind} '{shown}' is not allowed: start chatpipe serve with --allow-{kind} {value}"
