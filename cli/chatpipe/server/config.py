"""The user's configuration, `config.toml`, and the profiles that it and the data file describe.

    profile = "work"                     the profile of calls that choose none
    [profiles.work]                      a profile; a built-in one of that name is added to or changed
    like = "azure"                       another one that it starts from

Tables are merged, patches appended, everything else is replaced. A call looks at the top of the file and at
the profile that it uses, `config check` at all.
"""

from __future__ import annotations

import os.path
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING

from chatpipe.errors import BadConfiguration, BadInput, reason
from chatpipe.named_tuple import NamedTuple
from chatpipe.options.server import SILENT_WAITS
from chatpipe.server import profile_file
from chatpipe.server.profiles import ECHO, Profile
from chatpipe.server.variables import choice, variable
from chatpipe.system.slow_file import read_start

if TYPE_CHECKING:
    from chatpipe.server.user_profiles import UserProfiles

_MAX_BYTES = 1_000_000


class Config(NamedTuple):
    """The configuration. profile is the name of the default profile, place where the file says so.

    path names the file, and profiles are the user's. Both are None if there is no file.
    """

    path: str | None = None
    profile: str | None = None
    place: str = ""
    profiles: UserProfiles | None = None


def config_path(environ: Mapping[str, str]) -> tuple[str | None, str]:
    """The path of the configuration, and the variable that names it, "" for the usual place.

    It is None where no absolute path says where the user's files are. Raises BadConfiguration for a name
    that is empty. Source: XDG Base Directory Specification 0.8, which has relative paths ignored.
    """
    if named := choice(environ, "CHATPIPE_CONFIG", "file"):
        return named, "CHATPIPE_CONFIG"
    folder = variable(environ, "XDG_CONFIG_HOME") or ""
    if not os.path.isabs(folder):
        home = variable(environ, "HOME") or ""
        if not os.path.isabs(home):  # the folder of whoever we are called in is not the user's
            return None, ""
        folder = os.path.join(home, ".config")
    return os.path.join(folder, "chatpipe", "config.toml"), ""


def read_config(environ: Mapping[str, str], note: Callable[[str], None] = SILENT_WAITS.note) -> Config:
    """The configuration. Raises what parse_config() raises, and the first fault at its top."""
    config = parse_config(environ, note)
    for fault in () if config.profiles is None else config.profiles.top_faults():
        raise fault
    return config


def parse_config(environ: Mapping[str, str], note: Callable[[str], None]) -> Config:
    """The configuration, empty if there is no file; its settings are not looked at yet.

    note gets a line if the file keeps us waiting. Raises BadConfiguration if the file cannot be read, or
    is no TOML.
    """
    path, name = config_path(environ)
    if path is None:
        return Config()
    try:
        data = read_start(path, _MAX_BYTES, f"waiting for '{path}': the configuration", note)
    except (FileNotFoundError, NotADirectoryError) as error:
        if not name and not os.path.islink(path):  # a link that leads nowhere is a fault of its own
            return Config()
        fix = "write one, or unset it" if name else "correct the link, or remove it"
        raise BadConfiguration(f"no file '{path}'", place=name, fix=fix) from error
    except BadInput as error:
        raise BadConfiguration(error.what, place=error.place, fix=error.fix) from error
    except (OSError, ValueError) as error:
        what, fix = f"cannot read the configuration: {reason(error)}", "name another file by CHATPIPE_CONFIG"
        raise BadConfiguration(what, place=path, fix=fix) from error
    return _parsed(path, data, environ, note)


def _parsed(path: str, data: bytes, environ: Mapping[str, str], note: Callable[[str], None]) -> Config:
    from chatpipe.inputs.place import Source
    from chatpipe.inputs.text_decoder import source_text
    from chatpipe.inputs.toml import NotTOML, read_document
    from chatpipe.server.user_profiles import UserProfiles  # a call without a file does without these

    if len(data) > _MAX_BYTES:
        what = f"the configuration has more than {_MAX_BYTES // 1_000_000} MB"
        raise BadConfiguration(what, place=path, fix="name another file by CHATPIPE_CONFIG")
    try:
        document = read_document(source_text(Source(path, data)))
    except NotTOML as error:
        raise BadConfiguration(error.what, place=f"{path}:{error.line}", fix=error.fix) from error
    except BadInput as error:
        raise BadConfiguration(error.what, place=error.place, fix=error.fix) from error
    profiles = UserProfiles(path, document, variable(environ, "HOME") or "", note)
    return Config(path, document.tables.get("profile"), profiles.place(("profile",)), profiles)


def find_profile(name: str, place: str, config: Config) -> Profile:
    """The profile of this name: the user's, else the built-in one. Raises BadConfiguration, with place."""
    if name == ECHO.name:
        return ECHO
    if config.profiles is not None and name in config.profiles.tables:
        return config.profiles.read(name)
    built_in = profile_file.read_profile(name)
    if built_in is not None:
        return built_in
    from chatpipe.server.other_profile_names import meant_profile

    fix = meant_profile(name, profile_names(config))
    raise BadConfiguration(f"no profile '{name}'", place=place, fix=fix)


def profile_names(config: Config) -> list[str]:
    """The names of all profiles, the user's first."""
    own = () if config.profiles is None else config.profiles.tables
    return list(dict.fromkeys([*own, *profile_file.built_in_names()]))


def offered_profiles(environ: Mapping[str, str]) -> list[str]:
    """The names of all profiles, for completion. A file that is wrong, or may keep us waiting, has none."""
    try:
        path, _ = config_path(environ)
        config = read_config(environ) if path is not None and os.path.isfile(path) else Config()
    except BadConfiguration:
        config = Config()
    return profile_names(config)
