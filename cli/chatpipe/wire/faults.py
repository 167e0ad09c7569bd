"""Network failures -> our errors, each with an exit status, a one-line message and a fix.

Error replies are read by refusals.py.
"""

from __future__ import annotations

import re
import socket
from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

import httpx

from chatpipe.errors import (
    BadConfiguration,
    BrokenAnswer,
    ChatpipeError,
    ReplyTooLong,
    TryLater,
    Unreachable,
    UnreadableReply,
)
from chatpipe.server import redact
from chatpipe.server.request_extensions import THROUGH_PROXY
from chatpipe.system import secrets
from chatpipe.system.causes import root_os_error, system_message
from chatpipe.wire.http1 import NO_REPLY, MalformedReply, NotHTTP, OverlongReply
from chatpipe.wire.timeouts import DEADLINE_PASSED
from chatpipe.wire.unpack import UnreadableBody

_MAX_LINE_CHARS = 500
# The pattern is compiled on use, that is after a failure. This saves 0.6 ms at start-up.
_CONTROLS = "[\x00-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069\ud800-\udfff]"


# By words of OpenSSL.
_UNKNOWN_AUTHORITY = "if the server's authority is your own, name it with --cacert"
_TRUST_FIXES = (
    ("mismatch", "check the host name in the base URL"),
    ("not yet valid", "check the clock of this machine"),
    ("expired", "the server needs a new certificate, or the clock of this machine is wrong"),
    ("unable to", _UNKNOWN_AUTHORITY),
    ("self-signed", _UNKNOWN_AUTHORITY),
    ("self signed", _UNKNOWN_AUTHORITY),  # OpenSSL 1.1
)
# A server that sends an alert has TLS. Caddy sends an internal error for a host that it does not know.
_ALERT_FIXES = (
    ("protocol version", "the server needs TLS 1.2 or later"),
    ("unsupported protocol", "the server needs TLS 1.2 or later"),
    ("unrecognized name", "check the host name in the base URL"),
    ("alert internal error", "check the host name in the base URL"),
)


class CarriedFault(httpx.TransportError):
    """An error of ours on its way through code that expects those of httpx. No retry can help."""

    def __init__(self, fault: ChatpipeError) -> None:
        self.fault = fault
        super().__init__(str(fault))


def from_exception(
    error: Exception, where: str, extensions: Mapping[str, Any] = MappingProxyType({})
) -> ChatpipeError:
    """Convert an exception of a transport. where is the URL, or "" to say "the server".

    extensions of the request name the proxy on its way.

    An error of ours is returned unchanged. Exceptions that httpx raises for incorrect use, and
    unknown exceptions, are bugs of ours (status 70).
    """
    if isinstance(error, ChatpipeError):
        return error
    if isinstance(error, CarriedFault):
        return error.fault
    url = f"'{printable_line(redact.url(where), is_ours=True)}'" if where else "the server"
    text = _message_of(error)
    route = extensions.get(THROUGH_PROXY)
    if isinstance(error, httpx.ProxyError):
        return _proxy_error(url, text, route)
    if isinstance(error, httpx.TimeoutException) and route is not None:
        url += f" through the proxy '{route[0]}' ({route[1]})"  # either of them may be silent
    for classes, convert in _BY_CLASS:
        if isinstance(error, classes):
            fault = convert(url, text, error)
            fault.reached_server = not isinstance(error, _NO_SERVER) or str(error) == DEADLINE_PASSED
            return fault
    return ChatpipeError(f"unexpected {type(error).__name__} from {url}: {text}")


def from_cut_stream(error: Exception) -> ChatpipeError:
    """Convert an exception in the midst of a stream. The user's own limits have their own faults."""
    fault = from_exception(error, "")
    if str(error) == DEADLINE_PASSED or isinstance(error, OverlongReply):
        return fault
    fix = fault.fix if isinstance(error, httpx.TimeoutException) else "try again"
    return BrokenAnswer(f"the stream was cut: {fault.what}", fix=fix)


def is_transient(error: Exception) -> bool:
    """True if the same request may succeed later.

    False for an unknown host, a server that does not speak HTTP, a failed TLS handshake, a certificate that
    the server does not accept, a refusal by the proxy and invalid settings.
    False for the absolute deadline too, because it leaves no time for another attempt, and for a reply
    beyond our limits, or whose HTTP or encoding cannot be read, because the next one would be like it.
    """
    if isinstance(error, (NotHTTP, MalformedReply, OverlongReply, CarriedFault)):
        return False
    if isinstance(error, httpx.TimeoutException):
        return str(error) != DEADLINE_PASSED
    cause = root_os_error(error)
    if isinstance(error, httpx.ProxyError):
        from chatpipe.wire import proxy_refusals  # few users have a proxy

        return cause is not None or proxy_refusals.is_passing(str(error))
    if isinstance(error, httpx.ConnectError):
        return not (_is_tls_fault(cause) or _is_unknown_host(cause))
    if _certificate_fix(_message_of(error)):
        return False
    return isinstance(error, (httpx.NetworkError, httpx.RemoteProtocolError))


def _connect_error(url: str, text: str, error: Exception) -> ChatpipeError:
    cause = root_os_error(error)
    if _is_certificate_fault(cause):
        fix = next(
            (fix for words, fix in _TRUST_FIXES if words in text), "the server needs another certificate"
        )
        return Unreachable(f"cannot trust {url}: {text}", fix=fix)
    if _is_tls_fault(cause):
        return Unreachable(f"no TLS with {url}: {text}", fix=_tls_fix(url, text))
    return Unreachable(f"cannot reach {url}: {text}", fix="check the base URL and that the server runs")


def _tls_fix(url: str, text: str) -> str:
    """The fix for a handshake that failed, but not because of the server's certificate."""
    fix = next((fix for words, fix in _ALERT_FIXES if words in text), "") or _certificate_fix(text)
    is_plain = url.startswith("'https:") and "alert" not in text
    return fix or ("write http:// in the base URL if the server has no TLS" if is_plain else "")


def _connect_timeout(url: str, text: str, error: Exception) -> ChatpipeError:
    if str(error) == DEADLINE_PASSED:
        return _deadline_passed(url)
    return TryLater(f"cannot reach {url}: {text}", fix="raise --connect-timeout")


def _timeout(url: str, text: str, error: Exception) -> ChatpipeError:
    if str(error) == DEADLINE_PASSED:
        return _deadline_passed(url)
    return TryLater(f"gave up on {url}: {text}", fix="raise --timeout")


def _deadline_passed(url: str) -> ChatpipeError:
    return TryLater(f"no whole answer from {url} within the deadline", fix="raise --deadline")


def _network_error(url: str, text: str, error: Exception) -> ChatpipeError:
    return Unreachable(f"lost the connection to {url}: {text}", fix=_certificate_fix(text) or "try again")


def _certificate_fix(text: str) -> str:
    """The fix for TLS alerts about our certificate. In TLS 1.3 they arrive after the handshake.

    A TLS 1.2 server says `handshake failure` without one, but not only then.
    """
    if "alert" not in text:
        return ""
    if "cert" in text or "unknown ca" in text:
        return "the server wants a --client-cert that it knows"
    return "does the server want a --client-cert?" if "handshake failure" in text else ""


def _overlong(url: str, text: str, error: Exception) -> ChatpipeError:
    assert isinstance(error, OverlongReply)
    return ReplyTooLong(f"the reply from {url} was cut off: {text}", fix=error.fix)


def _not_http(url: str, text: str, error: Exception) -> ChatpipeError:
    assert isinstance(error, NotHTTP)
    fix = "write https:// in the base URL" if error.is_tls else "check the base URL"
    return Unreachable(f"no HTTP at {url}: {text}", fix=fix)


def _broken(url: str, text: str, error: Exception) -> ChatpipeError:
    fix = "try again"
    if text == NO_REPLY and url.startswith("'http:"):
        fix += ", or write https:// in the base URL"  # most TLS servers end a plain request like this
    return BrokenAnswer(f"broken answer from {url}: {text}", fix=fix)


def _unreadable(url: str, text: str, error: Exception) -> ChatpipeError:
    assert isinstance(error, (UnreadableBody, MalformedReply))
    return UnreadableReply(f"cannot read the reply from {url}: {text}", fix=error.fix)


def _proxy_error(url: str, text: str, route: tuple[str, str] | None) -> ChatpipeError:
    from chatpipe.wire import proxy_refusals

    fault = proxy_refusals.fault(url, text, route)
    fault.reached_server = False
    return fault


def _unsendable(url: str, text: str, error: Exception) -> ChatpipeError:
    return BadConfiguration(
        f"the request cannot be sent to {url}: {text}", fix="check the key and the headers"
    )


def _bad_url(url: str, text: str, error: Exception) -> ChatpipeError:
    return BadConfiguration(f"{url} cannot be used: {text}", fix="check the base URL")


def _redirect_loop(url: str, text: str, error: Exception) -> ChatpipeError:
    return BadConfiguration(f"{url} only leads from one redirect to the next", fix="check the base URL")


def _bug(url: str, text: str, error: Exception) -> ChatpipeError:
    return ChatpipeError(f"httpx was used wrongly ({type(error).__name__}): {text}")


# No connection to the server came about, or it leads to something else.
_NO_SERVER = (httpx.ConnectError, httpx.ConnectTimeout, NotHTTP)

# The first match wins, so a class must precede its bases.
_BY_CLASS = (
    (httpx.ConnectTimeout, _connect_timeout),
    (httpx.TimeoutException, _timeout),
    (httpx.ConnectError, _connect_error),
    (httpx.NetworkError, _network_error),
    (httpx.LocalProtocolError, _unsendable),
    (OverlongReply, _overlong),
    (NotHTTP, _not_http),
    ((UnreadableBody, MalformedReply), _unreadable),
    (httpx.ProtocolError, _broken),
    ((httpx.UnsupportedProtocol, httpx.InvalidURL), _bad_url),
    (httpx.DecodingError, _broken),
    (httpx.TooManyRedirects, _redirect_loop),
    (httpx.HTTPStatusError, _bug),
    (httpx.HTTPError, _network_error),
    ((httpx.StreamError, httpx.CookieConflict), _bug),
    (OSError, _network_error),
)


def _message_of(error: Exception) -> str:
    """The system's message if a system error is the cause, else the exception's; lower case, no full stop."""
    cause = root_os_error(error)
    text = str(error) or type(error).__name__
    if cause is not None and isinstance(error, (httpx.NetworkError, OSError)):
        text = system_message(cause)
    text = printable_line(text).removesuffix(".")
    return text[:1].lower() + text[1:] if text[1:2].islower() else text


def _is_certificate_fault(cause: OSError | None) -> bool:
    return hasattr(cause, "verify_message")


def _is_tls_fault(cause: OSError | None) -> bool:
    # Compare by name to avoid importing ssl.
    return any(base.__name__ == "SSLError" for base in type(cause).__mro__)


def _is_unknown_host(cause: OSError | None) -> bool:
    return isinstance(cause, socket.gaierror) and cause.errno == socket.EAI_NONAME


def printable_line(text: str, *, is_ours: bool = False) -> str:
    """External text as part of an error line: on one line, secrets and controls hidden, truncated.

    is_ours: it is the user's, as a URL is. All other text is from a server, which may repeat a key.
    """
    text = " ".join(secrets.hide(text, words=not is_ours)[: 4 * _MAX_LINE_CHARS].split())
    text = re.sub(_CONTROLS, _escape, text)
    return text if len(text) <= _MAX_LINE_CHARS else text[: _MAX_LINE_CHARS - 1] + "…"


def _escape(match: re.Match[str]) -> str:
    code = ord(match[0])
    return f"\\x{code:02x}" if code < 128 else f"\\u{code:04x}"
