"""Tables -> profiles: those of the data file with the built-in ones, and of the user's configuration."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from chatpipe.options.server import KeySource
from chatpipe.server.keys import ENVIRONMENT
from chatpipe.server.patches import Patch
from chatpipe.server.profiles import DEFAULT, ECHO, Profile, ProfileServer, built_in_text

_HEADING = re.compile(r"^\[([a-z0-9-]+)\]$", re.MULTILINE)


def built_in_names() -> list[str]:
    """The names of the built-in profiles."""
    return [*_HEADING.findall(built_in_text()), ECHO.name]


def read_profile(name: str) -> Profile | None:
    """The built-in profile of this name, None if there is none."""
    table = read_table(name)
    return None if table is None else profile_of(name, table)


def read_table(name: str) -> dict[str, Any] | None:
    """The table of the built-in profile of this name. Only its own lines are parsed."""
    text = built_in_text()
    headings = list(_HEADING.finditer(text))
    for heading, following in zip(headings, [*headings[1:], None], strict=True):
        if heading[1] == name:
            from chatpipe.inputs.toml import read_document  # a call without a profile does without it

            lines = text[heading.start() : following and following.start()]
            table: dict[str, Any] = read_document(lines).tables[name]
            return table
    return None


def base_url_of(name: str) -> str | None:
    """The base URL of a built-in profile as it stands in the file."""
    profile = read_profile(name)
    return profile.servers[0].base_url if profile is not None and profile.servers else None


def base_url_at(host: str) -> str | None:
    """The base URL of the built-in profile whose API is at a host. Nothing is parsed."""
    found = re.search(rf'^base_url = "(https://{re.escape(host)}(?:/[^"]*)?)"', built_in_text(), re.MULTILINE)
    return None if found is None else found[1]


def profile_of(name: str, table: Mapping[str, Any]) -> Profile:
    """The profile of a table that is known to be right.

    Of a user's profile, base_urls may hold the servers, and key_sources the ways to the key.
    """
    urls = table.get("base_urls") or ([table["base_url"]] if "base_url" in table else [])
    plain: dict[str, Any] = {key: table[key] for key in _PLAIN if key in table}
    lists: dict[str, Any] = {key: tuple(table[key]) for key in _LISTS if key in table}
    return Profile(
        name,
        servers=tuple(ProfileServer(each) if isinstance(each, str) else each for each in urls),
        models_path=table.get("models_path", DEFAULT.models_path) or None,
        keys=table.get("key_sources") or tuple(_variable(each) for each in table.get("key_env", ())),
        headers=tuple(table.get("headers", {}).items()),
        patches=tuple(_patch(each) for each in table.get("patch", ())),
        **plain,
        **lists,
    )


_PLAIN = (
    "dated_base_url",
    "api_version",
    "path",
    "model",
    "auth",
    "needs_key",
    "prices",
    "allow_http",
    "batch",
)
_LISTS = ("base_url_env", "api_version_env", "model_env", "token_files")


def _variable(entry: str | Mapping[str, str]) -> KeySource:
    """The way to a key in a variable: its name, or a table with its own form of `auth`."""
    name, auth = (entry, None) if isinstance(entry, str) else (entry["name"], entry.get("auth"))
    return KeySource(ENVIRONMENT, name, name, is_optional=True, auth=auth)


def _patch(table: Mapping[str, Any]) -> Patch:
    fields: dict[str, Any] = {
        key: tuple(value) if isinstance(value, list) else value for key, value in table.items()
    }
    return Patch(**fields)
