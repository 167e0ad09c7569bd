"""The proxy on the way to a server: the option, else the environment."""

from __future__ import annotations

import ipaddress
from collections.abc import Mapping

import httpx

from chatpipe.server import redact
from chatpipe.server.variables import variable


def proxy_on_the_way(base_url: str, proxy: str | None, environ: Mapping[str, str]) -> str | None:
    """The URL of the proxy on the way to base_url, None for a direct connection.

    proxy is the option and overrides the environment, NO_PROXY included. A lower-case variable
    overrides its upper-case form, even if it is empty: that means no proxy. HTTP_PROXY in upper case
    is ignored under CGI, where a client can set it with a header (CVE-2016-5385). The password of the
    proxy is hidden from now on.

    Source: curl 8 manual, "Environment"; urllib.request.getproxies_environment.
    """
    url = httpx.URL(base_url)
    if proxy is None:
        if _is_in_no_proxy(url, _proxy_variable("no_proxy", environ) or ""):
            return None
        under_cgi = url.scheme == "http" and "REQUEST_METHOD" in environ
        proxy = (
            variable(environ, "http_proxy") if under_cgi else _proxy_variable(f"{url.scheme}_proxy", environ)
        )
        if proxy is None:
            proxy = _proxy_variable("all_proxy", environ)
    if not proxy:
        return None
    redact.hide_url(proxy)
    return proxy if "://" in proxy else f"http://{proxy}"


def _proxy_variable(name: str, environ: Mapping[str, str]) -> str | None:
    return variable(environ, name if name in environ else name.upper())


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
