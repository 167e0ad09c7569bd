"""`--transcript` in `build`, which reads it as `ask` would and leaves it alone."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

from support.parametrize import cases

Q = '{"role":"user","content":"q"}\n'
A = '{"role":"assistant","content":"a"}\n'


def test_request_is_the_one_that_ask_would_send(build: Callable[..., Any]) -> None:
    Path("t").write_text(Q + A, encoding="utf-8")
    assert build("--transcript", "t", "-s", "s", "more")["messages"] == [
        {"role": "system", "content": "s"},
        {"role": "user", "content": "q"},
        {"role": "assistant", "content": "a"},
        {"role": "user", "content": "more"},
    ]
    assert Path("t").read_text(encoding="utf-8") == Q + A


def test_transcript_that_is_not_there_is_an_empty_one_and_is_not_made(build: Callable[..., Any]) -> None:
    assert build("--transcript", "t", "hi")["messages"] == [{"role": "user", "content": "hi"}]
    assert os.listdir() == []


def test_question_that_waits_is_the_request(build: Callable[..., Any]) -> None:
    Path("t").write_text(Q, encoding="utf-8")
    assert build("--transcript", "t")["messages"] == [{"role": "user", "content": "q"}]


@cases(
    ("words", "status", "line"),
    {
        "stdin": (["--transcript", "-", "x"], 2, "--transcript: stdin cannot be appended to: name a file"),
        "folder": (["--transcript", ".", "x"], 2, ".: is not a regular file: name a file"),
        "no prompt": (
            ["--transcript", "t"],
            2,
            "no prompt: give one as an operand or on stdin",
        ),
        "n": (
            ["--transcript", "t", "-n", "2", "x"],
            2,
            (
                "--n: a transcript continues with one answer, not 2: "
                "ask for one with -n 1, or leave out --transcript"
            ),
        ),
        "output": (
            ["--transcript", "t", "-o", "t", "x"],
            2,
            "--output: 't' is the file of --transcript, too: write to another file",
        ),
        "array": (
            ["--transcript", "a", "x"],
            65,
            "a: a transcript has a message on each line, not an array: jq -c '.[]' makes lines of it",
        ),
        "no message": (
            ["--transcript", "bad", "x"],
            65,
            "bad:2: not a message: it has no 'role'",
        ),
    },
)
def test_a_transcript_that_cannot_be_used_is_refused(
    chatpipe: Callable[..., Any], words: list[str], status: int, line: str
) -> None:
    Path("t").write_text(Q + A, encoding="utf-8")
    Path("a").write_text("[]", encoding="utf-8")
    Path("bad").write_text(Q + '{"content":"x"}\n', encoding="utf-8")
    ran = chatpipe("build", *words)
    assert (ran.status, ran.stdout) == (status, "")
    assert ran.stderr == f"chatpipe: {line}\n"
    assert sorted(os.listdir()) == ["a", "bad", "t"]


def test_check_names_the_line_of_the_transcript(chatpipe: Callable[..., Any]) -> None:
    Path("t").write_text(Q + '{"role":"usr","content":"x"}\n', encoding="utf-8")
    ran = chatpipe("build", "--transcript", "t", "x")
    assert ran.status == 65
    assert ran.stderr.startswith("chatpipe: t:2: /messages/1/role: is 'usr', not one of ")


def test_transcript_is_a_prerequisite_of_what_is_built(chatpipe: Callable[..., Any]) -> None:
    Path("t").write_text(Q, encoding="utf-8")
    assert chatpipe("build", "--transcript", "t", "-o", "out", "-M", "out.d", "x").status == 0
    assert Path("out.d").read_text(encoding="utf-8") == "out: \\\n  t\n\nt:\n"


def test_run_has_no_such_option(chatpipe: Callable[..., Any]) -> None:
    ran = chatpipe("batch", "--transcript", "t")
    assert ran.status == 2
    assert ran.stderr.startswith("chatpipe: no such option '--transcript'")
