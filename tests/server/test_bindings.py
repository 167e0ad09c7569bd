"""Who gets which key, headers and patches: one table of calls, and what each of their servers gets."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar, cast
from urllib.parse import urlsplit

import pytest

from chatpipe.errors import BadConfiguration, ChatpipeError, NoAccess, UsageFault
from chatpipe.options.server import KeySource, ServerOptions
from chatpipe.server import server_choice
from chatpipe.server.config import Config
from chatpipe.server.endpoints import Endpoint, resolve_endpoints
from chatpipe.server.headers import OWN_HEADERS
from chatpipe.server.hosts import is_same_server
from chatpipe.server.keys import ENVIRONMENT, KEY_WAYS
from chatpipe.server.patches import Patch
from chatpipe.server.profiles import Profile, ProfileServer
from chatpipe.server.server import open_servers
from chatpipe.server.user_profiles import UserProfiles
from support.parametrize import cases

OPENAI = "https://api.openai.com/v1"
GROQ = "https://api.groq.com/openai/v1"
A, B, LOCAL = "https://a.example/v1", "https://b.example/v1", "http://localhost:8000/v1"
KEYS = {"OPENAI_API_KEY": "openai", "CHATPIPE_API_KEY": "chatpipe", "GROQ_API_KEY": "groq", "MINE": "mine"}
HEADERS = {"OPENAI_ORG_ID": "o", "OPENAI_PROJECT_ID": "p", "OPENAI_CUSTOM_HEADERS": "X-Custom: c"}
ALL = KEYS | HEADERS
SENT_HEADERS = ("OpenAI-Organization", "OpenAI-Project", "X-Custom")


def variable(name: str, *, is_optional: bool = False) -> KeySource:
    return KeySource(ENVIRONMENT, name, f"config.toml:3: {name}", is_optional=is_optional)


def by_option(way: str, value: str) -> KeySource:
    return KeySource(next(each for each in KEY_WAYS if each.option == way), value)


FLEET = Profile(
    "fleet",
    (
        ProfileServer(A, (variable("A_KEY"),), (("X-A", "a"),)),
        ProfileServer("https://a.example/second", (variable("SECOND_KEY"),)),
        ProfileServer(B),
    ),
    keys=(variable("MINE"),),
    headers=(("X-Fleet", "f"),),
    patches=(Patch(drop=("seed",)),),
    model="of-fleet",
)
LOCKED = Profile("locked", (ProfileServer(A),), keys=(variable("MINE", is_optional=True),), needs_key=True)


class Profiles:
    """Profiles that need no file."""

    tables: ClassVar = {"fleet": FLEET, "locked": LOCKED}

    def read(self, name: str) -> Profile:
        return self.tables[name]


CONFIG = Config("config.toml", None, "", cast("UserProfiles", Profiles()))


@pytest.fixture(autouse=True)
def config(monkeypatch: pytest.MonkeyPatch) -> None:
    """CONFIG is the configuration; the variable DEFAULT names its default profile."""

    def read(environ: Mapping[str, str], note: object = None) -> Config:
        return CONFIG._replace(profile=environ.get("DEFAULT"), place="config.toml:1")

    monkeypatch.setattr(server_choice, "read_config", read)


def got(found: Endpoint, options: ServerOptions, environ: Mapping[str, str]) -> str:
    """A server in words: its URL, the key that it gets, the names of its headers, `patched`."""
    server, *_ = open_servers([found], options, environ)
    key = server.key_header
    names = [name for name, _ in found.headers if name not in dict(OWN_HEADERS)]
    words = [found.base_url, "-" if key is None else key[1].removeprefix("Bearer "), *names]
    return " ".join([*words, *(["patched"] if found.patches else [])])


@cases(
    ("options", "environ", "expected"),
    {
        # No profile
        "nothing": ({}, ALL, f"{OPENAI} chatpipe {' '.join(SENT_HEADERS)}"),
        "OPENAI_API_KEY alone": ({}, {"OPENAI_API_KEY": "k"}, f"{OPENAI} k"),
        "its server is that of OPENAI_BASE_URL": (
            {},
            ALL | {"OPENAI_BASE_URL": A},
            f"{A} openai {' '.join(SENT_HEADERS)}",
        ),
        "which api.openai.com is not, then": (
            {"base_urls": (OPENAI,)},
            ALL | {"OPENAI_BASE_URL": A},
            f"{OPENAI} chatpipe",
        ),
        "written in another way": (
            {"base_urls": ("HTTPS://API.openai.com.:443/v1/",)},
            HEADERS | {"OPENAI_API_KEY": "k"},
            f"https://API.openai.com.:443/v1 k {' '.join(SENT_HEADERS)}",
        ),
        "another server": ({"base_urls": (A,)}, {**ALL, "CHATPIPE_API_KEY": ""}, f"{A} -"),
        "another port": (
            {"base_urls": ("https://api.openai.com:8443/v1",)},
            HEADERS,
            (NoAccess, "no API key for"),
        ),
        "loopback: the key alone": (
            {"base_urls": (LOCAL,)},
            HEADERS | {"OPENAI_API_KEY": "k"},
            f"{LOCAL} k",
        ),
        "but not with OPENAI_BASE_URL": (
            {"base_urls": (LOCAL,)},
            HEADERS | {"OPENAI_API_KEY": "k", "OPENAI_BASE_URL": A},
            f"{LOCAL} -",
        ),
        "OPENAI_BASE_URL that is none": (
            {"base_urls": (LOCAL,)},
            HEADERS | {"OPENAI_API_KEY": "k", "OPENAI_BASE_URL": "https://[::1"},
            f"{LOCAL} -",
        ),
        "CHATPIPE_API_KEY goes to --base-url": ({"base_urls": (A,)}, ALL, f"{A} chatpipe"),
        "to each": ({"base_urls": (A, B)}, ALL, f"{A} chatpipe, {B} chatpipe"),
        "to CHATPIPE_BASE_URL": ({}, ALL | {"CHATPIPE_BASE_URL": A}, f"{A} chatpipe"),
        "and then not to --base-url": (
            {"base_urls": (A, B)},
            ALL | {"CHATPIPE_BASE_URL": "https://B.example:443/other"},
            f"{A} -, {B} chatpipe",
        ),
        "not to OPENAI_BASE_URL": (
            {},
            {"CHATPIPE_API_KEY": "k", "OPENAI_BASE_URL": A},
            f"{A} -",
        ),
        "each its own": (
            {"base_urls": (A, OPENAI, LOCAL)},
            ALL | {"CHATPIPE_BASE_URL": A},
            f"{A} chatpipe, {OPENAI} openai {' '.join(SENT_HEADERS)}, {LOCAL} openai",
        ),
        "one twice": ({"base_urls": (A, A + "/")}, ALL, f"{A} chatpipe"),
        # Options go to every server
        "--key-env": (
            {"base_urls": (A, OPENAI), "keys": (by_option("--key-env", "MINE"),)},
            KEYS,
            f"{A} mine, {OPENAI} mine",
        ),
        "-H": ({"base_urls": (A, B), "headers": ("X-H: h",)}, {}, f"{A} - X-H, {B} - X-H"),
        "-H instead of the key": (
            {"headers": ("authorization: Bearer z",)},
            KEYS,
            f"{OPENAI} - authorization",
        ),
        "an option yields no key": (
            {"keys": (by_option("--key-env", "UNSET"),)},
            ALL,
            (NoAccess, "--key-env: variable 'UNSET' is not set"),
        ),
        # Profiles
        "profile": ({"profile": "groq"}, ALL, f"{GROQ} groq patched"),
        "of the variable": ({}, ALL | {"CHATPIPE_PROFILE": "groq"}, f"{GROQ} groq patched"),
        "its missing key": (
            {"profile": "groq"},
            {"OPENAI_API_KEY": "k", "CHATPIPE_API_KEY": "k"},
            (NoAccess, f"no API key for '{GROQ}'"),
        ),
        "its server by --base-url": (
            {"profile": "groq", "base_urls": ("https://api.groq.com/other",)},
            ALL,
            "https://api.groq.com/other groq patched",
        ),
        "another server by --base-url": ({"profile": "groq", "base_urls": (A,)}, ALL, f"{A} -"),
        "with --key-env": (
            {"profile": "groq", "base_urls": (A,), "keys": (by_option("--key-env", "GROQ_API_KEY"),)},
            ALL,
            f"{A} groq",
        ),
        "-p before CHATPIPE_BASE_URL": (
            {"profile": "groq"},
            ALL | {"CHATPIPE_BASE_URL": A},
            f"{GROQ} groq patched",
        ),
        "openai": ({"profile": "openai"}, ALL, f"{OPENAI} openai {' '.join(SENT_HEADERS)} patched"),
        "openai, with OPENAI_BASE_URL": (
            {"profile": "openai"},
            ALL | {"OPENAI_BASE_URL": A},
            f"{A} openai {' '.join(SENT_HEADERS)} patched",
        ),
        "which needs no key": ({"profile": "openai"}, {"OPENAI_BASE_URL": A}, f"{A} - patched"),
        "openai elsewhere": ({"profile": "openai", "base_urls": (A,)}, ALL, f"{A} -"),
        "azure elsewhere": (
            {"profile": "azure", "base_urls": (A,)},
            {"AZURE_OPENAI_API_KEY": "k", "AZURE_OPENAI_ENDPOINT": B},
            f"{A} -",
        ),
        "azure without its endpoint": (
            {"profile": "azure", "base_urls": (A,)},
            {"AZURE_OPENAI_API_KEY": "k"},
            f"{A} -",
        ),
        "two choices that agree": (
            {},
            ALL | {"CHATPIPE_PROFILE": "groq", "CHATPIPE_BASE_URL": "https://api.groq.com/x"},
            "https://api.groq.com/x groq patched",
        ),
        "two that contradict": (
            {},
            ALL | {"CHATPIPE_PROFILE": "groq", "CHATPIPE_BASE_URL": A},
            (BadConfiguration, "CHATPIPE_PROFILE names 'groq', and CHATPIPE_BASE_URL another server"),
        ),
        "-p chooses": (
            {"profile": "groq"},
            ALL | {"CHATPIPE_PROFILE": "openai", "CHATPIPE_BASE_URL": A},
            f"{GROQ} groq patched",
        ),
        "--base-url chooses": (
            {"base_urls": (B,)},
            ALL | {"CHATPIPE_PROFILE": "groq", "CHATPIPE_BASE_URL": A},
            f"{B} -",
        ),
        "a profile that knows no server": (
            {},
            {"CHATPIPE_PROFILE": "azure", "CHATPIPE_BASE_URL": A},
            (BadConfiguration, "profile 'azure' does not know its server"),
        ),
        "echo has no server": (
            {"profile": "echo", "base_urls": (A,)},
            {},
            (UsageFault, "profile 'echo' has no base URL"),
        ),
        # Profiles of the user
        "each server its own key": (
            {"profile": "fleet"},
            ALL | {"A_KEY": "a", "SECOND_KEY": "second"},
            (
                f"{A} a X-Fleet X-A patched, https://a.example/second second X-Fleet patched, "
                f"{B} mine X-Fleet patched"
            ),
        ),
        "one of them without": (
            {"profile": "fleet"},
            ALL | {"A_KEY": "a"},
            (NoAccess, "variable 'SECOND_KEY' is not set"),
        ),
        "one of them by --base-url": (
            {"profile": "fleet", "base_urls": (B,)},
            ALL,
            f"{B} mine X-Fleet patched",
        ),
        "a server beside them": (
            {"profile": "fleet", "base_urls": (B, OPENAI)},
            ALL | {"OPENAI_API_KEY": "k"},
            (NoAccess, f"no API key for '{OPENAI}'"),
        ),
        "a needed key by none but its own": (
            {"profile": "locked"},
            {"OPENAI_API_KEY": "k", "CHATPIPE_API_KEY": "k"},
            (NoAccess, f"no API key for '{A}'"),
        ),
        # The default profile of the configuration
        "default": ({}, ALL | {"DEFAULT": "locked"}, f"{A} mine"),
        "before OPENAI_BASE_URL": ({}, ALL | {"DEFAULT": "locked", "OPENAI_BASE_URL": B}, f"{A} mine"),
        "behind CHATPIPE_BASE_URL": (
            {},
            ALL | {"DEFAULT": "locked", "CHATPIPE_BASE_URL": B},
            f"{B} chatpipe",
        ),
        "behind --base-url": ({"base_urls": (B,)}, ALL | {"DEFAULT": "locked"}, f"{B} chatpipe"),
        "its server by its URL": ({"base_urls": (A,)}, ALL | {"DEFAULT": "locked"}, f"{A} mine"),
        "behind CHATPIPE_PROFILE": (
            {},
            ALL | {"DEFAULT": "locked", "CHATPIPE_PROFILE": "groq"},
            f"{GROQ} groq patched",
        ),
        "behind -p": ({"profile": "groq"}, ALL | {"DEFAULT": "locked"}, f"{GROQ} groq patched"),
    },
)
def test_each_server_gets_what_is_its_own(
    options: dict[str, Any], environ: dict[str, str], expected: str | tuple[type[ChatpipeError], str]
) -> None:
    given = ServerOptions(**options, allow_http=True)

    def servers() -> str:
        return ", ".join(got(found, given, environ) for found in resolve_endpoints(given, environ))

    if isinstance(expected, tuple):
        kind, words = expected
        with pytest.raises(kind) as caught:
            servers()
        assert words in str(caught.value)
    else:
        assert servers() == expected


@cases(
    ("one", "other", "is_one"),
    {
        "path and query": ("https://a.example/v1", "https://a.example/x?y", True),
        "case": ("https://A.Example", "HTTPS://a.example", True),
        "default port of https": ("https://a.example:443", "https://a.example", True),
        "default port of http": ("http://a.example:80", "http://a.example/", True),
        "empty port": ("http://a.example:/v1", "http://a.example", True),
        "final dot": ("https://a.example.", "https://a.example", True),
        "IPv6, shortest form": ("http://[0:0:0:0:0:0:0:1]", "http://[::1]", True),
        "IPv6, zeros and case": ("http://[2001:DB8::00a1]:8", "http://[2001:db8::a1]:8", True),
        "IPv6, zone": ("http://[fe80::1%25eth0]", "http://[fe80::1%eth0]", True),
        "another zone": ("http://[fe80::1%25eth0]", "http://[fe80::1%25eth1]", False),
        "scheme": ("http://a.example", "https://a.example", False),
        "scheme, one port": ("http://a.example:443", "https://a.example", False),
        "port": ("https://a.example:8443", "https://a.example", False),
        "subdomain": ("https://a.example", "https://b.a.example", False),
        "longer name": ("https://a.example", "https://a.example.evil", False),
        "names of this machine": ("http://localhost", "http://127.0.0.1", False),
    },
)
def test_one_server_is_scheme_host_and_port(one: str, other: str, is_one: bool) -> None:
    assert is_same_server(urlsplit(one), urlsplit(other)) == is_one
    assert is_same_server(urlsplit(other), urlsplit(one)) == is_one


HERE = "and to this machine only"


@cases(
    ("options", "environ", "ways"),
    {
        "OpenAI": ({}, {}, "set OPENAI_API_KEY, pass --key-file FILE"),
        "OpenAI with another OPENAI_BASE_URL": (
            {"base_urls": (OPENAI,)},
            {"OPENAI_BASE_URL": A, "OPENAI_API_KEY": "k"},
            "OPENAI_API_KEY goes to the server of OPENAI_BASE_URL only: pass --key-env OPENAI_API_KEY",
        ),
        "another server": ({"base_urls": (A,)}, {}, "set CHATPIPE_API_KEY, pass --key-file FILE"),
        "that OPENAI_API_KEY is not for": (
            {"base_urls": (A,)},
            {"OPENAI_API_KEY": "k"},
            f"OPENAI_API_KEY goes to https://api.openai.com {HERE}: pass --key-env OPENAI_API_KEY",
        ),
        "of OPENAI_BASE_URL": ({}, {"OPENAI_BASE_URL": A}, "set OPENAI_API_KEY, pass --key-file FILE"),
        "that CHATPIPE_API_KEY is not for": (
            {},
            {"OPENAI_BASE_URL": A, "CHATPIPE_API_KEY": "k"},
            (
                "CHATPIPE_API_KEY goes to https://api.openai.com and to --base-url only: "
                "pass --key-env CHATPIPE_API_KEY"
            ),
        ),
        "that CHATPIPE_BASE_URL is not for": (
            {"base_urls": (A,)},
            {"CHATPIPE_BASE_URL": B, "CHATPIPE_API_KEY": "k"},
            "CHATPIPE_API_KEY goes to the server of CHATPIPE_BASE_URL only: pass --key-env CHATPIPE_API_KEY",
        ),
        "that nothing is for": (
            {"base_urls": (A,)},
            {"CHATPIPE_BASE_URL": B},
            "pass --key-file FILE, --key-command CMD, --key-env NAME",
        ),
        "profile": ({"profile": "groq"}, {"OPENAI_API_KEY": "k"}, "set GROQ_API_KEY, pass --key-file FILE"),
        "profile with our variable": (
            {"profile": "groq"},
            {"CHATPIPE_API_KEY": "k"},
            "CHATPIPE_API_KEY is not sent with a profile: pass --key-env CHATPIPE_API_KEY",
        ),
        "profile elsewhere": (
            {"profile": "groq", "base_urls": (A,)},
            {"GROQ_API_KEY": "k"},
            "GROQ_API_KEY goes to the server of profile 'groq' only: pass --key-env GROQ_API_KEY",
        ),
        "a variable that is used": ({}, {"OPENAI_API_KEY": "k"}, ""),
        "echo": ({"profile": "echo"}, {}, ""),
    },
)
def test_ways_to_a_key_name_the_variable_that_is_for_this_server(
    options: dict[str, Any], environ: dict[str, str], ways: str
) -> None:
    assert ", ".join(resolve_endpoints(ServerOptions(**options), environ)[0].ways_to_a_key) == ways


@cases(
    ("options", "notes"),
    {
        "its own server": ({"profile": "groq"}, []),
        "another": (
            {"profile": "groq", "base_urls": (A,)},
            [f"--base-url: '{A}' is not of profile 'groq'; left out there: key, patches"],
        ),
        "all that it has": (
            {"profile": "fleet", "base_urls": (B, OPENAI)},
            [f"--base-url: '{OPENAI}' is not of profile 'fleet'; left out there: key, headers, patches"],
        ),
        "one twice": ({"base_urls": (A, A)}, [f"--base-url: '{A}' is given twice, and counts once"]),
        "one in two spellings": (
            {"base_urls": ("https://h.example/v1", "HTTPS://H.example:443/v1/")},
            ["--base-url: 'https://h.example/v1' is given twice, and counts once"],
        ),
        "no profile": ({"base_urls": (A, B)}, []),
    },
)
def test_notes_say_what_a_server_does_not_get(options: dict[str, Any], notes: list[str]) -> None:
    noted: list[str] = []
    resolve_endpoints(ServerOptions(**options), {}, note=noted.append)
    assert noted == notes
