"""`--exec` and what goes with it: read into a record, or refused before anything else happens."""

from __future__ import annotations

import click
import pytest
from click.testing import CliRunner

from chatpipe.dialogue.options import Tooling, split
from chatpipe.errors import UsageFault
from chatpipe.flags import tooling
from chatpipe.flags.types import Command
from refusals import refused


def read(*words: str) -> Tooling:
    """The record that a command gets. Raises what the group raises."""
    got: list[Tooling] = []

    @click.command(cls=Command)
    @tooling.options
    def command(tooling: Tooling) -> None:
        got.append(tooling)

    result = CliRunner().invoke(command, words, standalone_mode=False)
    if result.exception is not None:
        raise result.exception
    return got[0]


@pytest.mark.parametrize(
    ("words", "record"),
    [
        pytest.param([], Tooling((), 60.0, 8), id="nothing"),
        pytest.param(["--exec", "a=b c"], Tooling((("a", "b c"),), 60.0, 8), id="one"),
        pytest.param(
            ["--exec", "b=x", "--exec", "a=y"],
            Tooling((("b", "x"), ("a", "y")), 60.0, 8),
            id="order as typed",
        ),
        pytest.param(["--exec", "a=b x=y"], Tooling((("a", "b x=y"),), 60.0, 8), id="= in the command"),
        pytest.param(["--exec", "a=b 'c d'"], Tooling((("a", "b 'c d'"),), 60.0, 8), id="quotes are kept"),
        pytest.param(
            ["--exec", "a=b", "--exec-timeout", "0.5", "--max-turns", "1"],
            Tooling((("a", "b"),), 0.5, 1),
            id="all",
        ),
    ],
)
def test_is_read(words: list[str], record: Tooling) -> None:
    assert read(*words) == record


@pytest.mark.parametrize(
    ("words", "error"),
    [
        pytest.param(["--exec", "weather"], "--exec: 'weather' names no tool: write NAME=COMMAND", id="no ="),
        pytest.param(["--exec", "=cat"], "--exec: '=cat' names no tool: write NAME=COMMAND", id="no name"),
        pytest.param(["--exec", "a="], "--exec a: an empty command: write NAME=COMMAND", id="no command"),
        pytest.param(["--exec", "a=  "], "--exec a: an empty command: write NAME=COMMAND", id="blanks"),
        pytest.param(["--exec", "a='' b"], "--exec a: an empty command: write NAME=COMMAND", id="no program"),
        pytest.param(
            ["--exec", "a=b 'c"],
            "--exec a: the command cannot be split into words: no closing quotation",
            id="quote",
        ),
        pytest.param(
            ["--exec", "a=b \\"],
            "--exec a: the command cannot be split into words: no escaped character",
            id="backslash",
        ),
        pytest.param(
            ["--exec", "a=b", "--exec", "a=c"], "--exec: 'a' has two commands: give it one", id="twice"
        ),
        pytest.param(
            ["--exec-timeout", "60"],
            "--exec-timeout: there is no tool to run: add --exec NAME=COMMAND",
            id="time-out of nothing",
        ),
        pytest.param(
            ["--max-turns", "8"],
            "--max-turns: there is no tool to run: add --exec NAME=COMMAND",
            id="turns of nothing",
        ),
    ],
)
def test_is_refused(words: list[str], error: str) -> None:
    with refused(UsageFault, error):
        read(*words)


@pytest.mark.parametrize("words", [["--max-turns", "0"], ["--max-turns", "x"], ["--exec-timeout", "0"]])
def test_numbers_that_are_none(words: list[str]) -> None:
    with pytest.raises(click.BadParameter):
        read("--exec", "a=b", *words)


def test_words_are_those_of_a_shell_with_nothing_expanded() -> None:
    assert split("jq -r '.a b' \"$HOME\" *.txt a\\ b # c;d|e") == [
        *("jq", "-r", ".a b", "$HOME", "*.txt", "a b", "#", "c;d|e")
    ]
