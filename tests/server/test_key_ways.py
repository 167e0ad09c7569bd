"""Every way to give the key: one row of the table answers all that is asked of it."""

from __future__ import annotations

import os
import pickle
from collections.abc import Callable
from pathlib import Path

import pytest

from chatpipe.errors import NoAccess, Status
from chatpipe.options.server import KeySource, KeyWay, ServerOptions
from chatpipe.server.keys import ENVIRONMENT, KEY_WAYS, find_key
from manual import commands, pages
from support.pipes import filled
from support.process import Done, sh
from support.servers.loopback import error, serve

KEY = "sk-s3cr3t"
ANOTHER = KeySource(ENVIRONMENT, "A_KEY", "A_KEY", is_optional=True)
EACH = pytest.mark.parametrize("way", KEY_WAYS, ids=lambda way: str(way.option))
CONNECTING = ("ask", "batch", "build", "map")
# For each kind of value: the words of a shell that give the key by it, and values that give none.
GIVEN = {"file": "key", "command": "'cat key'", "descriptor": "7 7<key", "variable": "A_KEY"}
EMPTY: dict[str, Callable[[], str]] = {
    "file": lambda: "/dev/null",
    "command": lambda: "true",
    "descriptor": lambda: str(filled(b"")),
    "variable": lambda: "EMPTY",
}
UNREADABLE = {"file": "missing", "command": "no-such-program-x", "descriptor": "987", "variable": "MISSING"}


@pytest.fixture
def ask(folder: Path) -> Callable[[KeyWay, str, str], Done]:
    """Runs a command of chatpipe in a folder with a key, which way gives."""
    (folder / "key").write_text(f"{KEY}\n")

    def run(way: KeyWay, words: str, prompt: str = "hi") -> Done:
        command = f"chatpipe {words} -m m {prompt} {way.option} {GIVEN[way.names]}"
        return sh(command, cwd=folder, env={"OPENAI_API_KEY": KEY, "A_KEY": KEY})

    return run


@EACH
def test_key_is_found_and_sent(way: KeyWay, ask: Callable[..., Done]) -> None:
    with serve() as server:
        done = ask(way, f"ask --base-url {server.url}")
    assert (done.status, done.stderr) == (0, b"")
    assert [request.headers["authorization"] for request in server.requests] == [f"Bearer {KEY}"]


@EACH
def test_key_is_never_printed(way: KeyWay, ask: Callable[..., Done]) -> None:
    """Not even if the server repeats it."""
    with serve(lambda _: error(401, f"wrong key {KEY}")) as server:
        done = ask(way, f"ask -v --debug --base-url {server.url}")
    assert done.status == Status.NO_ACCESS
    assert b"wrong key" in done.stderr
    assert KEY.encode() not in done.stdout + done.stderr


@EACH
def test_key_that_is_empty_or_cannot_be_read_is_77(way: KeyWay, folder: Path) -> None:
    for value in (EMPTY[way.names](), UNREADABLE[way.names]):
        with pytest.raises(NoAccess) as fault:
            find_key([KeySource(way, value), ANOTHER], {"A_KEY": "another"})
        assert (fault.value.status, fault.value.place) == (Status.NO_ACCESS, way.option)


@EACH
def test_no_argument_and_no_variable_of_a_child_holds_the_key(
    way: KeyWay, ask: Callable[..., Done], folder: Path
) -> None:
    (folder / "tool").write_text(
        "#!/bin/sh\ntr '\\0' '\\n' </proc/$$/cmdline\ntr '\\0' '\\n' </proc/$$/environ\n"
    )
    (folder / "tool").chmod(0o755)
    (folder / "tool.json").write_text('{"name":"f","parameters":{"type":"object"}}')
    with serve() as server:
        words = f"ask --base-url {server.url} --tool tool.json --exec f=./tool --tool-choice f"
        done = ask(way, words, "'{}'")
    assert b"./tool" in done.stdout
    assert KEY.encode() not in done.stdout + done.stderr


@EACH
def test_curl_gets_the_key_by_a_descriptor(way: KeyWay, ask: Callable[..., Done], folder: Path) -> None:
    curl = folder / "curl"
    curl.write_text(
        '#!/bin/sh\necho "$@" >arguments\nfor word; do case $word in @/*) cat "${word#@}"; esac; done\n'
    )
    curl.chmod(0o755)
    built = ask(way, "build -f curl --base-url https://b.example")
    assert KEY.encode() not in built.stdout
    (folder / "command").write_bytes(built.stdout)
    ran = sh("PATH=.:$PATH sh ./command 7<key", cwd=folder, env={"A_KEY": KEY})
    assert ran.stdout == f"Authorization: Bearer {KEY}\n".encode()
    assert KEY not in (folder / "arguments").read_text()


@EACH
def test_first_of_the_table_counts(way: KeyWay, folder: Path) -> None:
    (folder / "key").write_text("k")
    later = KEY_WAYS[KEY_WAYS.index(way) :]
    number = os.open("key", os.O_RDONLY)
    values = {"file": "key", "command": "cat key", "descriptor": str(number), "variable": "KEY"}
    sources = [KeySource(way, values[way.names]), *(KeySource(each, "missing") for each in later[1:])]
    found = find_key(sources, {**os.environ, "KEY": "k"})
    assert found is not None
    assert found.text == "k"


@EACH
def test_source_survives_pickling(way: KeyWay) -> None:
    source = KeySource(way, "5")
    assert pickle.loads(pickle.dumps(source)) == source


@EACH
def test_stdin_and_files_of_a_source_belong_to_it(way: KeyWay) -> None:
    options = ServerOptions(keys=(KeySource(way, "0"),))
    claims = {"descriptor": [(way.option, "-")], "file": [(way.option, "0")]}
    assert options.stdin_claims == claims.get(way.names, [])
    assert [use.path for use in options.uses] == (["0"] if way.names == "file" else [])


@EACH
@pytest.mark.parametrize("command", CONNECTING)
def test_way_is_an_option_and_in_the_manual(way: KeyWay, command: str) -> None:
    assert commands.options(command)[way.option,].row.help == way.help
    assert pages.listed_options(pages.page_of(command))[way.option,]
    assert f".Fl \\{way.option[1:]}" in "\n".join(pages.sections(pages.WHOLE)["CONNECTION"])
