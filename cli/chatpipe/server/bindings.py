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

from collections.abc import Mapping
from urllib.parse import SplitResult, urlsplit

from chatpipe.named_tuple import NamedTuple
from chatpipe.options.server import KeySource
from chatpipe.server.base_url import is_loopback, is_same_server
from chatpipe.server.headers import Headers, parse_header
from chatpipe.server.keys import ENVIRONMENT
from chatpipe.server.profiles import DEFAULT, Profile
from chatpipe.server.variables import variable

_OPENAI = urlsplit(DEFAULT.servers[0].base_url)
CHATPIPE_KEY = "CHATPIPE_API_KEY"
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
        return profile._replace(headers=(), keys=(), patches=(), needs_key=False, allow_http=False)
    for server, own in zip(profile.servers, chosen.own, strict=False):
        if is_same_server(url, own) and len(profile.servers) == len(chosen.own):
            return profile._replace(
                headers=(*profile.headers, *server.headers), keys=(*server.keys, *profile.keys)
            )
    return profile


def needs_key(url: SplitResult, chosen: Chosen) -> bool:
    """True if the server rejects every request without a key."""
    if chosen.profile is not None and chosen.is_own(url):
        return chosen.profile.needs_key
    return url.hostname == _OPENAI.hostname


def openai_headers(url: SplitResult, chosen: Chosen, environ: Mapping[str, str]) -> Headers:
    """The headers of `OPENAI_*` for a server. Raises UsageFault."""
    if not reads_openai_environment(chosen.profile) or not is_same_server(url, _openai_server(environ)):
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
    """The ways to the key of a server behind those of options, in order. profile is that of profile_at()."""
    sources = list(profile.keys)
    if _gets_chatpipe_key(url, chosen, environ):
        sources.append(KeySource(ENVIRONMENT, CHATPIPE_KEY, CHATPIPE_KEY, is_optional=True))
    if _gets_openai_key(url, chosen, environ):
        sources.append(KeySource(ENVIRONMENT, "OPENAI_API_KEY", "OPENAI_API_KEY", is_optional=True))
    return tuple(sources)


def _gets_chatpipe_key(url: SplitResult, chosen: Chosen, environ: Mapping[str, str]) -> bool:
    if chosen.profile is not None:
        return False
    if own := variable(environ, "CHATPIPE_BASE_URL"):
        return is_same_server(url, urlsplit(own.strip()))
    return chosen.origin == "--base-url" or is_same_server(url, _OPENAI)


def _gets_openai_key(url: SplitResult, chosen: Chosen, environ: Mapping[str, str]) -> bool:
    if not reads_openai_environment(chosen.profile):
        return False
    if variable(environ, "OPENAI_BASE_URL"):
        return is_same_server(url, _openai_server(environ))
    return is_same_server(url, _OPENAI) or is_loopback(url)


def _openai_server(environ: Mapping[str, str]) -> SplitResult:
    """The server that the variables of OpenAI belong to."""
    own = variable(environ, "OPENAI_BASE_URL")
    return urlsplit(own.strip()) if own else _OPENAI
