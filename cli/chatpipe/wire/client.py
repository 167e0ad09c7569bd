"""Connection options -> the transport to a server: our own, or one through a proxy (proxied.py).

Only this module creates TLS contexts and reads proxy variables.
"""

from __future__ import annotations

import ipaddress
import os
from collections.abc import Mapping
from typing import TYPE_CHECKING, NamedTuple

import httpx

from chatpipe.errors import BadConfiguration, ChatpipeError, MissingInput
from chatpipe.options.server import Connection
from chatpipe.wire.blocking import BlockingTransport
from chatpipe.wire.causes import system_message

if TYPE_CHECKING:
    import ssl


class Dial(NamedTuple):
    """Transport options: proxy and TLS.

    An empty proxy means none, whatever the environment says. cacert is a PEM file or a directory of
    hashed certificates. The file client_cert may contain the client key too.
    """

    proxy: str | None = None
    cacert: str | None = None
    client_cert: str | None = None
    client_key: str | None = None
    insecure: bool = False


def dial_of(connection: Connection) -> Dial:
    """Take the transport options from the connection options."""
    return Dial(
        connection.proxy,
        connection.cacert,
        connection.client_cert,
        connection.client_key,
        connection.insecure,
    )


def proxy_of(url: str, connection: Connection, environ: Mapping[str, str]) -> str | None:
    """The URL of the proxy for url, None for a direct connection."""
    return proxy_for(httpx.URL(url), connection.proxy, environ)


def open_transport(dial: Dial, url: httpx.URL, environ: Mapping[str, str]) -> httpx.AsyncBaseTransport:
    """A transport for one request at a time to the origin of url. None of its awaits suspends.

    Raises MissingInput and BadConfiguration for unusable certificates and proxies.
    """
    proxy = checked_proxy(dial, url, environ)
    context = _context_for(dial, url, proxy, environ)
    if proxy is None:
        return BlockingTransport(context)
    from chatpipe.wire import proxied  # few users have a proxy

    return proxied.one_at_a_time(proxy, context)


def open_pool(
    dial: Dial, url: httpx.URL, environ: Mapping[str, str], max_connections: int
) -> httpx.AsyncBaseTransport:
    """A transport for max_connections concurrent requests under asyncio. Raises like open_transport().

    The caller must keep to max_connections, because a transport through a proxy does not enforce it.
    """
    proxy = checked_proxy(dial, url, environ)
    context = _context_for(dial, url, proxy, environ)
    if proxy is None:
        from chatpipe.wire.pool import PoolTransport  # imports asyncio

        return PoolTransport(context, max_connections=max_connections)
    from chatpipe.wire import proxied

    return proxied.many(proxy, context)


def check(dial: Dial, url: httpx.URL, environ: Mapping[str, str]) -> None:
    """Raise what open_transport() and open_pool() would raise, without opening a transport.

    The system's certificates are not loaded, because that takes 25 ms.
    """
    proxy = checked_proxy(dial, url, environ)
    files = (dial.cacert, dial.client_cert, dial.client_key, environ.get("SSL_CERT_FILE"))
    if any(files):
        _context_for(dial, url, proxy, environ)


def _context_for(
    dial: Dial, url: httpx.URL, proxy: httpx.URL | None, environ: Mapping[str, str]
) -> ssl.SSLContext | None:
    # Created here and not at the first request, so that a bad file is reported before anything else happens.
    needs_tls = url.scheme == "https" or (proxy is not None and proxy.scheme == "https")
    return tls_context(dial, environ) if needs_tls else None


# Proxies


def checked_proxy(dial: Dial, url: httpx.URL, environ: Mapping[str, str]) -> httpx.URL | None:
    """The proxy for url, None for a direct connection. Raises BadConfiguration for an unusable one."""
    proxy = proxy_for(url, dial.proxy, environ)
    if proxy is None:
        return None
    from chatpipe.wire import proxied

    return proxied.checked(proxy, place="--proxy" if dial.proxy else "proxy variable")


def proxy_for(url: httpx.URL, proxy: str | None, environ: Mapping[str, str]) -> str | None:
    """The URL of the proxy for url, None for a direct connection.

    proxy is the option and overrides the environment, NO_PROXY included. A lower-case variable
    overrides its upper-case form, even if it is empty: that means no proxy. HTTP_PROXY in upper case
    is ignored under CGI, where a client can set it with a header (CVE-2016-5385).

    Source: curl 8 manual, "Environment"; urllib.request.getproxies_environment.
    """
    if proxy is None:
        if _is_in_no_proxy(url, _proxy_variable("no_proxy", environ) or ""):
            return None
        under_cgi = url.scheme == "http" and "REQUEST_METHOD" in environ
        proxy = environ.get("http_proxy") if under_cgi else _proxy_variable(f"{url.scheme}_proxy", environ)
        if proxy is None:
            proxy = _proxy_variable("all_proxy", environ)
    if not proxy:
        return None
    return proxy if "://" in proxy else f"http://{proxy}"


def _proxy_variable(name: str, environ: Mapping[str, str]) -> str | None:
    return environ.get(name, environ.get(name.upper()))


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


# TLS


def tls_context(dial: Dial, environ: Mapping[str, str]) -> ssl.SSLContext:
    """A context that trusts --cacert, else SSL_CERT_FILE and SSL_CERT_DIR, else the system store.

    The system store comes before certifi, unlike in httpx. curl and the machine's package manager
    trust it; it includes the company's authority and excludes withdrawn ones. certifi is the
    fallback if Python's OpenSSL finds no certificates, as in slim containers.
    """
    import ssl

    if dial.client_key is not None and dial.client_cert is None:
        raise BadConfiguration("a key without its certificate", place="--client-key", fix="add --client-cert")
    if dial.insecure:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    else:
        context = _verifying_context(dial, environ)
    context.set_alpn_protocols(["http/1.1"])
    if dial.client_cert is not None:
        _load_client_certificate(context, dial.client_cert, dial.client_key)
    return context


def _verifying_context(dial: Dial, environ: Mapping[str, str]) -> ssl.SSLContext:
    import ssl

    if dial.cacert is not None:
        if os.path.isdir(dial.cacert):
            return ssl.create_default_context(capath=dial.cacert)
        return _context_from_file(dial.cacert, None, place="--cacert")
    file = environ.get("SSL_CERT_FILE")
    folder = environ.get("SSL_CERT_DIR")
    if file:
        return _context_from_file(file, folder or None, place="SSL_CERT_FILE")
    if folder:
        return ssl.create_default_context(capath=folder)
    context = ssl.create_default_context()
    if not context.cert_store_stats()["x509_ca"] and not _has_system_folder():
        import certifi

        context.load_verify_locations(certifi.where())
    return context


def _has_system_folder() -> bool:
    """True if OpenSSL's certificate directory is not empty. OpenSSL reads it lazily, so stats omit it."""
    import ssl

    folder = ssl.get_default_verify_paths().capath
    return folder is not None and any(os.scandir(folder))


def _context_from_file(file: str, folder: str | None, place: str) -> ssl.SSLContext:
    import ssl

    try:
        return ssl.create_default_context(cafile=file, capath=folder)
    except ssl.SSLError as error:
        raise BadConfiguration(f"no certificate in PEM form in '{file}'", place=place) from error
    except OSError as error:
        raise _unreadable(error, file, place) from error


def _load_client_certificate(context: ssl.SSLContext, cert: str, key: str | None) -> None:
    """Load the client certificate, for servers that request one."""
    import ssl

    for place, file in (("--client-cert", cert), ("--client-key", key)):
        try:
            if file is not None:
                open(file, "rb").close()  # OpenSSL does not report which file it cannot read
        except OSError as error:
            raise _unreadable(error, file or "", place) from error

    def refuse() -> str:
        # Without this callback OpenSSL prompts for the password on the terminal, amid a pipeline.
        raise BadConfiguration("the key is encrypted", place="--client-key", fix="give one without password")

    try:
        context.load_cert_chain(cert, key, password=refuse)
    except ssl.SSLError as error:
        what = f"not a certificate and its key in PEM form: {system_message(error).lower()}"
        raise BadConfiguration(what, place="--client-cert") from error


def _unreadable(error: OSError, file: str, place: str) -> ChatpipeError:
    return MissingInput(f"cannot read '{file}': {system_message(error).lower()}", place=place)
