"""Tables of `[profiles.NAME]` -> profiles: checked, merged with what they start from, placed in errors."""

from __future__ import annotations

import os.path
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from chatpipe.errors import BadConfiguration
from chatpipe.inputs.names import nearest
from chatpipe.inputs.toml import Document, Path
from chatpipe.named_tuple import NamedTuple
from chatpipe.options.server import KeySource
from chatpipe.server import azure, profile_file, redact
from chatpipe.server.base_url import parse_base_url
from chatpipe.server.hosts import comparable_origin
from chatpipe.server.keys import KEY_WAYS, KEYRING
from chatpipe.server.other_profile_names import meant_profile
from chatpipe.server.profile_rules import (
    KEY_SETTINGS,
    MEANING,
    SETTINGS,
    SettingFault,
    profile_faults,
    unknown_setting,
)
from chatpipe.server.profiles import ECHO, Profile, ProfileServer

Table = Mapping[str, Any]
_TOP = frozenset({"profile", "profiles"})
_NAMES_OF_TOP = dict.fromkeys(("default", "default_profile", "use"), "profile")
# Two groups of settings. Those of a profile replace all of the group that it would inherit.
_KEYS = ("key_env", "key_sources", "token_files")
_URLS = ("base_url", "base_urls", "base_url_env", "dated_base_url")


def _joined(words: list[str], path: Path) -> str:
    """`headers.X-Team`, `patch 2 drop 1`: keys with dots between them, numbers with blanks around them."""
    text = words[0] if words else ""
    for before, step, word in zip(path, path[1:], words[1:], strict=False):
        text += ("." if isinstance(step, str) and isinstance(before, str) else " ") + word
    return text


class UserProfiles(NamedTuple):
    """The profiles of a configuration.

    home takes the place of ~ in names of files. note gets warnings, each as a line.
    """

    file: str
    document: Document
    home: str
    note: Callable[[str], None]

    @property
    def tables(self) -> Table:
        found = self.document.tables.get("profiles", {})
        return found if isinstance(found, dict) else {}

    def top_faults(self) -> Iterator[BadConfiguration]:
        """The faults at the top of the file."""
        for key, value in self.document.tables.items():
            if (fault := _fault_at_the_top(key, value)) is not None:
                yield self._fault(fault)

    def all_faults(self) -> Iterator[BadConfiguration]:
        """The faults at the top of the file, of all profiles, and of the choice of the default one."""
        yield from self.top_faults()
        for name in self.tables:
            yield from self.faults(name)
        default = self.document.tables.get("profile")
        known = frozenset({*self.tables, *profile_file.built_in_names()})
        if isinstance(default, str) and default.strip() and default not in known:
            fix = meant_profile(default, known)
            yield self._fault(SettingFault(("profile",), f"no profile '{default}'", fix))

    def faults(self, name: str) -> Iterator[BadConfiguration]:
        """The faults of one profile. note gets its warnings."""
        path = ("profiles", name)
        if name == ECHO.name:
            yield self._fault(
                SettingFault(path, "the built-in model has no settings", "give it another name")
            )
        table = self.tables[name]
        found = list(profile_faults(table, path))
        yield from map(self._fault, found)
        if found:
            return
        if (start := self._start_fault(name)) is not None:
            yield self._fault(start)
        for key, url in self._urls(table, path):
            try:
                if "{" not in url:
                    text = azure.dated_form(url, table.get("api_version"))
                    parse_base_url(text, self.place(key), self.note)
            except BadConfiguration as fault:
                yield fault
        for number, patch in enumerate(table.get("patch", ())):
            for at, field in enumerate(patch.get("drop", ())):
                if field in MEANING:
                    place = self.place((*path, "patch", number, "drop", at))
                    self.note(f"warning: {place}: dropping '{field}' changes what a request asks for")

    def read(self, name: str) -> Profile:
        """The profile of this name. Raises BadConfiguration for the first fault."""
        for each in self._chain(name) or [name]:
            for fault in self.faults(each):
                raise fault
        return profile_file.profile_of(name, self._resolved(name))

    def origin(self, name: str, path: Path) -> str:
        """The place of a setting, that of a built-in profile included; "" if nobody sets it."""
        for each in (chain := self._chain(name)):
            if _has(self.tables[each], path):
                return f"{self.file}:{self.document.line(('profiles', each, *path))}"
        return built_in_origin(self._built_in(chain, name), path)

    def patch_origins(self, name: str) -> list[str]:
        """The places of all patches of a profile, in their order."""
        chain = self._chain(name)
        built_in = self._built_in(chain, name)
        count = len((profile_file.read_table(built_in) or {}).get("patch", ()))
        found = [built_in_origin(built_in, ("patch",))] * count
        for each in reversed(chain):
            patches = self.tables[each].get("patch", ())
            paths = [("profiles", each, "patch", number) for number in range(len(patches))]
            found += (f"{self.file}:{self.document.line(path)}" for path in paths)
        return found

    def _built_in(self, chain: list[str], name: str) -> str:
        """The built-in profile that the last one of a chain starts from; there may be none of its name."""
        return str(self.tables[chain[-1]].get("like", chain[-1])) if chain else name

    def _chain(self, name: str) -> list[str]:
        """The profile and those of the user that it starts from, one by one, up to a circle."""
        chain: list[str] = []
        while name not in chain and isinstance(table := self.tables.get(name), dict):
            chain.append(name)
            like = table.get("like")
            name = like if isinstance(like, str) else name
        return chain

    def _start_fault(self, name: str) -> SettingFault | None:
        """The fault of a profile whose start is not there, or is itself in the end."""
        chain = self._chain(name)
        path: Path = ("profiles", chain[-1], "like")
        like = self.tables[chain[-1]].get("like")
        built_in = frozenset(profile_file.built_in_names()) - {ECHO.name}
        if not isinstance(like, str) or (like in built_in and like not in chain[:-1]):
            return None
        if like in chain:
            return SettingFault(path, f"leads back to '{like}'", "start from another profile")
        fix = meant_profile(like, built_in | {*self.tables})
        return SettingFault(path, f"no profile '{like}' to start from", fix)

    def _resolved(self, name: str) -> dict[str, Any]:
        """The merged table of a profile without faults, with its keys and servers as records."""
        own = self.tables.get(name)
        if own is None:
            return dict(profile_file.read_table(name) or {})
        like = own.get("like", name)
        start = dict(profile_file.read_table(name) or {}) if like == name else self._start(own, like)
        return self._merged(start, own, ("profiles", name))

    def _merged(self, start: dict[str, Any], own: Table, path: Path) -> dict[str, Any]:
        """The table of a profile at path, with what it takes over from start."""
        merged = {**start, **{key: value for key, value in own.items() if key != "like"}}
        if _has_servers(own):
            merged = {key: value for key, value in merged.items() if key not in _URLS or key in own}
            merged["base_urls"] = self._servers(own, path)
            merged.pop("base_url", None)
        if "headers" in start and "headers" in own:
            merged["headers"] = {**start["headers"], **own["headers"]}
        if "patch" in own:
            merged["patch"] = [*start.get("patch", ()), *own["patch"]]
        if keys := self._keys(own, path):
            merged["key_sources"] = keys
            merged.pop("token_files", None)
        if "prices" in own:
            merged["prices"] = self._path(own["prices"])
        return merged

    def _start(self, own: Table, like: str) -> dict[str, Any]:
        """The profile that another one starts from. A profile with servers of its own inherits no keys."""
        start = self._resolved(like)
        if _has_servers(own):
            start = {key: value for key, value in start.items() if key not in _KEYS}
            headers = start.get("headers", {})
            start["headers"] = {
                name: value for name, value in headers.items() if redact.header(name, value) == value
            }
        return start

    def _servers(self, own: Table, path: Path) -> list[ProfileServer]:
        """The servers of a profile, each once."""
        entries = own.get("base_urls") or [own["base_url"]]
        found: dict[object, ProfileServer] = {}
        for number, entry in enumerate(entries):
            place = (*path, "base_urls", number) if "base_urls" in own else (*path, "base_url")
            table = entry if isinstance(entry, dict) else {"url": entry}
            headers = tuple(table.get("headers", {}).items())
            server = ProfileServer(table["url"].strip(), self._keys(table, place), headers)
            if found.setdefault(_comparable(server.base_url), server) is not server:
                self.note(f"{self.place(place)}: this server is there twice and counts once")
        return list(found.values())

    def _urls(self, table: Table, path: Path) -> Iterator[tuple[Path, str]]:
        """The base URLs of a profile with their paths."""
        if "base_url" in table:
            yield (*path, "base_url"), table["base_url"]
        for number, entry in enumerate(table.get("base_urls", ())):
            where = (*path, "base_urls", number)
            yield where, entry["url"] if isinstance(entry, dict) else entry

    def _keys(self, table: Table, path: Path) -> tuple[KeySource, ...]:
        """The ways to the key that a table names."""
        settings = {name: table[name] for name in KEY_SETTINGS if name in table}
        if not settings:
            return ()
        if "key_file" in settings:
            settings["key_file"] = self._path(settings["key_file"])
        return _profile_key_sources(settings, lambda name: self.place((*path, name)))

    def _path(self, name: str) -> str:
        """The name of a file: ~ is the user's home, and a relative one is relative to the configuration."""
        if self.home and (name == "~" or name.startswith("~/")):
            return self.home + name[1:]
        return os.path.join(os.path.dirname(self.file), name)

    def place(self, path: Path) -> str:
        """The place of a value: `FILE:LINE: [profiles.NAME] KEY`."""
        words = [str(step + 1) if isinstance(step, int) else step for step in path]
        keys = _joined(words, path)
        if words[0] == "profiles" and len(words) > 1:
            keys = " ".join(filter(None, (f"[profiles.{words[1]}]", _joined(words[2:], path[2:]))))
        return f"{self.file}:{self.document.line(path)}: {keys}"

    def _fault(self, fault: SettingFault) -> BadConfiguration:
        return BadConfiguration(fault.what, place=self.place(fault.path), fix=fault.fix)


def built_in_origin(name: str, path: Path) -> str:
    """The origin of a setting of a built-in profile; "" if it does not set it."""
    is_set = name == ECHO.name or _has(profile_file.read_table(name) or {}, path)
    return f"profile '{name}', built in" if is_set else ""


def _has_servers(table: Table) -> bool:
    return "base_url" in table or "base_urls" in table


def _has(table: Any, path: Path) -> bool:
    for key in path:
        if not isinstance(table, dict) or key not in table:
            return False
        table = table[key]
    return True


def _profile_key_sources(settings: Table, place: Callable[[str], str]) -> tuple[KeySource, ...]:
    """The ways to the key that a profile names, in their order. place gives that of a setting.

    Of several variables the first that is set counts; one has to be.
    """
    found = []
    for way in (*KEY_WAYS, KEYRING):
        name = way.parameter
        if name not in settings:
            continue
        values = settings[name] if isinstance(settings[name], list) else [settings[name]]
        for number, value in enumerate(values, 1):
            table = value if isinstance(value, dict) else {"name": value}
            is_optional = number < len(values)
            found.append(KeySource(way, table["name"], place(name), is_optional, table.get("auth")))
    return tuple(found)


def _comparable(url: str) -> object:
    """A value that is equal for two spellings of one base URL. A template is its own."""
    if "{" in url:
        return url
    parsed = parse_base_url(url, "", lambda text: None)
    return comparable_origin(parsed), parsed.path, parsed.query


def _fault_at_the_top(key: str, value: Any) -> SettingFault | None:
    if key == "profile" and not (isinstance(value, str) and value.strip()):
        fix = "write [profiles.NAME]" if isinstance(value, dict) else 'write profile = "NAME"'
        return SettingFault((key,), "is not the name of a profile", fix)
    if key == "profiles" and not isinstance(value, dict):
        return SettingFault((key,), "is not a table", "write [profiles.NAME]")
    return None if key in _TOP else _unknown_at_the_top(key, value)


def _unknown_at_the_top(key: str, value: Any) -> SettingFault:
    """The fault for a setting that stands at the top and does not belong there."""
    if key in SETTINGS:
        return SettingFault((key,), "is a setting of a profile", "put it below [profiles.NAME]")
    if isinstance(value, dict) and key not in _NAMES_OF_TOP:
        meant = "NAME" if nearest(key, _TOP) else key
        return SettingFault((key,), "no such table", f"did you mean [profiles.{meant}]?")
    return unknown_setting(key, (), _TOP, _NAMES_OF_TOP)
