"""The uses that may have one file, pair by pair, and the commands that refuse the others."""

from __future__ import annotations

import os
from itertools import combinations_with_replacement
from pathlib import Path
from typing import get_args

import pytest

from chatpipe.errors import UsageFault
from chatpipe.options.files import FileUse, Role
from chatpipe.system.file_uses import refuse_shared_files
from support.parametrize import cases
from support.process import sh
from support.refusals import refused

ROLES: tuple[Role, ...] = get_args(Role)
SHARED = {
    "reads reads",
    "reads reuses",
    "reads prints",
    "reads notes",
    "reads replays",
    "records replays",
    "reuses reuses",
    "reuses results",
}


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def is_refused(*uses: FileUse) -> bool:
    try:
        refuse_shared_files(uses)
    except UsageFault:
        return True
    return False


@pytest.mark.parametrize("pair", [*combinations_with_replacement(ROLES, 2)], ids=" ".join)
def test_one_file_in_two_roles(pair: tuple[Role, Role]) -> None:
    Path("f").touch()
    one, other = FileUse("--one", "f", pair[0]), FileUse("--other", "./f", pair[1])
    assert is_refused(one, other) == is_refused(other, one) == (" ".join(pair) not in SHARED)


@cases(
    ("one", "other", "expected"),
    {
        "results and errors": (FileUse("-o", "{a}", "results"), FileUse("--errors", "{a}", "writes"), True),
        "two descriptors": (FileUse("-o", "{a}", "results"), FileUse("--errors", "{b}", "writes"), False),
        "stderr for errors": (FileUse("", "{a}", "notes"), FileUse("--errors", "{a}", "writes"), False),
        "stdin and stdout": (FileUse("", "{a}", "reads"), FileUse("", "{b}", "results"), True),
        "read twice": (FileUse("", "{a}", "reads"), FileUse("FILE", "{a}", "reads"), False),
        "a descriptor and its file": (FileUse("", "{a}", "notes"), FileUse("-o", "f", "results"), True),
    },
)
def test_descriptors_that_the_shell_gave_one_file(one: FileUse, other: FileUse, expected: bool) -> None:
    """`>log 2>&1` is no mistake, a second file of ours with the same name is one."""
    with open("f", "wb") as a, open("f", "ab") as b:
        paths = {"a": f"/dev/fd/{a.fileno()}", "b": f"/dev/fd/{b.fileno()}"}
        uses = [use._replace(path=use.path.format(**paths)) for use in (one, other)]
        assert is_refused(*uses) is expected


@cases(
    ("one", "other", "line"),
    {
        "options": (
            FileUse("--output", "f", "results"),
            FileUse("--errors", "./f", "writes"),
            "--errors: './f' is the file of --output, too: write to another file",
        ),
        "the input": (
            FileUse("FILE", "f", "reads"),
            FileUse("--output", "f", "results", "journal"),
            "--output: its journal 'f' is the input FILE, too: write to another file",
        ),
        "a journal": (
            FileUse("--output", "f", "results", "journal"),
            FileUse("--report", "f", "writes"),
            "--report: 'f' is the journal of --output, too: write to another file",
        ),
        "a stream": (
            FileUse("FILE", "f", "reads"),
            FileUse("", "f", "results", "standard output"),
            "standard output is the input FILE, too: write to another file",
        ),
    },
)
def test_both_options_are_named(one: FileUse, other: FileUse, line: str) -> None:
    with refused(UsageFault, line):
        refuse_shared_files([one, other])


BATCH = "batch in.jsonl -o out "
NEVER_SHARED = {
    "--errors ./out.journal": (BATCH + "--errors ./out.journal", "--errors", "the journal of --output"),
    "--report ./out.journal": (BATCH + "--report ./out.journal", "--report", "the journal of --output"),
    "--pace-file out.journal": (
        BATCH + "--pace-file ./out.journal",
        "--pace-file",
        "the journal of --output",
    ),
    "--pace-file is OUT": (BATCH + "--pace-file aside/../out", "--pace-file", "the file of --output"),
    "--pace-file is the input": (BATCH + "--pace-file in.jsonl", "--pace-file", "the input FILE"),
    "--errors and --report": (BATCH + "--errors e --report to-e", "--report", "the file of --errors"),
    "--errors and --journal": (BATCH + "--journal j --errors ./j", "--errors", "the file of --journal"),
    "--journal is OUT": (BATCH + "--journal ./out", "--journal", "the file of --output"),
    "--depfile and --errors": (BATCH + "-M e --errors ./e", "--errors", "the file of --depfile"),
    "--depfile and --journal": (BATCH + "-M ./out.journal", "--output", "the file of --depfile"),
    "--errors is --prices": (BATCH + "--prices p --errors p", "--errors", "the file of --prices"),
    "--errors is --system-file": (
        BATCH + "--system-file p --errors p",
        "--errors",
        "the file of --system-file",
    ),
    "--errors is --reuse": (BATCH + "--reuse 'in*' --errors hard", "--errors", "the input FILE"),
    "--report is --reuse": (BATCH + "--reuse p --report p", "--report", "the file of --reuse"),
    "the journal is the input": ("batch read.journal -o read", "--output", "the input FILE"),
    "stdin": ("batch -o in.jsonl < hard", "--output", "standard input"),
    "stdout is the input": ("batch in.jsonl >> hard", "standard output", "the input FILE"),
    "stdout is --errors": ("batch in.jsonl --errors ./o > o", "--errors", "standard output"),
    "stdout for both": ("batch in.jsonl --errors /dev/stdout", "--errors", "standard output"),
    "stderr is --errors": (BATCH + "--errors e 2> e; cat e >&2", "--errors", "standard error"),
    "map": ("map '{{a}}' in.jsonl -o out --errors ./out.journal", "--errors", "the journal of --output"),
    "ask": ("ask hi --transcript t --pace-file ./t", "--pace-file", "the file of --transcript"),
    "ask -o": ("ask hi --transcript t -o aside/../t", "--transcript", "the file of --output"),
    "ask --depfile": ("ask hi -o out -M ./out", "--depfile", "the file of --output"),
    "ask, stdout": ("ask hi --transcript t > t", "--transcript", "standard output"),
    "ask, stdin": ("ask --transcript p < p", "--transcript", "standard input"),
    "the part is an input": (
        "ask hi --system-file out.chatpipe-part -o out",
        "--output",
        "the file of --system-file",
    ),
    "the part is --report": (
        "batch in.jsonl -o out --report ./out.chatpipe-part",
        "--report",
        "the partial file of --output",
    ),
    "build": ("build --system-file p hi -o aside/../p", "--output", "the file of --system-file"),
    "show": ("show p -o ./p", "--output", "the input FILE"),
}


@cases(("words", "option", "other"), NEVER_SHARED)
def test_a_file_in_two_uses_is_2(words: str, option: str, other: str, folder: Path) -> None:
    Path("in.jsonl").write_text('"hi"\n')
    Path("p").write_text("x\n")
    os.link("in.jsonl", "hard")
    Path("to-e").symlink_to("e")
    Path("aside").mkdir()
    Path("read.journal").touch()
    Path("out.chatpipe-part").write_text("x\n")
    before = {*os.listdir()}
    done = sh(f"export CHATPIPE_PROFILE=echo; chatpipe {words}", cwd=folder)
    assert done.stderr.startswith(f"chatpipe: {option}".encode()), done.stderr
    assert f" is {other}, too: ".encode() in done.stderr
    assert done.status == 2 or "; cat" in words
    assert {*os.listdir()} - before <= {"o", "e", "t"}
    assert Path("in.jsonl").read_text() == '"hi"\n'


@cases(
    "words",
    {
        "ask >> its input": "ask < in.jsonl >> in.jsonl",
        "errors on stdout": BATCH + "--errors /dev/stdout",
        "a device twice": "batch in.jsonl -o /dev/null --errors /dev/null",
        "OUT and its journal are reused": BATCH + "&& chatpipe batch in.jsonl -o out --reuse 'out*'",
        "a log for all": "batch in.jsonl --errors /dev/stderr > log 2>&1",
    },
)
def test_uses_that_are_no_mistake(words: str, folder: Path) -> None:
    Path("in.jsonl").write_text('"hi"\n')
    done = sh(f"export CHATPIPE_PROFILE=echo; chatpipe {words}", cwd=folder)
    assert (done.status, done.stderr) == (0, b"")
