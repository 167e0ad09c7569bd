"""The proxy for a server: the option, else the environment."""

from __future__ import annotations

import ipaddress
from base64 import b64encode
from collections.abc import Mapping
from urllib.parse import unquote, urlsplit

import httpx

from chatpipe.errors import BadConfiguration
from chatpipe.server.variables import variable
from chatpipe.system import secrets

_SCHEMES = ("http", "https", "socks5", "socks5h")


def proxy_for(base_url: str, proxy: str | None, environ: Mapping[str, str]) -> str | None:
    """The URL of the proxy for base_url, None for a direct connection.

    proxy is the option and overrides the environment, NO_PROXY included. A lower-case variable
    overrides its upper-case form, even if it is empty: that means no proxy. HTTP_PROXY in upper case
    is ignored under CGI, where a client can set it with a header (CVE-2016-5385). The password of the
    proxy is hidden from now on. Raises BadConfiguration for an unusable URL, without the password.

    Source: curl 8 manual, "Environment"; urllib.request.getproxies_environment.
    """
    place = proxy_place(base_url, proxy, environ)
    if place is None:
        return None
    proxy = (proxy if proxy is not None else variable(environ, place) or "").strip()
    if not proxy:
        return None
    scheme, slashes, rest = proxy.partition("://")
    if not slashes:
        scheme, rest = "http", proxy.removeprefix("//")
    # A proxy has no path: all before the last @ may be a password, whose / or # somebody forgot to encode.
    credentials, _, host = rest.rpartition("@")
    _hide_credentials(credentials)
    shown = f"{scheme}://{host.partition('/')[0]}"
    proxy = f"{scheme}://{rest}"
    if not host:
        raise BadConfiguration(f"'{shown}' names no host", place=place)
    if not _is_usable(proxy):
        fix = "http://, https:// or socks5://HOST:PORT"
        if any(character in credentials for character in "/?#"):
            fix = "in a password write / as %2F, ? as %3F and # as %23"
        raise BadConfiguration(f"'{shown}' is not the URL of a proxy", place=place, fix=fix)
    return proxy


def proxy_place(base_url: str, proxy: str | None, environ: Mapping[str, str]) -> str | None:
    """The option or the variable that names the proxy for base_url, None if nothing does.

    Arguments as for proxy_for().
    """
    if proxy is not None:
        return "--proxy"
    url = httpx.URL(base_url)
    if _is_in_no_proxy(url, variable(environ, _variable_name("no_proxy", environ)) or ""):
        return None
    under_cgi = url.scheme == "http" and "REQUEST_METHOD" in environ
    own = "http_proxy" if under_cgi else _variable_name(f"{url.scheme}_proxy", environ)
    names = (own, _variable_name("all_proxy", environ))
    return next((name for name in names if name in environ), None)


def _is_usable(proxy: str) -> bool:
    """True for a URL with a scheme that we know, a host, and no port or a valid one."""
    try:
        url, parts = httpx.URL(proxy), urlsplit(proxy)
        is_port = parts.port is None or parts.port > 0
    except (httpx.InvalidURL, ValueError):
        return False
    has_host = not any(map(str.isspace, parts.hostname or " ")) and url.host not in _SCHEMES
    return has_host and is_port and url.scheme in _SCHEMES


def _hide_credentials(credentials: str) -> None:
    """Hide the password, or a name without one, in all that is written from now on, and so the header."""
    name, _, password = credentials.partition(":")
    for secret in (password or name, unquote(password or name)):
        secrets.add(secret)
    if credentials:
        secrets.add(b64encode(f"{unquote(name)}:{unquote(password)}".encode()).decode())


def _variable_name(name: str, environ: Mapping[str, str]) -> str:
    return name if name in environ else name.upper()


def _is_in_no_proxy(url: httpx.URL, no_proxy: str) -> bool:
    """True if no_proxy lists the host of url, its domain, its network, or `*`."""
    host = url.raw_host.decode("ascii").lower().rstrip(".")
    port = url.port or (443 if url.scheme == "https" else 80)
    return any(_matches(entry.lower(), host, port) for entry in no_proxy.replace(",", " ").split())


def _matches(entry: str, host: str, port: int) -> bool:
    if entry == "*":
        return True
    name, only_port = _split_port(entry)
    if only_port is not None and only_port != port:
        return False
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        name = name.removeprefix("*").strip(".")
        return bool(name) and (host == name or host.endswith("." + name))
    try:
        return address in ipaddress.ip_network(name, strict=False)
    except ValueError:
        return False


def _split_port(entry: str) -> tuple[str, int | None]:
    """Split `host:8080` or `[::1]:8080`. The port is optional, and a bare IPv6 address has none."""
    if entry.startswith("["):
        name, _, port = entry[1:].partition("]")
        port = port.removeprefix(":")
    elif entry.count(":") == 1:
        name, _, port = entry.partition(":")
    else:
        return entry, None
    return name, int(port) if port.isascii() and port.isdigit() else None
