"""Error replies, errors inside HTTP 200, error events of a stream -> our errors, and facts for a retry.

All are read by response/server_error.py. An error counts as the HTTP status that it has elsewhere, see
refusal_words.status_of(): the exit status, the fix and the retries follow from that one number.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping

import httpx

from chatpipe.errors import (
    BadConfiguration,
    BadInput,
    BrokenAnswer,
    ChatpipeError,
    NoAccess,
    NoCredit,
    NotRecorded,
    TryLater,
    Unreachable,
)
from chatpipe.inputs import values
from chatpipe.inputs.values import Value
from chatpipe.named_tuple import NamedTuple
from chatpipe.response import sse
from chatpipe.response.server_error import ServerError, error_of
from chatpipe.server import redact
from chatpipe.server.request_extensions import KEY_LINES, THROUGH_PROXY, WAYS_TO_A_KEY
from chatpipe.system.escape import shorten
from chatpipe.wire import proxy_refusals, refusal_words, retry
from chatpipe.wire.faults import printable_line
from chatpipe.wire.retry import FailedAttempt

# The part of a proxy's error page that is searched for its message, which comes early.
_PAGE_BYTES = 64 * 1024
# Longer than this, a text with status 200 is an answer of some kind, whatever words are in it.
_WORDS_BYTES = 1000
_PAGE_START = r"\ufeff?\s*(?:<\?xml[^<>]*>\s*)?<(?:!doctype|html|head|body|title|center|h1)"

_WAYS_TO_A_KEY = ("pass --key-file FILE", "--key-command CMD", "--key-env NAME")
_WRONG_URL = "check the base URL"
_WANTS_TLS = "write https:// in the base URL"
_FIREWALL = "a firewall in front of the server may have sent this page: check the base URL and the network"
_OTHER_VERSION = "set OPENAI_API_VERSION, or end the base URL in ?api-version=VERSION"
# A usual base URL, with the route of completions, of models, or of one of these.
_USUAL_PATH = r"/v1(?:/chat/completions|/[a-z]+(?:/[^/]+)?)$"
_WANTS_CERTIFICATE = "the server wants a --client-cert that it knows"
_UNKNOWN_MODEL = "is the model one that the server offers?"
_NOT_LOADED = "try again when the model is loaded, or raise --retries"
_LOWER_RATE = "lower the rate or raise --retries"
# The same for a refusal that is not retried, however many retries are allowed.
_WITHOUT_RETRIES = {
    _NOT_LOADED: "try again when the model is loaded",
    _LOWER_RATE: "lower the rate, or try again later",
}
_BARRED = "use another server or model: this one must not answer here"
_NO_ROOM = "free memory of the server, or use a smaller model"
_RECORD = "chatpipe serve --replay FILE --record FILE --upstream URL records it"
_NOT_RECORDED = "no_recording"  # the type of the error of `chatpipe serve --replay`
_NOT_ALLOWED = "site_not_allowed"  # the code of that for a host or an origin that `chatpipe serve` refuses

_BY_STATUS: dict[int, tuple[type[ChatpipeError], str]] = {
    400: (BadInput, "fix the request"),
    401: (NoAccess, "check the key"),
    402: (NoCredit, "add credit to the account, raise its limit, or use another key"),
    403: (NoAccess, "ask for access with this key, or use another"),
    407: (NoAccess, "the proxy wants a name and a password: --proxy"),
    408: (TryLater, "try again"),
    409: (TryLater, "try again"),
    413: (BadInput, "send less: fewer messages, smaller files"),
    414: (BadConfiguration, _WRONG_URL),
    421: (BadConfiguration, _WRONG_URL),
    425: (TryLater, "try again"),
    426: (BadConfiguration, _WRONG_URL),
    429: (TryLater, _LOWER_RATE),
    431: (BadConfiguration, "shorten the key and the headers"),
    451: (BadInput, _BARRED),
    501: (Unreachable, _WRONG_URL),  # a server of files, such as Python's, to a POST
    505: (Unreachable, _WRONG_URL),
    511: (Unreachable, "log in to the network, with a browser"),
}


class _Body(NamedTuple):
    """The error in the body of a reply.

    is_wrapped: it has the shape of the API, an object under `error`. is_page: it is a web page.
    """

    error: ServerError
    is_wrapped: bool
    is_json: bool = True
    is_page: bool = False


def from_reply(
    status: int, headers: Mapping[str, str], body: bytes, request: httpx.Request
) -> tuple[ChatpipeError, FailedAttempt]:
    """Convert a complete reply that is an error, or that holds one although its status is below 300.

    headers are httpx.Headers or have lower-case names. Without a known code an error inside 200 is a
    broken answer.
    """
    error, is_wrapped, is_json, is_page = _read(body)
    counted = refusal_words.status_of(status, error)
    error_class, fix = _classify(counted, _Refusal(error, is_wrapped, request, is_page))
    message = printable_line(error.message) or _status_phrase(status)
    where = printable_line(redact.url(str(request.url)), is_ours=True)
    through = ""
    if not is_json and status >= 400 and (route := _replying_proxy(request)) is not None:
        proxy, place = route
        through = f" through the proxy '{proxy}' ({place})"
        error_class, fix = proxy_refusals.http_remedy(status, headers, place) or (error_class, fix)
        if proxy_refusals.is_about_login(status, headers):
            counted = 407  # a 401 is about our key, and would renew it
    if 300 <= status < 400 and "location" in headers:
        message, fix = _redirect(headers["location"], request.url)
    quoted = {**error.headers, **headers} if error.headers else headers
    failure = FailedAttempt(counted, quoted, error.codes, error.delay_s)
    if not retry.is_retryable(failure):  # the server can say so in a header
        fix = _WITHOUT_RETRIES.get(fix, fix)
    fault = error_class(
        f"{status} from '{where}'{through}: {message}",
        fix=fix,
        http_status=status,
        request_id=headers.get("x-request-id"),
        body=body,
    )
    fault.refusal_status = counted
    return fault, failure


def _replying_proxy(request: httpx.Request) -> tuple[str, str] | None:
    """The proxy that may send a reply of its own, and the place that names it; None if there is none.

    A tunnel to https and a SOCKS proxy only carry bytes.
    """
    route: tuple[str, str] | None = request.extensions.get(THROUGH_PROXY)
    if route is None or request.url.scheme != "http" or route[0].startswith("socks"):
        return None
    return route


def from_event(
    error: ServerError, payload: bytes, request: httpx.Request
) -> tuple[ChatpipeError, FailedAttempt]:
    """Convert an error event of a stream that began with HTTP 200. payload is its data.

    An error without a known code, and one inside the server (500), broke the answer off.
    """
    counted = refusal_words.status_of(200, error)
    exits_as = None if counted == 500 else counted
    error_class, fix = _classify(exits_as, _Refusal(error, True, request))
    fix = _WITHOUT_RETRIES.get(fix, fix)  # what is written cannot be retried
    what = f"the server reports an error in mid-stream: {shorten(error.message)}"
    fault = error_class(what, fix=fix, http_status=200, body=payload)
    fault.refusal_status = counted
    return fault, FailedAttempt(counted, error.headers, error.codes, error.delay_s)


def error_in_words(body: bytes) -> ServerError | None:
    """The error in a short text, plain or as a JSON string, by its words; None if they are not known.

    A web page is none: with status 200 it comes from another server than the API.
    """
    if len(body) > _WORDS_BYTES or _page_of(body) is not None:
        return None
    error = _read(body).error
    return None if refusal_words.status_of(200, error) is None else error


def _read(body: bytes) -> _Body:
    """The error in the body of a reply, whatever the body is."""
    is_json = True
    try:
        value = _value_of(body)
    except values.NotJSON:
        value, is_json = _page_text(body), False
    if type(value) is str:
        is_page = not is_json and _page_of(body) is not None
        return _Body(error_of({"error": value}) or ServerError(value), False, is_json, is_page)
    error = error_of(value) or (error_of({"error": value}) if type(value) is dict else None)
    if error is None:
        return _Body(ServerError(values.dumps(value).decode() if value else ""), False)
    if type(value) is list:
        value = value[0]
    return _Body(error, type(value.get("error")) is dict)


def _value_of(body: bytes) -> Value:
    """The JSON of a body, or of its first event if the refusal is a stream. Raises NotJSON."""
    try:
        return values.loads(body)
    except values.NotJSON:
        if not body.lstrip().startswith((b"data:", b"event:", b":")):
            raise
        decoder = sse.EventDecoder()
        payloads = [*decoder.feed(body), *decoder.end()]
        return values.loads(payloads[0] if payloads else b"")


class _Refusal(NamedTuple):
    """An error, and the request that got it. is_wrapped and is_page: see _Body."""

    error: ServerError
    is_wrapped: bool
    request: httpx.Request
    is_page: bool = False


class _SpecialCase(NamedTuple):
    """The error class and the fix of a status, for the refusals of which `holds` is true."""

    statuses: tuple[int, ...]
    holds: Callable[[_Refusal], bool]
    error_class: type[ChatpipeError]
    fix: Callable[[_Refusal], str]


def _classify(status: int | None, refusal: _Refusal) -> tuple[type[ChatpipeError], str]:
    """The error class and the fix. status is the one that the error counts as."""
    if status is None:
        return BrokenAnswer, "try again"
    for case in _SPECIAL_CASES:
        if status in case.statuses and case.holds(refusal):
            return case.error_class, case.fix(refusal)
    error_class, fix = _BY_STATUS.get(status) or _by_range(status)
    if error_class is BadInput and refusal_words.is_too_long(refusal.error):
        fix = "shorten the messages or lower --max-tokens"
    elif error_class is BadInput and refusal_words.is_filtered(refusal.error):
        fix = "change the prompt: a filter of the provider held it back"
    return error_class, fix


def _has_key_of_several_lines(refusal: _Refusal) -> bool:
    return KEY_LINES in refusal.request.extensions


def _key_lines(refusal: _Refusal) -> str:
    return f"check the key: it is the first of {refusal.request.extensions[KEY_LINES]}"


def _has_unknown_model(refusal: _Refusal) -> bool:
    return refusal_words.has_unknown_model(refusal.error)


def _wants_tls(refusal: _Refusal) -> bool:
    return refusal.request.url.scheme == "http" and refusal_words.wants_tls(refusal.error)


def _wants_certificate(refusal: _Refusal) -> bool:
    return refusal.request.url.scheme == "https" and refusal_words.wants_certificate(refusal.error)


def _is_loading(refusal: _Refusal) -> bool:
    return refusal_words.is_loading(refusal.error)


def _cannot_load(refusal: _Refusal) -> bool:
    return refusal_words.cannot_load(refusal.error)


def _is_of_model(refusal: _Refusal) -> bool:
    return refusal_words.is_of_model(refusal.error)


def _is_barred(refusal: _Refusal) -> bool:
    return refusal_words.is_barred(refusal.error)


def _is_page(refusal: _Refusal) -> bool:
    return refusal.is_page


def _lacks_key(refusal: _Refusal) -> bool:
    return not _has_key(refusal.request)


def _wants_newer_version(refusal: _Refusal) -> bool:
    return _is_about_version(refusal) and refusal_words.wants_newer_version(refusal.error)


def _is_about_version(refusal: _Refusal) -> bool:
    return refusal_words.is_about_version(refusal.error)


def _is_not_recorded(refusal: _Refusal) -> bool:
    return _NOT_RECORDED in refusal.error.codes


def _is_not_allowed(refusal: _Refusal) -> bool:
    return _NOT_ALLOWED in refusal.error.codes


def _is_about_route(refusal: _Refusal) -> bool:
    return refusal_words.is_about_route(refusal.error, is_wrapped=refusal.is_wrapped)


def _always(_: _Refusal) -> bool:
    return True


def _ways_to_key(refusal: _Refusal) -> str:
    """The fix for a call without a key: how to send one to this server."""
    *ways, last = refusal.request.extensions.get(WAYS_TO_A_KEY) or _WAYS_TO_A_KEY
    return f"no key was sent: {', '.join(ways)} or {last}" if ways else f"no key was sent: {last}"


def _wrong_url(refusal: _Refusal) -> str:
    """The question about the base URL, with the usual end unless it has that."""
    is_usual = re.search(_USUAL_PATH, refusal.request.url.path) is not None
    return _WRONG_URL if is_usual else f"{_WRONG_URL}: most end in /v1"


def _by_range(status: int) -> tuple[type[ChatpipeError], str]:
    """The error class and the fix of a status that has no row of its own."""
    if status in retry.BUSY:
        return Unreachable, "the server is overloaded or starting, try later"
    if status >= 500:
        return Unreachable, "try later"
    if status >= 400:
        return BadInput, "fix the request"
    return BadConfiguration, _WRONG_URL


def _has_key(request: httpx.Request) -> bool:
    """Return True if a request carries a key, in a header of any name or in the query of its URL."""
    headers = (name_value for name_value in request.headers.items() if name_value[0] != "proxy-authorization")
    if redact.holds_secret(request.url.query.decode("ascii", "replace")):
        return True
    return any(redact.header(name, value) != value for name, value in headers)


# Refusals that say more than their status. The first row that holds counts.
_SPECIAL_CASES = (
    _SpecialCase((403,), _is_not_allowed, BadConfiguration, lambda _: ""),
    _SpecialCase((400, 403, 426), _wants_tls, BadConfiguration, lambda _: _WANTS_TLS),
    _SpecialCase((400,), _is_of_model, BrokenAnswer, lambda _: "try again, or change the prompt"),
    _SpecialCase((400, 401, 403), _wants_certificate, NoAccess, lambda _: _WANTS_CERTIFICATE),
    _SpecialCase((503,), _is_loading, Unreachable, lambda _: _NOT_LOADED),
    _SpecialCase((400, 404, 500), _cannot_load, Unreachable, lambda _: _NO_ROOM),
    _SpecialCase((400, 403), _is_barred, NoAccess, lambda _: _BARRED),
    _SpecialCase((403,), _is_page, NoAccess, lambda _: _FIREWALL),
    _SpecialCase((401, 403), _lacks_key, NoAccess, _ways_to_key),
    _SpecialCase((401,), _has_key_of_several_lines, NoAccess, _key_lines),
    _SpecialCase((400,), _wants_newer_version, BadInput, lambda _: _OTHER_VERSION),
    _SpecialCase((400, 404), _is_about_version, BadConfiguration, lambda _: _OTHER_VERSION),
    _SpecialCase((404,), _is_not_recorded, NotRecorded, lambda _: _RECORD),
    _SpecialCase((404,), _is_about_route, BadConfiguration, _wrong_url),
    _SpecialCase((404,), _always, BadInput, lambda _: _UNKNOWN_MODEL),
    _SpecialCase((400, 422), _has_unknown_model, BadInput, lambda _: _UNKNOWN_MODEL),
    _SpecialCase((405,), _always, BadConfiguration, _wrong_url),
)


# The time for each of these grows with the length of the page: no search goes on beyond the next `<`, or a
# match takes what it has seen.
_TITLE = re.compile(r"<title[^<>]*>([^<]+)</title", re.IGNORECASE)
_NOT_SHOWN = re.compile(r"<(script|style)\b.*?(?:</\1\s*>|\Z)", re.IGNORECASE | re.DOTALL)
# No character has such a number, and int() refuses one of many digits.
_LONG_NUMBER = re.compile(r"&#[0-9]{8,}")


def page_title(body: bytes) -> str:
    """The title of an HTML page; empty if there is none, or if the body is no page."""
    page = _page_of(body)
    title = None if page is None else _TITLE.search(page)
    return "" if title is None else _unescape(title[1]).strip()


def _page_text(body: bytes) -> str:
    """The title of an HTML page, else all its text. Any other text is returned unchanged."""
    if title := page_title(body):
        return title
    page = _page_of(body)
    if page is None:
        return body[:_PAGE_BYTES].decode("utf-8", "replace")
    return _unescape(_without_tags(_NOT_SHOWN.sub(" ", page)))


def _page_of(body: bytes) -> str | None:
    """The beginning of an HTML page, None if the body is no page."""
    page = body[:_PAGE_BYTES].decode("utf-8", "replace")
    return page if re.match(_PAGE_START, page, re.IGNORECASE) else None


def _without_tags(page: str) -> str:
    """The text with a space for each tag. A `<` without a `>` after it begins no tag."""
    *pieces, last = page.split(">")
    texts = []
    for piece in pieces:
        text, less, _ = piece.partition("<")
        texts.append(f"{text} " if less else f"{text}>")
    return "".join([*texts, last])


def _unescape(text: str) -> str:
    import html  # loads a table of 2,231 names

    return html.unescape(_LONG_NUMBER.sub("&#0", text))


def _status_phrase(status: int) -> str:
    from http import HTTPStatus

    try:
        return HTTPStatus(status).phrase.lower()
    except ValueError:
        return "no reason given"


def _redirect(location: str, url: httpx.URL) -> tuple[str, str]:
    """The message and the fix of a redirect that may not be followed.

    The path and query of another origin are omitted because they may hold secrets. Within the origin, the
    path may be that of a page to sign in.
    """
    try:
        target = url.join(location)
        netloc = target.netloc.decode("ascii", "replace")
    except httpx.InvalidURL:
        return "leads on to 'nowhere'", _WRONG_URL
    if (target.scheme, target.netloc) == (url.scheme, url.netloc):
        return f"leads on to '{printable_line(redact.url(str(target)))}'", _WRONG_URL
    fix = "set the base URL to where it leads, if you trust that"
    return f"leads on to '{printable_line(f'{target.scheme}://{netloc}')}'", fix
