"""A working directory that was deleted: a relative name leads nowhere, and says so as the system does."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from support.parametrize import cases
from support.process import run

pytestmark = pytest.mark.skipif(not os.path.exists("/proc/self/fd"), reason="needs a name for the folder")

# With a reserved port: nothing is sent.
SERVER = ("-m", "m", "--base-url", "https://127.0.0.1:1/v1", "--retries", "0")
ASK = ("ask", *SERVER, "hi")
BATCH = ("batch", *SERVER)
REQUEST = b'{"messages": [{"role": "user", "content": "hi"}]}\n'
MISSING = "no such file or directory"


@pytest.fixture
def deleted(tmp_path: Path) -> Iterator[str]:
    """A name of a directory without a name."""
    folder = tmp_path / "deleted"
    folder.mkdir()
    fd = os.open(folder, os.O_RDONLY)
    folder.rmdir()
    yield f"/proc/{os.getpid()}/fd/{fd}"
    os.close(fd)


@cases(
    ("arguments", "status", "message"),
    {
        "-o": ((*ASK, "-o", "x"), 74, "x: cannot write"),
        "-o, below": ((*ASK, "-o", "sub/x"), 74, "sub/x: cannot write"),
        "-M": ((*ASK, "-o", "/dev/null", "-M", "x", "--depfile-target", "t"), 74, "x: cannot write"),
        "--transcript": ((*ASK, "--transcript", "x"), 74, "x: cannot write"),
        "--record": ((*ASK, "--record", "x"), 74, "x: cannot write"),
        "--replay": ((*ASK, "--replay", "x"), 66, "--replay: cannot read 'x'"),
        "--pace-file": ((*ASK, "--pace-file", "x"), 74, "--pace-file: 'x' cannot be used"),
        "--key-file": ((*ASK, "--key-file", "x"), 77, "--key-file: cannot read 'x'"),
        "--cacert": ((*ASK, "--cacert", "x"), 66, "--cacert: cannot read 'x'"),
        "--client-cert": ((*ASK, "--client-cert", "x"), 66, "--client-cert: cannot read 'x'"),
        "--file": ((*ASK, "--file", "x"), 66, "--file: cannot read 'x'"),
        "build -o": (("build", "-m", "m", "hi", "-o", "x"), 74, "x: cannot write"),
        "check": (("check", "x"), 66, "FILE: cannot read 'x'"),
        "show": (("show", "x"), 66, "FILE: cannot read 'x'"),
        "show -o": (("show", "-", "-o", "x"), 74, "x: cannot write"),
        "batch -o": ((*BATCH, "-o", "x"), 74, "x: cannot write"),
        "batch --journal": ((*BATCH, "--journal", "x"), 74, "x: cannot open the journal"),
        "batch --errors": ((*BATCH, "-o", "/dev/null", "--errors", "x"), 74, "x: cannot write"),
        "map -o": (("map", *SERVER, "-o", "x", "--lines", "{{line}}"), 74, "x: cannot write"),
        "jobs submit": (("jobs", "submit", "x", *SERVER[2:]), 66, "FILE: cannot read 'x'"),
        "serve --log": (("serve", "--log", "x"), 74, "x: cannot write"),
    },
)
def test_a_relative_name_is_a_file_that_is_missing(
    arguments: tuple[str, ...], status: int, message: str, deleted: str
) -> None:
    done = run(*arguments, stdin=REQUEST, cwd=deleted)
    assert done == (status, b"", f"chatpipe: {message}: {MISSING}\n".encode())


def test_names_of_other_folders_are_as_good_as_ever(deleted: str, tmp_path: Path) -> None:
    out = tmp_path / "out"
    assert run("build", "-m", "m", "hi", "-o", str(out), cwd=deleted).status == 0
    assert b'"hi"' in out.read_bytes()


def test_a_word_of_jobs_is_an_id_where_no_file_can_be(deleted: str) -> None:
    done = run("jobs", "status", "x", "y", "x", *SERVER[2:], cwd=deleted)
    assert done.status == 69
    assert b"cannot reach" in done.stderr
