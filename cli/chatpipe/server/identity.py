"""The name of a server in records and fingerprints, and the comparison of such names."""

from __future__ import annotations

from itertools import pairwise
from urllib.parse import SplitResult, parse_qsl, urlencode, urlsplit

from chatpipe.server.endpoints import Endpoint
from chatpipe.server.hosts import DEFAULT_PORTS, is_loopback_url

ECHO = "echo"
# A client that connects to one of the first two reaches this machine.
_OF_THIS_MACHINE = frozenset({"0.0.0.0", "::", "localhost.localdomain"})  # noqa: S104 - compared only
# A path that holds one of these before another segment names the model, as those of Azure's deployments,
# Bedrock and dedicated endpoints do.
_MODEL_SEGMENTS = frozenset({"deployments", "endpoints", "engines", "model", "models"})
# Vertex AI has /endpoints/openapi for all its models, and the body names one.
_GENERAL_SEGMENTS = frozenset({"openapi"})


def recorded_name(endpoint: Endpoint) -> str:
    """The server as records name it: its base URL without user, password and query, or `echo`."""
    if endpoint.in_process:
        return ECHO
    url = urlsplit(endpoint.base_url)
    return url._replace(netloc=url.netloc.rpartition("@")[2], query="", fragment="").geturl()


def comparable_name(name: str) -> str:
    """A name of a server that is equal for two spellings of one: `host:port/path`.

    All names of this machine's loopback are one. So are http and https, because a server that moves
    behind TLS stays the same. Any text that is no URL stays as it is.
    """
    try:
        url = urlsplit(name)
        if not url.hostname:
            return name
        return _address(url) + url.path.rstrip("/")
    except ValueError:
        return name


def model_scope(endpoint: Endpoint) -> str:
    """The text that stands for the model in the fingerprints of requests that do not name one.

    The query may choose a model. The version of an API does not.
    """
    if endpoint.in_process:
        return ECHO
    query = [
        pair
        for pair in parse_qsl(urlsplit(endpoint.base_url).query, True)
        if pair[0].lower() != "api-version"
    ]
    name = comparable_name(recorded_name(endpoint))
    return f"{name}?{urlencode(query)}" if query else name


def path_names_model(endpoint: Endpoint) -> bool:
    """True if the path of the base URL decides the model, whatever the body says."""
    if endpoint.url_names_model:
        return True
    segments = urlsplit(endpoint.base_url).path.split("/")
    return any(
        segment in _MODEL_SEGMENTS and following and following not in _GENERAL_SEGMENTS
        for segment, following in pairwise(segments)
    )


def _address(url: SplitResult) -> str:
    """The host, and the port unless it is that of the scheme. Raises ValueError for an invalid port."""
    host = "localhost" if _is_this_machine(url) else (url.hostname or "").rstrip(".")
    port = url.port
    return host if port is None or port == DEFAULT_PORTS.get(url.scheme) else f"{host}:{port}"


def _is_this_machine(url: SplitResult) -> bool:
    host = url.hostname or ""
    if is_loopback_url(url) or host in _OF_THIS_MACHINE:
        return True
    if ":" not in host:
        return False
    from ipaddress import IPv6Address  # few URLs hold one

    address = IPv6Address(host.partition("%")[0])
    return address.is_loopback or (address.ipv4_mapped is not None and address.ipv4_mapped.is_loopback)
