"""A key in the keyring of the system: a keyring of the test takes the place of the package."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any, NamedTuple

import pytest

from chatpipe.errors import BadConfiguration, ChatpipeError, NoAccess
from chatpipe.options.server import KeySource, KeyWaits
from chatpipe.server.keys import KEYRING, find_key, key_words
from chatpipe.system import secrets
from support.leaks import has_key
from support.parametrize import cases
from support.process import start
from support.refusals import refused

PLACE = "config.toml:3: [profiles.p] keyring"
PASSWORDS = {
    ("svc", "me"): "sk-me-12345678",
    ("https://api.example", "me"): "sk-url-1234567",
    ("json", "me"): '{"a":1}',
}
# What a keyring knows of a service without a user.
CREDENTIALS = {"shared": "sk-shared-1234"}


class Credential(NamedTuple):
    username: str
    password: str


class _KeyringError(Exception):
    """As that of the package."""


ERRORS = {name: type(name, (_KeyringError,), {}) for name in ("NoKeyringError", "KeyringLocked", "InitError")}


@pytest.fixture
def keyring(monkeypatch: pytest.MonkeyPatch) -> Any:
    """The package: get_password() and get_credential() as of 25.7. The user of the session is `me`."""
    monkeypatch.setenv("LOGNAME", "me")
    package, errors = ModuleType("keyring"), ModuleType("keyring.errors")
    for name, kind in ERRORS.items():
        setattr(errors, name, kind)
    found: Any = package
    found.get_password = lambda service, user: PASSWORDS.get((service, user))
    found.get_credential = lambda service, user: (
        Credential("someone", CREDENTIALS[service]) if service in CREDENTIALS else None
    )
    found.errors = errors
    monkeypatch.setitem(sys.modules, "keyring", package)
    monkeypatch.setitem(sys.modules, "keyring.errors", errors)
    return package


def key(entry: str) -> str:
    found = find_key([KeySource(KEYRING, entry, PLACE)], {}, KeyWaits())
    assert found is not None
    return found.text


@cases(
    ("entry", "expected"),
    {
        "service and user": ("svc/me", "sk-me-12345678"),
        "of any user": ("shared", "sk-shared-1234"),
        "of the user of this session": ("svc", "sk-me-12345678"),
        "an address": ("https://api.example", "sk-url-1234567"),
        "an address and user": ("https://api.example/me", "sk-url-1234567"),
    },
)
@pytest.mark.usefixtures("keyring")
def test_password_is_the_key(entry: str, expected: str) -> None:
    assert key(entry) == expected
    assert secrets.hide(f"<{expected}>") == "<***>"


@cases(
    ("entry", "what", "fix"),
    {
        "another service": (
            "other/me",
            "the keyring has no key for 'other' and user 'me'",
            "keyring set other me",
        ),
        "another user": ("svc/you", "the keyring has no key for 'svc' and user 'you'", "keyring set svc you"),
        "no user": ("a b", "the keyring has no key for 'a b'", "keyring set 'a b' USER"),
        "no key": (
            "json/me",
            "the text is JSON, not the key alone",
            "give the key alone, without the JSON around it",
        ),
    },
)
@pytest.mark.usefixtures("keyring")
def test_keyring_without_the_key_is_77(entry: str, what: str, fix: str) -> None:
    with refused(NoAccess, place=PLACE, what=what, fix=fix):
        key(entry)


def raising(error: Exception) -> Callable[..., None]:
    def fail(*_: object) -> None:
        raise error

    return fail


@cases(
    ("error", "what"),
    {
        "no backend": (ERRORS["NoKeyringError"]("No recommended backend"), "there is no keyring here"),
        "locked": (ERRORS["KeyringLocked"]("Failed to unlock"), "the keyring is locked"),
        "dismissed": (ERRORS["InitError"]("dismissed"), "the keyring is locked"),
        "of a backend": (ValueError("D-Bus is gone"), "the keyring failed: D-Bus is gone"),
        "without words": (KeyError(), "the keyring failed: KeyError"),
    },
)
@pytest.mark.parametrize("entry", ["svc/me", "svc"])
def test_keyring_that_fails_is_77(keyring: Any, entry: str, error: Exception, what: str) -> None:
    keyring.get_password = keyring.get_credential = raising(error)
    with refused(NoAccess, place=PLACE, what=what):
        key(entry)


def test_without_the_package_it_is_78(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "keyring", None)
    with refused(
        BadConfiguration,
        place=PLACE,
        what="the package 'keyring' is not installed",
        fix="use key_command, or install the extra 'keyring', see EXTRAS in chatpipe(1)",
    ):
        key("svc/me")


@cases(
    ("entry", "words"),
    {
        "service and user": ("a svc/me", "$(keyring get 'a svc' me)"),
        "service": ("svc", "$(keyring --mode creds get svc | tail -n 1)"),
    },
)
def test_curl_asks_the_same_keyring(entry: str, words: str) -> None:
    found = key_words([KeySource(KEYRING, entry, PLACE)], {})
    assert found is not None
    assert found.text == words


@pytest.mark.parametrize(
    "command", [("config", "show"), ("config", "check"), ("ask", "-v", "--retries", "0", "hi")]
)
def test_profile_names_an_entry(command: tuple[str, ...], folder: Path) -> None:
    """In a process of its own, which finds the package in a folder."""
    (folder / "keyring").mkdir()
    code = "def get_password(*entry):\n    return 'sk-canary-123' if entry == ('svc', 'me') else None\n"
    (folder / "keyring" / "__init__.py").write_text(code)
    (folder / "keyring" / "errors.py").write_text(
        "".join(f"class {name}(Exception): ...\n" for name in ERRORS)
    )
    url = "http://127.0.0.1:9/v1"
    (folder / "config.toml").write_text(f'[profiles.p]\nbase_url = "{url}"\nkeyring = "svc/me"\n')
    env = {"PYTHONPATH": str(folder), "CHATPIPE_CONFIG": "config.toml"}
    with start(*command, "-p", "p", "-m", "m", env=env, cwd=folder) as process:
        stdout, stderr = process.communicate()
    assert (process.returncode == 0) == (command[1] == "show"), stderr
    assert b"keyring" not in stderr
    assert not has_key(stdout + stderr, "sk-canary-123")
    assert (b"authorization: Bearer ***" in stderr) == (command[0] == "ask")


def test_refusal_of_any_kind_is_an_error_of_ours(keyring: Any) -> None:
    keyring.get_password = raising(OSError(5, "broken"))
    with pytest.raises(ChatpipeError, match=r"the keyring failed: \[Errno 5\] broken"):
        key("svc/me")
