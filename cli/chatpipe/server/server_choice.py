"""Options, environment and configuration -> the profile and the base URLs of a call, and its model.

The first of these chooses the servers: `--base-url`, `--profile`, `CHATPIPE_BASE_URL`, `CHATPIPE_PROFILE`,
the default profile of the configuration, `OPENAI_BASE_URL`, the default.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from urllib.parse import SplitResult, urlsplit

from chatpipe.errors import BadConfiguration, UsageFault
from chatpipe.named_tuple import NamedTuple
from chatpipe.options.server import SILENT_WAITS, ServerOptions
from chatpipe.server import azure, bindings, redact
from chatpipe.server.base_url import (
    expand,
    host_and_port,
    missing_variables,
    parse_base_url,
    server_variable,
)
from chatpipe.server.bindings import Chosen
from chatpipe.server.config import Config, find_profile, read_config
from chatpipe.server.hosts import comparable_origin, is_same_server
from chatpipe.server.profiles import DEFAULT, Profile
from chatpipe.server.variables import choice, variable


class _ProfileChoice(NamedTuple):
    """The profile of a call, where it is named, and the base URLs that it has. None without a profile."""

    profile: Profile | None = None
    place: str = ""
    own: tuple[SplitResult, ...] = ()


def choose_servers(
    options: ServerOptions, environ: Mapping[str, str], note: Callable[[str], None], config: Config | None
) -> Chosen:
    """The profile and the URLs that options, environment and configuration choose."""
    name, place = _profile_name(options, environ)
    if config is None:
        config = Config() if name == "echo" else read_config(environ, note)
    named = _ProfileChoice()
    if name is not None:
        profile = find_profile(name, place, config)
        _refuse_base_urls(profile, options.base_urls)
        if profile.in_process:
            return Chosen(profile, place, tuple(urlsplit(each.base_url) for each in profile.servers), place)
        named = _ProfileChoice(profile, place, _profile_urls(profile, environ))
    urls, origin = _given_urls(options, environ, named, note)
    if named.profile is None and config.profile is not None:
        named = _default_profile(config, urls, environ)
    if urls:
        return _at_given_urls(urls, origin, named, environ, note)
    if named.profile is not None:
        urls = _profile_urls(named.profile, environ, note) or _no_urls(named.profile, environ)
        return Chosen(named.profile, named.place, urls, f"profile '{named.profile.name}'", named.own)
    if found := choice(environ, "OPENAI_BASE_URL", "server"):
        return Chosen(None, "", (parse_base_url(found, "OPENAI_BASE_URL", note),), "OPENAI_BASE_URL")
    return Chosen(None, "", (urlsplit(DEFAULT.servers[0].base_url),), "default")


def _given_urls(
    options: ServerOptions, environ: Mapping[str, str], named: _ProfileChoice, note: Callable[[str], None]
) -> tuple[tuple[SplitResult, ...], str]:
    """The URLs that are given apart from a profile, and by which option or variable; none if none are."""
    texts = [_completed_text(each, named, environ) for each in options.base_urls]
    if typed := _typed_urls(texts, note):
        return typed, "--base-url"
    if options.profile is None and (text := choice(environ, "CHATPIPE_BASE_URL", "server")):
        return (parse_base_url(text, "CHATPIPE_BASE_URL", note),), "CHATPIPE_BASE_URL"
    return (), ""


def _default_profile(
    config: Config, urls: Sequence[SplitResult], environ: Mapping[str, str]
) -> _ProfileChoice:
    """The default profile of the configuration, unless the URLs that are given are those of others."""
    assert config.profile is not None
    default = find_profile(config.profile, config.place, config)
    own = _profile_urls(default, environ)
    return _ProfileChoice() if urls and not _is_any(urls, own) else _ProfileChoice(default, config.place, own)


def _at_given_urls(
    urls: tuple[SplitResult, ...],
    origin: str,
    named: _ProfileChoice,
    environ: Mapping[str, str],
    note: Callable[[str], None],
) -> Chosen:
    """The choice of given URLs. A profile may have others only if an option gives them."""
    profile, place, own = named
    if profile is not None and origin == "--base-url":
        _note_others(profile, urls, own, note)
    elif profile is not None and not _is_any(urls, own or _no_urls(profile, environ)):
        raise _contradiction(profile, place)
    return Chosen(profile, place, urls, origin, own)


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
        first = urls.setdefault((comparable_origin(url), url.path, url.query), url)
        if first is not url:
            note(f"--base-url: '{redact.url(first.geturl())}' is given twice, and counts once")
    return tuple(urls.values())


def _is_any(urls: Sequence[SplitResult], own: Sequence[SplitResult]) -> bool:
    """True if one of the URLs leads to one of the servers of own."""
    return any(is_same_server(url, each) for url in urls for each in own)


def _note_others(
    profile: Profile, typed: Sequence[SplitResult], own: Sequence[SplitResult], note: Callable[[str], None]
) -> None:
    """Note that a profile has nothing for a server that is not its own."""
    parts = bindings.withheld_parts(profile)
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


def _completed_text(text: str, named: _ProfileChoice, environ: Mapping[str, str]) -> str:
    """The text of a base URL. A resource of Azure without a path gets the path for a dated version."""
    version = None if named.profile is None else _api_version(named.profile, environ)
    if not azure.is_dated(version):
        return text
    url = parse_base_url(text, "--base-url", SILENT_WAITS.note)
    return azure.dated_form(text, version, is_resource=_is_any([url], named.own))


def completed_url(url: SplitResult, chosen: Chosen, environ: Mapping[str, str]) -> SplitResult:
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


def _refuse_base_urls(profile: Profile, base_urls: Sequence[str]) -> None:
    """Raise for a `--base-url` that contradicts the profile."""
    if profile.in_process and base_urls:
        what = f"profile '{profile.name}' has no base URL"
        raise UsageFault(what, place="--base-url", fix="leave one of the two out")


def model_of_call(chosen: Chosen, environ: Mapping[str, str]) -> tuple[str | None, str]:
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
