"""Options, environment and configuration -> the servers that are asked, with all headers but the key.

server_choice.py chooses the servers. A key belongs to a server: see bindings.py.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from urllib.parse import SplitResult, quote, urlsplit

from chatpipe.named_tuple import NamedTuple
from chatpipe.options.server import SILENT_WAITS, KeySource, ServerOptions
from chatpipe.server import azure, bindings, redact
from chatpipe.server.base_url import MODEL
from chatpipe.server.bindings import Chosen
from chatpipe.server.config import Config
from chatpipe.server.headers import OWN_HEADERS, Headers, merge_headers, parse_header
from chatpipe.server.hosts import is_private
from chatpipe.server.keys import chosen_source
from chatpipe.server.patches import Patch
from chatpipe.server.profiles import Profile
from chatpipe.server.server_choice import choose_servers, completed_url, model_of_call


class Endpoint(NamedTuple):
    """The target of requests.

    base_url is the URL without a route; it may have a query, and MODEL in its path. headers are all but
    the key. keys are the ways to it, in order. needs_key is true if a request without a key would be
    rejected. key_removed is true if the user removed the header that would carry the key. profile has the
    patches, headers and keys of this server only: none if it is not the profile's. ways_to_a_key are
    phrases for a user whose call has no key. origins names what each setting came from. server_url is the
    base URL of the server if base_url is that of a part of it, such as the list of models.
    """

    base_url: str
    headers: Headers
    model: str | None
    profile: Profile
    keys: tuple[KeySource, ...] = ()
    needs_key: bool = False
    key_removed: bool = False
    ways_to_a_key: tuple[str, ...] = ()
    origins: Mapping[str, str] = {}
    server_url: str | None = None

    @property
    def in_process(self) -> bool:
        return self.profile.in_process

    @property
    def key_names(self) -> frozenset[str]:
        """The variables that may hold its key."""
        return frozenset(each.value for each in self.keys if each.variable is not None)

    @property
    def key_variable(self) -> str | None:
        """The variable that errors name for a key that is missing."""
        own = (each.value for each in self.keys if each.variable is not None and each.auth is None)
        return next((name for name in own if name != bindings.CHATPIPE_KEY), None)

    @property
    def patches(self) -> tuple[Patch, ...]:
        return self.profile.patches

    @property
    def batch_url(self) -> str:
        """The url of lines for its Batch API. That of deployments of Azure has no version."""
        is_dated = self.profile.batch == "azure" and azure.DEPLOYMENTS in self.base_url
        return self.profile.path if is_dated else self.profile.batch_url

    @property
    def url_names_model(self) -> bool:
        """True if requests for different models go to different URLs."""
        return MODEL in self.base_url or MODEL in self.profile.path

    def url(self, route: str, model: object = None) -> str:
        """The URL of a route, such as profile.path. The query of the base URL goes after the route.

        model takes the place of MODEL.
        """
        base = urlsplit(self.base_url)
        path = base.path + route
        if MODEL in path:
            path = path.replace(MODEL, quote(str(model or ""), safe=""))
        return base._replace(path=path).geturl()

    @property
    def is_near(self) -> bool:
        """True if the address is one of the user's own network: see is_private()."""
        return not self.profile.in_process and is_private(urlsplit(self.base_url))

    @property
    def metrics_url(self) -> str | None:
        """The URL where a server of the user's own shows its queue. None unless it is near.

        It is at the root of the server: the base URL may lead deeper, and its query may hold a key.
        """
        if not self.is_near:
            return None
        return urlsplit(self.base_url)._replace(path="/metrics", query="").geturl()


class _Given(NamedTuple):
    """The settings that every server of a call gets: headers and keys of options, the model. See Endpoint."""

    headers: Headers
    keys: tuple[KeySource, ...]
    model: str | None
    origins: Mapping[str, str]


def resolve_endpoints(
    options: ServerOptions,
    environ: Mapping[str, str],
    header_lines: Sequence[str] = (),
    note: Callable[[str], None] = SILENT_WAITS.note,
    config: Config | None = None,
) -> tuple[Endpoint, ...]:
    """The servers, of which a run uses all and a call the first that answers.

    header_lines are the lines of `--header-file`. The secrets of headers and URLs are hidden from now on.
    note gets what was mended, and what is not used. config is read where it is None and of use. Raises
    UsageFault and BadConfiguration, both with the option, variable or line of the configuration as place.
    """
    chosen = choose_servers(options, environ, note, config)
    chosen = chosen._replace(urls=tuple(completed_url(url, chosen, environ) for url in chosen.urls))
    headers = [parse_header(line, "--header-file") for line in header_lines]
    headers += [parse_header(line, "--header") for line in options.headers]
    redact.hide_headers(headers)
    model, origin = model_of_call(chosen, environ)
    origins = {"base_url": chosen.origin, "profile": chosen.profile_place, "model": origin}
    given = _Given(tuple(headers), options.keys, model, origins)
    for url in chosen.urls:
        azure.refuse_missing_version(url, chosen.origin)
    if options.insecure:
        _warn_of_unchecked(chosen.urls, note)
    endpoints = tuple(_endpoint(url, chosen, given, environ) for url in chosen.urls)
    if not options.keys and (phrase := bindings.other_key(endpoints[0].profile, environ)) is not None:
        note(f"{chosen.profile_place}: {phrase}")
    return endpoints


def _warn_of_unchecked(urls: Sequence[SplitResult], note: Callable[[str], None]) -> None:
    """Warn that anyone on the network path can impersonate the server. Plain http has no certificate."""
    hosts = list(dict.fromkeys(url.hostname or "" for url in urls if url.scheme == "https"))
    if hosts:
        names = ", ".join(f"'{host}'" for host in hosts)
        note(f"warning: --insecure: the certificate of {names} is not checked")


def _endpoint(url: SplitResult, chosen: Chosen, given: _Given, environ: Mapping[str, str]) -> Endpoint:
    profile = bindings.profile_at(url, chosen)
    openai = bindings.openai_headers(url, chosen, environ)
    headers = [*OWN_HEADERS, *profile.headers, *openai, *given.headers]
    redact.hide_headers(headers)
    removed = {name.lower() for name, value in headers if not value}
    auth = profile.auth_header
    sources = () if profile.in_process else bindings.key_sources(url, chosen, profile, environ)
    keys = () if profile.in_process else (*given.keys, *sources)
    has_source = profile.in_process or chosen_source(keys, environ) is not None
    return Endpoint(
        url.geturl(),
        merge_headers(headers),
        given.model,
        profile,
        keys,
        needs_key=bindings.needs_key(url, chosen),
        key_removed=auth is not None and auth.name.lower() in removed,
        ways_to_a_key=() if has_source else bindings.ways_to_a_key(url, chosen, sources, environ),
        origins=given.origins,
    )
