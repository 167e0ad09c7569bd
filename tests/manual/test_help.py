"""`-h` and `--help` of the program and of every command: there, short, and with examples."""

from __future__ import annotations

import re
from typing import get_args

import click
import pytest

from chatpipe.commands.check import check
from chatpipe.commands.table import cli
from chatpipe.flags.option_groups import Heading
from manual import commands
from support.process import run, sh

SCREEN = (45, 80)  # lines and columns


def page(*arguments: str, **env: str) -> str:
    done = run(*arguments, env=env)
    assert (done.status, done.stderr) == (0, b"")
    return done.stdout.decode("ascii")  # a terminal without Unicode shows it, too


@pytest.mark.parametrize("command", commands.COMMANDS)
@pytest.mark.parametrize("option", ["-h", "--help"])
def test_help_of_a_command_works_and_has_examples(command: str, option: str) -> None:
    before_options = page(command, option).partition("\nDiagnostics:\n")[0]
    assert re.search(rf"^Examples:\n(  .*\n)*  (?:.*\| )?chatpipe {command}\b", before_options, re.MULTILINE)


@pytest.mark.parametrize("command", ["", *commands.COMMANDS])
def test_short_help_is_one_screen_and_points_to_the_rest(command: str) -> None:
    lines = page(*command.split(), "-h").splitlines()
    assert len(lines) <= SCREEN[0]
    assert max(map(len, lines)) <= SCREEN[1]
    assert "--help" in " ".join(lines[-2:])
    assert "chatpipe man" in " ".join(lines[-2:])


@pytest.mark.parametrize("command", commands.COMMANDS)
def test_long_help_has_every_option_once_under_a_heading(command: str) -> None:
    text = page(command, "--help")
    shown = re.findall(r"^  (?:    )?(-\S.*?)(?:  .*)?$", text, re.MULTILINE)
    assert sorted(shown) == sorted(
        option.row.signature.strip() for option in commands.options(command).values()
    )
    headings = re.findall(r"^(\w.*):$", text.partition("\nExamples:\n")[2], re.MULTILINE)
    assert headings == [each for each in get_args(Heading) if each in headings]  # in the order of the table


@pytest.mark.parametrize("command", commands.COMMANDS)
def test_short_help_is_a_part_of_the_long_one(command: str) -> None:
    short, long = (set(re.findall(r"--[a-z-]+", page(command, option))) for option in ("-h", "--help"))
    assert short <= long


@pytest.mark.parametrize("command", commands.COMMANDS)
def test_an_option_has_its_name_alone(command: str) -> None:
    """Click would look for that in each call."""
    params = commands.COMMANDS[command]["params"]
    names = [name for each in params for name in (*each["opts"], *each["secondary_opts"])]
    assert len(set(names)) == len(names)
    assert len({each["name"] for each in params}) == len(params)


def test_help_into_a_closed_pipe_is_quiet() -> None:
    done = sh("chatpipe ask --help | true; chatpipe --help | head -n 1")
    assert (done.status, done.stderr) == (0, b"")
    assert done.stdout.startswith(b"Usage: chatpipe COMMAND")


def test_help_lists_every_command_with_what_it_does() -> None:
    listed = re.findall(r"^  (\w+) {2,}(\w.*)$", page("--help"), re.MULTILINE)
    assert sorted(name for name, _ in listed) == list(commands.COMMANDS)
    assert page("-h") == page("--help")


@pytest.mark.parametrize("command", commands.COMMANDS)
def test_help_of_an_option_is_there_and_is_one_short_line(command: str) -> None:
    for names, option in commands.options(command).items():
        text = option.row.help
        assert text, names
        assert "\n" not in text, names
        assert len(text) <= 90, names
        assert text[0].isupper(), names
        assert text[-1] != ".", names


@pytest.mark.parametrize("command", commands.COMMANDS)
def test_defaults_and_variables_are_shown(command: str) -> None:
    """All defaults but those that mean nothing: off for a flag, nothing for the rest."""
    shown = " ".join(page(command, "--help").split())
    for option in commands.options(command).values():
        if option.row.default is not None:
            assert f"[default: {option.row.default}]" in shown, option.names
        for name in option.row.variables:
            assert name in shown, option.names


@pytest.mark.parametrize("columns", [20, 59, 60, 120])
@pytest.mark.parametrize("command", ["", "ask"])
def test_help_fits_the_width(command: str, columns: int) -> None:
    """But for words and examples, which can be longer than the line."""
    text = page(*command.split(), "--help", COLUMNS=str(columns))
    examples = text.partition("Examples:\n")[2].partition("\n\n")[0].splitlines()
    too_long = [
        line
        for line in text.splitlines()
        if len(line) > columns and line not in examples and not re.fullmatch(r" *-.*|\s*\S+", line)
    ]
    assert not too_long
    if command and columns == 120:
        assert max(map(len, text.splitlines())) > 110


@pytest.mark.parametrize("columns", ["", "0", "-5", "wide", "1", "99999999999999999999"])
def test_a_strange_width_does_no_harm(columns: str) -> None:
    assert "--temperature" in page("ask", "--help", COLUMNS=columns)


def test_without_a_command_one_line_names_the_help() -> None:
    done = run()
    assert (done.status, done.stdout) == (2, b"")
    assert (
        done.stderr
        == b"chatpipe: missing command: chatpipe ask PROMPT sends a prompt, chatpipe --help shows all\n"
    )


def test_key_options_are_not_shown() -> None:
    """They exist only to refuse a key on the command line, and to say where it belongs."""
    assert not re.search(r"--key\b(?!-)|--api-key", page("ask", "--help"))


def test_without_docstrings_a_command_has_its_line_of_the_table(monkeypatch: pytest.MonkeyPatch) -> None:
    """`python -OO` keeps none."""
    monkeypatch.setattr(check, "help", None)
    assert cli.get_command(click.Context(cli), "check") is check
    assert check.help == "Find all problems in requests before they are sent"
