"""The servers that get keys, headers and patches: a key belongs to a server.

    OPENAI_API_KEY, OPENAI_ORG_ID,    the server of OPENAI_BASE_URL; if that is not set, api.openai.com
    OPENAI_PROJECT_ID,                and, the key alone, loopback; with a profile only with `openai`
    OPENAI_CUSTOM_HEADERS
    CHATPIPE_API_KEY                  the server of CHATPIPE_BASE_URL; if that is not set, those of
                                      --base-url, else api.openai.com; never with a profile
    what a profile holds              the servers of the profile
    what an option names              every server of the call

Two URLs are one server if scheme, host and port are equal.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from urllib.parse import SplitResult, urlsplit

from chatpipe.errors import BadConfiguration
from chatpipe.named_tuple import NamedTuple
from chatpipe.options.server import SILENT_WAITS, KeySource
from chatpipe.server.base_url import parse_base_url
from chatpipe.server.headers import Headers, parse_header
from chatpipe.server.hosts import comparable_origin, is_loopback_url, is_same_server
from chatpipe.server.keys import ENVIRONMENT
from chatpipe.server.profiles import DEFAULT, Profile, ProfileServer
from chatpipe.server.variables import variable

_OPENAI = urlsplit(DEFAULT.servers[0].base_url)
CHATPIPE_KEY = "CHATPIPE_API_KEY"
_OPENAI_KEY = "OPENAI_API_KEY"
_OPENAI_HEADERS = (("OPENAI_ORG_ID", "OpenAI-Organization"), ("OPENAI_PROJECT_ID", "OpenAI-Project"))


class Chosen(NamedTuple):
    """The choice of a call: the profile, None without one, and the URLs; each with its place.

    own are the URLs of the profile, which urls may differ from.
    """

    profile: Profile | None
    profile_place: str
    urls: tuple[SplitResult, ...]
    origin: str
    own: tuple[SplitResult, ...] = ()

    def is_own(self, url: SplitResult) -> bool:
        """True if a URL leads to a server of the profile."""
        return self.profile is not None and any(is_same_server(url, each) for each in self.own)


def reads_openai_environment(profile: Profile | None) -> bool:
    return profile is None or profile.name == DEFAULT.name


def profile_at(url: SplitResult, chosen: Chosen) -> Profile:
    """The profile as the server of a URL sees it: without its headers, keys and patches elsewhere."""
    profile = chosen.profile
    if profile is None:
        return DEFAULT._replace(needs_key=False)
    if profile.in_process:
        return profile
    if not chosen.is_own(url):
        elsewhere = profile._replace(
            headers=(), keys=(), token_files=(), patches=(), needs_key=False, allow_http=False
        )
        has_url = bool(profile.models_path) and not str(profile.models_path).startswith("/")
        return elsewhere._replace(models_path=DEFAULT.models_path) if has_url else elsewhere
    server = _profile_server(url, profile, chosen.own)
    return profile._replace(headers=(*profile.headers, *server.headers), keys=(*server.keys, *profile.keys))


def _profile_server(url: SplitResult, profile: Profile, own: tuple[SplitResult, ...]) -> ProfileServer:
    """The entry of a profile for a URL: of several at one server, the one with the same path."""
    none = ProfileServer("")
    if len(profile.servers) != len(own):  # a variable names another base URL
        return none
    pairs = [pair for pair in zip(own, profile.servers, strict=True) if is_same_server(url, pair[0])]
    return next((server for each, server in pairs if each.path == url.path), pairs[0][1])


def withheld_parts(profile: Profile) -> list[str]:
    """The parts that a profile has for its own servers only, as words."""
    keys = profile.keys or any(each.keys for each in profile.servers)
    headers = profile.headers or any(each.headers for each in profile.servers)
    parts = (("key", keys), ("headers", headers), ("patches", profile.patches))
    return [name for name, value in parts if value]


def needs_key(url: SplitResult, chosen: Chosen) -> bool:
    """True if the server rejects every request without a key."""
    profile = chosen.profile
    if profile is not None and profile.name != DEFAULT.name and chosen.is_own(url):
        return profile.needs_key
    return comparable_origin(url)[1] == _OPENAI.hostname


def openai_headers(url: SplitResult, chosen: Chosen, environ: Mapping[str, str]) -> Headers:
    """The headers of `OPENAI_*` for a server. Raises UsageFault."""
    if not reads_openai_environment(chosen.profile) or not _is_openai_server(url, environ):
        return ()
    found = [
        parse_header(f"{name}: {value}", source)
        for source, name in _OPENAI_HEADERS
        if (value := variable(environ, source))
    ]
    custom = environ.get("OPENAI_CUSTOM_HEADERS", "").splitlines()
    return (*found, *(parse_header(line, "OPENAI_CUSTOM_HEADERS") for line in custom if line.strip()))


def key_sources(
    url: SplitResult, chosen: Chosen, profile: Profile, environ: Mapping[str, str]
) -> tuple[KeySource, ...]:
    """The ways to the key of a server after those of options, in order. profile: see profile_at()."""
    sources = list(profile.keys)
    if profile.token_files:
        from chatpipe.server.token_files import token_source  # few profiles have one

        sources += token_source(profile, environ)
    if _gets_chatpipe_key(url, chosen, environ):
        sources.append(KeySource(ENVIRONMENT, CHATPIPE_KEY, CHATPIPE_KEY, is_optional=True))
    if _gets_openai_key(url, chosen, environ):
        sources.append(KeySource(ENVIRONMENT, _OPENAI_KEY, _OPENAI_KEY, is_optional=True))
    return tuple(sources)


def other_key(profile: Profile, environ: Mapping[str, str]) -> str | None:
    """A phrase about a variable of a built-in profile that holds another key than the one that counts.

    None if there is none. A form of its own, as a token of Entra has, is no other key.
    """
    own = [each.value for each in profile.keys if each.is_built_in and each.auth is None]
    used, *others = [name for name in own if environ.get(name, "").strip()] or [""]
    other = next((name for name in others if environ[name].strip() != environ[used].strip()), None)
    return None if other is None else f"{used} is the key; {other} is another one and is not used"


def ways_to_a_key(
    url: SplitResult, chosen: Chosen, sources: tuple[KeySource, ...], environ: Mapping[str, str]
) -> tuple[str, ...]:
    """The ways to give a server a key that has none, as phrases. sources: see key_sources().

    If a variable is set and belongs to another server, that is the reason, and comes first.
    """
    for name, reason in _kept_back(url, chosen, environ):
        if environ.get(name, "").strip():
            return (f"{name} {reason}: pass --key-env {name}",)
    names = [each.value for each in sources if each.variable is not None and each.auth is None]
    own = next((name for name in names if name != CHATPIPE_KEY), CHATPIPE_KEY if names else None)
    if own is not None:
        return f"set {own}", "pass --key-file FILE"
    return "pass --key-file FILE", "--key-command CMD", "--key-env NAME"


def _kept_back(url: SplitResult, chosen: Chosen, environ: Mapping[str, str]) -> Iterator[tuple[str, str]]:
    """The variables whose key a server does not get, each with a phrase that says where it goes."""
    profile = chosen.profile
    if profile is not None and not chosen.is_own(url):
        sources = (*profile.keys, *(key for each in profile.servers for key in each.keys))
        reason = f"goes to the server of profile '{profile.name}' only"
        yield from ((each.value, reason) for each in sources if each.variable is not None)
    if not _gets_chatpipe_key(url, chosen, environ):
        if profile is not None:
            yield CHATPIPE_KEY, "is not sent with a profile"
        elif variable(environ, "CHATPIPE_BASE_URL"):
            yield CHATPIPE_KEY, "goes to the server of CHATPIPE_BASE_URL only"
        else:
            yield CHATPIPE_KEY, f"goes to {_OPENAI.scheme}://{_OPENAI.netloc} and to --base-url only"
    if reads_openai_environment(profile) and not _gets_openai_key(url, chosen, environ):
        if variable(environ, "OPENAI_BASE_URL"):
            yield _OPENAI_KEY, "goes to the server of OPENAI_BASE_URL only"
        else:
            yield _OPENAI_KEY, f"goes to {_OPENAI.scheme}://{_OPENAI.netloc} and to this machine only"


def _gets_chatpipe_key(url: SplitResult, chosen: Chosen, environ: Mapping[str, str]) -> bool:
    if chosen.profile is not None:
        return False
    if variable(environ, "CHATPIPE_BASE_URL"):
        return _is_named_by(url, "CHATPIPE_BASE_URL", environ)
    return chosen.origin == "--base-url" or is_same_server(url, _OPENAI)


def _gets_openai_key(url: SplitResult, chosen: Chosen, environ: Mapping[str, str]) -> bool:
    if not reads_openai_environment(chosen.profile):
        return False
    is_unnamed = not variable(environ, "OPENAI_BASE_URL")
    return _is_openai_server(url, environ) or (is_unnamed and is_loopback_url(url))


def _is_openai_server(url: SplitResult, environ: Mapping[str, str]) -> bool:
    """True for the server that the variables of OpenAI belong to."""
    if variable(environ, "OPENAI_BASE_URL"):
        return _is_named_by(url, "OPENAI_BASE_URL", environ)
    return is_same_server(url, _OPENAI)


def _is_named_by(url: SplitResult, name: str, environ: Mapping[str, str]) -> bool:
    """True if a variable names the server of a URL. One that holds no URL names none."""
    try:
        named = parse_base_url(variable(environ, name) or "", name, SILENT_WAITS.note)
    except BadConfiguration:
        return False
    return is_same_server(url, named)
