"""Comparison of the hosts and origins of URLs."""

from __future__ import annotations

import re
from urllib.parse import SplitResult

DEFAULT_PORTS = {"http": 80, "https": 443}
# The networks of is_private.
_PRIVATE = ("10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "169.254.0.0/16", "fc00::/7", "fe80::/10")


def is_same_server(one: SplitResult, other: SplitResult) -> bool:
    """True if scheme, host and port are equal."""
    return comparable_origin(one) == comparable_origin(other)


def comparable_origin(url: SplitResult) -> tuple[str, str, int | None]:
    """Scheme, host and port of a URL, each as it is compared."""
    return url.scheme, _host_of(url), url.port or DEFAULT_PORTS.get(url.scheme)


def _host_of(url: SplitResult) -> str:
    """The host of a URL as it is compared: in lower case, without a final dot, IPv6 in its shortest form."""
    host = (url.hostname or "").rstrip(".")
    if ":" not in host:
        return host
    from ipaddress import ip_address  # few hosts are such addresses

    try:
        return str(ip_address(host.replace("%25", "%")))
    except ValueError:
        return host


def is_loopback_url(url: SplitResult) -> bool:
    """True if the host is this machine. Only the name is checked, because a resolver may answer anything."""
    host = _host_of(url)
    return (
        host in ("localhost", "::1")
        or host.endswith(".localhost")
        or bool(re.fullmatch(r"127(\.\d+){3}", host))
    )


def is_private(url: SplitResult) -> bool:
    """True if the host is this machine, or an address in a private network.

    A name other than localhost may lead anywhere. It is not looked up.
    Source: RFC 1918, RFC 4193 and, for link-local addresses, RFC 3927 and RFC 4291.
    """
    if is_loopback_url(url):
        return True
    from ipaddress import ip_address, ip_network  # few calls need it

    try:
        address = ip_address(url.hostname or "")
    except ValueError:
        return False
    return any(address in ip_network(network) for network in _PRIVATE)
