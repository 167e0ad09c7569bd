"""A key in a real keyring: the package itself, with a keyring in a plain file in place of the desktop's."""

from __future__ import annotations

import getpass
import subprocess
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest

from support.leaks import has_key
from support.parametrize import cases
from support.process import start
from support.servers.loopback import Server, completion, reply, serve

pytest.importorskip("keyrings.alt", reason="keyrings.alt is in the group dev")

KEY = "sk-canary-in-a-keyring"
PLAIN = "keyrings.alt.file.PlaintextKeyring"
LOCKED = """\
from keyring.backend import KeyringBackend
from keyring.errors import KeyringLocked

class Keyring(KeyringBackend):
    priority = 1

    def get_password(self, service, username):
        raise KeyringLocked("Failed to unlock the collection!")

    set_password = get_password
"""


@pytest.fixture
def server() -> Iterator[Server]:
    with serve(lambda _: reply(200, completion("hello"))) as server:
        yield server


def environment(folder: Path, backend: str) -> dict[str, str]:
    names = ("HOME", "XDG_CONFIG_HOME", "XDG_DATA_HOME", "PYTHONPATH")
    return {**dict.fromkeys(names, str(folder)), "PYTHON_KEYRING_BACKEND": backend}


def store(folder: Path, service: str, user: str, key: str = KEY) -> None:
    """As `keyring set SERVICE USER` does, which the messages name."""
    subprocess.run(
        [sys.executable, "-m", "keyring", "set", service, user],
        input=key.encode(),
        env=environment(folder, PLAIN),
        check=True,
    )


def ask(server: Server, folder: Path, entry: str, backend: str = PLAIN) -> tuple[int, bytes]:
    """The status and the messages of a call whose key is this entry of the keyring."""
    (folder / "config.toml").write_text(f'[profiles.p]\nbase_url = "{server.url}"\nkeyring = "{entry}"\n')
    env: Mapping[str, str] = {**environment(folder, backend), "CHATPIPE_CONFIG": "config.toml"}
    with start("ask", "-p", "p", "-m", "m", "hi", env=env, cwd=folder) as process:
        stdout, stderr = process.communicate()
    assert not has_key(stdout + stderr, KEY)
    return process.returncode, stderr


@cases(
    "entry, service, user",
    {
        "service and user": ("svc/me", "svc", "me"),
        "the user who is logged in": ("a svc", "a svc", getpass.getuser()),
        "a URL": ("https://example.com/v1/me", "https://example.com/v1", "me"),
    },
)
def test_key_of_the_entry_goes_to_the_server(
    entry: str, service: str, user: str, server: Server, tmp_path: Path
) -> None:
    store(tmp_path, service, user)
    assert ask(server, tmp_path, entry) == (0, b"")
    (request,) = server.requests
    assert request.headers["authorization"] == f"Bearer {KEY}"


def test_remedy_of_a_missing_entry_works_as_it_stands(server: Server, tmp_path: Path) -> None:
    store(tmp_path, "svc", "another")
    status, stderr = ask(server, tmp_path, "svc/me")
    assert (status, server.requests) == (77, [])
    _, _, remedy = stderr.decode().strip().rpartition(": ")
    assert remedy == "keyring set svc me"
    store(tmp_path, *remedy.split()[2:])
    assert ask(server, tmp_path, "svc/me") == (0, b"")


@cases(
    "backend, words",
    {
        "locked": ("locked.Keyring", b"the keyring is locked: unlock it, and run again"),
        "none": ("keyring.backends.fail.Keyring", b"there is no keyring here: use key_command or key_file"),
        "empty": (PLAIN, b"the keyring has no key for 'svc' and user 'me': keyring set svc me"),
        "one that keeps nothing": (
            "keyring.backends.null.Keyring",
            b"the keyring has no key for 'svc' and user 'me': keyring set svc me",
        ),
    },
)
def test_keyring_without_the_key_is_77_and_nothing_is_sent(
    backend: str, words: bytes, server: Server, tmp_path: Path
) -> None:
    (tmp_path / "locked.py").write_text(LOCKED)
    status, stderr = ask(server, tmp_path, "svc/me", backend)
    assert (status, server.requests) == (77, [])
    assert stderr == b"chatpipe: config.toml:3: [profiles.p] keyring: " + words + b"\n"


def test_entry_without_a_key_is_77(server: Server, tmp_path: Path) -> None:
    store(tmp_path, "svc", "me", " ")
    status, stderr = ask(server, tmp_path, "svc/me")
    assert (status, server.requests) == (77, [])
    assert b"[profiles.p] keyring: " in stderr


def test_broken_keyring_is_77(server: Server, tmp_path: Path) -> None:
    store(tmp_path, "svc", "me")
    (file,) = tmp_path.rglob("keyring_pass.cfg")
    file.write_bytes(b"no sections\n")
    status, stderr = ask(server, tmp_path, "svc/me")
    assert (status, server.requests) == (77, [])
    assert b"[profiles.p] keyring: the keyring failed: " in stderr
    assert stderr.count(b"\n") == 1
