"""An empty variable: a choice that is refused, or nothing at all. No variable leads to another server.

The usual cause is a script whose own command gave nothing: `CHATPIPE_BASE_URL=$(start_server)`.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

import orjson
import pytest

from chatpipe.errors import BadConfiguration
from chatpipe.options.server import ServerOptions
from chatpipe.server import profile_file
from chatpipe.server.config import Config
from chatpipe.server.endpoints import resolve_endpoints
from manual import pages
from support import process
from support.parametrize import cases

SERVER, PROFILE, FILE = (f"unset it, or name a {each}" for each in ("server", "profile", "file"))
REFUSED = {
    "CHATPIPE_BASE_URL": SERVER,
    "CHATPIPE_CONFIG": FILE,
    "CHATPIPE_PROFILE": PROFILE,
    "OPENAI_BASE_URL": SERVER,
}
SET = {
    "CHATPIPE_MODEL": "m",
    "CHATPIPE_API_KEY": "k",
    "OPENAI_API_KEY": "k",
    "OPENAI_MODEL": "m",
    "OPENAI_ORG_ID": "o",
    "OPENAI_PROJECT_ID": "p",
    "OPENAI_CUSTOM_HEADERS": "A: b",
    "XDG_CONFIG_HOME": "/x",
    "SSL_CERT_FILE": "/c.pem",
    "SSL_CERT_DIR": "/c",
    "HTTPS_PROXY": "http://p",
    "ALL_PROXY": "http://p",
    "NO_PROXY": "*",
}
BESIDE = {"NO_PROXY": {"HTTPS_PROXY": "http://p"}}
OTHERS = {"HOME", "HTTP_PROXY", "REQUEST_METHOD"}  # the last two are not on the way to an https server


def settings(environ: Mapping[str, str], *options: str) -> Any:
    done = process.run("config", "show", "--json", *options, env=environ)
    assert done.status == 0, done.stderr
    return orjson.loads(done.stdout)


def test_each_variable_of_the_manual_has_a_meaning() -> None:
    assert {*REFUSED, *SET, *OTHERS} == pages.variables(pages.WHOLE)


@pytest.mark.parametrize("name", REFUSED)
@pytest.mark.parametrize("value", ["", " ", "\r\n"])
def test_empty_choice_of_a_server_is_78(name: str, value: str) -> None:
    environ = {"OPENAI_API_KEY": "k", name: value}
    done = process.run("ask", "-m", "m", "--no-stdin", "x", env=environ)
    assert (done.status, done.stderr.decode()) == (78, f"chatpipe: {name}: is empty: {REFUSED[name]}\n")


@pytest.mark.parametrize("name", SET)
def test_any_other_empty_variable_counts_as_not_set(name: str) -> None:
    beside = BESIDE.get(name, {})
    unset = settings(beside)
    assert settings({name: ""} | beside) == unset
    assert settings({name: SET[name]} | beside) != unset


def test_empty_home_has_no_place_for_the_configuration() -> None:
    assert settings({"HOME": ""})["configuration"]["value"] is None


@pytest.mark.parametrize("name", ["https_proxy", "all_proxy"])
def test_empty_proxy_in_lower_case_means_no_proxy(name: str) -> None:
    assert settings({name.upper(): "http://p", name: ""})["proxy"]["value"] is None


def test_empty_no_proxy_in_lower_case_lists_no_host() -> None:
    found = settings({"HTTPS_PROXY": "http://p", "NO_PROXY": "*", "no_proxy": ""})
    assert found["proxy"]["value"] == "http://p"


@cases(
    ("options", "environ", "url"),
    {
        "-p": (("-p", "groq"), {"CHATPIPE_BASE_URL": "", "OPENAI_BASE_URL": ""}, "https://api.groq.com"),
        "-p openai": (("-p", "openai"), {"OPENAI_BASE_URL": ""}, "https://api.openai.com"),
        "-p beside an empty profile": (("-p", "groq"), {"CHATPIPE_PROFILE": ""}, "https://api.groq.com"),
        "--base-url": (
            ("--base-url", "https://a.example/v1"),
            {"CHATPIPE_BASE_URL": "", "CHATPIPE_PROFILE": "", "OPENAI_BASE_URL": ""},
            "https://a.example",
        ),
        "CHATPIPE_BASE_URL": (
            (),
            {"CHATPIPE_BASE_URL": "https://a.example/v1", "OPENAI_BASE_URL": ""},
            "https://a.example",
        ),
    },
)
def test_empty_choice_that_is_not_asked_is_no_fault(
    options: tuple[str, ...], environ: Mapping[str, str], url: str
) -> None:
    assert settings(environ, *options)["servers"][0]["base_url"]["value"].startswith(url)


def test_empty_choice_is_no_fault_of_echo() -> None:
    done = process.run("ask", "-p", "echo", "--no-stdin", "x", env=dict.fromkeys(REFUSED, ""))
    assert (done.status, done.stdout) == (0, b"x\n")


def test_empty_choice_in_completion_offers_the_built_in_profiles() -> None:
    environ = {"_CHATPIPE_COMPLETE": "zsh_complete", "COMP_WORDS": "chatpipe ask -p gro", "COMP_CWORD": "3"}
    done = process.run(env=environ | {"CHATPIPE_CONFIG": ""})
    assert (done.status, b"groq" in done.stdout) == (0, True)


@pytest.mark.parametrize("profile", profile_file.built_in_names())
def test_empty_variable_of_a_provider_counts_as_not_set(profile: str) -> None:
    """Its server was chosen by name, and no other gets the prompt."""
    described = str(profile_file.read_profile(profile))
    names = set(re.findall(r"\b[A-Z][A-Z0-9]*_[A-Z0-9_]+\b", described))
    assert resolved(profile, dict.fromkeys(names, "")) == resolved(profile, {})


def resolved(profile: str, environ: Mapping[str, str]) -> object:
    try:
        return resolve_endpoints(ServerOptions(profile=profile), environ, config=Config())
    except BadConfiguration as error:
        return str(error)
