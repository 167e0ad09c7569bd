"""The user's configuration, `config.toml`, and the profiles that it and the data file describe."""

from __future__ import annotations

from collections.abc import Mapping

from chatpipe.errors import BadConfiguration
from chatpipe.named_tuple import NamedTuple
from chatpipe.server import profile_file
from chatpipe.server.profiles import ECHO, Profile


class Config(NamedTuple):
    """The configuration. profile is the name of the default profile, place where it says so."""

    path: str | None = None
    profile: str | None = None
    place: str = ""
    profiles: Mapping[str, Profile] = {}


def read_config(environ: Mapping[str, str]) -> Config:
    """The configuration, empty if there is no file. Raises BadConfiguration."""
    return Config()


def find_profile(name: str, place: str, config: Config) -> Profile:
    """The profile of this name: the user's, else the built-in one. Raises BadConfiguration, with place."""
    if name in config.profiles:
        return config.profiles[name]
    if name == ECHO.name:
        return ECHO
    built_in = profile_file.read_profile(name)
    if built_in is not None:
        return built_in
    names = ", ".join([*config.profiles, *profile_file.names()])
    raise BadConfiguration(f"no profile '{name}'", place=place, fix=f"there are {names}")
