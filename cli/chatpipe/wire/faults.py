"""What fails on the wire -> our errors, each with its exit status, one clear line and what to do.

Two ways in: an exception of httpx (no whole reply came), or a reply that is not a success.
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
from chatpipe.wire import redact, retry
from chatpipe.wire.causes import system_error, system_message
from chatpipe.wire.timeouts import DEADLINE

WORDS_MAX = 500
# What a proxy's error page is searched in; the words come early.
_PAGE_BYTES = 64 * 1024

# What a 404 for a wrong path says although it has the shape of an API error: OpenAI, llama.cpp,
# Groq, and what wraps Go's "404 page not found". Any other one is about the model, or about
# something else that was named: "Not found the model 'x'" is one (Moonshot).
_WRONG_PATH = r"(?:404 )?(?:invalid url|file not found|page not found|unknown request url|not found\W*$)"

# Both are compiled when they are used, which is when something has failed: 0.6 ms of start-up.
_CONTROLS = "[\x00-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069\ud800-\udfff]"


# No whole reply


def from_exception(error: Exception, where: str) -> ChatpipeError:
    """The error for what a transport raised while it talked to where, a URL or "" for just a server.

    An error of ours comes back as it is. What httpx raises only for wrong use of itself, and what
    is not known at all, is a bug of ours (status 70).
    """
    if isinstance(error, ChatpipeError):
        return error
    if isinstance(error, httpx.HTTPStatusError):
        return from_reply(error.response.status_code, error.response.headers, _content(error.response), where)
    url = f"'{words(redact.url(where))}'" if where else "the server"
    text = _text(error)
    for kinds, make in _BY_KIND:
        if isinstance(error, kinds):
            return make(url, text, error)
    return ChatpipeError(f"unexpected {type(error).__name__} from {url}: {text}")


def is_passing(error: Exception) -> bool:
    """Whether the same request may go through later.

    Not so: an unknown host, a failed TLS handshake, a proxy that said no, settings that cannot
    work, and an absolute deadline, as the time for further tries has passed with it.
    """
    if isinstance(error, httpx.TimeoutException):
        return str(error) != DEADLINE
    cause = system_error(error)
    if isinstance(error, httpx.ProxyError):
        return cause is not None
    if isinstance(error, httpx.ConnectError):
        return not (_is_tls_fault(cause) or _is_unknown_host(cause))
    return isinstance(error, (httpx.NetworkError, httpx.RemoteProtocolError, httpx.DecodingError))


def _connect_error(url: str, text: str, error: Exception) -> ChatpipeError:
    cause = system_error(error)
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
        return _late(url)
    return TryLater(f"cannot reach {url}: {text}", fix="raise --connect-timeout")


def _timeout(url: str, text: str, error: Exception) -> ChatpipeError:
    if str(error) == DEADLINE:
        return _late(url)
    return TryLater(f"gave up on {url}: {text}", fix="raise --timeout")


def _late(url: str) -> ChatpipeError:
    return TryLater(f"no whole answer from {url} within the deadline", fix="raise --deadline")


def _network_error(url: str, text: str, error: Exception) -> ChatpipeError:
    return Unreachable(f"lost the connection to {url}: {text}", fix=_certificate_fix(text) or "try again")


def _certificate_fix(text: str) -> str:
    """The hint for the alerts about our certificate; in TLS 1.3 they come after the handshake."""
    return "the server wants a --client-cert that it knows" if "alert" in text and "cert" in text else ""


def _broken(url: str, text: str, error: Exception) -> ChatpipeError:
    return BrokenAnswer(f"broken answer from {url}: {text}", fix="try again")


def _proxy_error(url: str, text: str, error: Exception) -> ChatpipeError:
    if text.startswith("407"):  # what the proxy answers to CONNECT has no reply of its own
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


def _redirects(url: str, text: str, error: Exception) -> ChatpipeError:
    return BadConfiguration(f"{url} only leads from one redirect to the next", fix="check the base URL")


def _bug(url: str, text: str, error: Exception) -> ChatpipeError:
    return ChatpipeError(f"httpx was used wrongly ({type(error).__name__}): {text}")


# The first that fits counts: a class stands before its bases.
_BY_KIND = (
    (httpx.ConnectTimeout, _connect_timeout),
    (httpx.TimeoutException, _timeout),
    (httpx.ConnectError, _connect_error),
    (httpx.NetworkError, _network_error),
    (httpx.LocalProtocolError, _unsendable),
    (httpx.ProtocolError, _broken),
    (httpx.ProxyError, _proxy_error),
    ((httpx.UnsupportedProtocol, httpx.InvalidURL), _bad_url),
    (httpx.DecodingError, _broken),
    (httpx.TooManyRedirects, _redirects),
    (httpx.HTTPError, _network_error),
    ((httpx.StreamError, httpx.CookieConflict), _bug),
    (OSError, _network_error),
)


def _text(error: Exception) -> str:
    """The cause in the system's words if there is one, else the message; lower case, no full stop."""
    cause = system_error(error)
    text = str(error) or type(error).__name__
    if cause is not None and isinstance(error, (httpx.NetworkError, OSError)):
        text = system_message(cause)
    text = words(text).removesuffix(".")
    return text[:1].lower() + text[1:] if text[1:2].islower() else text


def _is_certificate_fault(cause: OSError | None) -> bool:
    return hasattr(cause, "verify_message")


def _is_tls_fault(cause: OSError | None) -> bool:
    # By name: nobody needs to import ssl for this.
    return any(base.__name__ == "SSLError" for base in type(cause).__mro__)


def _is_unknown_host(cause: OSError | None) -> bool:
    return isinstance(cause, socket.gaierror) and cause.errno == socket.EAI_NONAME


def _content(response: httpx.Response) -> bytes:
    try:
        return response.content
    except httpx.ResponseNotRead:
        return b""


# A reply that is not a success


def from_reply(status: int, headers: Mapping[str, str], body: bytes, url: str) -> ChatpipeError:
    """The error for a whole reply; headers as httpx.Headers, or with lower-case names.

    A status below 300 is for bodies that hold an error all the same (OpenRouter): the number in
    its `code` is taken for the status, or it is a broken answer.
    """
    fault = _api_fault(body)
    codes = error_codes(body)
    kind, fix = _kind(_inner_status(status, fault), headers, fault, codes)
    said = words(_said(body, fault)) or _phrase(status)
    where = words(redact.url(url))
    if 300 <= status < 400 and "location" in headers:
        said = f"leads on to '{_location(headers['location'], url)}'"
    return kind(
        f"{status} from '{where}': {said}",
        fix=fix,
        http_status=status,
        request_id=headers.get("x-request-id"),
        body=body,
    )


def error_codes(body: bytes) -> frozenset[str]:
    """The strings under `code` and `type` of an error body, empty for any other body."""
    fault = _api_fault(body)
    if not isinstance(fault, dict):
        return frozenset()
    return frozenset(code for code in (fault.get("code"), fault.get("type")) if isinstance(code, str))


def words(text: str) -> str:
    """Text from outside, fit for an error line: one line, control characters escaped, cut."""
    text = " ".join(text[: 4 * WORDS_MAX].split())
    text = re.sub(_CONTROLS, _escape, text)
    return text if len(text) <= WORDS_MAX else text[: WORDS_MAX - 1] + "…"


def _escape(match: re.Match[str]) -> str:
    code = ord(match[0])
    return f"\\x{code:02x}" if code < 128 else f"\\u{code:04x}"


def _kind(
    status: int, headers: Mapping[str, str], fault: Any, codes: frozenset[str]
) -> tuple[type[ChatpipeError], str]:
    """The class of error and what to do."""
    if not retry.QUOTA_CODES.isdisjoint(codes):
        return NoAccess, "add credit to the account, or use another key"
    if status == 404:
        if _is_wrong_path(fault):
            return BadConfiguration, "is the base URL right? most end in /v1"
        return BadInput, "is the model one that the server offers?"
    if status in _BY_STATUS:
        kind, fix = _BY_STATUS[status]
        return kind, _context_fix(fault, codes) or fix
    if status >= 500:
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


def _context_fix(fault: Any, codes: frozenset[str]) -> str:
    """The hint for a prompt that is too long: OpenAI's and llama.cpp's codes, vLLM's words."""
    message = str(_message(fault) or "").lower()
    too_long = codes & {"context_length_exceeded", "exceed_context_size_error"}
    return "shorten the messages or lower --max-tokens" if too_long or "context length" in message else ""


def _api_fault(body: bytes) -> Any:
    """The value under `error` of a JSON body, whatever its shape; None if there is none."""
    try:
        value = values.loads(body)
    except values.NotJSON:
        return None
    if isinstance(value, list) and value:
        value = value[0]  # Gemini sends an array of one
    return value.get("error") if isinstance(value, dict) else None


def _is_wrong_path(fault: Any) -> bool:
    message = _message(fault) if isinstance(fault, dict) else None
    return message is None or re.match(_WRONG_PATH, message, re.IGNORECASE) is not None


def _inner_status(status: int, fault: Any) -> int:
    code = fault.get("code") if status < 300 and isinstance(fault, dict) else None
    return code if isinstance(code, int) and 400 <= code < 600 else status


def _message(fault: Any) -> str | None:
    message = fault.get("message") if isinstance(fault, dict) else fault
    return message if isinstance(message, str) and message.strip() else None


def _said(body: bytes, fault: Any) -> str:
    """The server's words, from any of the shapes seen: see error_codes(), a page, or plain text."""
    message = _message(fault)
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
    """The title of an HTML page, or else its first text; other text as it is."""
    if not re.match(r"\s*<(?:!doctype|html|head|body|title|center|h1)", page, re.IGNORECASE):
        return page
    import html  # brings a table of 2,231 names

    title = re.search(r"<title[^>]*>([^<]+)</title", page, re.IGNORECASE)
    if title is not None and title[1].strip():
        return html.unescape(title[1])
    page = re.sub(r"<(script|style)\b.*?</\1\s*>", " ", page, flags=re.IGNORECASE | re.DOTALL)
    return html.unescape(re.sub(r"<[^>]*>", " ", page))


def _phrase(status: int) -> str:
    from http import HTTPStatus

    try:
        return HTTPStatus(status).phrase.lower()
    except ValueError:
        return "no reason given"


def _location(location: str, url: str) -> str:
    """The origin a redirect leads to; its path and query may hold what is not for showing."""
    try:
        target = httpx.URL(url).join(location)
        netloc = target.netloc.decode("ascii", "replace")
    except httpx.InvalidURL:
        return "nowhere"
    return words(f"{target.scheme}://{netloc}")
