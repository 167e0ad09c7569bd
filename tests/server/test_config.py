"""config.toml: the profiles that it makes, and one line with its place for everything that is wrong."""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from chatpipe.errors import BadConfiguration
from chatpipe.options.server import ServerOptions
from chatpipe.server import other_profile_names, patches
from chatpipe.server.config import Config, config_path, find_profile, profile_names, read_config
from chatpipe.server.endpoints import Endpoint, resolve_endpoints
from chatpipe.server.profile_file import built_in_names, read_profile
from chatpipe.server.profile_rules import _PATCH
from chatpipe.server.profiles import ECHO, Profile
from support.parametrize import cases
from support.refusals import refused

GROQ = read_profile("groq") or ECHO


class _Reader:
    """A function that reads a configuration, and keeps the notes."""

    def __init__(self, folder: Path) -> None:
        self.notes: list[str] = []
        self._file = folder / "c.toml"

    def __call__(self, text: str) -> Config:
        self._file.write_text(text)
        return read_config({"CHATPIPE_CONFIG": str(self._file), "HOME": "/home/me"}, self.notes.append)


@pytest.fixture
def config(tmp_path: Path) -> _Reader:
    return _Reader(tmp_path)


# The file


@cases(
    ("environ", "path"),
    {
        "home": ({"HOME": "/h"}, "/h/.config/chatpipe/config.toml"),
        "XDG": ({"HOME": "/h", "XDG_CONFIG_HOME": "/x y"}, "/x y/chatpipe/config.toml"),
        "XDG is empty": ({"HOME": "/h", "XDG_CONFIG_HOME": ""}, "/h/.config/chatpipe/config.toml"),
        "XDG is relative": ({"HOME": "/h", "XDG_CONFIG_HOME": "x"}, "/h/.config/chatpipe/config.toml"),
        "named": ({"HOME": "/h", "XDG_CONFIG_HOME": "/x", "CHATPIPE_CONFIG": "c.toml"}, "c.toml"),
        "no home": ({}, None),
        "home is empty": ({"HOME": ""}, None),
        "home is relative": ({"HOME": "."}, None),
        "home is relative, but not XDG": ({"HOME": ".", "XDG_CONFIG_HOME": "/x"}, "/x/chatpipe/config.toml"),
    },
)
def test_the_configuration_is_found_by_the_environment(environ: dict[str, str], path: str | None) -> None:
    assert config_path(environ)[0] == path


def test_missing_file_is_nothing_unless_it_is_named(tmp_path: Path) -> None:
    assert read_config({}) == Config()
    assert read_config({"XDG_CONFIG_HOME": str(tmp_path)}) == Config()
    (tmp_path / "chatpipe").write_text("a file in place of the folder")
    assert read_config({"XDG_CONFIG_HOME": str(tmp_path)}) == Config()
    named = str(tmp_path / "none.toml")
    with refused(BadConfiguration, f"CHATPIPE_CONFIG: no file '{named}': write one, or unset it"):
        read_config({"CHATPIPE_CONFIG": named})


def test_link_that_leads_nowhere_is_a_fault(tmp_path: Path) -> None:
    (tmp_path / "chatpipe").mkdir()
    link = tmp_path / "chatpipe" / "config.toml"
    link.symlink_to("nowhere")
    with refused(BadConfiguration, f"no file '{link}': correct the link, or remove it"):
        read_config({"XDG_CONFIG_HOME": str(tmp_path)})
    (tmp_path / "chatpipe" / "nowhere").write_text('profile = "groq"')
    assert read_config({"XDG_CONFIG_HOME": str(tmp_path)}).profile == "groq"


@cases(
    ("data", "words"),
    {
        "not UTF-8": (b"a = 1\nprofile = '\xe9'", "c.toml:2: byte 0xe9 is not UTF-8: convert it first"),
        "NUL": (b"profile = '\0'", "c.toml: binary data, a NUL at byte 11"),
        "UTF-16": ("profile = 'x'".encode("utf-16"), "c.toml: UTF-16, not UTF-8 text: read it with iconv"),
        "too large": (b"#" * 1_000_001, "c.toml: the configuration has more than 1 MB"),
        "not TOML": (b"\nprofile: groq", "c.toml:2: not TOML: write KEY = VALUE"),
        "two profiles of one name": (
            b"[profiles.a]\n[profiles.b]\n[profiles.a]",
            "c.toml:3: [profiles.a] is on line 1 already: leave one of the two out",
        ),
    },
)
def test_file_that_is_no_configuration(data: bytes, words: str, tmp_path: Path) -> None:
    file = tmp_path / "c.toml"
    file.write_bytes(data)
    with pytest.raises(BadConfiguration) as caught:
        read_config({"CHATPIPE_CONFIG": str(file)})
    assert str(caught.value).startswith(f"{tmp_path}/{words}")


def test_folder_and_file_without_permission(tmp_path: Path) -> None:
    with pytest.raises(BadConfiguration, match="is a directory: name another file by CHATPIPE_CONFIG"):
        read_config({"CHATPIPE_CONFIG": str(tmp_path)})
    (tmp_path / "c.toml").write_text("")
    (tmp_path / "c.toml").chmod(0)
    if not os.access(tmp_path / "c.toml", os.R_OK):
        with pytest.raises(BadConfiguration, match="permission denied"):
            read_config({"CHATPIPE_CONFIG": str(tmp_path / "c.toml")})


def test_byte_order_mark_and_windows_line_ends(tmp_path: Path) -> None:
    (tmp_path / "c.toml").write_bytes(b'\xef\xbb\xbfprofile = "groq"\r\n[profiles.x]\r\nmodel = "m"\r\n')
    read = read_config({"CHATPIPE_CONFIG": str(tmp_path / "c.toml")})
    assert (read.profile, find_profile("x", "", read).model) == ("groq", "m")


def test_ordinary_file_needs_no_tomllib(config: _Reader, monkeypatch: pytest.MonkeyPatch) -> None:
    """To import it would take longer than all the rest."""
    monkeypatch.setitem(sys.modules, "tomllib", None)
    assert find_profile("x", "", config('profile = "x"\n[profiles.x]\nlike = "groq"\n')).name == "x"


# Faults of profiles

TOP = {
    "unknown": ("porfile = 'x'", 1, "porfile: no such setting: did you mean profile?"),
    "other word": ("\ndefault_profile = 'x'", 2, "default_profile: no such setting: did you mean profile?"),
    "no word": ("colour = 'x'", 1, "colour: no such setting: leave it out"),
    "number": ("profile = 1", 1, 'profile: is not the name of a profile: write profile = "NAME"'),
    "empty": ("profile = ''", 1, 'profile: is not the name of a profile: write profile = "NAME"'),
    "singular": (
        "[profile.x]\nmodel = 'm'",
        1,
        "profile: is not the name of a profile: write [profiles.NAME]",
    ),
    "no tables": ("profiles = 'x'", 1, "profiles: is not a table: write [profiles.NAME]"),
    "table beside": ("[groq]\nmodel = 'm'", 1, "groq: no such table: did you mean [profiles.groq]?"),
    "setting of a profile": (
        "model = 'm'\n[profiles.x]",
        1,
        "model: is a setting of a profile: put it below [profiles.NAME]",
    ),
    "key": (
        "api_key = 'sk-secret'",
        1,
        (
            "api_key: a key does not belong in this file: "
            "name where it is by key_env, key_file, key_command or keyring"
        ),
    ),
}
A_KEY = "a key does not belong in this file: name where it is by key_env, key_file, key_command or keyring"
NO_VARIABLE = "neither {model} nor a variable in capitals: write {MY_HOST} for the variable MY_HOST"
NO_PATH = "is not a path below the base URL: begin with /, and use no braces but {model}"
# Lines below [profiles.x], the line of the fault, and its words.
PROFILE = {
    "unknown": ("colour = 1", 2, "colour: no such setting: leave it out"),
    "typo": ("mode = 'm'", 2, "mode: no such setting: did you mean model?"),
    "dash": ("base-url = 'http://a'", 2, "base-url: no such setting: did you mean base_url?"),
    "another tool's": ("api_base = 'http://a'", 2, "api_base: no such setting: did you mean base_url?"),
    "url": ("url = 'http://a'", 2, "url: no such setting: did you mean base_url?"),
    "key": ("api_key = 'sk-secret'", 2, f"api_key: {A_KEY}"),
    "apikey": ("apikey = 'sk-secret'", 2, f"apikey: {A_KEY}"),
    "token": ("bearer-token = 'sk-secret'", 2, f"bearer-token: {A_KEY}"),
    "key in a table of a server": (
        "base_urls = [\n 'http://a',\n { url = 'http://b', key = 'sk-secret' }]",
        4,
        f"base_urls 2 key: {A_KEY}",
    ),
    "key as a variable": (
        "key_env = 'sk-secret-0'",
        2,
        'key_env: is not the name of a variable: write the name alone, such as "MY_API_KEY"',
    ),
    "key that could be a variable": (
        "key_env = ['A', 'gsk_abcdefghijklmnopqrstuvwxyz0123secret']",
        2,
        'key_env 2: is not the name of a variable: write the name alone, such as "MY_API_KEY"',
    ),
    "variable with its dollar": (
        "key_env = '$A'",
        2,
        'key_env: is not the name of a variable: write the name alone, such as "MY_API_KEY"',
    ),
    "variable without its name": (
        "key_env = [{ auth = 'bearer' }]",
        2,
        'key_env 1: has no name: write { name = "MY_API_KEY" }',
    ),
    "number": ("model = 4", 2, 'model: is a number, not text: write it as "text"'),
    "boolean": ("model = true", 2, 'model: is true or false, not text: write it as "text"'),
    "date": ("model = 1979-05-27", 2, 'model: is a date or a time, not text: write it as "text"'),
    "array": ("model = ['m']", 2, 'model: is an array, not text: write it as "text"'),
    "empty": ("base_url = ''", 2, "base_url: is empty: leave it out"),
    "blank": ("model = '  '", 2, "model: is empty: leave it out"),
    "control character": (
        'model = "a\\nb"',
        2,
        "model: has a control character: write plain text on one line",
    ),
    "text as a boolean": (
        "allow_http = 'true'",
        2,
        "allow_http: is text, neither true nor false: write true or false without quotes",
    ),
    "word": ("auth = 'baerer'", 2, "auth: is not bearer, api-key or none: did you mean bearer?"),
    "no word": ("auth = 'basic'", 2, "auth: is not bearer, api-key or none"),
    "no URL": ("base_url = 'ftp://a'", 2, "base_url: 'ftp' is not a scheme of a base URL: write 'https://a'"),
    "variable in small letters": (
        "base_url = 'http://{host}/v1'",
        2,
        f"base_url: '{{host}}' is {NO_VARIABLE}",
    ),
    "variable of a shell": (
        "base_url = 'http://${MY_HOST}/v1'",
        2,
        f"base_url: '${{MY_HOST}}' is {NO_VARIABLE}",
    ),
    "model as of a shell": ("base_url = 'http://a/${model}'", 2, f"base_url: '${{model}}' is {NO_VARIABLE}"),
    "alternatives that lack one": (
        "base_urls = [{ url = 'http://{A|}/v1' }]",
        2,
        f"base_urls 1 url: '{{A|}}' is {NO_VARIABLE}",
    ),
    "brace without an end": ("base_urls = ['http://{A/v1']", 2, f"base_urls 1: '{{A/v1' is {NO_VARIABLE}"),
    "placeholder beside the model": (
        "base_url = 'http://a/{model}/{version}'",
        2,
        f"base_url: '{{version}}' is {NO_VARIABLE}",
    ),
    "path without a slash": ("path = 'chat'", 2, f"path: {NO_PATH}"),
    "path of another server": ("path = 'http://b/chat'", 2, f"path: {NO_PATH}"),
    "path with a fragment": ("path = '/chat#x'", 2, f"path: {NO_PATH}"),
    "path with an unknown part": ("path = '/{deployment}/chat'", 2, f"path: {NO_PATH}"),
    "list without a slash": (
        "models_path = 'models'",
        2,
        "models_path: is neither a path nor a URL: begin with /",
    ),
    "list that is no URL": (
        "models_path = 'http://[h]/models'",
        2,
        "models_path: is neither a path nor a URL: begin with /",
    ),
    "list without a host": (
        "models_path = 'http:models'",
        2,
        "models_path: is neither a path nor a URL: begin with /",
    ),
    "base URL that Python cannot parse": (
        "base_url = 'https://[your-resource].example'\napi_version = '2024-10-21'",
        2,
        "base_url: 'https://[your-resource].example' is not an http or https URL",
    ),
    "list of a variable that is none": (
        "models_path = '{host}/models'",
        2,
        f"models_path: '{{host}}' is {NO_VARIABLE}",
    ),
    "blank list": ("models_path = ' '", 2, "models_path: is empty: leave it out"),
    "command with an open quote": (
        'key_command = "pass \'secret"',
        2,
        "key_command: cannot be split into words: a quote is not closed",
    ),
    "command for a shell": (
        "key_command = 'pass secret | head -1'",
        2,
        "key_command: no shell runs the command, so '|' would be an argument: write sh -c 'COMMAND'",
    ),
    "both": (
        "base_url = 'http://a'\nbase_urls = ['http://b']",
        3,
        "base_urls: is set beside base_url: leave one of the two out",
    ),
    "URLs as text": ("base_urls = 'http://a'", 2, "base_urls: is text, not an array: write [ ... ]"),
    "no URLs": ("base_urls = []", 2, "base_urls: is empty: leave it out"),
    "URL as a number": (
        "base_urls = ['http://a', 5]",
        2,
        'base_urls 2: is a number, not text: write it as "text"',
    ),
    "server without a URL": (
        "base_urls = [{ key_env = 'A' }]",
        2,
        'base_urls 1: has no url: write { url = "https://..." }',
    ),
    "headers as text": (
        "headers = 'A: b'",
        2,
        'headers: is text, not a table: write { NAME = "VALUE" }',
    ),
    "header that is none": (
        "[profiles.x.headers]\n'a b' = 'c'",
        3,
        'headers.a b: not a header: write NAME = "VALUE"',
    ),
    "header as a number": ("headers.A = 1", 2, 'headers.A: is a number, not text: write NAME = "VALUE"'),
    "header of two lines": ('headers = { A = "b\\nC: d" }', 2, "headers.A: header 'A' has a character that"),
    "header of the body": (
        "headers = { Content-Length = '5' }",
        2,
        "headers.Content-Length: header 'Content-",
    ),
    "patch as a table": (
        "[profiles.x.patch]\nmodel = 'm'",
        2,
        "patch: is a table, not an array: write [ ... ]",
    ),
    "patch that is no regex": (
        "[[profiles.x.patch]]\n[[profiles.x.patch]]\nmodel = '(gpt'",
        4,
        (
            "patch 2 model: is not a regular expression: missing ), unterminated subpattern at character 1: "
            "correct it, or put \\ before signs"
        ),
    ),
    "patch of another name": (
        "[[profiles.x.patch]]\nrenam = {}",
        3,
        "patch 1 renam: no such setting: did you mean rename?",
    ),
    "drop as text": (
        "[[profiles.x.patch]]\ndrop = 'n'",
        3,
        "patch 1 drop: is text, not an array: write [ ... ]",
    ),
    "name that is no text": (
        "[[profiles.x.patch]]\nrename = { a = 1 }",
        3,
        'patch 1 rename.a: is a number, not text: write it as "text"',
    ),
    "no JSON": (
        "[[profiles.x.patch]]\nset = { a = [1, 07:32:00] }",
        3,
        'patch 1 set.a 2: is a date or a time, which JSON does not have: write it as "text"',
    ),
    "not finite": (
        "[[profiles.x.patch]]\nset = { a = nan }",
        3,
        "patch 1 set.a: is a number that JSON does not have: write a finite one",
    ),
    "start that is not there": (
        "like = 'gorq'",
        2,
        "like: no profile 'gorq' to start from: did you mean 'groq'?",
    ),
    "start with the built-in model": (
        "like = 'echo'",
        2,
        "like: no profile 'echo' to start from: chatpipe config show --profiles lists all",
    ),
    "start with itself": ("like = 'x'", 2, "like: leads back to 'x': start from another profile"),
    "fault of the profile that it is like": (
        "like = 'y'\n[profiles.y]\nbase_urls = 5",
        4,
        "[profiles.y] base_urls: is a number, not an array: write [ ... ]",
    ),
    "built-in name that leads back": (
        "like = 'groq'\n[profiles.groq]\nlike = 'x'",
        4,
        "[profiles.groq] like: leads back to 'x': start from another profile",
    ),
    "circle": (
        "like = 'y'\n[profiles.y]\nlike = 'x'",
        4,
        "[profiles.y] like: leads back to 'x': start from another profile",
    ),
}


@cases(("text", "line", "words"), TOP)
def test_faults_at_the_top(text: str, line: int, words: str, config: _Reader, tmp_path: Path) -> None:
    with refused(BadConfiguration, f"{tmp_path}/c.toml:{line}: {words}"):
        config(text)


@cases(("text", "line", "words"), PROFILE)
def test_faults_of_a_profile(text: str, line: int, words: str, config: _Reader, tmp_path: Path) -> None:
    read = config(f"[profiles.x]\n{text}\n")
    assert read.profiles is not None
    with pytest.raises(BadConfiguration) as caught:
        find_profile("x", "", read)
    place = "" if words.startswith("[") else "[profiles.x] "
    assert str(caught.value).startswith(f"{tmp_path}/c.toml:{line}: {place}{words}")
    assert "secret" not in str(caught.value)
    assert str(caught.value) in [str(each) for each in read.profiles.all_faults()]


def test_profile_that_is_no_table(config: _Reader, tmp_path: Path) -> None:
    with refused(
        BadConfiguration,
        f"{tmp_path}/c.toml:2: [profiles.x]: is text, not a table: write [profiles.x]",
    ):
        find_profile("x", "", config("[profiles]\nx = 'y'"))


def test_profile_that_is_not_used_is_not_looked_at(config: _Reader) -> None:
    read = config("[profiles.x]\ncolour = 1\n[profiles.y]\nmodel = 'm'\n[profiles.echo]\nmodel = 'm'")
    assert read.profiles is not None
    assert find_profile("y", "", read).model == "m"
    assert [each.what for each in read.profiles.all_faults()] == [
        "no such setting",
        "the built-in model has no settings",
    ]


@cases(
    ("name", "words"),
    {
        "typo": ("gorq", "--profile: no profile 'gorq': did you mean 'groq'?"),
        "a company": ("Google", "--profile: no profile 'Google': did you mean 'gemini'?"),
        "a model, whose name is close to another profile": (
            "grok",
            "--profile: no profile 'grok': did you mean 'xai'?",
        ),
        "a URL": (
            "http://x:8000",
            "--profile: no profile 'http://x:8000': a URL goes to --base-url, or to base_url in a profile",
        ),
        "typo of the user's": ("my-wrok", "--profile: no profile 'my-wrok': did you mean 'my-work'?"),
        "nothing like it": ("x", "--profile: no profile 'x': chatpipe config show --profiles lists all"),
    },
)
def test_profile_that_is_not_there(name: str, words: str, config: _Reader) -> None:
    with refused(BadConfiguration, words):
        find_profile(name, "--profile", config("[profiles.my-work]"))


def test_other_names_lead_to_built_in_profiles() -> None:
    built_in = {*built_in_names()}
    assert other_profile_names._WORDS.keys() <= built_in
    assert built_in.isdisjoint(" ".join(other_profile_names._WORDS.values()).split())


def test_default_profile_that_is_not_there(config: _Reader, tmp_path: Path) -> None:
    words = f"{tmp_path}/c.toml:2: profile: no profile 'gorq': did you mean 'groq'?"
    read = config("\nprofile = 'gorq'")
    assert read.profiles is not None
    assert [str(each) for each in read.profiles.all_faults()] == [words]
    with refused(BadConfiguration, words):
        resolve_endpoints(ServerOptions(), {"CHATPIPE_CONFIG": f"{tmp_path}/c.toml"})


def test_every_setting_of_a_patch_has_a_rule() -> None:
    assert set(_PATCH) == set(patches.Patch._fields)


# What is made of them


def made(text: str, config: _Reader, name: str = "x") -> Profile:
    return find_profile(name, "", config(text))


def test_every_setting_of_a_profile(config: _Reader, tmp_path: Path) -> None:
    text = """
    [profiles.x]
    base_url = "http://a.example/v1"
    model = "m"
    auth = "api-key"
    api_version = "2024-10-21"
    path = "/chat"
    models_path = ""
    prices = "prices.toml"
    allow_http = true
    needs_key = true
    headers = { A = "b" }
    key_file = "keys/x"
    [[profiles.x.patch]]
    model = "^gpt"
    rename = { max_tokens = "max_completion_tokens" }
    drop = ["user"]
    """
    found = made(text, config)
    (server,) = found.servers
    (key,) = found.keys
    assert (server.base_url, found.model, found.auth, found.api_version, found.path, found.models_path) == (
        *("http://a.example/v1", "m", "api-key", "2024-10-21", "/chat"),
        found.models_path,
    )
    assert not found.models_path
    assert (found.prices, found.allow_http, found.needs_key) == (f"{tmp_path}/prices.toml", True, True)
    assert found.headers == (("A", "b"),)
    assert (key.file, key.place) == (f"{tmp_path}/keys/x", f"{tmp_path}/c.toml:13: [profiles.x] key_file")
    assert found.patches == (
        patches.Patch("^gpt", rename={"max_tokens": "max_completion_tokens"}, drop=("user",)),
    )


@cases(
    ("text", "expected"),
    {
        "nothing but a model": ("model = 'm'", {"model": "m"}),
        "another URL": (
            "base_url = 'http://b'",
            {"servers": (("http://b", (), ()),), "base_url_env": ()},
        ),
        "another header": ("headers = { A = 'b' }", {"headers": (*GROQ.headers, ("A", "b"))}),
        "one more patch": (
            "[[profiles.groq.patch]]\ndrop = ['user']",
            {"patches": (*GROQ.patches, patches.Patch(drop=("user",)))},
        ),
        "no authorization": ("auth = 'none'", {"auth": "none"}),
    },
)
def test_profile_of_a_built_in_name_adds_to_it(
    text: str, expected: Mapping[str, Any], config: _Reader
) -> None:
    assert made(f"[profiles.groq]\n{text}", config, "groq") == GROQ._replace(**expected)


def test_like_starts_from_another_profile_of_the_user(config: _Reader) -> None:
    text = """
    [profiles.x]
    like = "y"
    model = "mine"
    [[profiles.x.patch]]
    drop = ["x"]
    [profiles.y]
    like = "groq"
    headers = { A = "b", Authorization = "Bearer k3y" }
    key_env = "Y_KEY"
    [[profiles.y.patch]]
    drop = ["y"]
    """
    found = made(text, config)
    assert (found.name, found.model, found.servers) == ("x", "mine", GROQ.servers)
    assert [each.drop for each in found.patches[-2:]] == [("y",), ("x",)]
    assert [each.value for each in found.keys] == ["Y_KEY"]
    assert dict(found.headers)["Authorization"] == "Bearer k3y"


@pytest.mark.parametrize("url", ["base_url = 'https://b.example'", "base_urls = ['https://b.example']"])
def test_profile_with_a_server_of_its_own_gets_no_key_of_the_one_that_it_is_like(
    url: str, config: _Reader
) -> None:
    text = f"[profiles.x]\nlike = 'y'\n{url}\n[profiles.y]\nlike = 'groq'\n"
    text += "headers = { A = 'b', X-Api-Key = 'k3y' }\nkey_env = 'Y_KEY'"
    found = made(text, config)
    assert (found.keys, found.headers) == ((), (*GROQ.headers, ("A", "b")))
    assert made(f"[profiles.x]\nlike = 'groq'\n{url}", config).keys == ()
    assert made(f"[profiles.x]\nlike = 'huggingface'\n{url}", config).token_files == ()


def test_servers_have_their_own_keys_and_headers(config: _Reader, tmp_path: Path) -> None:
    text = """
    [profiles.x]
    base_urls = [
      "http://a/v1",
      { url = "http://b/v1", key_env = "B_KEY", headers = { B = "b" } },
      { url = "http://A/v1/" },
    ]
    key_command = "pass a"
    """
    found = made(text, config)
    assert [(each.base_url, [key.value for key in each.keys], each.headers) for each in found.servers] == [
        ("http://a/v1", [], ()),
        ("http://b/v1", ["B_KEY"], (("B", "b"),)),
    ]
    assert [(each.value, each.way.names) for each in found.keys] == [("pass a", "command")]
    assert config.notes == [
        f"{tmp_path}/c.toml:6: [profiles.x] base_urls 3: this server is there twice and counts once"
    ]


def test_first_variable_that_is_set_is_the_key_and_one_has_to_be(config: _Reader) -> None:
    keys = made("[profiles.x]\nkey_env = ['A', { name = 'B', auth = 'none' }]", config).keys
    assert [(each.value, each.is_optional, each.auth) for each in keys] == [
        ("A", True, None),
        ("B", False, "none"),
    ]


@cases(
    ("name", "path"),
    {
        "relative": ("keys/x", "{folder}/keys/x"),
        "absolute": ("/etc/key", "/etc/key"),
        "home": ("~/key", "/home/me/key"),
        "of another user": ("~you/key", "{folder}/~you/key"),
    },
)
def test_files_are_relative_to_the_configuration(
    name: str, path: str, config: _Reader, tmp_path: Path
) -> None:
    (key,) = made(f"[profiles.x]\nkey_file = '{name}'", config).keys
    assert key.file == path.format(folder=tmp_path)


@pytest.mark.parametrize("field", ["tools", "n", "response_format", "stop"])
def test_patch_that_drops_what_changes_the_meaning_is_named(
    field: str, config: _Reader, tmp_path: Path
) -> None:
    made(f"[profiles.x]\n[[profiles.x.patch]]\ndrop = ['user', '{field}']", config)
    place = f"{tmp_path}/c.toml:3: [profiles.x] patch 1 drop 2"
    assert config.notes == [f"warning: {place}: dropping '{field}' changes what a request asks for"]


# What a call makes of it


def called(environ: dict[str, str], tmp_path: Path, **options: Any) -> Endpoint:
    return resolve_endpoints(ServerOptions(**options), {"CHATPIPE_CONFIG": f"{tmp_path}/c.toml", **environ})[
        0
    ]


WORK = """
profile = "work"
[profiles.work]
base_url = "https://w.example/v1"
model = "w"
headers = { W = "w" }
"""


@cases(
    ("environ", "options", "url", "model", "has_header"),
    {
        "default profile": ({}, {}, "https://w.example/v1", "w", True),
        "its server by option": (
            {},
            {"base_urls": ("https://w.example/v2",)},
            "https://w.example/v2",
            "w",
            True,
        ),
        "another server by option": (
            {},
            {"base_urls": ("https://b.example",)},
            "https://b.example",
            None,
            False,
        ),
        "another server by variable": (
            {"CHATPIPE_BASE_URL": "https://b.example/v1"},
            {},
            "https://b.example/v1",
            None,
            False,
        ),
        "OPENAI_* come behind it": (
            {"OPENAI_BASE_URL": "https://o.example/v1", "OPENAI_MODEL": "o"},
            {},
            "https://w.example/v1",
            "w",
            True,
        ),
        "CHATPIPE_MODEL comes before it": ({"CHATPIPE_MODEL": "c"}, {}, "https://w.example/v1", "c", True),
        "another profile by option": ({}, {"profile": "groq"}, "https://api.groq.com/openai/v1", None, False),
        "another profile by variable": (
            {"CHATPIPE_PROFILE": "groq"},
            {},
            "https://api.groq.com/openai/v1",
            None,
            False,
        ),
    },
)
def test_default_profile_of_a_call(
    environ: dict[str, str], options: dict[str, Any], url: str, model: str, has_header: bool, tmp_path: Path
) -> None:
    (tmp_path / "c.toml").write_text(WORK)
    found = called(environ, tmp_path, **options)
    assert found.base_url.removesuffix("/v1") == url.removesuffix("/v1")
    assert (found.model, ("W", "w") in found.headers) == (model, has_header)


def test_echo_does_not_look_at_the_file(tmp_path: Path) -> None:
    (tmp_path / "c.toml").write_text("is not TOML")
    assert called({}, tmp_path, profile="echo").in_process
    assert called({"CHATPIPE_PROFILE": "echo"}, tmp_path).in_process
    (tmp_path / "c.toml").write_text("profile = 'echo'")
    assert called({}, tmp_path).in_process


def test_names_of_profiles_are_the_users_first(config: _Reader) -> None:
    names = profile_names(config("[profiles.zz]\n[profiles.groq]"))
    assert names[:2] == ["zz", "groq"]
    assert names.count("groq") == 1
    assert "echo" in names
