"""The socket that the local server listens at, and its URL."""

from __future__ import annotations

import errno
import os
import socket

from chatpipe.errors import BadConfiguration, ChatpipeError, Unreachable, reason
from chatpipe.options.serve import ServeOptions
from chatpipe.serve.site_access import SiteAccess
from chatpipe.system.descriptor import Stdout, raise_descriptor_limit

_CONNECTIONS = 20_000  # descriptors are asked of the system for this many, and it may allow fewer
_BACKLOG = 4096
_ANY = {"0.0.0.0": "127.0.0.1", "::": "::1"}  # noqa: S104


def listen(host: str, port: int) -> socket.socket:
    """A listening socket at the first address of host. Raises Unreachable, BadConfiguration."""
    raise_descriptor_limit(_CONNECTIONS)
    try:
        found = socket.getaddrinfo(host or None, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
        family, kind, protocol, _, address = found[0]
        listener = socket.socket(family, kind, protocol)
    except (OSError, UnicodeError) as error:
        raise _fault(error, host, port) from error
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(address)
        listener.listen(_BACKLOG)
        listener.setblocking(False)
    except OSError as error:
        listener.close()
        raise _fault(error, host, port) from error
    return listener


def announce(listener: socket.socket) -> None:
    """Print the base URL at which a client on this machine reaches the socket: `http://127.0.0.1:8080/v1`.

    Raises CannotWrite, BrokenPipe.
    """
    host, port = listener.getsockname()[:2]
    host = _ANY.get(host, host)
    Stdout().write(f"http://{f'[{host}]' if ':' in host else host}:{port}/v1\n".encode())


def is_loopback(listener: socket.socket) -> bool:
    """Return True if only this machine reaches the socket."""
    host = str(listener.getsockname()[0])
    return host == "::1" or host.startswith("127.")


def site_access(listener: socket.socket, options: ServeOptions) -> SiteAccess:
    """The names of a server at the socket, and the origins that may use it.

    A socket that listens at every address has the name of the machine, too.
    """
    names = [options.host, *options.allow_hosts]
    if str(listener.getsockname()[0]) in _ANY:
        names.append(socket.gethostname())
    return SiteAccess(names, options.allow_origins)


def _fault(error: OSError | UnicodeError, host: str, port: int) -> ChatpipeError:
    if not isinstance(error, OSError) or isinstance(error, socket.gaierror):
        what = f"'{host}' is no address of this machine"
        return BadConfiguration(what, place="--host", fix="use 127.0.0.1 or another address of its own")
    if error.errno == errno.EADDRINUSE:
        return Unreachable(f"port {port} is in use", place="--port", fix="choose another one, or 0 for any")
    if error.errno in (errno.EACCES, errno.EPERM):
        what = f"cannot listen at port {port}: {reason(error)}"
        return BadConfiguration(what, place="--port", fix="choose one of 1024 and above")
    return BadConfiguration(
        f"cannot listen at '{host}': {os.strerror(error.errno or 0).lower()}", place="--host"
    )
