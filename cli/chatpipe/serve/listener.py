"""The sockets that the local server listens at, and its URL."""

from __future__ import annotations

import errno
import os
import socket
from collections.abc import Iterable, Sequence
from typing import Any

from chatpipe.errors import BadConfiguration, ChatpipeError, Unreachable, reason
from chatpipe.options.serve import ServeOptions
from chatpipe.serve.site_access import SiteAccess
from chatpipe.system.descriptor import Stdout
from chatpipe.system.descriptor_limit import raise_descriptor_limit

_CONNECTIONS = 20_000  # descriptors are asked of the system for this many, and it may allow fewer
_BACKLOG = 4096
# Errors for an address that a name has, and the machine has not: IPv6 may be switched off.
_NOT_HERE = (errno.EADDRNOTAVAIL, errno.EAFNOSUPPORT)
_ANY = {"0.0.0.0": "127.0.0.1", "::": "::1"}  # noqa: S104


def listen(host: str, port: int) -> list[socket.socket]:
    """Listening sockets at the addresses of host, those of IPv4 first: `localhost` has one of each kind.

    With port 0 there is only one, because its port may be in use at another address. Addresses that this
    machine does not have are left out if it has another one. Raises Unreachable, BadConfiguration.
    """
    raise_descriptor_limit(_CONNECTIONS)
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
    except (OSError, UnicodeError) as error:
        raise _fault(error, host, port) from error
    listeners: list[socket.socket] = []
    missing: OSError | None = None
    places = dict.fromkeys((each[0], each[4]) for each in found)
    for family, address in sorted(places, key=_is_ipv6):
        if listeners and not port:
            break
        try:
            listeners.append(_listen_at(family, address))
        except OSError as error:
            if error.errno not in _NOT_HERE:
                close_all(listeners)
                raise _fault(error, host, port) from error
            missing = error
    if missing is not None and not listeners:
        raise _fault(missing, host, port) from missing
    return listeners


def close_all(listeners: Iterable[socket.socket]) -> None:
    for each in listeners:
        each.close()


def _is_ipv6(place: tuple[socket.AddressFamily, object]) -> bool:
    return place[0] == socket.AF_INET6


def _listen_at(family: socket.AddressFamily, address: Any) -> socket.socket:
    """A listening socket at an address. Raises OSError."""
    listener = socket.socket(family, socket.SOCK_STREAM)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(address)
        listener.listen(_BACKLOG)
        listener.setblocking(False)
    except OSError:
        listener.close()
        raise
    return listener


def announce(listeners: Sequence[socket.socket]) -> None:
    """Print the base URL at which a client on this machine reaches the first: `http://127.0.0.1:8080/v1`.

    Raises CannotWrite, BrokenPipe.
    """
    host, port = listeners[0].getsockname()[:2]
    host = _ANY.get(host, host)
    Stdout().write(f"http://{f'[{host}]' if ':' in host else host}:{port}/v1\n".encode())


def are_loopback(listeners: Iterable[socket.socket]) -> bool:
    """Return True if only this machine reaches the sockets."""
    hosts = [str(each.getsockname()[0]) for each in listeners]
    return all(host == "::1" or host.startswith("127.") for host in hosts)


def site_access(listeners: Iterable[socket.socket], options: ServeOptions) -> SiteAccess:
    """The names of a server at the sockets, and the origins that may use it.

    A socket that listens at every address has the name of the machine, too.
    """
    names = [options.host, *options.allow_hosts]
    if any(str(each.getsockname()[0]) in _ANY for each in listeners):
        names.append(socket.gethostname())
    return SiteAccess(names, options.allow_origins)


def _fault(error: OSError | UnicodeError, host: str, port: int) -> ChatpipeError:
    if not isinstance(error, OSError) or isinstance(error, socket.gaierror):
        what = f"'{host}' is not an address of this machine"
        return BadConfiguration(what, place="--host", fix="use 127.0.0.1 or another address of its own")
    if error.errno == errno.EADDRINUSE:
        return Unreachable(f"port {port} is in use", place="--port", fix="choose another one, or 0 for any")
    if error.errno in (errno.EACCES, errno.EPERM):
        what = f"cannot listen at port {port}: {reason(error)}"
        return BadConfiguration(what, place="--port", fix="choose one of 1024 and above")
    return BadConfiguration(
        f"cannot listen at '{host}': {os.strerror(error.errno or 0).lower()}", place="--host"
    )
