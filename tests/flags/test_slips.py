"""Slips of the command line that would not be errors: each is refused with the right way."""

from __future__ import annotations

import shlex
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click
import pytest

from chatpipe.commands.table import cli
from chatpipe.flags.command import Command
from support.parametrize import cases

Chatpipe = Callable[..., Any]


@cases(
    ("line", "said"),
    {
        "one dash": ("ask -model x hi", "'-model' has one dash: write --model"),
        "one dash and a value": ("ask -model=x hi", "'-model' has one dash: write --model"),
        "one dash and underscores": (
            "ask -max_tokens 3 hi",
            "'-max_tokens' has one dash: write --max-tokens",
        ),
        "one dash before a flag": ("ask -raw hi", "'-raw' has one dash: write --raw"),
        "one dash before help": ("ask -help", "'-help' has one dash: write --help"),
        "one dash in another tool's name": (
            "batch -concurrency 8 f",
            "no such option '--concurrency', did you mean '--jobs'?: see chatpipe batch --help",
        ),
        "an option as the name of a file": (
            "ask -p echo -o --json x",
            "--output: '--json' is an option: give it a value, or write --output=--json",
        ),
        "a letter as the name of a file": (
            "batch f --report -k",
            "--report: '-k' is an option: give it a value, or write --report=-k",
        ),
        "an option as a server": (
            "ask --base-url --no-stdin x",
            "--base-url: '--no-stdin' is an option: give it a value, or write --base-url=--no-stdin",
        ),
        "an option as a system message": (
            "ask -s -m gpt Write",
            "--system: '-m' is an option: give it a value, or write --system=-m",
        ),
        "an option as a user message": (
            "build --user -m gpt",
            "--user: '-m' is an option: give it a value, or write --user=-m",
        ),
        "an option as an answer": (
            "ask -u Hi -a --json -m m",
            "--assistant: '--json' is an option: give it a value, or write --assistant=--json",
        ),
        "an option as a developer message": (
            "batch --developer -k f",
            "--developer: '-k' is an option: give it a value, or write --developer=-k",
        ),
        "an option as a tool's result": (
            "ask --tool-result --json x",
            "--tool-result: '--json' is an option: give it a value, or write --tool-result=--json",
        ),
        "behind another option": ("ask -s -model -model x", "'-model' has one dash: write --model"),
        "em dash": ("ask —model x hi", "'—model' begins with a typographic dash: write --model"),
        "em dash and a value": ("ask —model=x hi", "'—model' begins with a typographic dash: write --model"),
        "en dash before a letter": ("ask \u2013m x hi", "'\u2013m' begins with a typographic dash: write -m"),
        "two en dashes": (
            "ask \u2013\u2013model x hi",
            "'\u2013\u2013model' begins with a typographic dash: write --model",
        ),
        "a dash and an em dash": (
            "ask -—model x hi",
            "'-—model' begins with a typographic dash: write --model",
        ),
        "minus sign": (
            "ask \u2212\u2212model x hi",
            "'\u2212\u2212model' begins with a typographic dash: write --model",
        ),
        "em dash in another tool's name": (
            "batch —concurrency 8 f",
            "no such option '--concurrency', did you mean '--jobs'?: see chatpipe batch --help",
        ),
        "a letter with =": (
            "ask -m=x hi",
            "the value of '-m=' would begin with '=': write -m MODEL or --model=MODEL",
        ),
        "a letter with = that is a long option, too": (
            "ask -n=2 hi",
            "the value of '-n=' would begin with '=': write -n N or --n=N",
        ),
        "letters with =": (
            "ask -qm=x hi",
            "the value of '-m=' would begin with '=': write -m MODEL or --model=MODEL",
        ),
        "a secret with =": (
            "ask -H=secret hi",
            "the value of '-H=' would begin with '=': write -H 'NAME: VALUE' or --header='NAME: VALUE'",
        ),
        "false": ("ask --stream=false hi", "'--stream' takes no value: write --no-stream"),
        "true": ("ask --stream=true hi", "'--stream' takes no value: write --stream"),
        "no false": ("ask --no-stream=0 hi", "'--no-stream' takes no value: write --stream"),
        "false of what has no other side": ("ask --json=no hi", "'--json' takes no value: leave it out"),
        "quotes around words": (
            "ask -s “Be brief” hi",
            "--system: “ is not a shell quote: write ' or \" instead",
        ),
        "quotes around a word": (
            "ask -m “x” hi",
            "--model: “ is not a shell quote: write ' or \" instead",
        ),
        "quotes behind =": (
            "ask --model=\u2018x\u2019 hi",
            "--model: \u2018 is not a shell quote: write ' or \" instead",
        ),
        "quotes around a template": (
            "map “Classify: {{text}}” f",
            "“ is not a shell quote: write ' or \" instead",
        ),
        "llm's -o": (
            "ask -o max_tokens 30 hi",
            (
                "-o: 'max_tokens' is the name of a parameter: "
                "write --max-tokens 30, or -o ./max_tokens for the file"
            ),
        ),
    },
)
def test_a_slip_is_refused(chatpipe: Chatpipe, line: str, said: str) -> None:
    assert chatpipe(*shlex.split(line)) == (2, "", f"chatpipe: {said}\n")


@cases(
    ("line", "text"),
    {
        "value of an option": ("-s -model -u -raw", "-raw"),
        "behind two dashes": ("-- —model -model", "—model -model"),
        "a dash alone": ("— hi", "— hi"),
        "a dash before a space": ("'— he said'", "— he said"),
        "a dash before what is no option": ("—nonsense", "—nonsense"),
        "an equals sign in a value": ("-ua=b", "a=b"),
        "an equals sign alone": ("-u =", "="),
        "quotes in a prompt": ("“hello world”", "“hello world”"),
        "a quoted message": ("-u “hello”", "“hello”"),
        "an apostrophe": ("-u \u2019tis me", "\u2019tis\n\nme"),
        "the file of a slip": ("hi -o ./temperature 0.7", ""),
        "a number behind -o": ("hi -o out.txt 3", ""),
        "an option as a text, said twice": ("--system=--json --user=--raw", "--raw"),
        "an option that ends an answer": ("--stop --raw hi", "hi"),
        "a text that begins like an option": ("-u '--raw is an option'", "--raw is an option"),
        "an option as a file, said twice": ("hi --output=--json", ""),
    },
)
def test_what_is_no_slip_is_left_alone(chatpipe: Chatpipe, line: str, text: str) -> None:
    ran = chatpipe("ask", "-p", "echo", *shlex.split(line))
    assert (ran.status, ran.stderr) == (0, "")
    assert ran.stdout.rstrip("\n") == text.rpartition("\n\n")[2]


@pytest.mark.parametrize(
    "line",
    [
        *(
            "-m x -o out.txt hi",
            "-n2 -o out -f json hi",
            "--model=x --set a.b:=1 hi",
            "-s 'Be brief.' -- -model",
        ),
        *("--no-stream -q -", "-o - hi", "-q --json --no-stdin -m x --seed -1 hi"),
    ],
)
def test_ordinary_arguments_are_not_looked_at(line: str) -> None:
    """Looking imports modules, which a call would wait for."""
    command = cli.get_command(click.Context(cli), "ask")
    assert isinstance(command, Command)
    assert not command._may_have_slip(shlex.split(line.partition(" -- ")[0]))


@cases(
    ("line", "name", "fix"),
    {
        "no option": ("ask -dash.png", "-dash.png", "./-dash.png"),
        "a letter and its value": (
            "ask -p echo -sketch.png",
            "-sketch.png",
            "./-sketch.png, or -s and its value as two words",
        ),
        "a letter that is no option": ("check -k", "-k", "./-k"),
        "two dashes": ("show --a.jsonl", "--a.jsonl", "./--a.jsonl"),
        "spaces": ("batch '-a b.jsonl'", "-a b.jsonl", "'./-a b.jsonl', or -a and its value as two words"),
        "a file of map": ("map '{{a}}' -t.csv", "-t.csv", "./-t.csv"),
        "a file of jobs": ("jobs submit -in.jsonl", "-in.jsonl", "./-in.jsonl"),
    },
)
def test_a_file_is_no_option(chatpipe: Chatpipe, line: str, name: str, fix: str) -> None:
    """A shell makes such a word of `*`."""
    Path(name).touch()
    assert chatpipe(*shlex.split(line)) == (
        2,
        "",
        f"chatpipe: '{name}' is a file, not an option: write {fix}\n",
    )


def test_an_option_may_have_the_name_of_a_file(chatpipe: Chatpipe) -> None:
    for name in ("-k", "-json", "--json"):
        Path(name).touch()
    assert chatpipe("build", "-m", "-json", "-q", "x", "--", "-json").status == 0
    assert chatpipe("batch", "-p", "echo", "-k", "--", "-k").status == 0


PNG = b"\x89PNG\r\n\x1a\n"


def write_files() -> None:
    Path("docs").mkdir()
    for name in ("a.png", "b.png", "a b.png", "c.jpg", "docs/A", "docs/b.md", "word", "README"):
        Path(name).write_bytes(PNG)


@cases(
    ("line", "place", "fix"),
    {
        "images": ("build --image a.png b.png c.jpg", "--image", "write --image=b.png"),
        "with =": ("build x --image=a.png b.png", "--image", "write --image=b.png"),
        "a space": ("ask --image a.png 'a b.png'", "--image", "write '--image=a b.png'"),
        "a folder": ("build --file docs/A docs/b.md x", "--file", "write --file=docs/b.md"),
        "roles": ("build --user-file a.png b.png", "--user-file", "write --user-file=b.png"),
        "tools": ("build --tool a.png b.png", "--tool", "write --tool=b.png"),
        "one request": ("ask -r a.png b.png", "--request", ""),
        "a letter and its value": ("ask -ra.png b.png", "--request", ""),
        "letters": ("build -qr a.png b.png", "--request", ""),
        "an output": ("ask -o a.png b.png", "--output", ""),
    },
)
def test_files_of_a_pattern_are_no_words_of_the_prompt(
    chatpipe: Chatpipe, line: str, place: str, fix: str
) -> None:
    write_files()
    status, stdout, stderr = chatpipe(*shlex.split(line))
    name = "docs/b.md" if "docs" in line else "'a b.png'" if "a b" in line else "b.png"
    fix = ", or ".join(filter(None, (fix, f"write -- {name} for that word")))
    bare = name.strip("'")
    said = f"takes one file, and '{bare}' would be a word of the prompt"
    assert (status, stdout, stderr) == (2, "", f"chatpipe: {place}: {said}: {fix}\n")


@cases(
    ("line", "text"),
    {
        "behind --": ("--image a.png -- b.png", "b.png"),
        "another word between": ("--image a.png compare b.png", "compare b.png"),
        "no such file": ("--image a.png d.png", "d.png"),
        "another kind": ("--image a.png c.jpg", "c.jpg"),
        "no suffix": ("--image README word", "word"),
        "a folder": ("--image a.png docs", "docs"),
        "an option between": ("--image a.png -q b.png", "b.png"),
        "of text": ("--image a.png -s a.png b.png", "b.png"),
        "before the option": ("b.png --image a.png", "b.png"),
    },
)
def test_other_words_may_name_files(build: Chatpipe, line: str, text: str) -> None:
    write_files()
    content = build(*shlex.split(line))["messages"][-1]["content"]
    assert content[0] == {"type": "text", "text": text}
