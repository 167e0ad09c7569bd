"""Every profile of the data file: one table answers all that is asked of it."""

from __future__ import annotations

import tomllib
from pathlib import Path

import pytest

import chatpipe.server
from chatpipe.errors import NoAccess
from chatpipe.options.server import KeySource, ServerOptions
from chatpipe.server import redact
from chatpipe.server.endpoints import Endpoint, resolve
from chatpipe.server.keys import ENVIRONMENT, FoundKey
from chatpipe.server.patches import patched
from chatpipe.server.profile_file import names, read_profile
from chatpipe.server.profiles import DEFAULT, SECRET_VARIABLES, Profile
from chatpipe.server.server import with_key
from chatpipe.system import secrets
from loopback import serve
from process import run

FILE = Path(*chatpipe.server.__path__) / "profiles.toml"
TABLES = tomllib.loads(FILE.read_text())
EACH = pytest.mark.parametrize("name", TABLES)
# Fields that change the meaning of a request: no patch drops one.
MEANING = {"tools", "tool_choice", "response_format", "n", "stop", "seed", "messages", "model"}
# Values for the variables that make the URLs of some profiles.
VARIABLES = {
    "AZURE_OPENAI_ENDPOINT": "https://me.openai.azure.com",
    "DATABRICKS_HOST": "https://me.cloud.databricks.com",
    "AWS_REGION": "eu-west-1",
}


def profile(name: str) -> Profile:
    found = read_profile(name)
    assert found is not None
    return found


def endpoint(name: str) -> Endpoint:
    return resolve(ServerOptions(name), VARIABLES)[0]


def key(text: str = "k3y-12345") -> FoundKey:
    return FoundKey(text, KeySource(ENVIRONMENT, "KEY"))


def test_names_are_those_of_the_file() -> None:
    assert names() == [*TABLES, "echo"]
    assert read_profile("nobody") is None


def test_default_is_the_first_profile_of_the_file() -> None:
    """A call without a profile does not read the file."""
    named = profile("openai")
    assert (named.name, named.servers, named.needs_key) == (DEFAULT.name, DEFAULT.servers, DEFAULT.needs_key)
    assert (named.path, named.models_path, named.auth) == (DEFAULT.path, DEFAULT.models_path, DEFAULT.auth)


@EACH
def test_profile_knows_its_server_and_sends_a_key_in_its_header(name: str) -> None:
    found = endpoint(name)
    assert found.base_url.startswith(("https://", "http://localhost:"))
    auth = found.profile.auth_header
    sent = with_key(found, ServerOptions(), VARIABLES, key()).headers
    assert (
        [header for header in sent if "k3y" in header[1]] == []
        if auth is None
        else [auth.header("k3y-12345")]
    )


@EACH
def test_header_that_the_user_removes_is_not_sent(name: str) -> None:
    auth = profile(name).auth_header
    assert auth is not None
    found = resolve(ServerOptions(name, headers=(f"{auth.name}:",)), VARIABLES)[0]
    assert "k3y" not in str(with_key(found, ServerOptions(), VARIABLES, key()).headers)


@EACH
def test_missing_key_is_77_where_one_is_needed(name: str) -> None:
    found = endpoint(name)
    if profile(name).needs_key:
        with pytest.raises(NoAccess, match=f"set {found.key_variable}, pass --key-file FILE"):
            with_key(found, ServerOptions(), VARIABLES, None)
    else:
        assert with_key(found, ServerOptions(), VARIABLES, None).headers == found.headers


@EACH
def test_nothing_is_sent_without_a_needed_key(name: str) -> None:
    with serve() as server:
        done = run("ask", "-p", name, "-m", "m", "hi", env={**VARIABLES, "CHATPIPE_BASE_URL": server.url})
    assert server.requests == []
    assert done.status == 77 or not profile(name).needs_key


@EACH
def test_no_child_gets_a_key(name: str) -> None:
    assert {each.value for each in profile(name).keys} <= SECRET_VARIABLES


@EACH
def test_patches_never_drop_what_changes_the_meaning(name: str) -> None:
    for patch in profile(name).patches:
        assert MEANING.isdisjoint(patch.drop)
        assert MEANING.isdisjoint(patch.set)


@EACH
def test_patched_body_is_not_patched_again(name: str) -> None:
    body = {"model": "gpt-5", "messages": [{"role": "developer", "content": "x"}], "max_completion_tokens": 1}
    body |= {"seed": 1, "tool_choice": "required", "logprobs": True, "stream_options": {}}
    once = patched(body, profile(name).patches)
    assert patched(once.body, profile(name).patches).changes == ()


@pytest.mark.parametrize("name", TABLES)
def test_the_header_of_its_key_is_never_shown(name: str) -> None:
    auth = profile(name).auth_header
    assert auth is not None
    header, value = auth.header("sk-secret")
    assert "sk-secret" not in redact.header(header, value)
    redact.hide_headers([(header, value)])
    assert secrets.hide("sk-secret") == "***"
