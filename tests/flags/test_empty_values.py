"""An empty value of an option, as an unset variable leaves it, for each option of each command."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import click
import pytest

from chatpipe.commands.table import cli
from chatpipe.errors import UsageFault
from support.parametrize import cases
from support.refusals import refused

Chatpipe = Callable[..., Any]

# Options that take an empty value, or refuse it in words of their own.
OTHERS = {
    *("--system", "--developer", "--user"),  # refused as data
    "--assistant",  # sent
    "--proxy",  # no proxy
    "--unpack",  # no prefix
    "--key",  # no option takes a key
}


def options() -> Iterator[tuple[str, str]]:
    context = click.Context(cli)
    for name in cli.list_commands(context):
        command = cli.get_command(context, name)
        assert command is not None
        for each in command.get_params(context):
            if isinstance(each, click.Option) and not each.is_flag and not each.count:
                yield name, each.opts[0]


def parse(command: str, *words: str) -> None:
    found = cli.get_command(click.Context(cli), command)
    assert found is not None
    found.make_parser(click.Context(found)).parse_args(list(words))


@pytest.mark.parametrize("command", sorted({command for command, _ in options()}))
def test_an_empty_value_is_refused(command: str) -> None:
    """In both forms, whatever the type of the value is, also among others of a repeated option."""
    names = [option for name, option in options() if name == command]
    for name in set(names) - OTHERS:
        for words in ((name, ""), (f"{name}=",), (name, "a", name, "")):
            with refused(UsageFault, f"{name}: the value is empty: give one, or leave it out"):
                parse(command, *words)
    for name in OTHERS.intersection(names):
        parse(command, f"{name}=")


def test_an_empty_value_does_not_count_as_left_out(chatpipe: Chatpipe) -> None:
    """A run whose journal has no name kept none, and said nothing."""
    Path("in").write_text('{"prompt": "x"}\n', encoding="utf-8")
    done = chatpipe("batch", "-p", "echo", "--journal", "", "in")
    assert done == (2, "", "chatpipe: --journal: the value is empty: give one, or leave it out\n")


@cases(
    ("words", "said"),
    {
        "system": (["-s", "", "x"], "--system: the text is empty: leave it out"),
        "developer": (["--developer", "", "x"], "--developer: the text is empty: leave it out"),
        "user": (["-u", ""], "--user: the text is empty: leave it out"),
        "one of several": (["-u", "a", "-a", "b", "-u", ""], "--user: the text is empty: leave it out"),
        "system file": (["--system-file", "empty", "x"], "--system-file: 'empty' is empty: leave it out"),
        "developer file": (
            ["--developer-file", "line", "x"],
            "--developer-file: 'line' is empty: leave it out",
        ),
        "user file": (["--user-file", "empty"], "--user-file: 'empty' is empty: leave it out"),
        "prediction": (
            ["--prediction-file", "empty", "x"],
            "--prediction-file: 'empty' is empty: leave it out",
        ),
        "document": (["--file", "empty", "x"], "--file: 'empty' is empty"),
        "prompt": ([""], "PROMPT: the prompt is empty"),
    },
)
def test_an_instruction_or_a_question_without_text_is_bad_input(
    chatpipe: Chatpipe, words: list[str], said: str
) -> None:
    Path("empty").touch()
    Path("line").write_text("\n", encoding="utf-8")
    assert chatpipe("build", "-m", "m", *words) == (65, "", f"chatpipe: {said}\n")


def test_an_answer_or_a_result_without_text_is_sent(build: Chatpipe) -> None:
    """A tool may print nothing, and an example may show that there is nothing to say."""
    Path("empty").touch()
    messages = build("-u", "q", "-a", "", "--assistant-file", "empty", "--tool-result", "a=", "x")["messages"]
    assert [each["content"] for each in messages] == ["q", "", "", "", "x"]
    messages = build("--tool-result-file", "a=empty")["messages"]
    assert messages == [{"role": "tool", "content": "", "tool_call_id": "a"}]


def test_set_and_metadata_take_an_empty_text(build: Chatpipe) -> None:
    body = build("--set", "user=", "--metadata", "run=", "x")
    assert (body["user"], body["metadata"]) == ("", {"run": ""})
