"""Network failures -> our errors, each with an exit status, a one-line message and a fix.

There are two entry points: from_exception() if no complete reply arrived, and from_reply() for an
error reply.
"""

from __future__ import annotations

import re
import socket
from collections.abc import Mapping
from typing import Any

import httpx

from chatpipe.errors import (
    BadConfiguration,
    BadInput,
    BrokenAnswer,
    ChatpipeError,
    NoAccess,
    TryLater,
    Unreachable,
)
from chatpipe.inputs import values
from chatpipe.server import redact
from chatpipe.system.causes import root_os_error, system_message
from chatpipe.wire import retry
from chatpipe.wire.timeouts import DEADLINE

MAX_LINE_CHARS = 500
# The part of a proxy's error page that is searched for its message, which comes early.
_PAGE_BYTES = 64 * 1024

# Messages of a 404 for a wrong path that has the shape of an API error: from OpenAI, llama.cpp, Groq,
# and servers that wrap Go's "404 page not found". Any other 404 is about the model or another named
# resource, such as Moonshot's "Not found the model 'x'".
_WRONG_PATH = r"(?:404 )?(?:invalid url|file not found|page not found|unknown request url|not found\W*$)"

# Both patterns are compiled on use, that is after a failure. This saves 0.6 ms at start-up.
_CONTROLS = "[\x00-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069\ud800-\udfff]"


# No complete reply


def from_exception(error: Exception, where: str) -> ChatpipeError:
    """Convert an exception of a transport. where is the URL, or "" to say "the server".

    An error of ours is returned unchanged. Exceptions that httpx raises for incorrect use, and
    unknown exceptions, are bugs of ours (status 70).
    """
    if isinstance(error, ChatpipeError):
        return error
    if isinstance(error, httpx.HTTPStatusError):
        return from_reply(error.response.status_code, error.response.headers, _body_of(error.response), where)
    url = f"'{printable_line(redact.url(where))}'" if where else "the server"
    text = _message_of(error)
    for classes, convert in _BY_CLASS:
        if isinstance(error, classes):
            return convert(url, text, error)
    return ChatpipeError(f"unexpected {type(error).__name__} from {url}: {text}")


def is_transient(error: Exception) -> bool:
    """True if the same request may succeed later.

    False for an unknown host, a failed TLS handshake, a refusal by the proxy and invalid settings.
    False for the absolute deadline too, because it leaves no time for another attempt.
    """
    if isinstance(error, httpx.TimeoutException):
        return str(error) != DEADLINE
    cause = root_os_error(error)
    if isinstance(error, httpx.ProxyError):
        return cause is not None
    if isinstance(error, httpx.ConnectError):
        return not (_is_tls_fault(cause) or _is_unknown_host(cause))
    return isinstance(error, (httpx.NetworkError, httpx.RemoteProtocolError, httpx.DecodingError))


def _connect_error(url: str, text: str, error: Exception) -> ChatpipeError:
    cause = root_os_error(error)
    if _is_certificate_fault(cause):
        fix = "if the server's authority is your own, name it with --cacert"
        if "mismatch" in text:
            fix = "check the host name in the base URL"
        elif "expired" in text:
            fix = "the server needs a new certificate"
        return Unreachable(f"cannot trust {url}: {text}", fix=fix)
    if _is_tls_fault(cause):
        fix = "is it http rather than https?" if url.startswith("'https:") else ""
        return Unreachable(f"no TLS with {url}: {text}", fix=_certificate_fix(text) or fix)
    return Unreachable(f"cannot reach {url}: {text}", fix="check the base URL and that the server runs")


def _connect_timeout(url: str, text: str, error: Exception) -> ChatpipeError:
    if str(error) == DEADLINE:
        return _deadline_passed(url)
    return TryLater(f"cannot reach {url}: {text}", fix="raise --connect-timeout")


def _timeout(url: str, text: str, error: Exception) -> ChatpipeError:
    if str(error) == DEADLINE:
        return _deadline_passed(url)
    return TryLater(f"gave up on {url}: {text}", fix="raise --timeout")


def _deadline_passed(url: str) -> ChatpipeError:
    return TryLater(f"no whole answer from {url} within the deadline", fix="raise --deadline")


def _network_error(url: str, text: str, error: Exception) -> ChatpipeError:
    return Unreachable(f"lost the connection to {url}: {text}", fix=_certificate_fix(text) or "try again")


def _certificate_fix(text: str) -> str:
    """The fix for TLS alerts about our certificate. In TLS 1.3 they arrive after the handshake."""
    return "the server wants a --client-cert that it knows" if "alert" in text and "cert" in text else ""


def _broken(url: str, text: str, error: Exception) -> ChatpipeError:
    return BrokenAnswer(f"broken answer from {url}: {text}", fix="try again")


def _proxy_error(url: str, text: str, error: Exception) -> ChatpipeError:
    if text.startswith("407"):  # the proxy's answer to CONNECT arrives as an exception, not as a reply
        return NoAccess(
            f"no way to {url} through the proxy: {text}", fix="it wants a name and a password: --proxy"
        )
    return Unreachable(f"no way to {url} through the proxy: {text}", fix="check --proxy")


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


# The first match wins, so a class must precede its bases.
_BY_CLASS = (
    (httpx.ConnectTimeout, _connect_timeout),
    (httpx.TimeoutException, _timeout),
    (httpx.ConnectError, _connect_error),
    (httpx.NetworkError, _network_error),
    (httpx.LocalProtocolError, _unsendable),
    (httpx.ProtocolError, _broken),
    (httpx.ProxyError, _proxy_error),
    ((httpx.UnsupportedProtocol, httpx.InvalidURL), _bad_url),
    (httpx.DecodingError, _broken),
    (httpx.TooManyRedirects, _redirect_loop),
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


def _body_of(response: httpx.Response) -> bytes:
    try:
        return response.content
    except httpx.ResponseNotRead:
        return b""


# An error reply


def from_reply(status: int, headers: Mapping[str, str], body: bytes, url: str) -> ChatpipeError:
    """Convert a complete error reply. headers are httpx.Headers or have lower-case names.

    A reply with a status below 300 may contain an error all the same (OpenRouter). The number in
    its `code` then counts as the status; without one the reply is a broken answer.
    """
    api_error = _api_error(body)
    codes = error_codes(body)
    error_class, fix = _classify(_inner_status(status, api_error), headers, api_error, codes)
    message = printable_line(_server_message(body, api_error)) or _status_phrase(status)
    where = printable_line(redact.url(url))
    if 300 <= status < 400 and "location" in headers:
        message = f"leads on to '{_redirect_origin(headers['location'], url)}'"
    return error_class(
        f"{status} from '{where}': {message}",
        fix=fix,
        http_status=status,
        request_id=headers.get("x-request-id"),
        body=body,
    )


def error_codes(body: bytes) -> frozenset[str]:
    """The strings under `code` and `type` of an error body. Empty for any other body."""
    api_error = _api_error(body)
    if not isinstance(api_error, dict):
        return frozenset()
    return frozenset(code for code in (api_error.get("code"), api_error.get("type")) if isinstance(code, str))


def printable_line(text: str) -> str:
    """External text as part of an error line: on one line, control characters escaped, truncated."""
    text = " ".join(text[: 4 * MAX_LINE_CHARS].split())
    text = re.sub(_CONTROLS, _escape, text)
    return text if len(text) <= MAX_LINE_CHARS else text[: MAX_LINE_CHARS - 1] + "…"


def _escape(match: re.Match[str]) -> str:
    code = ord(match[0])
    return f"\\x{code:02x}" if code < 128 else f"\\u{code:04x}"


def _classify(
    status: int, headers: Mapping[str, str], api_error: Any, codes: frozenset[str]
) -> tuple[type[ChatpipeError], str]:
    """The error class and the fix."""
    if not retry.QUOTA_CODES.isdisjoint(codes):
        return NoAccess, "add credit to the account, or use another key"
    if status == 404:
        if _is_wrong_path(api_error):
            return BadConfiguration, "is the base URL right? most end in /v1"
        return BadInput, "is the model one that the server offers?"
    if status in _BY_STATUS:
        error_class, fix = _BY_STATUS[status]
        return error_class, _context_length_fix(api_error, codes) or fix
    if status >= 500 or retry.is_busy(status):
        return Unreachable, "try later"
    if status >= 400:
        return BadInput, "fix the request"
    if status >= 300:
        return BadConfiguration, "set the base URL to where it leads, if you trust that"
    return BrokenAnswer, "try again"


_BY_STATUS: dict[int, tuple[type[ChatpipeError], str]] = {
    400: (BadInput, "fix the request"),
    401: (NoAccess, "check the key"),
    402: (NoAccess, "add credit to the account"),
    403: (NoAccess, "ask for access with this key, or use another"),
    405: (BadConfiguration, "is the base URL right? most end in /v1"),
    407: (NoAccess, "the proxy wants a name and a password: --proxy"),
    408: (TryLater, "try again"),
    409: (TryLater, "try again"),
    413: (BadInput, "send less: fewer messages, smaller files"),
    425: (TryLater, "try again"),
    429: (TryLater, "lower the rate or raise --retries"),
    503: (Unreachable, "the server is overloaded or starting, try later"),
}


def _context_length_fix(api_error: Any, codes: frozenset[str]) -> str:
    """The fix for a prompt that is too long: by the codes of OpenAI and llama.cpp, the message of vLLM."""
    message = str(_api_message(api_error) or "").lower()
    too_long = codes & {"context_length_exceeded", "exceed_context_size_error"}
    return "shorten the messages or lower --max-tokens" if too_long or "context length" in message else ""


def _api_error(body: bytes) -> Any:
    """The value under `error` of a JSON body, of any type, or None."""
    try:
        value = values.loads(body)
    except values.NotJSON:
        return None
    if isinstance(value, list) and value:
        value = value[0]  # Gemini sends an array of one
    return value.get("error") if isinstance(value, dict) else None


def _is_wrong_path(api_error: Any) -> bool:
    message = _api_message(api_error) if isinstance(api_error, dict) else None
    return message is None or re.match(_WRONG_PATH, message, re.IGNORECASE) is not None


def _inner_status(status: int, api_error: Any) -> int:
    code = api_error.get("code") if status < 300 and isinstance(api_error, dict) else None
    return code if isinstance(code, int) and 400 <= code < 600 else status


def _api_message(api_error: Any) -> str | None:
    message = api_error.get("message") if isinstance(api_error, dict) else api_error
    return message if isinstance(message, str) and message.strip() else None


def _server_message(body: bytes, api_error: Any) -> str:
    """The server's message from an API error, another JSON value, an HTML page or plain text."""
    message = _api_message(api_error)
    if message is not None:
        return message
    try:
        value = values.loads(body)
    except values.NotJSON:
        return _page_text(body[:_PAGE_BYTES].decode("utf-8", "replace"))
    for key in ("message", "detail", "error_description", "error", "errors"):
        found = value.get(key) if isinstance(value, dict) else None
        if found:
            return found if isinstance(found, str) else values.dumps(found).decode()
    return value if isinstance(value, str) else values.dumps(value).decode()


def _page_text(page: str) -> str:
    """The title of an HTML page, else all its text. Any other text is returned unchanged."""
    if not re.match(r"\s*<(?:!doctype|html|head|body|title|center|h1)", page, re.IGNORECASE):
        return page
    import html  # loads a table of 2,231 names

    title = re.search(r"<title[^>]*>([^<]+)</title", page, re.IGNORECASE)
    if title is not None and title[1].strip():
        return html.unescape(title[1])
    page = re.sub(r"<(script|style)\b.*?</\1\s*>", " ", page, flags=re.IGNORECASE | re.DOTALL)
    return html.unescape(re.sub(r"<[^>]*>", " ", page))


def _status_phrase(status: int) -> str:
    from http import HTTPStatus

    try:
        return HTTPStatus(status).phrase.lower()
    except ValueError:
        return "no reason given"


def _redirect_origin(location: str, url: str) -> str:
    """The origin that a redirect leads to. Its path and query are omitted because they may hold secrets."""
    try:
        target = httpx.URL(url).join(location)
        netloc = target.netloc.decode("ascii", "replace")
    except httpx.InvalidURL:
        return "nowhere"
    return printable_line(f"{target.scheme}://{netloc}")
