"""Role options keep the order in which they were typed, however they are written."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import click
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from chatpipe.flags import prompt
from chatpipe.flags.command import Command
from chatpipe.options.prompt import PromptOptions
from support.parametrize import cases

# letter or name, role
SPELLINGS = {
    "system": ("-s", "--system"),
    "user": ("-u", "--user"),
    "assistant": ("-a", "--assistant"),
    "developer": ("--developer", "--developer"),
    "tool": ("--tool-result", "--tool-result"),
}


def parsed(words: list[str]) -> PromptOptions:
    """The record that a command with these options is given."""
    seen: list[PromptOptions] = []

    @click.command(cls=Command)
    @click.option("--quiet", "-q", is_flag=True)
    @prompt.options
    def command(prompt: PromptOptions, quiet: bool) -> None:
        seen.append(prompt)

    command.main(words, standalone_mode=False)
    return seen[0]


def conversation(words: list[str]) -> list[tuple[str, str]]:
    return [(typed.role, typed.value) for typed in parsed(words).role_options]


@cases(
    ("words", "typed"),
    {
        "few-shot": (["-u", "1", "-a", "2", "-u", "3"], ["user 1", "assistant 2", "user 3"]),
        "not by kind": (["-a", "1", "-u", "2", "-s", "3"], ["assistant 1", "user 2", "system 3"]),
        "values stuck to letters": (["-u1", "-a2", "-u3"], ["user 1", "assistant 2", "user 3"]),
        "bundled with a flag": (["-qu1", "-qa", "2"], ["user 1", "assistant 2"]),
        "with =": (["--user=1", "--assistant=2", "-u", "3"], ["user 1", "assistant 2", "user 3"]),
        "values that look like options": (["--user=-a", "--assistant=-u"], ["user -a", "assistant -u"]),
        "a value that is --": (["-u", "--", "-a", "x"], ["user --", "assistant x"]),
        "operands between": (["-u", "1", "word", "-a", "2", "word"], ["user 1", "assistant 2"]),
        "nothing behind -- is an option": (["-u", "1", "--", "-a", "2"], ["user 1"]),
        "empty values": (["--user=", "-a", ""], ["user ", "assistant "]),
        "with files": (["-u", "1", "--user-file", "f", "-u", "2"], ["user 1", "user f", "user 2"]),
        "tools": (
            ["--tool-result", "c=1", "-u", "2", "--tool-result", "d=3=4"],
            ["tool 1", "user 2", "tool 3=4"],
        ),
        "other options do not count": (["-q", "-u", "1", "-q"], ["user 1"]),
    },
)
def test_role_options_keep_their_order(words: list[str], typed: list[str]) -> None:
    assert [f"{role} {value}" for role, value in conversation(words)] == typed


def test_operands_behind_two_dashes_are_words() -> None:
    assert parsed(["a", "--", "-u", "b", "-"]).words == ("a", "-u", "b", "-")


def test_every_typed_option_knows_its_name_and_whether_it_is_a_file() -> None:
    typed = parsed(
        ["-s", "a", "--developer-file", "b", "--tool-result-file", "c=d", "--assistant=e"]
    ).role_options
    assert [(each.option, each.role, each.value, each.is_file, each.tool_call_id) for each in typed] == [
        ("--system", "system", "a", False, None),
        ("--developer-file", "developer", "b", True, None),
        ("--tool-result-file", "tool", "d", True, "c"),
        ("--assistant", "assistant", "e", False, None),
    ]


def test_attachments_keep_their_order_among_kinds() -> None:
    words = ["--file", "a", "--image", "b", "--file-id", "c", "--audio-file", "d", "--image=e"]
    assert [(each.kind, each.value, each.option) for each in parsed(words).attachments] == [
        ("file", "a", "--file"),
        ("image", "b", "--image"),
        ("file-id", "c", "--file-id"),
        ("audio", "d", "--audio-file"),
        ("image", "e", "--image"),
    ]


TEXTS = st.text(st.characters(codec="utf-8", exclude_characters="\0"), max_size=6)


@st.composite
def command_lines(draw: st.DrawFn) -> tuple[list[str], list[tuple[str, str]]]:
    """Words of a command line, and the turns that they say."""
    words: list[str] = []
    turns: list[tuple[str, str]] = []
    for _ in range(draw(st.integers(0, 8))):
        kind = draw(st.sampled_from([*SPELLINGS, "operand", "flag"]))
        if kind == "operand":
            words.append(draw(TEXTS.filter(lambda text: not text.startswith("-"))))
            continue
        if kind == "flag":
            words.append("-q")
            continue
        text = draw(TEXTS)
        value = f"id={text}" if kind == "tool" else text
        letter, name = SPELLINGS[kind]
        forms = [[name, value], [f"{name}={value}"]]
        if letter != name:
            forms += [[letter, value], [f"-q{letter[1]}", value]]
            if value:
                forms += [[letter + value], [f"-q{letter[1]}{value}"]]
        words += draw(st.sampled_from(forms))
        turns.append((kind, text))
    if draw(st.booleans()):
        words += ["--", "-u", "no turn"]
    return words, turns


@settings(suppress_health_check=[HealthCheck.too_slow], deadline=None)
@given(command_lines())
def test_any_interleaving_keeps_its_order(case: tuple[list[str], list[tuple[str, str]]]) -> None:
    words, turns = case
    assert conversation(words) == turns


def test_order_reaches_the_body(build: Callable[..., Any]) -> None:
    body = build("-u", "q1", "word", "-aa1", "--user=q2", "--assistant", "a2", "--", "-s")
    assert [(each["role"], each["content"]) for each in body["messages"]] == [
        ("user", "q1"),
        ("assistant", "a1"),
        ("user", "q2"),
        ("assistant", "a2"),
        ("user", "word -s"),
    ]
