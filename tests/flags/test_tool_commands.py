"""`--exec` and what goes with it: read into a record, or refused before anything else happens."""

from __future__ import annotations

import click
import pytest
from click.testing import CliRunner

from chatpipe.errors import UsageFault
from chatpipe.flags import tool_commands
from chatpipe.flags.command import Command
from chatpipe.options.tool_commands import ToolOptions, split_command
from support.parametrize import cases
from support.refusals import refused


def read(*words: str) -> ToolOptions:
    """The record that a command gets. Raises what the group raises."""
    got: list[ToolOptions] = []

    @click.command(cls=Command)
    @tool_commands.options
    def command(tools: ToolOptions) -> None:
        got.append(tools)

    result = CliRunner().invoke(command, words, standalone_mode=False)
    if result.exception is not None:
        raise result.exception
    return got[0]


@cases(
    ("words", "record"),
    {
        "nothing": ([], ToolOptions((), 60.0, 8)),
        "one": (["--exec", "a=b c"], ToolOptions((("a", "b c"),), 60.0, 8)),
        "order as typed": (
            ["--exec", "b=x", "--exec", "a=y"],
            ToolOptions((("b", "x"), ("a", "y")), 60.0, 8),
        ),
        "= in the command": (["--exec", "a=b x=y"], ToolOptions((("a", "b x=y"),), 60.0, 8)),
        "quotes are kept": (["--exec", "a=b 'c d'"], ToolOptions((("a", "b 'c d'"),), 60.0, 8)),
        "all": (
            ["--exec", "a=b", "--exec-timeout", "0.5", "--max-turns", "1"],
            ToolOptions((("a", "b"),), 0.5, 1),
        ),
    },
)
def test_the_options_of_tools_make_a_record(words: list[str], record: ToolOptions) -> None:
    assert read(*words) == record


@cases(
    ("words", "error"),
    {
        "no =": (["--exec", "weather"], "--exec: 'weather' names no tool: write NAME=COMMAND"),
        "no name": (["--exec", "=cat"], "--exec: '=cat' names no tool: write NAME=COMMAND"),
        "no command": (["--exec", "a="], "--exec a: an empty command: write NAME=COMMAND"),
        "blanks": (["--exec", "a=  "], "--exec a: an empty command: write NAME=COMMAND"),
        "no program": (["--exec", "a='' b"], "--exec a: an empty command: write NAME=COMMAND"),
        "quote": (
            ["--exec", "a=b 'c"],
            "--exec a: cannot be split into words: a quote is not closed",
        ),
        "backslash": (
            ["--exec", "a=b \\"],
            "--exec a: cannot be split into words: nothing follows its last backslash",
        ),
        "shell": (
            ["--exec", "a=cat | jq ."],
            "--exec a: no shell runs the command, so '|' would be an argument: write sh -c 'COMMAND'",
        ),
        "twice": (["--exec", "a=b", "--exec", "a=c"], "--exec: 'a' has two commands: give it one"),
        "time-out of nothing": (
            ["--exec-timeout", "60"],
            "--exec-timeout: there is no tool to run: add --exec NAME=COMMAND",
        ),
        "turns of nothing": (
            ["--max-turns", "8"],
            "--max-turns: there is no tool to run: add --exec NAME=COMMAND",
        ),
    },
)
def test_a_wrong_option_of_tools_is_refused(words: list[str], error: str) -> None:
    with refused(UsageFault, error):
        read(*words)


@pytest.mark.parametrize("words", [["--max-turns", "0"], ["--max-turns", "x"], ["--exec-timeout", "0"]])
def test_numbers_out_of_range_are_refused(words: list[str]) -> None:
    with pytest.raises(click.BadParameter):
        read("--exec", "a=b", *words)


def test_words_are_those_of_a_shell_with_nothing_expanded() -> None:
    assert split_command("jq -r '.a b' \"$HOME\" *.txt a\\ b # c;d|e", "--exec") == [
        *("jq", "-r", ".a b", "$HOME", "*.txt", "a b", "#", "c;d|e")
    ]


@cases(
    ("command", "operator"),
    {
        "pipe": ("a | b", "|"),
        "or": ("a || b", "||"),
        "and": ("a && b", "&&"),
        "background": ("a &", "&"),
        "list": ("a; b", ";"),
        "list with blanks": ("a ; b", ";"),
        "input": ("a < b", "<"),
        "output": ("a >b", ">"),
        "no errors": ("a 2>/dev/null", ">"),
        "errors to output": ("a 2>&1", ">&"),
        "all output": ("a &>b", "&>"),
        "after quotes": ("a '|' \"|\" \\| | b", "|"),
        "quotes behind it": ("a >'b c'", ">"),
    },
)
def test_an_operator_of_a_shell_is_refused(command: str, operator: str) -> None:
    what = f"no shell runs the command, so '{operator}' would be an argument"
    with refused(UsageFault, what=what, place="--exec", fix="write sh -c 'COMMAND'"):
        split_command(command, "--exec")


@cases(
    ("command", "words"),
    {
        "quoted": ("jq '.a | .b'", ["jq", ".a | .b"]),
        "quoted in a word": ('jq --arg="a | b"', ["jq", "--arg=a | b"]),
        "escaped": ("find . -exec x {} \\;", ["find", ".", "-exec", "x", "{}", ";"]),
        "of its own, quoted": ("awk '|' \">\"", ["awk", "|", ">"]),
        "for a shell": ("sh -c 'a | b; c 2>&1'", ["sh", "-c", "a | b; c 2>&1"]),
        "inside a word": ("a x|y x&y x>y a=>b -> x;y", ["a", "x|y", "x&y", "x>y", "a=>b", "->", "x;y"]),
        "a quote in quotes": ("a \"'\" '|' \"'\"", ["a", "'", "|", "'"]),
        "an escaped quote": ('a "\\"|\\" | b"', ["a", '"|" | b']),
    },
)
def test_what_looks_like_an_operator_is_left_alone(command: str, words: list[str]) -> None:
    assert split_command(command, "--exec") == words
