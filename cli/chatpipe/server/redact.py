"""Secrets in headers and URLs: hidden where these are shown, and known from where these are read.

system/secrets.py hides them in the words of servers.
"""

from __future__ import annotations

import re
from binascii import a2b_base64
from collections.abc import Iterable, Iterator
from urllib.parse import parse_qsl, unquote, urlsplit

from chatpipe.server.profiles import AUTH
from chatpipe.system import secrets

_SECRET_HEADERS = frozenset(
    {"authorization", "proxy-authorization", "cookie", "set-cookie"}
    # A header that carries a key is secret whatever its name.
    | {form.name.lower() for form in AUTH.values() if form is not None}
)
_SECRET_WORDS = ("key", "token", "secret", "passw", "credential", "signature", "session", "auth", "jwt")
# Parameters of a query that hold a key although no word says so: signed URLs, and functions on Azure.
_SECRET_PARAMETERS = frozenset({"sig", "code", "pwd"})
_TOKEN_CHARS = 32  # a value in a query that is as long may be a key whatever its name
# Headers whose names contain such a word but whose values are not secret.
_PLAIN_PREFIXES = ("x-ratelimit-",)


def header(name: str, value: str) -> str:
    """The value of a header, or `***` if it is secret. Authorization keeps its scheme: `Bearer ***`.

    Its name says so, or the value has the form of a key.
    """
    name = name.lower()
    if name in _SECRET_HEADERS:
        scheme, space, credentials = value.partition(" ")
        return f"{scheme} ***" if space and credentials and name.endswith("authorization") else "***"
    if any(word in name for word in _SECRET_WORDS) and not name.startswith(_PLAIN_PREFIXES):
        return "***"
    return "***" if re.search(secrets.KEY, value, re.ASCII) else value


def shown_header(name: str, value: str) -> str:
    """A header of a reply as a line of -v: its own secrets, and ours if the server sent them back."""
    return f"{secrets.hide(name, words=False)}: {secrets.hide(header(name, value))}"


def hide_headers(headers: Iterable[tuple[str, str]]) -> None:
    """Hide the secrets of these headers in all that is written from now on."""
    for name, value in headers:
        if header(name, value) != value:
            for secret in _credentials(name.lower(), value):
                secrets.add(secret)


def _credentials(name: str, value: str) -> Iterator[str]:
    """The secret parts of a secret header: without its scheme, of Basic the password, of cookies each."""
    if name in ("cookie", "set-cookie"):
        yield from (pair.partition("=")[2].strip() or pair.strip() for pair in value.split(";"))
        return
    scheme, space, credentials = value.partition(" ")
    if not space or not scheme.isalnum():
        yield value
        return
    yield credentials.strip()
    if scheme.lower() == "basic":
        try:
            yield a2b_base64(credentials).decode().partition(":")[2]
        except ValueError:
            return


def hide_url(text: str) -> None:
    """Hide the password and the secrets in the query of a URL in all that is written from now on."""
    try:
        parts = urlsplit(text if "://" in text else f"//{text}")
    except ValueError:
        return
    user, _, password = parts.netloc.rpartition("@")[0].partition(":")
    for secret in (password or user, unquote(password or user)):
        secrets.add(secret)
    for secret in _secret_parameters(parts.query):
        secrets.add(secret)


def holds_secret(query: str) -> bool:
    """True if a query holds a key."""
    return any(True for _ in _secret_parameters(query))


def _secret_parameters(query: str) -> Iterator[str]:
    """The secret values in a query, each decoded and as it stands."""
    for pair in query.split("&"):
        for name, value in parse_qsl(pair):
            if _is_secret_parameter(name.lower(), value):
                yield value
                yield pair.partition("=")[2]


def complete_url(text: str) -> str:
    """The URL with its query, in which `***` stands for secrets."""
    parts = urlsplit(text)
    pairs = [
        f"{pair.partition('=')[0]}={secrets.MASK}" if holds_secret(pair) else pair
        for pair in parts.query.split("&")
    ]
    return parts._replace(query="&".join(pairs)).geturl()


def _is_secret_parameter(name: str, value: str) -> bool:
    return name in _SECRET_PARAMETERS or any(w in name for w in _SECRET_WORDS) or len(value) >= _TOKEN_CHARS


def url(text: str) -> str:
    """The URL without user, password, query and fragment, because each of them may hold a key."""
    try:
        parts = urlsplit(text)
    except ValueError:  # an unclosed bracket: not a URL, so a password could be anywhere
        return text.rpartition("@")[2].partition("?")[0]
    if not parts.netloc:  # geturl() would write slashes that are not in `http:/h`
        return re.split("[?#]", text, maxsplit=1)[0]
    return parts._replace(netloc=parts.netloc.rpartition("@")[2], query="", fragment="").geturl()
