"""The refusals of proxies: what they mean, and those of SOCKS in words.

httpcore raises errors of its own for the answers of SOCKS proxies, but leaves the socket open then.

Source: RFC 1928, sections 3 and 6; RFC 1929, section 2.
"""

from __future__ import annotations

from collections.abc import Mapping

from chatpipe.errors import ChatpipeError, NoAccess, Unreachable

HUNG_UP = "it hung up without an answer"
NO_HTTP = "it does not speak HTTP"
WANTS_LOGIN = "it takes nobody without a name and a password"
TAKES_NO_LOGIN = "it knows no names and passwords"
WRONG_LOGIN = "it refuses the name and the password"
FORBIDS = "it forbids this connection"
NO_SERVER = "it cannot reach the server"
NO_SOCKS = "it does not speak SOCKS 5"

OPTION = "--proxy"

_CHECK_LOGIN = "check the name and the password in {place}"
_FORBIDDEN = "ask who runs the proxy, or {way_around}"
# The beginning of a refusal -> its error and its fix. A number is the status that answers CONNECT.
_FAULTS: tuple[tuple[str, type[NoAccess | Unreachable], str], ...] = (
    ("407", NoAccess, "it wants a name and a password: {place}"),
    ("401", NoAccess, _CHECK_LOGIN),
    ("403", Unreachable, _FORBIDDEN),
    ("408", Unreachable, "try later"),
    ("429", Unreachable, "try later"),
    ("5", Unreachable, "try later"),
    (WANTS_LOGIN, NoAccess, "write socks5://NAME:PASSWORD@HOST:PORT in {place}"),
    (TAKES_NO_LOGIN, NoAccess, "leave them out of {place}"),
    (WRONG_LOGIN, NoAccess, _CHECK_LOGIN),
    (FORBIDS, Unreachable, _FORBIDDEN),
    (NO_SERVER, Unreachable, "check the base URL and that the server runs"),
)
_PASSING = ("408", "429", "5", HUNG_UP, NO_SERVER)

# Replies of proxies that do not reach the server. tinyproxy sends 500.
_NO_WAY = (500, 502, 503, 504)

_VERSION, _LOGIN_VERSION = 5, 1
_OFFERS_LOGIN = b"\x05\x01\x02"  # one method: name and password
_NO_METHOD = 0xFF
_FAILURES = {
    1: f"{NO_SERVER}: general failure",
    2: FORBIDS,
    3: f"{NO_SERVER}: network unreachable",
    4: f"{NO_SERVER}: host unreachable",
    5: f"{NO_SERVER}: connection refused",
    6: f"{NO_SERVER}: connection timed out",
}


def fault(url: str, text: str, route: tuple[str, str] | None) -> ChatpipeError:
    """The error for a proxy's refusal, whose text it is. url is the request's, in quotes.

    route is the URL of the proxy and the option or variable that names it, None if they are not known.
    """
    proxy, place = route or ("", OPTION)
    through = f"the proxy '{proxy}' ({place})" if proxy else "the proxy"
    # NO_PROXY has no effect on the option.
    way_around = f"leave out {OPTION}" if place == OPTION else "name the host in NO_PROXY"
    found = (each for each in _FAULTS if text.startswith(each[0]))
    _, error_class, fix = next(found, ("", Unreachable, "check {place}"))
    what = f"no way to {url} through {through}: {text}"
    return error_class(what, fix=fix.format(place=place, way_around=way_around))


def http_remedy(
    status: int, headers: Mapping[str, str], place: str
) -> tuple[type[NoAccess | Unreachable], str] | None:
    """The error and the fix of a reply that is not JSON, to a request that a proxy forwards; None if unknown.

    headers have lower-case names, and place names the proxy.
    """
    if is_about_login(status, headers):
        return NoAccess, f"check the name and the password in {place}"
    if status == 407:
        return NoAccess, f"the proxy wants a name and a password: {place}"
    return (Unreachable, "check the base URL, or try later") if status in _NO_WAY else None


def is_about_login(status: int, headers: Mapping[str, str]) -> bool:
    """True if a proxy refuses a password with 401, as tinyproxy does. Arguments as for http_remedy()."""
    return status == 401 and headers.get("www-authenticate", "").lower().startswith("basic")


def is_passing(text: str) -> bool:
    """True for a refusal that the same request may not meet later."""
    return text.startswith(_PASSING)


def socks_refusal(asked: bytes, answer: bytes) -> str | None:
    """The reason why an answer to what was asked is no success, None for a success."""
    version, code = (*answer, 0, 0)[:2]
    if version == _LOGIN_VERSION:
        return WRONG_LOGIN if code else None
    if version != _VERSION or len(answer) < 2:
        return NO_SOCKS
    if len(answer) > 2:  # to the request to connect
        return _FAILURES.get(code, f"{FORBIDS}: code {code}") if code else None
    if code == _NO_METHOD:
        return TAKES_NO_LOGIN if asked == _OFFERS_LOGIN else WANTS_LOGIN
    return None if code == asked[-1] else NO_SOCKS
