"""The effective settings of a call, each with its origin: an option, a variable, a line of a file."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from chatpipe.named_tuple import NamedTuple
from chatpipe.options.server import ExchangeLimits, KeySource, ServerOptions
from chatpipe.server import keys, redact
from chatpipe.server.base_url import used_variables
from chatpipe.server.config import Config
from chatpipe.server.endpoints import Endpoint
from chatpipe.server.headers import OWN_HEADERS, parse_header
from chatpipe.server.user_profiles import built_in_origin
from chatpipe.server.variables import variable

_DEFAULT_ORIGIN = "default"
_OPENAI_HEADERS = ("OPENAI_ORG_ID", "OPENAI_PROJECT_ID", "OPENAI_CUSTOM_HEADERS")


class Effective(NamedTuple):
    """An effective setting. value is text, a number, a boolean or None, and never a key.

    server is the index of the server that the setting is for, None if it is for all servers.
    """

    name: str
    value: Any
    origin: str
    server: int | None = None


class _CallSettings(NamedTuple):
    options: ServerOptions
    header_lines: Sequence[str]
    environ: Mapping[str, str]
    config: Config


def effective_settings(
    endpoints: Sequence[Endpoint],
    options: ServerOptions,
    header_lines: Sequence[str],
    environ: Mapping[str, str],
    config: Config,
) -> list[Effective]:
    """The settings of a call to these endpoints, which were made of the other arguments."""
    given = _CallSettings(options, header_lines, environ, config)
    first = endpoints[0]
    found = [*_choice(first, given)]
    for number, endpoint in enumerate(endpoints):
        found += (each._replace(server=number) for each in _of_server(endpoint, given))
    return [*found, *_of_profile(first, given), *_of_connection(first, given)]


def _choice(endpoint: Endpoint, given: _CallSettings) -> Iterator[Effective]:
    place = endpoint.origins["profile"]
    yield Effective("profile", endpoint.profile.name if place else None, _origin(place, given))
    yield Effective("model", endpoint.model, _setting_origin(endpoint, "model", given))


def _of_server(endpoint: Endpoint, given: _CallSettings) -> Iterator[Effective]:
    yield Effective("base_url", _shown_url(endpoint), _setting_origin(endpoint, "base_url", given))
    yield _key(endpoint, given)
    for name, value in endpoint.headers:
        yield Effective(f"headers.{name}", redact.header(name, value), _header_origin(endpoint, name, given))


def _shown_url(endpoint: Endpoint) -> str | None:
    return None if endpoint.in_process else redact.url(endpoint.base_url)


def _key(endpoint: Endpoint, given: _CallSettings) -> Effective:
    """The place of the key, which is not read."""
    auth = endpoint.profile.auth_header
    own = next((name for name, _ in endpoint.headers if auth and name.lower() == auth.name.lower()), None)
    if own is not None:
        return Effective("key", f"in the header {own}", _header_origin(endpoint, own, given))
    source = keys.chosen_source(endpoint.keys, given.environ)
    if source is not None:
        text = f"from {source_phrase(source)}"
        if source.variable is not None:
            text += " (set)" if given.environ.get(source.value, "").strip() else " (not set)"
        return Effective("key", text, _source_origin(source, endpoint, given))
    names = [each.value for each in endpoint.keys if each.variable is not None]
    text = f"none: {', '.join(names)} not set" if names else "none"
    return Effective("key", text, _DEFAULT_ORIGIN)


def source_phrase(source: KeySource) -> str:
    """The way to a key in words: `variable OPENAI_API_KEY`."""
    kind = source.way.names
    if kind == "variable":
        return f"variable {source.value}"
    if kind == "command":
        return f"command '{source.value.split(maxsplit=1)[0]}'"  # its arguments may hold a password
    return f"{kind} '{source.value}'"


def _source_origin(source: KeySource, endpoint: Endpoint, given: _CallSettings) -> str:
    if source in given.options.keys:
        return f"option {source.way.option}"
    if source.place == f"profile '{endpoint.profile.name}'":
        return _profile_origin(endpoint, "token_files", given)
    if not source.is_built_in:
        return _origin(source.place, given)
    if any(each.value == source.value for each in endpoint.profile.keys):
        return _profile_origin(endpoint, "key_env", given)
    return _DEFAULT_ORIGIN


def _header_origin(endpoint: Endpoint, name: str, given: _CallSettings) -> str:
    for option, lines in (("--header", given.options.headers), ("--header-file", given.header_lines)):
        if any(parse_header(line, option)[0].lower() == name.lower() for line in lines):
            return f"option {option}"
    if any(name == each for each, _ in OWN_HEADERS):
        return _DEFAULT_ORIGIN
    if any(name == each for each, _ in endpoint.profile.headers):
        return _profile_origin(endpoint, "headers", given, name)
    found = (each for each in _OPENAI_HEADERS if variable(given.environ, each))
    return f"variable {' or '.join(found)}"


def _of_profile(endpoint: Endpoint, given: _CallSettings) -> Iterator[Effective]:
    profile = endpoint.profile
    for name in ("auth", "api_version", "path", "models_path", "prices", "allow_http"):
        value = getattr(profile, name)
        origin = _profile_origin(endpoint, name, given) or _DEFAULT_ORIGIN
        if name == "api_version" and value is None:
            found = next((each for each in profile.api_version_env if variable(given.environ, each)), None)
            value, origin = (variable(given.environ, found), f"variable {found}") if found else (None, origin)
        if name == "allow_http" and given.options.allow_http:
            value, origin = True, "option --allow-http"
        yield Effective(name, value, origin)
    yield from _patches(endpoint, given)


def _patches(endpoint: Endpoint, given: _CallSettings) -> Iterator[Effective]:
    profile, profiles = endpoint.profile, given.config.profiles
    places = [] if profiles is None else profiles.patch_origins(profile.name)
    for number, patch in enumerate(profile.patches):
        fields = patch._asdict()
        fields.pop("model")
        needed = fields.pop("having")
        changes = ", ".join(f"{field} {_shown(value)}" for field, value in fields.items() if value)
        origin = places[number] if places else _profile_origin(endpoint, "patch", given)
        requests = " with ".join(filter(None, (patch.model or "every model", _shown(needed))))
        yield Effective(f"patch {number + 1}", f"{requests}: {changes}", origin)


def _shown(value: Any) -> str:
    """The changes of a patch in words: `max_tokens -> max_completion_tokens`."""
    if isinstance(value, Mapping):
        return ", ".join(f"{name} -> {_shown(new)}" for name, new in value.items())
    return ", ".join(value) if isinstance(value, tuple) else str(value)


def _of_connection(endpoint: Endpoint, given: _CallSettings) -> Iterator[Effective]:
    from chatpipe.server.proxies import proxy_for  # it loads httpx
    from chatpipe.server.tls import default_path

    options, environ = given.options, given.environ
    proxy = None if endpoint.in_process else proxy_for(endpoint.base_url, options.proxy, environ)
    yield Effective("proxy", proxy and redact.url(proxy), _proxy_origin(proxy, given))
    names = ("SSL_CERT_FILE", "SSL_CERT_DIR")
    by_variable = [(variable(environ, name), f"variable {name}") for name in names]
    stores = [(options.cacert, "option --cacert"), *by_variable]
    named = next((each for each in stores if each[0]), None)
    yield Effective("cacert", *(named or (default_path(), _DEFAULT_ORIGIN)))
    for name in ("client_cert", "client_key"):
        value = getattr(options, name)
        yield Effective(name, value, _option_origin(name, value is not None))
    yield Effective("insecure", options.insecure, _option_origin("insecure", options.insecure))
    limits, usual = options.limits, ExchangeLimits()
    for name, field in _LIMITS.items():
        value = getattr(limits, field)
        yield Effective(name, value, _option_origin(name, value != getattr(usual, field)))


_LIMITS = {
    "connect_timeout": "connect_s",
    "timeout": "between_bytes_s",
    "deadline": "deadline_s",
    "max_reply": "max_reply_bytes",
}


def _option_origin(name: str, is_given: bool) -> str:
    return f"option --{name.replace('_', '-')}" if is_given else _DEFAULT_ORIGIN


def _proxy_origin(proxy: str | None, given: _CallSettings) -> str:
    if given.options.proxy is not None:
        return "option --proxy"
    if proxy is None:
        return _DEFAULT_ORIGIN
    names = [name for name in given.environ if name.lower() in ("http_proxy", "https_proxy", "all_proxy")]
    found = [
        name for name in names if (variable(given.environ, name) or "") in (proxy, proxy.partition("://")[2])
    ]
    return f"variable {' or '.join(sorted(found))}"


def _setting_origin(endpoint: Endpoint, name: str, given: _CallSettings) -> str:
    """The origin of a setting that resolve_endpoints() names the place of."""
    place = endpoint.origins[name]
    if not place.startswith("profile"):
        return _origin(place, given)
    if name == "base_url" and (found := _url_variables(endpoint, given.environ)):
        return f"variable {' and '.join(found)}"
    return _profile_origin(endpoint, name, given) or _DEFAULT_ORIGIN


def _url_variables(endpoint: Endpoint, environ: Mapping[str, str]) -> list[str]:
    """The variables that the base URL of a profile is made of."""
    profile = endpoint.profile
    for name in profile.base_url_env:
        if variable(environ, name):
            return [name]
    return used_variables(profile.servers[0].base_url, environ) if profile.servers else []


def _profile_origin(endpoint: Endpoint, name: str, given: _CallSettings, *more: str) -> str:
    """The origin of a setting of the profile; "" if it does not set it."""
    own, profiles = endpoint.profile.name, given.config.profiles
    paths = (("base_url",), ("base_urls",)) if name == "base_url" else ((name, *more),)
    found = (built_in_origin(own, path) if profiles is None else profiles.origin(own, path) for path in paths)
    return next(filter(None, found), "")


def _origin(place: str, given: _CallSettings) -> str:
    """The origin for a place as errors name it: an option, a variable, or a line of a file."""
    if place.startswith("--"):
        return f"option {place}"
    if place in given.environ:
        return f"variable {place}"
    if place and given.config.path is not None and place.startswith(given.config.path):
        line = place.removeprefix(given.config.path).split(":")[1]
        return f"{given.config.path}:{line}"
    return _DEFAULT_ORIGIN
