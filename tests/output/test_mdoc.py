"""Pages of the manual as plain text, compared with mandoc(1), and `chatpipe man`, with and without it."""

from __future__ import annotations

import fcntl
import os
import re
import struct
import subprocess
import termios
from pathlib import Path

import pytest

from chatpipe.output.mdoc import render
from manual import pages
from support.parametrize import cases
from support.process import CHATPIPE, environment, run
from support.programs import program

HEAD = ".Dd November 29, 2026\n.Dt X 1\n.Os\n.Sh NAME\n.Nm x\n.Nd try\n.Sh D\n"


@cases(
    ("source", "lines"),
    {
        "text": ("One.\nTwo.\n", ["     One. Two."]),
        "flags": (".It Fl o , Fl \\-output Ar FILE\n", []),
        "macros": (
            ".Nm\nreads\n.Xr cat 1 ,\n.Ql a b .\nand\n.Op Fl h\n",
            ["     x reads cat(1),", "     'a b'. and [-h]"],
        ),
        "no space": (".Cm a Ns = Ns Ar B\n", ["     a=B"]),
        "list": (
            ".Bl -tag -width Ds\n.It Fl \\-x Ar N\nDo it.\n.El\n",
            ["     --x N", "             Do it."],
        ),
        "numbers": (".Bl -enum -compact\n.It\na\n.It\nb\n.El\n", ["     1.  a", "     2.  b"]),
        "columns": (
            '.Bl -column "abc" "d"\n.It a Ta b\n.It long Ta d\n.El\n',
            ["     a    b", "     long  d"],
        ),
        "display": (".Bd -literal\n$ a  \\-b\n.Ed\n", ["", "           $ a  -b"]),
        "wrapped": ("aaaaaaa bbbbbbb ccccccc\n", ["     aaaaaaa bbbbbbb", "     ccccccc"]),
    },
)
def test_each_macro_is_rendered(source: str, lines: list[str]) -> None:
    if source.startswith(".It"):
        source, lines = f".Bl -tag -width Ds\n{source}.El\n", ["     -o, --output FILE"]
    text = render(HEAD + source, 22).partition("\nD\n")[2]
    assert [line for line in text.splitlines() if line] == [line for line in lines if line]


@pytest.mark.parametrize("path", pages.all_files(), ids=lambda path: path.name)
def test_text_of_every_page_is_that_of_mandoc(path: Path) -> None:
    """But for spaces, marks of lists and quotes."""
    done = subprocess.run(
        [program("mandoc"), "-T", "ascii", str(path)], capture_output=True, text=True, check=True
    )
    theirs = "\n".join(re.sub(".\b", "", done.stdout).splitlines()[1:-1])
    title, _, ours = render(path.read_text(encoding="utf-8"), 78).partition("\n\n")
    assert title == f"{path.stem.upper()}({path.suffix[1:]})"
    assert done.stdout.startswith(title)
    assert _letters(ours) == _letters(theirs)


def test_each_form_of_the_synopsis_has_a_line() -> None:
    text = render((pages.ROOT / "man" / "chatpipe.1").read_text(encoding="utf-8"), 78)
    assert text.partition("SYNOPSIS\n")[2].splitlines()[:3] == [
        "     chatpipe COMMAND [OPTION ...] [OPERAND ...]",
        "     chatpipe --version | --help",
        "",
    ]


def _letters(text: str) -> str:
    text = re.sub(r"^ +[o-]  ", "", text, flags=re.MULTILINE)
    return re.sub(r"[\s`'\"]", "", text)


WITHOUT_PROGRAMS = {"PATH": "/nonexistent"}


@pytest.mark.parametrize("env", [{}, WITHOUT_PROGRAMS], ids=["programs", "none"])
@pytest.mark.parametrize(
    ("arguments", "name"),
    [
        ((), "chatpipe"),
        (("ask",), "chatpipe-ask"),
        (("chatpipe-options.7",), "chatpipe-options"),
        (("chatpipe-check(1)",), "chatpipe-check"),
    ],
    ids=" ".join,
)
def test_a_pipe_gets_plain_text(arguments: tuple[str, ...], name: str, env: dict[str, str]) -> None:
    done = run("man", *arguments, env=env)
    assert (done.status, done.stderr) == (0, b"")
    text = done.stdout.decode()
    assert re.search(rf"^NAME\n +{name} ", text, re.MULTILINE)
    assert not re.search(r"[\x00-\x08\x0b-\x1f]", text)


@cases(
    ("page", "fix"),
    {
        "typo": ("optins", "did you mean 'options'?"),
        "unknown": ("xyzzyx", "use one of ask, batch, build"),
    },
)
def test_page_that_is_not_there(page: str, fix: str) -> None:
    done = run("man", page)
    assert (done.status, done.stdout) == (2, b"")
    assert done.stderr.decode().startswith(f"chatpipe: no page '{page}' in the manual: {fix}")


def test_a_terminal_gets_the_page_through_man_and_no_key(tmp_path: Path) -> None:
    """Its pager is that of the user, and its status is that of chatpipe."""
    viewer = tmp_path / "man"
    viewer.write_text('#!/bin/sh\necho "$1 $MANPAGER <$OPENAI_API_KEY>" >"$OUT"\nexit 5\n')
    viewer.chmod(0o755)
    out = tmp_path / "out"
    more = {
        "PATH": str(tmp_path),
        "MANPAGER": "less",
        "OPENAI_API_KEY": "k-123456789",
        "OUT": str(out),
    }
    master, slave = os.openpty()
    done = subprocess.run(
        [*CHATPIPE, "man", "ask"],
        env=environment(more),
        stdout=slave,
        stderr=subprocess.PIPE,
        check=False,
    )
    os.close(slave)
    os.close(master)
    assert (done.returncode, done.stderr) == (5, b"")
    assert out.read_text() == f"{pages.FOLDER / 'chatpipe-ask.1'} less <>\n"


@pytest.mark.parametrize("env", [{"COLUMNS": "20"}, {"COLUMNS": "200", "MANWIDTH": "20"}], ids=" ".join)
def test_a_narrow_page_is_formatted_here(env: dict[str, str], tmp_path: Path) -> None:
    """man(1) never ends with some pages in such a width."""
    viewer = tmp_path / "man"
    viewer.write_text("#!/bin/sh\necho NAME of man\n")
    viewer.chmod(0o755)
    done = run("man", "ask", env={"PATH": f"{tmp_path}:{os.defpath}", **env})
    assert (done.status, done.stderr) == (0, b"")
    assert b"SYNOPSIS\n     chatpipe ask\n     [OPTION ...]\n" in done.stdout


def test_a_narrow_terminal_gets_a_page_that_is_wider(tmp_path: Path) -> None:
    viewer = tmp_path / "man"
    viewer.write_text('#!/bin/sh\necho "$MANWIDTH" >"$OUT"\n')
    viewer.chmod(0o755)
    out = tmp_path / "out"
    more = {"PATH": str(tmp_path), "OUT": str(out)}
    master, slave = os.openpty()
    fcntl.ioctl(slave, termios.TIOCSWINSZ, struct.pack("HHHH", 24, 30, 0, 0))
    subprocess.run([*CHATPIPE, "man", "ask"], env=environment(more), stdout=slave, check=True)
    os.close(slave)
    os.close(master)
    assert out.read_text() == "60\n"
