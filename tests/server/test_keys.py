"""The key from a file, a command, a descriptor, a variable; and the header file."""

from __future__ import annotations

import errno
import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from chatpipe.errors import (
    BadConfiguration,
    CannotWrite,
    ChatpipeError,
    MissingInput,
    NoAccess,
    Status,
    UsageFault,
)
from chatpipe.options.server import KeySource
from chatpipe.server.keys import ENVIRONMENT, KEY_WAYS, find_key, header_lines, key_words
from support.parametrize import cases
from support.pipes import filled
from support.refusals import refused

ENVIRON = {"A_KEY": "from-variable"}


def given(**values: str | int) -> tuple[KeySource, ...]:
    """The sources that options give, by what their values name."""
    return tuple(KeySource(way, str(values[way.names])) for way in KEY_WAYS if way.names in values)


def key_by(
    sources: tuple[KeySource, ...], environ: Mapping[str, str] = ENVIRON, variable: str | None = "A_KEY"
) -> str | None:
    """The key of these sources, else of a variable."""
    behind = () if variable is None else (KeySource(ENVIRONMENT, variable, variable, is_optional=True),)
    found = find_key((*sources, *behind), environ)
    return None if found is None else found.text


def command(code: str) -> str:
    """A command line for --key-command that runs Python code (without quotes in it)."""
    return f"'{sys.executable}' -c '{code}'"


@cases(
    ("name", "why"),
    {
        "missing": ("missing", "no such file or directory"),
        "no name": ("", "no such file or directory"),
        "directory": (".", "is a directory"),
        "NUL": ("a\0b", "NUL byte in its name"),
    },
)
def test_file_that_cannot_be_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, why: str
) -> None:
    monkeypatch.chdir(tmp_path)
    with refused(NoAccess, f"--key-file: cannot read '{name}': {why}", status=Status.NO_ACCESS):
        key_by(given(file=name))


def test_a_command_prints_the_key() -> None:
    assert key_by(given(command=command("print(42)"))) == "42"


def test_command_is_split_as_shell_words_and_no_shell_runs(tmp_path: Path) -> None:
    """Nothing is expanded, and `;` and `|` are only characters."""
    script = tmp_path / "a script"
    script.write_text(f"#!{sys.executable}\nimport sys\nprint('/'.join(sys.argv[1:]))\n")
    script.chmod(0o755)
    line = f"'{script}' $HOME ~ * a;b \"c'd\" `id` $(id)"
    assert key_by(given(command=line)) == "$HOME/~/*/a;b/c'd/`id`/$(id)"


def test_command_reads_nothing_of_our_stdin() -> None:
    assert key_by(given(command=command("import sys; print(len(sys.stdin.read()))"))) == "0"


@cases(
    ("line", "what"),
    {
        "missing": ("no-such-program-x y", "cannot run 'no-such-program-x': no such file or directory"),
        "status": (command("exit(3)"), f"'{sys.executable}' ended with status 3"),
        "key, but status": (command("print(1); exit(3)"), f"'{sys.executable}' ended with status 3"),
        "key, but a signal": ("sh -c 'echo k; kill -9 $$'", "'sh' was killed by SIGKILL"),
        "prints nothing": (command("pass"), "the key is empty"),
    },
)
def test_command_that_gives_no_key_is_77(line: str, what: str) -> None:
    with refused(NoAccess, what=what, place="--key-command"):
        key_by(given(command=line))


def test_the_limit_of_processes_is_no_fault_of_a_command(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_arguments: object, **_settings: object) -> None:
        raise BlockingIOError(errno.EAGAIN, "Resource temporarily unavailable")

    monkeypatch.setattr(subprocess, "Popen", fail)
    with refused(CannotWrite, what="cannot start another process", place="--key-command"):
        key_by(given(command="pass show key"))


@pytest.mark.parametrize("line", ["", "  ", "'open", "pass show key | head -n 1"])
def test_command_that_is_none_is_2(line: str) -> None:
    with refused(UsageFault, place="--key-command"):
        key_by(given(command=line))


@cases(
    ("environ", "expected"),
    {
        "the first": ({"A": "key-a", "B": "key-b"}, "key-a"),
        "the second": ({"A": " ", "B": "key-b"}, "key-b"),
        "none": ({"OPENAI_API_KEY": "k"}, None),
    },
)
def test_variables_that_a_setting_lists(environ: dict[str, str], expected: str | None) -> None:
    """The last one is not optional: no other key takes its place."""
    place = "config.toml:3: [profiles.p] key_env"
    listed = [KeySource(ENVIRONMENT, name, place, is_optional=name == "A") for name in ("A", "B")]
    sources = (*listed, KeySource(ENVIRONMENT, "OPENAI_API_KEY", "OPENAI_API_KEY", is_optional=True))
    if expected is not None:
        assert key_by(sources, environ, None) == expected
        return
    with refused(NoAccess, place=place, what="none of the variables is set: A, B"):
        key_by(sources, environ, None)


@pytest.mark.parametrize("find", [find_key, key_words])
def test_command_of_a_profile_that_is_none_is_78(find: Any) -> None:
    """It is read, or written for curl."""
    source = KeySource(KEY_WAYS[1], "'open", "config.toml:3: [profiles.p] key_command")
    with refused(
        BadConfiguration,
        "config.toml:3: [profiles.p] key_command: cannot be split into words: a quote is not closed",
    ):
        find([source], {})


@cases(
    "data",
    {"UTF-16 without its mark": "key".encode("utf-16-le"), "an image": b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR"},
)
def test_file_that_is_no_text_is_77(data: bytes, folder: Path) -> None:
    (folder / "key").write_bytes(data)
    with refused(NoAccess, place="--key-file", status=Status.NO_ACCESS):
        key_by(given(file="key"))


@pytest.mark.parametrize("key_env", ["OPENAI_API_KEY", "A_KEY", None])
@pytest.mark.parametrize("rest", ["API_KEY", "CUSTOM_HEADERS"])
def test_no_other_key_is_passed_to_the_command(
    monkeypatch: pytest.MonkeyPatch, rest: str, key_env: str | None
) -> None:
    """A key goes to no child: what asks a keyring for one key needs none of the others."""
    monkeypatch.setenv(f"OPENAI_{rest}", "from-environment")
    line = command(f'import os; print(os.environ.get(chr(79)+"PENAI_{rest}", 0))')
    assert key_by(given(command=line), variable=key_env, environ=os.environ) == "0"


def test_a_descriptor_holds_the_key() -> None:
    assert key_by(given(descriptor=filled(b"k\n"))) == "k"


@pytest.mark.parametrize("number", [0, 1, 2])
def test_standard_descriptor_stays_open(number: int) -> None:
    reader = filled(b"k")
    kept = os.dup(number)
    try:
        os.dup2(reader, number)
        assert key_by(given(descriptor=number)) == "k"
        os.fstat(number)
    finally:
        os.dup2(kept, number)
        os.close(kept)
        os.close(reader)


def test_empty_descriptor_is_77() -> None:
    with pytest.raises(NoAccess, match="the key is empty"):
        key_by(given(descriptor=filled(b"")))


@pytest.mark.parametrize("number", [987, 2**31 - 1, 2**40])
def test_descriptor_that_is_not_open_is_77(number: int) -> None:
    with pytest.raises(ChatpipeError) as fault:
        key_by(given(descriptor=number))
    assert fault.value.place == "--key-fd"
    assert fault.value.status in (Status.NO_ACCESS, Status.USAGE)


@cases(
    ("environ", "key"),
    {
        "set": ({"A_KEY": "k"}, "k"),
        "with white space": ({"A_KEY": " k\n"}, "k"),
        "not set": ({}, None),
        "empty": ({"A_KEY": ""}, None),
        "white space": ({"A_KEY": " \n"}, None),
        "another one": ({"OPENAI_API_KEY": "k"}, None),
    },
)
def test_a_variable_holds_the_key(environ: dict[str, str], key: str | None) -> None:
    assert key_by((), environ) == key
    assert key_by((), environ, None) is None


def test_unusable_variable_is_77_by_its_name() -> None:
    with pytest.raises(NoAccess) as fault:
        key_by((), {"A_KEY": "a b"})
    assert fault.value.place == "A_KEY"
    assert "a b" not in str(fault.value)


def test_first_of_file_command_descriptor_variable(tmp_path: Path) -> None:
    path = tmp_path / "key"
    path.write_text("file")
    reader = filled(b"descriptor")
    by_command = command("print(7)")
    assert key_by(given(file=str(path), command=by_command, descriptor=reader)) == "file"
    assert key_by(given(command=by_command, descriptor=reader)) == "7"
    assert key_by(given(descriptor=reader)) == "descriptor"
    assert key_by(()) == "from-variable"


@cases(
    ("data", "lines"),
    {
        "empty": (b"", []),
        "two": (b"A: b\nC: d\n", ["A: b", "C: d"]),
        "blank lines and CRLF": (b"\nA: b\r\n\n  \nC: d", ["A: b", "C: d"]),
    },
)
def test_a_header_file_has_a_header_on_each_line(tmp_path: Path, data: bytes, lines: list[str]) -> None:
    path = tmp_path / "headers"
    path.write_bytes(data)
    assert [line.strip() for line in header_lines(str(path))] == lines


def test_without_a_header_file_there_are_no_lines() -> None:
    assert header_lines(None) == []


@pytest.mark.parametrize("name", ["missing", ".", "a\0b"])
def test_header_file_that_cannot_be_read_is_66(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    monkeypatch.chdir(tmp_path)
    with refused(MissingInput, place="--header-file"):
        header_lines(name)


@cases(
    "line, what",
    {
        "no colon": ("Authorization sk-secret", "not a header"),
        "a comment": ("# secret", "not a header"),
        "more of the line before": (" secret", "not a header"),
        "not ASCII": ("B: secreté", "header 'B' has a character that cannot be sent"),
        "length of the body": ("Content-Length: 5", "header 'Content-Length' says where the body ends"),
    },
)
def test_a_line_that_is_no_header_is_named_by_its_number(tmp_path: Path, line: str, what: str) -> None:
    path = tmp_path / "headers"
    path.write_text(f"A: 1\r\n\r\n{line}\r\n", encoding="utf-8")
    with pytest.raises(UsageFault, match=what) as caught:
        header_lines(str(path))
    assert caught.value.place == f"{path}:3"
    assert "secret" not in str(caught.value)
