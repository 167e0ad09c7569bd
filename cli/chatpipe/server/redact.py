"""Hide secrets in headers and URLs before they are shown: by -v, in errors, in recordings."""

from __future__ import annotations

from collections.abc import Iterable
from urllib.parse import urlsplit

from chatpipe.server.profiles import PROFILES

_SECRET_HEADERS = frozenset(
    {"authorization", "proxy-authorization", "cookie", "set-cookie"}
    # A header that carries a key is secret whatever its name.
    | {profile.auth.name.lower() for profile in PROFILES.values()}
)
_SECRET_WORDS = ("key", "token", "secret", "password", "credential", "signature")
# Headers whose names contain such a word but whose values are not secret.
_PLAIN_PREFIXES = ("x-ratelimit-",)


def header(name: str, value: str) -> str:
    """The value of a header, or `***` if it is secret. Authorization keeps its scheme: `Bearer ***`."""
    name = name.lower()
    if name in _SECRET_HEADERS:
        scheme, space, credentials = value.partition(" ")
        return f"{scheme} ***" if space and credentials and name.endswith("authorization") else "***"
    if any(word in name for word in _SECRET_WORDS) and not name.startswith(_PLAIN_PREFIXES):
        return "***"
    return value


def secrets(headers: Iterable[tuple[str, str]]) -> list[str]:
    """The secret values among these headers, each without its authorization scheme."""
    return [value.rpartition(" ")[2] for name, value in headers if header(name, value) != value]


def url(text: str) -> str:
    """The URL without user, password, query and fragment, because each of them may hold a key."""
    try:
        parts = urlsplit(text)
    except ValueError:  # an unclosed bracket: not a URL, so a password could be anywhere
        return text.rpartition("@")[2].partition("?")[0]
    return parts._replace(netloc=parts.netloc.rpartition("@")[2], query="", fragment="").geturl()
