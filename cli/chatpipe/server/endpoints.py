"""Options and environment -> URL of the server and headers of a request, without the key.

Precedence: an option, the profile named by `-p`, `CHATPIPE_*`, `OPENAI_*`, the default. `OPENAI_*`
applies only to profiles that read it, so that one provider's key never goes to another.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from urllib.parse import SplitResult, urlsplit

from chatpipe import __version__
from chatpipe.errors import BadConfiguration, UsageFault
from chatpipe.named_tuple import NamedTuple
from chatpipe.options.server import ServerOptions
from chatpipe.server import profiles, redact
from chatpipe.server.profiles import PROFILES, Profile
from chatpipe.server.variables import variable

# The route of the only requests that are sent today.
COMPLETIONS = "/chat/completions"
# RFC 9110 section 5.6.2: a header name is a token.
_HEADER_NAME = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
# A wrong value makes the server split the request in two, or wait for bytes that never come.
_FRAMING = frozenset({"content-length", "transfer-encoding"})
_CONTROL = re.compile(r"[\x00-\x08\x0a-\x1f\x7f]")

# The networks of is_private.
_PRIVATE = ("10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "169.254.0.0/16", "fc00::/7", "fe80::/10")

Headers = tuple[tuple[str, str], ...]


class Endpoint(NamedTuple):
    """The target of requests.

    base_url is the URL without a route; it may have a query. headers are all but the key. needs_key
    is true if a request without a key would be rejected. key_removed is true if the user removed
    the header that would carry the key.
    """

    base_url: str
    headers: Headers
    model: str | None
    profile: Profile
    needs_key: bool = False
    key_removed: bool = False

    @property
    def in_process(self) -> bool:
        return self.profile.in_process

    def url(self, route: str) -> str:
        """The URL of a route such as COMPLETIONS. The query of the base URL goes behind the route."""
        base = urlsplit(self.base_url)
        return base._replace(path=base.path + route).geturl()

    @property
    def metrics_url(self) -> str | None:
        """The URL where a server of the user's own shows its queue. None unless it is near: see is_private.

        It is at the root of the server: the base URL may lead deeper, and its query may hold a key.
        """
        base = urlsplit(self.base_url)
        if self.profile.in_process or not is_private(base):
            return None
        return base._replace(path="/metrics", query="").geturl()


def resolve(options: ServerOptions, environ: Mapping[str, str], header_lines: Sequence[str] = ()) -> Endpoint:
    """The endpoint, with all headers but the key. header_lines are the lines of `--header-file`.

    The secrets of its headers and its URL are hidden from now on. Raises UsageFault and BadConfiguration,
    both with the option or variable as place.
    """
    name, place = options.profile, "--profile"
    if name is None:
        name, place = variable(environ, "CHATPIPE_PROFILE") or None, "CHATPIPE_PROFILE"
    profile = _profile(name, place)
    _refuse_base_url(profile, options.base_url)
    environ = _visible_environment(profile, environ)
    base = _base_url(profile, options, environ)
    model, _ = _first_set(
        (profile.model if options.profile else None, ""),
        (variable(environ, "CHATPIPE_MODEL"), ""),
        (profile.model, ""),
        (variable(environ, "OPENAI_MODEL"), ""),
        (None, ""),
    )
    headers = _all_headers(environ, options.headers, header_lines)
    redact.hide_headers(headers)
    removed = {name.lower() for name, value in headers if not value}
    return Endpoint(
        base.geturl(),
        _merge(headers),
        model,
        profile,
        needs_key=(name is not None and profile.needs_key) or _rejects_anonymous(base),
        key_removed=profile.auth.name.lower() in removed,
    )


def _profile(name: str | None, place: str) -> Profile:
    """The row that name stands for, the default row without a name."""
    if name is None:
        return profiles.DEFAULT
    if name not in PROFILES:
        raise BadConfiguration(f"no profile '{name}'", place=place, fix=f"there are {', '.join(PROFILES)}")
    return PROFILES[name]


def _refuse_base_url(profile: Profile, base_url: str | None) -> None:
    """Raise for a `--base-url` that contradicts the profile or is empty."""
    if profile.in_process and base_url is not None:
        what = f"profile '{profile.name}' has no base URL"
        raise UsageFault(what, place="--base-url", fix="leave one of the two out")
    if base_url == "":  # an unset variable in a script must not send the request to another server
        raise BadConfiguration("an empty base URL", place="--base-url", fix="leave it out, or name a server")


def _visible_environment(profile: Profile, environ: Mapping[str, str]) -> Mapping[str, str]:
    if profile.in_process:
        return {}
    if profile.reads_openai_environment:
        return environ
    return {name: value for name, value in environ.items() if not name.startswith("OPENAI_")}


def _base_url(profile: Profile, options: ServerOptions, environ: Mapping[str, str]) -> SplitResult:
    own = None if profile.reads_openai_environment else profile.base_url
    return _parse_base_url(
        *_first_set(
            (options.base_url, "--base-url"),
            (own if options.profile else None, "profile"),
            (variable(environ, "CHATPIPE_BASE_URL"), "CHATPIPE_BASE_URL"),
            (own, "profile"),
            (variable(environ, "OPENAI_BASE_URL"), "OPENAI_BASE_URL"),
            (profile.base_url, "profile"),
        )
    )


def _rejects_anonymous(base: SplitResult) -> bool:
    """True if the host is that of a profile whose requests all need a key."""
    hosts = (urlsplit(row.base_url).hostname for row in PROFILES.values() if row.needs_key)
    return base.hostname in hosts


def parse_header(line: str, place: str) -> tuple[str, str]:
    """Split `Name: value`. Raises UsageFault, whose text omits the value because it may be secret."""
    name, colon, value = line.partition(":")
    if not colon or not _HEADER_NAME.fullmatch(name.strip()):
        raise UsageFault("not a header", place=place, fix="write 'Name: value'")
    if name.strip().lower() in _FRAMING:
        what = f"header '{name.strip()}' says where the body ends, which follows from the body"
        raise UsageFault(what, place=place, fix="leave it out")
    value = value.strip()
    if _CONTROL.search(value) or not value.isascii():
        raise UsageFault(f"header '{name.strip()}' has a character that cannot be sent", place=place)
    return name.strip(), value


def _first_set(*candidates: tuple[str | None, str]) -> tuple[str | None, str]:
    """The first (value, place) whose value is set and not empty, else the last one."""
    return next((candidate for candidate in candidates if candidate[0]), candidates[-1])


def _parse_base_url(base_url: str | None, place: str) -> SplitResult:
    """The parsed base URL, without final slashes. One that ends in the route COMPLETIONS is accepted."""
    base_url = (base_url or "").strip()
    redact.hide_url(base_url)
    # Check before parsing, because urlsplit silently drops tabs and line ends.
    if _CONTROL.search(base_url) or "\t" in base_url or " " in base_url or not base_url.isascii():
        what = "the base URL has a character that no URL has"
        raise BadConfiguration(what, place=place, fix="percent-encode it")
    try:
        url = urlsplit(base_url)
        port_is_valid = url.port is None or url.port > 0
    except ValueError:
        url, port_is_valid = urlsplit(""), False
    if url.scheme not in ("http", "https") or not url.hostname or not port_is_valid:
        redacted = redact.url(base_url)  # a malformed URL may contain a password
        raise BadConfiguration(f"'{redacted}' is not an http or https URL", place=place)
    if url.username is not None or url.password is not None:
        what = "a base URL holds no user or password"
        raise BadConfiguration(what, place=place, fix="use --header or --key-file")
    return url._replace(path=url.path.rstrip("/").removesuffix(COMPLETIONS), fragment="")


def _all_headers(
    environ: Mapping[str, str], options: Sequence[str], file_lines: Sequence[str]
) -> list[tuple[str, str]]:
    """The headers: default, environment, file, options. An empty value removes a header."""
    headers = [
        ("Content-Type", "application/json"),
        ("User-Agent", f"chatpipe/{__version__}"),
        # Compression gains nothing for an answer of a few kB, and it delays a stream.
        ("Accept-Encoding", "identity"),
    ]
    for source, name in (("OPENAI_ORG_ID", "OpenAI-Organization"), ("OPENAI_PROJECT_ID", "OpenAI-Project")):
        if value := variable(environ, source):
            headers.append(parse_header(f"{name}: {value}", source))
    custom = environ.get("OPENAI_CUSTOM_HEADERS", "").splitlines()
    headers += [parse_header(line, "OPENAI_CUSTOM_HEADERS") for line in custom if line.strip()]
    headers += [parse_header(line, "--header-file") for line in file_lines]
    return headers + [parse_header(line, "--header") for line in options]


def _merge(headers: Sequence[tuple[str, str]]) -> Headers:
    """The headers with the last value per name, at its position. An empty value drops the name."""
    merged: dict[str, tuple[str, str]] = {}
    for name, value in headers:
        merged.pop(name.lower(), None)
        if value:
            merged[name.lower()] = (name, value)
    return tuple(merged.values())


def is_loopback(url: SplitResult) -> bool:
    """True if the host is this machine. Only the name is checked, because a resolver may answer anything."""
    host = (url.hostname or "").rstrip(".")
    return (
        host in ("localhost", "::1")
        or host.endswith(".localhost")
        or bool(re.fullmatch(r"127(\.\d+){3}", host))
    )


def is_private(url: SplitResult) -> bool:
    """True if the host is this machine, or an address of a network of the user's own.

    A name other than localhost may lead anywhere, and is not looked up.
    Source: RFC 1918, RFC 4193 and, for link-local addresses, RFC 3927 and RFC 4291.
    """
    if is_loopback(url):
        return True
    from ipaddress import ip_address, ip_network  # few calls need it

    try:
        address = ip_address(url.hostname or "")
    except ValueError:
        return False
    return any(address in ip_network(network) for network in _PRIVATE)
