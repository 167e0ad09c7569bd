"""Rules of the tables of a user's profiles: the settings that there are, and the values that each takes.

A value itself is never shown: it may be a key.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from typing import Any
from urllib.parse import urlsplit

from chatpipe.errors import UsageFault
from chatpipe.inputs.names import nearest, or_list
from chatpipe.inputs.toml import Path
from chatpipe.named_tuple import NamedTuple
from chatpipe.options.tool_commands import split_command
from chatpipe.server.base_url import MODEL, PLACEHOLDERS
from chatpipe.server.headers import parse_header
from chatpipe.server.profiles import AUTH

# Fields that change the meaning of a request.
MEANING = frozenset(
    {"messages", "model", "n", "response_format", "seed", "stop", "tool_choice", "tools", "functions"}
)
KEY_SETTINGS = ("key_file", "key_command", "key_env", "keyring")
_KEY_REMEDY = "name where it is by key_env, key_file, key_command or keyring"
# Longer names are rare, and keys are longer.
_KEY_CHARS = 24


class SettingFault(NamedTuple):
    """A fault in the value at a path: what is wrong, and what to do, which may be empty."""

    path: Path
    what: str
    fix: str = ""


Rule = Callable[[Any, Path], Iterator[SettingFault]]


def profile_faults(table: Any, path: Path) -> Iterator[SettingFault]:
    """The faults of the profile at a path. Templates and regular expressions are looked at, too."""
    if not isinstance(table, dict):
        yield SettingFault(path, f"is {_kind(table)}, not a table", f"write [{'.'.join(map(str, path))}]")
        return
    yield from _table(SETTINGS, _OTHER_NAMES)(table, path)
    if "base_url" in table and "base_urls" in table:
        yield SettingFault((*path, "base_urls"), "is set beside base_url", "leave one of the two out")


def unknown_setting(key: str, path: Path, known: frozenset[str], others: Mapping[str, str]) -> SettingFault:
    """The fault for a setting that there is not. others translates the names of other tools."""
    word = key.lower().replace("-", "_")
    if re.fullmatch(r"(\w+_)?(api_?key|key|token|secret|password)", word) and word not in known:
        return SettingFault((*path, key), "a key does not belong in this file", _KEY_REMEDY)
    meant = word if word in known else others.get(word) or nearest(word, known, least=4)
    return SettingFault(
        (*path, key), "no such setting", f"did you mean {meant}?" if meant else "leave it out"
    )


def _table(rules: Mapping[str, Rule], others: Mapping[str, str] | None = None) -> Rule:
    """The rule of a table with these keys."""
    known = frozenset(rules)

    def check(value: Any, path: Path) -> Iterator[SettingFault]:
        if not isinstance(value, dict):
            yield SettingFault(path, f"is {_kind(value)}, not a table", "write { NAME = VALUE }")
            return
        for key, item in value.items():
            if key in rules:
                yield from rules[key](item, (*path, key))
            else:
                yield unknown_setting(key, path, known, others or {})

    return check


def _text(value: Any, path: Path) -> Iterator[SettingFault]:
    if not isinstance(value, str):
        yield SettingFault(path, f"is {_kind(value)}, not text", 'write it as "text"')
    elif not value.strip():
        yield SettingFault(path, "is empty", "leave it out")
    elif not value.isprintable():
        yield SettingFault(path, "has a control character", "write plain text on one line")


def _array_of(rule: Rule) -> Rule:
    def check(value: Any, path: Path) -> Iterator[SettingFault]:
        if not isinstance(value, list):
            yield SettingFault(path, f"is {_kind(value)}, not an array", "write [ ... ]")
            return
        if not value:
            yield SettingFault(path, "is empty", "leave it out")
        for number, item in enumerate(value):
            yield from rule(item, (*path, number))

    return check


def _one_or_array_of(rule: Rule) -> Rule:
    array = _array_of(rule)
    return lambda value, path: (array if isinstance(value, list) else rule)(value, path)


def _table_of(rule: Rule) -> Rule:
    """The rule of a table with any keys."""

    def check(value: Any, path: Path) -> Iterator[SettingFault]:
        if not isinstance(value, dict):
            yield SettingFault(path, f"is {_kind(value)}, not a table", 'write { NAME = "VALUE" }')
            return
        for key, item in value.items():
            yield from rule(item, (*path, key))

    return check


def _boolean(value: Any, path: Path) -> Iterator[SettingFault]:
    if not isinstance(value, bool):
        yield SettingFault(
            path, f"is {_kind(value)}, neither true nor false", "write true or false without quotes"
        )


def _word(*words: str) -> Rule:
    def check(value: Any, path: Path) -> Iterator[SettingFault]:
        if value not in words:
            meant = nearest(value, frozenset(words), least=3) if isinstance(value, str) else None
            yield SettingFault(path, f"is not {or_list(words)}", f"did you mean {meant}?" if meant else "")

    return check


def _header(value: Any, path: Path) -> Iterator[SettingFault]:
    name = str(path[-1])
    if not isinstance(value, str):
        yield SettingFault(path, f"is {_kind(value)}, not text", 'write NAME = "VALUE"')
    elif ":" in name:
        yield SettingFault(path, "is not the name of a header", 'write NAME = "VALUE"')
    else:
        try:
            parse_header(f"{name}: {value}", "")
        except UsageFault as fault:
            yield SettingFault(path, fault.what, "" if name in fault.what else 'write NAME = "VALUE"')


def _variable(value: Any, path: Path) -> Iterator[SettingFault]:
    """The name of a variable. A key itself may look like one."""
    if isinstance(value, dict):
        if "name" not in value:
            yield SettingFault(path, "has no name", 'write { name = "MY_API_KEY" }')
        yield from _table({"name": _variable, "auth": _word(*AUTH)})(value, path)
        return
    found = list(_text(value, path))
    yield from found
    if found:
        return
    looks_like_key = len(value) >= _KEY_CHARS and bool(re.search(r"[a-z]", value) and re.search(r"\d", value))
    if looks_like_key or not re.fullmatch(r"[A-Za-z_]\w*", value, re.ASCII):
        yield SettingFault(
            path, "is not the name of a variable", 'write the name alone, such as "MY_API_KEY"'
        )


def _pattern(value: Any, path: Path) -> Iterator[SettingFault]:
    import warnings

    found = list(_text(value, path))
    yield from found
    if found:
        return
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # about sets in sets, which mean what they mean today
            re.compile(value)
    except re.error as error:
        where = "" if error.pos is None else f" at character {error.pos + 1}"
        yield SettingFault(
            path, f"is not a regular expression: {error.msg}{where}", "correct it, or put \\ before signs"
        )
    except (RecursionError, OverflowError):
        yield SettingFault(path, "is a regular expression without bounds", "write a shorter one")


def _json(value: Any, path: Path) -> Iterator[SettingFault]:
    """A value that JSON has."""
    if isinstance(value, dict | list):
        pairs = value.items() if isinstance(value, dict) else enumerate(value)
        for key, item in pairs:
            yield from _json(item, (*path, key))
    elif not isinstance(value, str | int | float):
        yield SettingFault(path, f"is {_kind(value)}, which JSON does not have", 'write it as "text"')
    elif isinstance(value, float) and not abs(value) < float("inf"):
        yield SettingFault(path, "is a number that JSON does not have", "write a finite one")


def _base_url(value: Any, path: Path) -> Iterator[SettingFault]:
    """A base URL, which may have variables and the model in it."""
    found = list(_text(value, path))
    yield from found
    if not found and (brace := re.search(r"\$?\{[^}]*\}?|\}", re.sub(PLACEHOLDERS, "", value))):
        what = f"'{brace[0]}' is neither {MODEL} nor a variable in capitals"
        yield SettingFault(path, what, "write {MY_HOST} for the variable MY_HOST")


def _server(value: Any, path: Path) -> Iterator[SettingFault]:
    if isinstance(value, dict):
        if "url" not in value:
            yield SettingFault(path, "has no url", 'write { url = "https://..." }')
        yield from _table(_SERVER, _OTHER_NAMES)(value, path)
    else:
        yield from _base_url(value, path)


def _route(value: Any, path: Path) -> Iterator[SettingFault]:
    """The path of a call below the base URL."""
    found = list(_text(value, path))
    yield from found
    if not found and not re.fullmatch(r"/[^#{}]*", value.replace(MODEL, "")):
        fix = f"begin with /, and use no braces but {MODEL}"
        yield SettingFault(path, "is not a path below the base URL", fix)


def _list_route(value: Any, path: Path) -> Iterator[SettingFault]:
    """The path of the list of models or its URL, which may begin with a variable; "" for no list."""
    if isinstance(value, str) and not value.startswith("/"):
        yield from () if value == "" else _base_url(value, path)
        if value.strip() and not _is_url(value):
            yield SettingFault(path, "is neither a path nor a URL", "begin with /")
    else:
        yield from _route(value, path)


def _is_url(text: str) -> bool:
    """Return True for a URL, which may begin with a variable."""
    try:
        url = urlsplit(text)
    except ValueError:  # brackets around something else than an IPv6 address
        return False
    return text.startswith("{") or (url.scheme in ("http", "https") and url.netloc != "")


def _command(value: Any, path: Path) -> Iterator[SettingFault]:
    found = list(_text(value, path))
    yield from found
    try:
        if not found:
            split_command(value, "")
    except UsageFault as fault:
        yield SettingFault(path, fault.what, fault.fix)


def _kind(value: Any) -> str:
    """The kind of a value, with its article."""
    for kind, name in _KINDS:
        if isinstance(value, kind):
            return name
    return "a date or a time"


_KINDS: tuple[tuple[type, str], ...] = (
    (bool, "true or false"),
    (str, "text"),
    (int, "a number"),
    (float, "a number"),
    (dict, "a table"),
    (list, "an array"),
)
_texts = _one_or_array_of(_text)
_headers = _table_of(_header)
_PATCH: Mapping[str, Rule] = {
    "model": _pattern,
    "having": _array_of(_text),
    "rename": _table_of(_text),
    "roles": _table_of(_text),
    "replace": _table_of(_table_of(_json)),
    "logprobs_as_count": _boolean,
    "set": _table_of(_json),
    "drop": _array_of(_text),
}
_KEYS: Mapping[str, Rule] = {
    "key_env": _one_or_array_of(_variable),
    "key_file": _text,
    "key_command": _command,
    "keyring": _text,
}
_SERVER: Mapping[str, Rule] = {"url": _base_url, "headers": _headers, **_KEYS}
# Every setting of a profile. Those below allow_http are for profiles that take their URL from variables.
SETTINGS: Mapping[str, Rule] = {
    "like": _text,
    "base_url": _base_url,
    "base_urls": _array_of(_server),
    "model": _text,
    **_KEYS,
    "headers": _headers,
    "auth": _word(*AUTH),
    "api_version": _text,
    "path": _route,
    "models_path": _list_route,
    "prices": _text,
    "patch": _array_of(_table(_PATCH)),
    "allow_http": _boolean,
    "needs_key": _boolean,
    "base_url_env": _array_of(_variable),
    "dated_base_url": _base_url,
    "api_version_env": _array_of(_variable),
    "model_env": _array_of(_variable),
    "batch": _text,
}
# Names of settings in other tools.
_OTHER_NAMES: Mapping[str, str] = {
    **dict.fromkeys(("api_base", "url", "endpoint", "host", "base", "server", "api_url", "uri"), "base_url"),
    **dict.fromkeys(("urls", "servers", "endpoints", "hosts"), "base_urls"),
    **dict.fromkeys(("default_model", "model_name", "deployment", "engine"), "model"),
    **dict.fromkeys(("api_key_env", "env_key", "env", "api_key_name", "key_name", "key_variable"), "key_env"),
    **dict.fromkeys(("api_key_file", "keyfile"), "key_file"),
    **dict.fromkeys(("api_key_command", "key_cmd", "api_key_cmd", "credential_command"), "key_command"),
    **dict.fromkeys(("header", "extra_headers", "default_headers", "http_headers"), "headers"),
    **dict.fromkeys(("auth_type", "authentication", "authorization"), "auth"),
    **dict.fromkeys(("version", "api_versions"), "api_version"),
    **dict.fromkeys(("route", "chat_path", "completions_path"), "path"),
    **dict.fromkeys(("price", "pricing", "price_file"), "prices"),
    **dict.fromkeys(("allow_insecure", "insecure", "http"), "allow_http"),
    **dict.fromkeys(("inherit", "extends", "base_profile", "parent", "from", "provider", "type"), "like"),
    **dict.fromkeys(("patches",), "patch"),
}
