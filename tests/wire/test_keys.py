"""The key from a file, a command, a descriptor, a variable; and the header file."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest

from chatpipe.errors import ChatpipeError, MissingInput, NoAccess, Status, UsageFault
from chatpipe.wire.keys import find, header_lines
from chatpipe.wire.options import KeySource
from refusals import refused

ENVIRON = {"A_KEY": "from-variable"}


def command(code: str) -> str:
    """A command line for --key-command that runs Python code (without quotes in it)."""
    return f"'{sys.executable}' -c '{code}'"


@pytest.mark.parametrize(
    ("data", "key"),
    [
        pytest.param(b"k", "k", id="plain"),
        pytest.param(b"k\n", "k", id="final newline"),
        pytest.param(b"k\r\n", "k", id="CRLF"),
        pytest.param(b"\n  k \t\n\n", "k", id="white space around"),
        pytest.param(b"sk-" + b"x" * 500, "sk-" + "x" * 500, id="long"),
    ],
)
def test_file(tmp_path: Path, data: bytes, key: str) -> None:
    path = tmp_path / "key"
    path.write_bytes(data)
    assert find(KeySource(file=str(path)), "A_KEY", ENVIRON) == key


@pytest.mark.parametrize(
    ("data", "what"),
    [
        pytest.param(b"", "the key is empty", id="empty"),
        pytest.param(b" \n", "the key is empty", id="white space"),
        pytest.param(b"a\nb\n", "the key has characters that no key has", id="two lines"),
        pytest.param(b"KEY=a b", "the key has characters that no key has", id="a blank"),
        pytest.param(b"a\0", "the key has characters that no key has", id="NUL"),
        pytest.param(b"a\x1bb", "the key has characters that no key has", id="a control"),
        pytest.param("ä".encode(), "the key has characters that no key has", id="not ASCII"),
        pytest.param(b"\xff\xfea\0", "the key has characters that no key has", id="UTF-16"),
    ],
)
def test_unusable_key_is_77_and_not_shown(tmp_path: Path, data: bytes, what: str) -> None:
    path = tmp_path / "key"
    path.write_bytes(data)
    with pytest.raises(NoAccess) as fault:
        find(KeySource(file=str(path)), "A_KEY", ENVIRON)
    assert (fault.value.what, fault.value.place) == (what, "--key-file")
    assert fault.value.fix in ("", "one line of printable ASCII is wanted")


@pytest.mark.parametrize(
    ("name", "why"),
    [
        ("missing", "no such file or directory"),
        ("", "no such file or directory"),
        (".", "is a directory"),
        ("a\0b", "embedded null byte"),
    ],
    ids=["missing", "no name", "directory", "NUL"],
)
def test_file_that_cannot_be_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, why: str
) -> None:
    monkeypatch.chdir(tmp_path)
    with refused(NoAccess, f"--key-file: cannot read '{name}': {why}", status=Status.NO_ACCESS):
        find(KeySource(file=name), "A_KEY", ENVIRON)


def test_command() -> None:
    assert find(KeySource(command=command("print(42)")), "A_KEY", ENVIRON) == "42"


def test_command_is_split_as_shell_words_and_no_shell_runs(tmp_path: Path) -> None:
    """Nothing is expanded, and `;` and `|` are only characters."""
    script = tmp_path / "a script"
    script.write_text(f"#!{sys.executable}\nimport sys\nprint('/'.join(sys.argv[1:]))\n")
    script.chmod(0o755)
    line = f"'{script}' $HOME ~ * a;b \"c'd\" `id` $(id)"
    assert find(KeySource(command=line), "A_KEY", ENVIRON) == "$HOME/~/*/a;b/c'd/`id`/$(id)"


def test_command_reads_nothing_of_our_stdin() -> None:
    assert find(KeySource(command=command("import sys; print(len(sys.stdin.read()))")), None, {}) == "0"


@pytest.mark.parametrize(
    ("line", "what"),
    [
        pytest.param(
            "no-such-program-x y", "cannot run 'no-such-program-x': no such file or directory", id="missing"
        ),
        pytest.param(command("exit(3)"), f"'{sys.executable}' ended with status 3", id="status"),
        pytest.param(
            command("print(1); exit(3)"), f"'{sys.executable}' ended with status 3", id="key, but status"
        ),
        pytest.param(command("pass"), "the key is empty", id="prints nothing"),
        pytest.param(command("print(); print()"), "the key is empty", id="prints newlines"),
        pytest.param(command("print(1); print(2)"), "the key has characters that no key has", id="two lines"),
    ],
)
def test_command_that_gives_no_key_is_77(line: str, what: str) -> None:
    with refused(NoAccess, what=what, place="--key-command"):
        find(KeySource(command=line), "A_KEY", ENVIRON)


def test_command_that_dies_by_a_signal_is_77() -> None:
    with pytest.raises(NoAccess):
        find(KeySource(command=command("import os; os.kill(os.getpid(), 9)")), "A_KEY", ENVIRON)


@pytest.mark.parametrize("line", ["", "  ", "'open"])
def test_command_that_is_none_is_2(line: str) -> None:
    with refused(UsageFault, place="--key-command"):
        find(KeySource(command=line), "A_KEY", ENVIRON)


@pytest.mark.parametrize("key_env", ["OPENAI_API_KEY", "A_KEY", None])
@pytest.mark.parametrize("rest", ["API_KEY", "CUSTOM_HEADERS"])
def test_no_other_key_is_passed_to_the_command(
    monkeypatch: pytest.MonkeyPatch, rest: str, key_env: str | None
) -> None:
    """A key goes to no child: what asks a keyring for one key needs none of the others."""
    monkeypatch.setenv(f"OPENAI_{rest}", "from-environment")
    line = command(f'import os; print(os.environ.get(chr(79)+"PENAI_{rest}", 0))')
    assert find(KeySource(command=line), key_env, os.environ) == "0"


def test_descriptor() -> None:
    reader, writer = os.pipe()
    os.write(writer, b"k\n")
    os.close(writer)
    assert find(KeySource(descriptor=reader), "A_KEY", ENVIRON) == "k"


@pytest.mark.parametrize("number", [0, 1, 2])
def test_standard_descriptor_stays_open(number: int) -> None:
    reader, writer = os.pipe()
    os.write(writer, b"k")
    os.close(writer)
    kept = os.dup(number)
    try:
        os.dup2(reader, number)
        assert find(KeySource(descriptor=number), "A_KEY", ENVIRON) == "k"
        os.fstat(number)
    finally:
        os.dup2(kept, number)
        os.close(kept)
        os.close(reader)


def test_empty_descriptor_is_77() -> None:
    reader, writer = os.pipe()
    os.close(writer)
    with pytest.raises(NoAccess, match="the key is empty"):
        find(KeySource(descriptor=reader), "A_KEY", ENVIRON)


@pytest.mark.parametrize("number", [987, 2**31 - 1, 2**40])
def test_descriptor_that_is_not_open_is_77(number: int) -> None:
    with pytest.raises(ChatpipeError) as fault:
        find(KeySource(descriptor=number), "A_KEY", ENVIRON)
    assert fault.value.place == "--key-fd"
    assert fault.value.status in (Status.NO_ACCESS, Status.USAGE)


@pytest.mark.parametrize(
    ("environ", "key"),
    [
        pytest.param({"A_KEY": "k"}, "k", id="set"),
        pytest.param({"A_KEY": " k\n"}, "k", id="with white space"),
        pytest.param({}, None, id="not set"),
        pytest.param({"A_KEY": ""}, None, id="empty"),
        pytest.param({"A_KEY": " \n"}, None, id="white space"),
        pytest.param({"OPENAI_API_KEY": "k"}, None, id="another one"),
    ],
)
def test_variable(environ: dict[str, str], key: str | None) -> None:
    assert find(KeySource(), "A_KEY", environ) == key
    assert find(KeySource(), None, environ) is None


def test_unusable_variable_is_77_by_its_name() -> None:
    with pytest.raises(NoAccess) as fault:
        find(KeySource(), "A_KEY", {"A_KEY": "a b"})
    assert fault.value.place == "A_KEY"
    assert "a b" not in str(fault.value)


def test_first_of_file_command_descriptor_variable(tmp_path: Path) -> None:
    path = tmp_path / "key"
    path.write_text("file")
    reader, writer = os.pipe()
    os.write(writer, b"descriptor")
    os.close(writer)
    by_command = command("print(7)")
    assert find(KeySource(str(path), by_command, reader), "A_KEY", ENVIRON) == "file"
    assert find(KeySource(None, by_command, reader), "A_KEY", ENVIRON) == "7"
    assert find(KeySource(None, None, reader), "A_KEY", ENVIRON) == "descriptor"
    assert find(KeySource(), "A_KEY", ENVIRON) == "from-variable"


@pytest.mark.parametrize(
    ("data", "lines"),
    [
        pytest.param(b"", [], id="empty"),
        pytest.param(b"A: b\nC: d\n", ["A: b", "C: d"], id="two"),
        pytest.param(b"\nA: b\r\n\n  \nC: d", ["A: b", "C: d"], id="blank lines and CRLF"),
    ],
)
def test_header_file(tmp_path: Path, data: bytes, lines: list[str]) -> None:
    path = tmp_path / "headers"
    path.write_bytes(data)
    assert [line.strip() for line in header_lines(str(path))] == lines


def test_no_header_file() -> None:
    assert header_lines(None) == []


@pytest.mark.parametrize("name", ["missing", ".", "a\0b"])
def test_header_file_that_cannot_be_read_is_66(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    monkeypatch.chdir(tmp_path)
    with refused(MissingInput, place="--header-file"):
        header_lines(name)
