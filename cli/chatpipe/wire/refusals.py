"""Error replies -> our errors, each with an exit status, a one-line message and a fix."""

from __future__ import annotations

import re
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
from chatpipe.wire import retry
from chatpipe.wire.faults import printable_line

# The part of a proxy's error page that is searched for its message, which comes early.
_PAGE_BYTES = 64 * 1024

# Messages of a 404 for a wrong path that has the shape of an API error: from OpenAI, llama.cpp, Groq,
# and servers that wrap Go's "404 page not found". Any other 404 is about the model or another named
# resource, such as Moonshot's "Not found the model 'x'".
_WRONG_PATH = r"(?:404 )?(?:invalid url|file not found|page not found|unknown request url|not found\W*$)"


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
    if status >= 500 or status in retry.BUSY:
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
