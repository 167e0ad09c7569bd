"""What failed -> status, line and hint. Every exception of httpx, every shape of error body."""

from __future__ import annotations

import errno
import socket
import ssl

import httpx
import pytest

from chatpipe.errors import (
    BadInput,
    Status,
)
from chatpipe.server.request_extensions import THROUGH_PROXY
from chatpipe.wire import faults
from chatpipe.wire.http1 import NO_REPLY, EarlyEnd, MalformedReply, NotHTTP
from chatpipe.wire.timeouts import DEADLINE_PASSED
from support.parametrize import cases

URL = "http://127.0.0.1:9/v1/chat/completions"
SHOWN = f"'{URL}'"


def caused(error: httpx.TransportError, cause: Exception) -> httpx.TransportError:
    """As our transport raises it; by way of httpcore there is one more in between, see below."""
    error.__cause__ = cause
    return error


def unconnected(cause: Exception) -> httpx.TransportError:
    return caused(httpx.ConnectError("x"), cause)


REFUSED = ConnectionRefusedError(errno.ECONNREFUSED, "Connection refused")


def untrusted(message: str) -> ssl.SSLCertVerificationError:
    error = ssl.SSLCertVerificationError(1, f"[SSL: CERTIFICATE_VERIFY_FAILED] {message} (_ssl.c:1006)")
    error.verify_message = message
    return error


# Every class of httpx's tree, by name, with the status that it ends in
EXPECTED = {
    httpx.ConnectTimeout: Status.TRY_LATER,
    httpx.ReadTimeout: Status.TRY_LATER,
    httpx.WriteTimeout: Status.TRY_LATER,
    httpx.PoolTimeout: Status.TRY_LATER,
    httpx.TimeoutException: Status.TRY_LATER,
    httpx.ConnectError: Status.UNREACHABLE,
    httpx.ReadError: Status.UNREACHABLE,
    httpx.WriteError: Status.UNREACHABLE,
    httpx.CloseError: Status.UNREACHABLE,
    httpx.NetworkError: Status.UNREACHABLE,
    httpx.ProxyError: Status.UNREACHABLE,
    httpx.TransportError: Status.UNREACHABLE,
    httpx.RequestError: Status.UNREACHABLE,
    httpx.HTTPError: Status.UNREACHABLE,
    httpx.RemoteProtocolError: Status.BROKEN_ANSWER,
    httpx.ProtocolError: Status.BROKEN_ANSWER,
    httpx.DecodingError: Status.BROKEN_ANSWER,
    httpx.LocalProtocolError: Status.BAD_CONFIGURATION,
    httpx.UnsupportedProtocol: Status.BAD_CONFIGURATION,
    httpx.InvalidURL: Status.BAD_CONFIGURATION,
    httpx.TooManyRedirects: Status.BAD_CONFIGURATION,
    httpx.HTTPStatusError: Status.BUG,
    httpx.CookieConflict: Status.BUG,
    httpx.StreamError: Status.BUG,
    httpx.StreamConsumed: Status.BUG,
    httpx.StreamClosed: Status.BUG,
    httpx.ResponseNotRead: Status.BUG,
    httpx.RequestNotRead: Status.BUG,
}


def test_the_table_has_every_exception_of_httpx() -> None:
    public = [value for name, value in vars(httpx).items() if name in httpx.__all__]
    assert {value for value in public if isinstance(value, type) and issubclass(value, Exception)} == set(
        EXPECTED
    )


@pytest.mark.parametrize(
    ("kind", "status"), EXPECTED.items(), ids=lambda value: getattr(value, "__name__", value)
)
def test_every_exception_of_httpx_has_a_status_and_one_line(kind: type[Exception], status: Status) -> None:
    if kind is httpx.HTTPStatusError:
        request = httpx.Request("POST", URL)
        error: Exception = httpx.HTTPStatusError("no", request=request, response=httpx.Response(401))
    elif kind in (httpx.StreamConsumed, httpx.StreamClosed, httpx.ResponseNotRead, httpx.RequestNotRead):
        error = kind()
    else:
        error = kind("It broke\n\x1b[2J.")
    fault = faults.from_exception(error, URL)
    assert fault.status is status
    assert fault.what
    assert str(fault).isprintable()


UNTRUSTED = "certificate verify failed: unable to get local issuer certificate"
MISMATCH = "IP address mismatch, certificate is not valid for '127.0.0.1'"
EARLY = "certificate verify failed: certificate is not yet valid"
RENEW = "the server needs a new certificate, or the clock of this machine is wrong"
EXPIRED = "certificate verify failed: certificate has expired"
WEAK = "certificate verify failed: EE certificate key too weak"
ALERT = "tlsv13 alert certificate required"
FAILURE = "sslv3 alert handshake failure"
LINE_END = "a line end or NUL in header 'Authorization'"

LINES: dict[str, tuple[Exception, str]] = {
    "another protocol": (
        NotHTTP("it says 'SSH-2.0'"),
        f"no HTTP at {SHOWN}: it says 'SSH-2.0': check the base URL",
    ),
    "closed without a reply": (
        EarlyEnd(NO_REPLY),
        f"broken answer from {SHOWN}: {NO_REPLY}: try again, or write https:// in the base URL",
    ),
    "TLS for http": (
        NotHTTP("it speaks TLS", is_tls=True),
        f"no HTTP at {SHOWN}: it speaks TLS: write https:// in the base URL",
    ),
    "refused": (
        caused(httpx.ConnectError("Connection refused"), REFUSED),
        f"cannot reach {SHOWN}: connection refused: check the base URL and that the server runs",
    ),
    "refused, by httpcore": (
        caused(httpx.ConnectError("[Errno 111] Connection refused"), unconnected(REFUSED)),
        f"cannot reach {SHOWN}: connection refused: check the base URL and that the server runs",
    ),
    "unknown name": (
        unconnected(socket.gaierror(socket.EAI_NONAME, "Name or service not known")),
        f"cannot reach {SHOWN}: name or service not known: check the base URL and that the server runs",
    ),
    "unknown authority": (
        unconnected(untrusted("unable to get local issuer certificate")),
        f"cannot trust {SHOWN}: {UNTRUSTED}: if the server's authority is your own, name it with --cacert",
    ),
    "wrong name": (
        unconnected(untrusted(MISMATCH)),
        f"cannot trust {SHOWN}: certificate verify failed: {MISMATCH}: check the host name in the base URL",
    ),
    "not yet valid": (
        unconnected(untrusted("certificate is not yet valid")),
        f"cannot trust {SHOWN}: {EARLY}: check the clock of this machine",
    ),
    "expired": (
        unconnected(untrusted("certificate has expired")),
        f"cannot trust {SHOWN}: {EXPIRED}: {RENEW}",
    ),
    "another fault of the certificate": (
        unconnected(untrusted("EE certificate key too weak")),
        f"cannot trust {SHOWN}: {WEAK}: the server needs another certificate",
    ),
    "a host name that the server does not know": (
        unconnected(ssl.SSLError(1, "[SSL: TLSV1_UNRECOGNIZED_NAME] tlsv1 unrecognized name (_ssl.c:1)")),
        f"no TLS with {SHOWN}: tlsv1 unrecognized name: check the host name in the base URL",
    ),
    "an old version of TLS": (
        unconnected(ssl.SSLError(1, "[SSL: X] tlsv1 alert protocol version (_ssl.c:1)")),
        f"no TLS with {SHOWN}: tlsv1 alert protocol version: the server needs TLS 1.2 or later",
    ),
    "tls alert": (
        unconnected(ssl.SSLError(1, f"[SSL: TLSV13_ALERT_CERTIFICATE_REQUIRED] {ALERT} (_ssl.c:1)")),
        f"no TLS with {SHOWN}: {ALERT}: the server wants a --client-cert that it knows",
    ),
    "tls alert of an older server": (
        unconnected(ssl.SSLError(1, f"[SSL: X] {FAILURE} (_ssl.c:1)")),
        f"no TLS with {SHOWN}: {FAILURE}: does the server want a --client-cert?",
    ),
    "connect time-out": (
        httpx.ConnectTimeout("no connection within 10 s"),
        f"cannot reach {SHOWN}: no connection within 10 s: raise --connect-timeout",
    ),
    "read time-out": (
        httpx.ReadTimeout("no byte for 600 s"),
        f"gave up on {SHOWN}: no byte for 600 s: raise --timeout",
    ),
    "deadline": (
        httpx.ReadTimeout(DEADLINE_PASSED),
        f"no whole answer from {SHOWN} within the deadline: raise --deadline",
    ),
    "deadline while connecting": (
        httpx.ConnectTimeout(DEADLINE_PASSED),
        f"no whole answer from {SHOWN} within the deadline: raise --deadline",
    ),
    "reset": (
        caused(httpx.ReadError("x"), ConnectionResetError(errno.ECONNRESET, "Connection reset by peer")),
        f"lost the connection to {SHOWN}: connection reset by peer: try again",
    ),
    "cut": (
        httpx.RemoteProtocolError("peer closed connection before the end of its reply"),
        f"broken answer from {SHOWN}: peer closed connection before the end of its reply: try again",
    ),
    "malformed": (
        MalformedReply("unexpected status 101"),
        (
            f"cannot read the reply from {SHOWN}: unexpected status 101: "
            "try it with curl: chatpipe build -f curl"
        ),
    ),
    "proxy": (
        httpx.ProxyError("407 Proxy Authentication Required"),
        (
            f"no way to {SHOWN} through the proxy: 407 Proxy Authentication Required: "
            "it wants a name and a password: --proxy"
        ),
    ),
    "bad header": (
        httpx.LocalProtocolError(LINE_END),
        f"the request cannot be sent to {SHOWN}: {LINE_END}: check the key and the headers",
    ),
    "an OSError that nobody caught": (
        REFUSED,
        f"lost the connection to {SHOWN}: connection refused: try again",
    ),
    "anything else": (KeyError("x"), f"unexpected KeyError from {SHOWN}: 'x'"),
}


@cases(
    "error, line",
    {
        "connection": (
            httpx.ConnectTimeout("no connection within 10 s"),
            "cannot reach {way}: no connection within 10 s: raise --connect-timeout",
        ),
        "byte": (
            httpx.ReadTimeout("no byte for 60 s"),
            "gave up on {way}: no byte for 60 s: raise --timeout",
        ),
        "deadline before the connection": (
            httpx.ConnectTimeout(DEADLINE_PASSED),
            "no whole answer from {way} within the deadline: raise --deadline",
        ),
        "deadline after it": (
            httpx.ReadTimeout(DEADLINE_PASSED),
            "no whole answer from {way} within the deadline: raise --deadline",
        ),
    },
)
def test_a_wait_that_takes_too_long_names_the_proxy_on_its_way(error: Exception, line: str) -> None:
    """It is the proxy or the server that is silent, and the client cannot tell which."""
    extensions = {THROUGH_PROXY: ("http://p:3128", "https_proxy")}
    fault = faults.from_exception(error, URL, extensions)
    assert str(fault) == line.format(way=f"{SHOWN} through the proxy 'http://p:3128' (https_proxy)")


@pytest.mark.parametrize(("error", "line"), LINES.values(), ids=LINES)
def test_an_exception_has_its_line(error: Exception, line: str) -> None:
    assert str(faults.from_exception(error, URL)) == line


def test_without_a_url_it_is_the_server() -> None:
    assert faults.from_exception(httpx.ReadError("x"), "").what == "lost the connection to the server: x"


def test_plain_http_behind_https_gets_its_hint() -> None:
    error = unconnected(ssl.SSLError(1, "[SSL: WRONG_VERSION_NUMBER] wrong version number (_ssl)"))
    fault = faults.from_exception(error, "https://127.0.0.1:9/v1")
    assert (fault.status, fault.fix) == (
        Status.UNREACHABLE,
        "write http:// in the base URL if the server has no TLS",
    )


def test_a_server_that_sends_an_alert_has_tls() -> None:
    error = unconnected(ssl.SSLError(1, "[SSL: X] tlsv1 alert access denied (_ssl.c:1)"))
    assert faults.from_exception(error, "https://127.0.0.1:9/v1").fix == ""


def test_secrets_in_the_url_are_not_shown() -> None:
    fault = faults.from_exception(httpx.ReadError("x"), "https://me:s3cret@h.example/v1?key=s3cret")
    assert fault.what == "lost the connection to 'https://h.example/v1': x"


def test_an_error_of_ours_stays_what_it_is() -> None:
    error = BadInput("x")
    assert faults.from_exception(error, URL) is error


@cases(
    ("error", "passing"),
    {
        "refused": (unconnected(REFUSED), True),
        "resolver down": (unconnected(socket.gaierror(socket.EAI_AGAIN, "x")), True),
        "proxy refused": (caused(httpx.ProxyError("x"), REFUSED), True),
        "time-out": (httpx.ReadTimeout("no byte for 1 s"), True),
        "connect time-out": (httpx.ConnectTimeout("timed out"), True),
        "read": (httpx.ReadError("x"), True),
        "cut": (httpx.RemoteProtocolError("x"), True),
        "another protocol": (NotHTTP("it says 'SSH-2.0'"), False),
        "malformed": (MalformedReply("unexpected status 101"), False),
        "certificate": (unconnected(untrusted("expired")), False),
        "tls": (unconnected(ssl.SSLError(1, "x")), False),
        "tls alert behind the handshake": (
            caused(httpx.ReadError("x"), ssl.SSLError(1, f"[SSL: X] {ALERT} (_ssl.c:1)")),
            False,
        ),
        "other tls error behind the handshake": (
            caused(httpx.ReadError("x"), ssl.SSLError(1, "[SSL: X] bad record mac (_ssl.c:1)")),
            True,
        ),
        "no such host": (unconnected(socket.gaierror(socket.EAI_NONAME, "x")), False),
        "proxy says no": (httpx.ProxyError("407"), False),
        "deadline": (httpx.ReadTimeout(DEADLINE_PASSED), False),
        "bad header": (httpx.LocalProtocolError("x"), False),
        "scheme": (httpx.UnsupportedProtocol("x"), False),
        "url": (httpx.InvalidURL("x"), False),
        "ours": (BadInput("x"), False),
    },
)
def test_only_passing_faults_may_be_retried(error: Exception, passing: bool) -> None:
    assert faults.is_transient(error) is passing
