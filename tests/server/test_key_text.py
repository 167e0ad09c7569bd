"""The text of a file, a command, a descriptor or a variable: the line of it that is the key."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from chatpipe.errors import NoAccess, Status
from chatpipe.options.server import KeySource, KeyWaits, KeyWay
from chatpipe.server import key_command
from chatpipe.server.keys import KEY_WAYS, find_key
from chatpipe.system import secrets
from support.parametrize import cases
from support.patience import PATIENCE_S
from support.pipes import filled
from support.process import run, sh
from support.refusals import refused

WAYS: dict[str, KeyWay] = {way.names: way for way in KEY_WAYS}
NO_COMMENT = "give the key alone, without a comment or a name"
ALONE = "give one line of printable ASCII"
NOT_THE_KEY = "give the key alone, without the JSON around it"


def source(way: KeyWay, data: bytes) -> KeySource:
    """A source that holds these bytes."""
    Path("text").write_bytes(data)
    values = {"file": "text", "command": "cat text", "variable": "A_KEY"}
    return KeySource(way, str(filled(data)) if way.names == "descriptor" else values[way.names])


def key_and_notes(given: KeySource, data: bytes = b"") -> tuple[str, list[str]]:
    notes: list[str] = []
    environ = {"A_KEY": data.decode("utf-8", "replace")} if given.variable else os.environ
    found = find_key([given], environ, KeyWaits(notes.append))
    assert found is not None
    assert secrets.hide(f"<{found.text}>", words=False) in ("<***>", f"<{found.text}>")
    return found.text, notes


@pytest.fixture(autouse=True)
def no_notice(monkeypatch: pytest.MonkeyPatch) -> None:
    """A command may take as long as it needs on this machine, and nothing is noted."""
    monkeypatch.setattr(key_command, "_NOTE_AFTER_S", PATIENCE_S)


@pytest.mark.parametrize("names", WAYS)
@cases(
    ("data", "key"),
    {
        "plain": (b"k", "k"),
        "final newline": (b"k\n", "k"),
        "CRLF": (b"k\r\n", "k"),
        "white space around": (b"\n  k \t\n\n", "k"),
        "a mark of UTF-8": (b"\xef\xbb\xbfsk-1\n", "sk-1"),
        "blank lines and a mark": (b"\xef\xbb\xbf\r\n \r\nsk-1\r\n", "sk-1"),
        "long": (b"sk-" + b"x" * 500, "sk-" + "x" * 500),
        "odd characters": (b"a+b/c==:~!", "a+b/c==:~!"),
        "ends like base64": (b"TOKEN==", "TOKEN=="),
        "a token of Entra": (b"eyJh.eyJi.c-_", "eyJh.eyJi.c-_"),
    },
)
@pytest.mark.usefixtures("folder")
def test_the_key_of_one_line(names: str, data: bytes, key: str) -> None:
    assert key_and_notes(source(WAYS[names], data), data) == (key, [])


@pytest.mark.parametrize("names", WAYS)
@cases(
    ("data", "key", "count"),
    {
        "pass show": (b"sk-1\nlogin: me\nurl: https://h.example\nsee the wiki\n", "sk-1", 0),
        "pass show of a URL alone": (b"sk-1\nhttps://platform.example/keys\n", "sk-1", 0),
        "CRLF": (b"sk-1\r\nlogin\r\n", "sk-1", 0),
        "CR": (b"sk-1\rlogin", "sk-1", 0),
        "another key": (b"sk-1\nuser\nsk-2345678901234567\n", "sk-1", 3),
        "blank lines before": (b"\n\nsk-1\n\n\n{}\n", "sk-1", 2),
    },
)
@pytest.mark.usefixtures("folder")
def test_the_first_of_several_lines(names: str, data: bytes, key: str, count: int) -> None:
    """A variable is not known to hold the output of such a program: its lines may be several keys."""
    given = source(WAYS[names], data)
    if names == "variable":
        with refused(NoAccess, place="--key-env", what="the key has several lines"):
            key_and_notes(given, data)
    else:
        note = f"{given.place}: the first of {count} lines is taken as the key"
        assert key_and_notes(given, data) == (key, [note] if count else [])


@pytest.mark.parametrize("names", WAYS)
@cases(
    ("data", "what", "fix"),
    {
        "nothing": (b"", "the key is empty", ""),
        "white space": (b" \n\r\n\t", "the key is empty", ""),
        "an object": (b'{"a":"s3cr3t"}', "the text is JSON, not the key alone", NOT_THE_KEY),
        "many lines of it": (b'\n{\n "a": "s3cr3t"\n}\n', "the text is JSON, not the key alone", NOT_THE_KEY),
        "an array": (b'["s3cr3t"]', "the text is JSON, not the key alone", NOT_THE_KEY),
        "a string": (b'"s3cr3t"\n', "the key is in quotes", "leave them out"),
        "quotes": (b"'s3cr3t'", "the key is in quotes", "leave them out"),
        "an assignment": (
            b"OPENAI_API_KEY=s3cr3t",
            "the text is an assignment, not the key alone",
            "leave out all up to the key",
        ),
        "a line of a shell": (
            b'export HF_TOKEN="s3cr3t"',
            "the text is an assignment, not the key alone",
            "leave out all up to the key",
        ),
        "a value": (
            b"Bearer s3cr3t",
            "the text is a header, not the key alone",
            "leave out all up to the key, or use --header-file",
        ),
        "a header": (
            b"api-key: s3cr3t",
            "the text is a header, not the key alone",
            "leave out all up to the key, or use --header-file",
        ),
        "a variable": (b"${S3CR3T}", "the text is a placeholder, not a key", "give the key itself"),
        "a place for one": (
            b"<s3cr3t>",
            "the text is a placeholder, not a key",
            "give the key itself",
        ),
        "a blank": (b"s3c r3t", "the first line has more than the key", NO_COMMENT),
        "a comment": (b"s3cr3t # of mine", "the first line has more than the key", NO_COMMENT),
        "a control": (b"s3c\x1br3t", "the key has characters that no key has", ALONE),
        "not ASCII": ("s3cr3t\xe4".encode(), "the key has characters that no key has", ALONE),
    },
)
@pytest.mark.usefixtures("folder")
def test_text_that_is_no_key_is_77_and_not_shown(names: str, data: bytes, what: str, fix: str) -> None:
    given = source(WAYS[names], data)
    if names == "command":
        fix = {NOT_THE_KEY: "print the key alone, as by: jq -r .FIELD"}.get(fix, fix)
        if what == "the key is in quotes":
            fix = "print it without them" + (", as by: jq -r ." if data[:1] == b'"' else "")
    if names == "variable" and not data.strip():
        what, fix = "variable 'A_KEY' is not set", "export it, or name another one"
    with refused(NoAccess, what=what, fix=fix, place=given.place, status=Status.NO_ACCESS):
        key_and_notes(given, data)


@cases(
    ("command", "fix"),
    {
        "az": ("./az account get-access-token", "append --query accessToken -o tsv"),
        "az of a key": ("./az keys", "append --query key1 -o tsv"),
        "az without its quotes": ("./az --query accessToken", "append -o tsv"),
        "az by a shell": ("sh -c './az x'", "append --query accessToken -o tsv"),
        "another": ("./op item", "print the key alone, as by: jq -r .token"),
        "not az at all": ("cat az.json", "print the key alone, as by: jq -r .accessToken"),
    },
)
def test_how_to_get_the_key_alone_out_of_json(command: str, fix: str, folder: Path) -> None:
    token = '{"accessToken": "s3cr3t", "tenant": "t"}'
    (folder / "az.json").write_text(token)
    replies = f"keys) echo '{{\"key1\":\"s3cr3t\"}}';; --query) echo '\"s3cr3t\"';; *) echo '{token}'"
    (folder / "az").write_text(f"#!/bin/sh\ncase $1 in {replies};; esac\n")
    (folder / "op").write_text('#!/bin/sh\necho \'{"token":"s3cr3t"}\'\n')
    for name in ("az", "op"):
        (folder / name).chmod(0o755)
    with refused(NoAccess, fix=fix, place="--key-command"):
        find_key([KeySource(WAYS["command"], command)], os.environ)


@pytest.mark.parametrize("quiet", [(), ("-q",)])
def test_a_note_says_what_is_left_out_unless_quiet(quiet: tuple[str, ...], folder: Path) -> None:
    (folder / "key").write_text("\nsk-1\nlogin: me\n")
    done = run(
        "ask",
        "-m",
        "m",
        "--base-url",
        "http://127.0.0.1:1/v1",
        "--retries",
        "0",
        "--key-file",
        "key",
        "hi",
        *quiet,
    )
    note = b"chatpipe: --key-file: the first of 2 lines is taken as the key\n"
    assert done.stderr.startswith(note) != bool(quiet)
    assert b"login" not in done.stderr


@pytest.mark.parametrize("words", ["--key-file key", "--key-command 'cat key'", "--key-fd 7 7<key"])
def test_curl_reads_the_same_line(words: str, folder: Path) -> None:
    (folder / "key").write_text("\nsk-1\nlogin\n")
    built = sh(f"chatpipe build -f curl -m m --base-url https://b.example/v1 hi {words}", cwd=folder)
    curl = 'for word; do case $word in @/*) exec cat "${word#@}";; esac; done'
    (folder / "curl").write_text(f"#!/bin/sh\n{curl}\n")
    (folder / "curl").chmod(0o755)
    (folder / "command").write_bytes(built.stdout)
    assert sh("PATH=.:$PATH sh ./command 7<key", cwd=folder).stdout == b"Authorization: Bearer sk-1\n"
