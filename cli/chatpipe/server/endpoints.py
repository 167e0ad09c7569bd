"""Options, environment and configuration -> the servers that are asked, with all headers but the key.

Precedence: an option, the profile named by `-p`, `CHATPIPE_*`, the configured default profile,
`OPENAI_*`, the default. A key belongs to a server: see bindings.py.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from urllib.parse import SplitResult, quote, urlsplit

from chatpipe.errors import BadConfiguration, UsageFault
from chatpipe.named_tuple import NamedTuple
from chatpipe.options.server import SILENT_WAITS, KeySource, ServerOptions
from chatpipe.server import azure, bindings, redact
from chatpipe.server.base_url import (
    MODEL,
    expand,
    host_and_port,
    missing_variables,
    parse_base_url,
    server_variable,
)
from chatpipe.server.bindings import Chosen
from chatpipe.server.config import Config, find_profile, read_config
from chatpipe.server.headers import OWN_HEADERS, Headers, merge, parse_header
from chatpipe.server.hosts import is_private, is_same_server, origin_of
from chatpipe.server.keys import chosen_source
from chatpipe.server.patches import Patch
from chatpipe.server.profiles import DEFAULT, Profile
from chatpipe.server.variables import choice, variable


class Endpoint(NamedTuple):
    """The target of requests.

    base_url is the URL without a route; it may have a query, and MODEL in its path. headers are all but
    the key. keys are the ways to it, in order. needs_key is true if a request without a key would be
    rejected. key_removed is true if the user removed the header that would carry the key. profile has the
    patches, headers and keys of this server only: none if it is not the profile's. ways_to_a_key are
    phrases for a user whose call has no key. origins names what each setting came from.
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
    def url_names_model(self) -> bool:
        """True if requests for different models go to different URLs."""
        return MODEL in self.base_url or MODEL in self.profile.path

    def url(self, route: str, model: object = None) -> str:
        """The URL of a route, such as profile.path. The query of the base URL goes behind the route.

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


def resolve(
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
    chosen = _chosen(options, environ, note, config)
    chosen = chosen._replace(urls=tuple(_completed(url, chosen, environ) for url in chosen.urls))
    headers = [parse_header(line, "--header-file") for line in header_lines]
    headers += [parse_header(line, "--header") for line in options.headers]
    redact.hide_headers(headers)
    model, origin = _model(chosen, environ)
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
        merge(headers),
        given.model,
        profile,
        keys,
        needs_key=bindings.needs_key(url, chosen),
        key_removed=auth is not None and auth.name.lower() in removed,
        ways_to_a_key=() if has_source else bindings.ways_to_a_key(url, chosen, sources, environ),
        origins=given.origins,
    )


def _chosen(
    options: ServerOptions, environ: Mapping[str, str], note: Callable[[str], None], config: Config | None
) -> Chosen:
    """The profile and the URLs that options, environment and configuration choose."""
    name, place = _profile_name(options, environ)
    if config is None:
        config = Config() if name == "echo" else read_config(environ, note)
    profile = None if name is None else find_profile(name, place, config)
    _refuse_base_urls(profile, options.base_urls)
    if profile is not None and profile.in_process:
        return Chosen(profile, place, tuple(urlsplit(each.base_url) for each in profile.servers), place)
    own = () if profile is None else _profile_urls(profile, environ)
    texts = [_completed_text(each, profile, own, environ) for each in options.base_urls]
    typed = _typed_urls(texts, note)
    is_asked = not typed and options.profile is None
    by_variable = choice(environ, "CHATPIPE_BASE_URL", "server") if is_asked else None
    named = (parse_base_url(by_variable, "CHATPIPE_BASE_URL", note),) if by_variable else ()
    if profile is None and config.profile is not None:
        default = find_profile(config.profile, config.place, config)
        default_urls = _profile_urls(default, environ)
        if not (typed or named) or _is_any(typed or named, default_urls):
            profile, place, own = default, config.place, default_urls
    if typed:
        if profile is not None:
            _note_others(profile, typed, own, note)
        return Chosen(profile, place, typed, "--base-url", own)
    if profile is not None and not named:
        urls = _profile_urls(profile, environ, note) or _no_urls(profile, environ)
        return Chosen(profile, place, urls, f"profile '{profile.name}'", own)
    if named:
        if profile is not None and not _is_any(named, own or _no_urls(profile, environ)):
            raise _contradiction(profile, place)
        return Chosen(profile, place, named, "CHATPIPE_BASE_URL", own)
    if found := choice(environ, "OPENAI_BASE_URL", "server"):
        return Chosen(None, "", (parse_base_url(found, "OPENAI_BASE_URL", note),), "OPENAI_BASE_URL")
    return Chosen(None, "", (urlsplit(DEFAULT.servers[0].base_url),), "default")


def _profile_name(options: ServerOptions, environ: Mapping[str, str]) -> tuple[str | None, str]:
    """The profile that is named, and where. A server that is named takes the place of echo in a variable."""
    if options.profile is not None:
        return options.profile, "--profile"
    if options.base_urls:
        name = variable(environ, "CHATPIPE_PROFILE") or None
        return (None if name == "echo" else name), "CHATPIPE_PROFILE"
    return choice(environ, "CHATPIPE_PROFILE", "profile"), "CHATPIPE_PROFILE"


def _typed_urls(base_urls: Sequence[str], note: Callable[[str], None]) -> tuple[SplitResult, ...]:
    """The URLs of `--base-url`, each once. note gets a line for one that stands twice, however spelled."""
    urls: dict[object, SplitResult] = {}
    for text in base_urls:
        url = parse_base_url(text, "--base-url", note)
        first = urls.setdefault((origin_of(url), url.path, url.query), url)
        if first is not url:
            note(f"--base-url: '{redact.url(first.geturl())}' stands twice, and counts once")
    return tuple(urls.values())


def _is_any(urls: Sequence[SplitResult], own: Sequence[SplitResult]) -> bool:
    """True if one of the URLs leads to one of the servers of own."""
    return any(is_same_server(url, each) for url in urls for each in own)


def _note_others(
    profile: Profile, typed: Sequence[SplitResult], own: Sequence[SplitResult], note: Callable[[str], None]
) -> None:
    """Note that a profile has nothing for a server that is not its own."""
    parts = bindings.left_out(profile)
    other = next((url for url in typed if not _is_any([url], own)), None)
    if other is not None and parts:
        server, name = redact.url(other.geturl()), profile.name
        note(f"--base-url: '{server}' is not of profile '{name}'; left out there: {', '.join(parts)}")


def _profile_urls(
    profile: Profile, environ: Mapping[str, str], note: Callable[[str], None] = SILENT_WAITS.note
) -> tuple[SplitResult, ...]:
    """The base URLs of a profile; none if variables that make them are not set. note gets what was mended."""
    usual = profile.servers[0].base_url if profile.servers else ""
    for name in profile.base_url_env:
        if text := (variable(environ, name) or "").strip():
            complete = host_and_port(text, expand(usual, environ) or "https://")
            return (_with_version(parse_base_url(complete, name, note), profile, environ),)
    templates = [each.base_url for each in profile.servers]
    is_dated = azure.is_dated(_api_version(profile, environ)) and not _pasted(profile, environ).is_v1
    if profile.dated_base_url is not None and is_dated:
        templates = [profile.dated_base_url]
    urls: list[SplitResult] = []
    for template in templates:
        if (expanded := expand(template, environ)) is not None:
            name = server_variable(template, environ)[0]
            text = azure.dated_form(expanded, _api_version(profile, environ))
            # What stands in the user's configuration was noted when that was read.
            url = parse_base_url(
                text, name or f"profile '{profile.name}'", note if name else SILENT_WAITS.note
            )
            urls.append(_with_version(url, profile, environ))
    return tuple(urls)


def _completed_text(
    text: str, profile: Profile | None, own: Sequence[SplitResult], environ: Mapping[str, str]
) -> str:
    """The text of a base URL. A resource of Azure without a path gets the path for a dated version."""
    version = None if profile is None else _api_version(profile, environ)
    if not azure.is_dated(version):
        return text
    url = parse_base_url(text, "--base-url", SILENT_WAITS.note)
    return azure.dated_form(text, version, is_resource=_is_any([url], own))


def _completed(url: SplitResult, chosen: Chosen, environ: Mapping[str, str]) -> SplitResult:
    """A URL of any origin with the version of the API that its profile has for it."""
    profile = chosen.profile
    is_meant = chosen.is_own(url) or azure.DEPLOYMENTS in url.path
    return _with_version(url, profile, environ) if profile is not None and is_meant else url


def _with_version(url: SplitResult, profile: Profile, environ: Mapping[str, str]) -> SplitResult:
    """The URL with the version of the API that a profile names for it."""
    return azure.with_version(url, _api_version(profile, environ))


def _api_version(profile: Profile, environ: Mapping[str, str]) -> str | None:
    found = (variable(environ, name) for name in profile.api_version_env)
    return profile.api_version or _pasted(profile, environ).version or next(filter(None, found), None)


def _pasted(profile: Profile, environ: Mapping[str, str]) -> azure.Pasted:
    """The parts of the URL in the variable of a profile's server. expand() uses only its server."""
    if profile.dated_base_url is None:
        return azure.Pasted()
    return azure.pasted(server_variable(profile.dated_base_url, environ)[1])


def _no_urls(profile: Profile, environ: Mapping[str, str]) -> tuple[SplitResult, ...]:
    missing = [each for server in profile.servers for each in missing_variables(server.base_url, environ)]
    what = f"profile '{profile.name}' does not know its server"
    fix = f"set {', '.join(missing)}" if missing else "give it a base_url in the configuration"
    raise BadConfiguration(what, place="--profile", fix=fix)


def _contradiction(profile: Profile, place: str) -> BadConfiguration:
    what = f"{place} names '{profile.name}', and CHATPIPE_BASE_URL another server"
    return BadConfiguration(what, fix="unset one of them, or choose by -p or --base-url")


def _refuse_base_urls(profile: Profile | None, base_urls: Sequence[str]) -> None:
    """Raise for a `--base-url` that contradicts the profile."""
    if profile is not None and profile.in_process and base_urls:
        what = f"profile '{profile.name}' has no base URL"
        raise UsageFault(what, place="--base-url", fix="leave one of the two out")


def _model(chosen: Chosen, environ: Mapping[str, str]) -> tuple[str | None, str]:
    """The model of requests that name none, and what it came from."""
    profile = chosen.profile
    if profile is not None and profile.in_process:
        return profile.model, "profile"
    own: list[tuple[str | None, str]] = []
    if profile is not None:
        own = [(variable(environ, name), name) for name in profile.model_env]
        own.append((_pasted(profile, environ).deployment, f"profile '{profile.name}'"))
        own = [(profile.model, f"profile '{profile.name}'"), *own]
    by_variable = (variable(environ, "CHATPIPE_MODEL"), "CHATPIPE_MODEL")
    candidates = [*own, by_variable] if chosen.profile_place == "--profile" else [by_variable, *own]
    if bindings.reads_openai_environment(profile):
        candidates.append((variable(environ, "OPENAI_MODEL"), "OPENAI_MODEL"))
    deployments = {azure.deployment_of(url) for url in chosen.urls}
    if len(deployments) == 1:
        candidates.append((deployments.pop(), chosen.origin))
    return next((each for each in candidates if each[0]), (None, "default"))
