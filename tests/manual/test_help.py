"""`--help` of the program and of every command: there, short, and with an example."""

from __future__ import annotations

import re

import pytest

from manual import commands
from process import run


@pytest.mark.parametrize("command", commands.COMMANDS)
def test_help_of_a_command_works_and_has_an_example(command: str) -> None:
    done = run(command, "--help")
    assert (done.status, done.stderr) == (0, b"")
    before_options = done.stdout.decode().partition("\nOptions:\n")[0]
    assert re.search(rf"^  (?:.*\| )?chatpipe {command}\b", before_options, re.MULTILINE)


def test_help_lists_every_command_with_what_it_does() -> None:
    done = run("--help")
    assert (done.status, done.stderr) == (0, b"")
    listed = re.findall(
        r"^  (\w+) {2,}(\w.*)$", done.stdout.decode().partition("\nCommands:\n")[2], re.MULTILINE
    )
    assert [name for name, _ in listed] == list(commands.COMMANDS)


@pytest.mark.parametrize("command", ["", *commands.COMMANDS])
def test_help_of_an_option_is_there_and_is_one_short_line(command: str) -> None:
    for names, option in commands.options(command).items():
        text = option.info["help"]
        assert text, names
        assert "\n" not in text, names
        assert len(text) <= 80, names
        assert text[0].isupper(), names


@pytest.mark.parametrize("command", commands.COMMANDS)
def test_defaults_are_shown(command: str) -> None:
    """All but those that mean nothing: off for a flag, nothing for the rest."""
    shown = " ".join(run(command, "--help").stdout.decode().split())
    for option in commands.options(command).values():
        if option.default is not None:
            assert f"[default: {option.default}" in shown, option.names


def test_without_a_command_one_line_names_the_help() -> None:
    done = run()
    assert (done.status, done.stdout) == (2, b"")
    assert (
        done.stderr
        == b"chatpipe: missing command: chatpipe ask PROMPT sends a prompt, chatpipe --help shows all\n"
    )


def test_key_options_are_not_shown() -> None:
    """They exist only to refuse a key on the command line, and to say where it belongs."""
    assert not re.search(rb"--key\b(?!-)|--api-key", run("ask", "--help").stdout)
