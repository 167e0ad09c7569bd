"""Every profile: one row of the table answers all that is asked of it."""

from __future__ import annotations

import re
from typing import cast

import pytest

from chatpipe.errors import NoAccess
from chatpipe.options.server import ServerOptions
from chatpipe.server import redact
from chatpipe.server.endpoints import resolve
from chatpipe.server.profiles import PROFILES, SECRET_VARIABLES, AuthHeader, Profile
from chatpipe.server.server import with_key
from chatpipe.system import secrets
from loopback import serve
from manual import commands, pages
from process import run

# A row unlike ours in all its fields, to show that no other code has to know of it.
ANOTHER = Profile(
    "another",
    "https://another.example/api",
    key_env="ANOTHER_KEY",
    model="large",
    auth=AuthHeader("X-Another-Key"),
    needs_key=True,
)
LISTED = pytest.mark.parametrize("profile", PROFILES.values(), ids=PROFILES)


@pytest.fixture(params=[*PROFILES.values(), ANOTHER], ids=lambda row: str(row.name))
def row(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Profile:
    profile: Profile = request.param
    monkeypatch.setitem(cast(dict[str, Profile], PROFILES), profile.name, profile)
    return profile


def test_profile_resolves_to_its_server_and_model(row: Profile) -> None:
    by_variable = resolve(ServerOptions(), {"CHATPIPE_PROFILE": row.name})
    for found in (by_variable, resolve(ServerOptions(row.name), {})):
        assert found.profile is row
        assert (found.base_url, found.model, found.needs_key) == (row.base_url, row.model, row.needs_key)


def test_openai_variables_are_read_by_profiles_that_say_so(row: Profile) -> None:
    environ = {"OPENAI_BASE_URL": "https://o.example/v1", "OPENAI_CUSTOM_HEADERS": "X-Key: k"}
    found = resolve(ServerOptions(row.name), environ)
    assert (found.base_url == environ["OPENAI_BASE_URL"]) is row.reads_openai_environment
    assert (("X-Key", "k") in found.headers) is row.reads_openai_environment


def test_key_goes_into_the_header_of_the_profile_and_nowhere_in_process(row: Profile) -> None:
    sent = with_key(resolve(ServerOptions(row.name), {}), ServerOptions(), {}, "k3y").headers
    expected = [] if row.in_process else [row.auth.header("k3y")]
    assert [header for header in sent if "k3y" in header[1]] == expected


def test_header_that_the_user_gives_or_removes_replaces_the_key(row: Profile) -> None:
    for line, kept in ((f"{row.auth.name.lower()}: own", "own"), (f"{row.auth.name}:", None)):
        found = resolve(ServerOptions(row.name, headers=(line,)), {})
        sent = {name.lower(): value for name, value in with_key(found, ServerOptions(), {}, "k3y").headers}
        assert sent.get(row.auth.name.lower()) == kept


def test_needed_key_that_is_missing_is_77(row: Profile) -> None:
    found = resolve(ServerOptions(row.name), {})
    if row.needs_key:
        with pytest.raises(NoAccess, match=f"set {row.key_env}, pass --key-file FILE"):
            with_key(found, ServerOptions(), {}, None)
    else:
        assert with_key(found, ServerOptions(), {}, None).headers == found.headers


def test_server_of_a_profile_that_needs_a_key_needs_it_without_the_profile_too(row: Profile) -> None:
    assert resolve(ServerOptions(base_url=row.base_url), {}).needs_key is row.needs_key


@LISTED
def test_nothing_is_sent_without_a_needed_key(profile: Profile) -> None:
    with serve() as server:
        url = server.url.replace("127.0.0.1", "server.invalid")
        done = run("ask", "-p", profile.name, "-m", "m", "hi", env={"OPENAI_BASE_URL": url})
    assert server.requests == []
    assert done.status == (77 if profile.needs_key else 0)


@LISTED
def test_no_child_gets_the_key(profile: Profile) -> None:
    assert profile.key_env is None or profile.key_env in SECRET_VARIABLES


@LISTED
def test_profile_is_in_the_help(profile: Profile) -> None:
    assert profile.name in commands.options("ask")["-p", "--profile"].info["help"]


@LISTED
@pytest.mark.parametrize("command", ["ask", "batch", "build", "map"])
def test_profile_is_in_the_manual(profile: Profile, command: str) -> None:
    page = f"{pages.WHOLE}-{command}"
    text = "\n".join(pages.options(page)["-p", "--profile"].text)
    assert re.search(rf"^\.Cm {profile.name}\b", text, re.MULTILINE)
    if profile.key_env:
        assert profile.key_env in pages.variables(page)


@pytest.mark.parametrize("name", PROFILES)
def test_the_header_of_its_key_is_never_shown(name: str) -> None:
    header, value = PROFILES[name].auth.header("sk-secret")
    assert "sk-secret" not in redact.header(header, value)
    redact.hide_headers([(header, value)])
    assert secrets.hide("sk-secret") == "***"
