"""`config show` and `config path`: the settings of a call with their origins, and where the file is."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from chatpipe.errors import BadConfiguration
from chatpipe.inputs import values
from chatpipe.inputs.sources import stdin_owner
from chatpipe.options.output import ConsoleOptions
from chatpipe.options.server import ServerOptions
from chatpipe.output.target import write_stdout
from chatpipe.server import endpoints, keys, redact
from chatpipe.server.call_servers import stdin_claims
from chatpipe.server.config import Config, config_path, find_profile, profile_names, read_config
from chatpipe.server.origins import Effective, effective_settings
from chatpipe.system.console import Console

_NO_PATH = "set HOME or XDG_CONFIG_HOME to an absolute path, or CHATPIPE_CONFIG"


def write_path(environ: Mapping[str, str]) -> int:
    """Write the path of the configuration, even if there is no file. Raises BadConfiguration for no path."""
    path, _ = config_path(environ)
    if path is None:
        raise BadConfiguration("no folder for the configuration is known", fix=_NO_PATH)
    return _write([path])


def write_settings(
    options: ServerOptions,
    model: str | None,
    environ: Mapping[str, str],
    console_options: ConsoleOptions,
    *,
    as_json: bool,
) -> int:
    """Write the effective settings. Raises UsageFault and BadConfiguration."""
    stdin_owner(stdin_claims(options, environ))
    console = Console(console_options)
    lines = keys.header_lines(options.header_file, console.note)
    config = read_config(environ, console.note)
    servers = endpoints.resolve_endpoints(options, environ, lines, console.note, config)
    settings = [
        _configuration(environ, config),
        *effective_settings(servers, options, lines, environ, config),
    ]
    if model is not None:
        settings = [_with_model(each, model) for each in settings]
    return _write([_json(_record(settings))] if as_json else map(_line, settings))


def list_profiles(environ: Mapping[str, str], *, as_json: bool) -> int:
    """Write the names of all profiles, each with its base URL and its origin. Raises BadConfiguration."""
    config = read_config(environ)
    own = {} if config.profiles is None else config.profiles.tables
    rows = []
    for name in profile_names(config):
        origin = "built in"
        if config.profiles is not None and name in own:
            origin = f"{config.path}:{config.profiles.document.line(('profiles', name))}"
        rows.append({"name": name, "base_url": _base_url(name, config), "origin": origin})
    if as_json:
        return _write(map(_json, rows))
    return _write("\t".join(each or "" for each in row.values()) for row in rows)


def _base_url(name: str, config: Config) -> str | None:
    """The base URL of a profile, or its template; None if it has none or is wrong."""
    try:
        profile = find_profile(name, "", config)
    except BadConfiguration:
        return None
    return None if profile.in_process or not profile.servers else redact.url(profile.servers[0].base_url)


def _configuration(environ: Mapping[str, str], config: Config) -> Effective:
    path, name = config_path(environ)
    origin = f"variable {name}" if name else "default"
    return Effective("configuration", path, origin if config.path else f"{origin}, not there")


def _with_model(setting: Effective, model: str) -> Effective:
    return setting._replace(value=model, origin="option --model") if setting.name == "model" else setting


def _line(setting: Effective) -> str:
    """`NAME: VALUE  [ORIGIN]`."""
    value = setting.value
    if isinstance(value, bool):
        value = "yes" if value else "no"
    elif isinstance(value, float):
        value = f"{value:g}"
    return f"{setting.name}: {'none' if value is None else value}  [{setting.origin}]"


def _record(settings: Iterable[Effective]) -> dict[str, Any]:
    """The settings as one object; those of each server are in an array."""
    record: dict[str, Any] = {}
    for each in settings:
        target = record
        if each.server is not None:
            servers = record.setdefault("servers", [])
            if each.server == len(servers):
                servers.append({})
            target = servers[each.server]
        group, dot, name = each.name.partition(".")
        if dot:
            target = target.setdefault(group, {})
        target[name or group] = {"value": each.value, "origin": each.origin}
    return record


def _json(value: Any) -> str:
    return values.dumps(value).decode()


def _write(lines: Iterable[str]) -> int:
    write_stdout("".join(f"{line}\n" for line in lines).encode("utf-8", "surrogateescape"), escape=True)
    return 0
