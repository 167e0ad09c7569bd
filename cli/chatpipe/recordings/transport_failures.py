"""The exceptions of transports <-> the failures in records, so that a failure is decided on as it was."""

from __future__ import annotations

import socket
import ssl

import httpx

from chatpipe.recordings.exchange_record import FAILURES
from chatpipe.system.causes import root_os_error, system_message
from chatpipe.wire.http1 import MalformedReply, NotHTTP, OverlongReply
from chatpipe.wire.unpack import UnreadableBody

_REASON_CHARS = 500

# The first match wins, so a class precedes its bases. A request that cannot be sent has no name.
_NAMES: tuple[tuple[type[Exception], str | None], ...] = (
    (httpx.ConnectTimeout, "connect-timeout"),
    (httpx.PoolTimeout, "connect-timeout"),
    (httpx.TimeoutException, "timeout"),
    (httpx.ConnectError, "refused"),
    (httpx.ProxyError, "proxy"),
    (httpx.UnsupportedProtocol, None),
    (httpx.LocalProtocolError, None),
    (OverlongReply, "too-long"),
    (NotHTTP, "no-http"),
    (MalformedReply, "malformed"),
    (httpx.ProtocolError, "cut"),
    (UnreadableBody, "unreadable"),
    (httpx.DecodingError, "broken"),
    (httpx.NetworkError, "reset"),
)
# The exceptions by the names of FAILURES.
_EXCEPTIONS: dict[str, type[httpx.RequestError]] = {
    "no-host": httpx.ConnectError,
    "tls": httpx.ConnectError,
    "refused": httpx.ConnectError,
    "connect-timeout": httpx.ConnectTimeout,
    "no-http": NotHTTP,
    "malformed": MalformedReply,
    "proxy": httpx.ProxyError,
    "proxy-down": httpx.ProxyError,
    "timeout": httpx.ReadTimeout,
    "reset": httpx.ReadError,
    "cut": httpx.RemoteProtocolError,
    "broken": httpx.DecodingError,
    "unreadable": UnreadableBody,
    "too-long": OverlongReply,
}


def recorded_failure(error: Exception) -> tuple[str, str] | None:
    """The failure and the reason that a record has for an exception. None for one that is not recorded."""
    name = next((name for kind, name in _NAMES if isinstance(error, kind)), None)
    if name is None:
        return None
    cause = root_os_error(error)
    if name == "refused" and isinstance(cause, ssl.SSLError):
        name = "tls"
    elif name == "refused" and isinstance(cause, socket.gaierror) and cause.errno == socket.EAI_NONAME:
        name = "no-host"
    elif name == "proxy" and cause is not None:
        name = "proxy-down"
    is_system = cause is not None and isinstance(error, httpx.NetworkError)
    return name, (system_message(cause) if is_system else str(error))[:_REASON_CHARS]


def exception_of(failure: str, reason: str) -> httpx.RequestError:
    """The exception that a transport would raise for a recorded failure."""
    error = _EXCEPTIONS[failure](reason or FAILURES[failure])
    if failure == "no-host":
        error.__cause__ = socket.gaierror(socket.EAI_NONAME, reason)
    elif failure == "tls":
        error.__cause__ = ssl.SSLError(1, reason)
    elif failure == "proxy-down":
        error.__cause__ = ConnectionError(reason)
    return error
