"""The options for structured output: what they say together, and what contradicts what."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import click
import pytest

from chatpipe.errors import UsageFault
from chatpipe.flags import structured_output
from chatpipe.flags.command import Command
from chatpipe.options.structured_output import SchemaOptions
from support.parametrize import cases
from support.refusals import refused

NO_SCHEMA = "there is no schema: name one with --schema FILE"
ANSWER = {"name": "answer", "schema": {"type": "object"}, "strict": True}


def read(*words: str, group: Any = structured_output.options) -> SchemaOptions:
    """The record that a command gets. Raises what it raises."""
    got: list[SchemaOptions] = []

    def command(schema: SchemaOptions) -> None:
        got.append(schema)

    click.command(cls=Command)(group(command)).main(list(words), standalone_mode=False)
    return got[0]


@cases(
    ("words", "record"),
    {
        "nothing": ([], SchemaOptions()),
        "a file": (["--schema", "s.json"], SchemaOptions(file="s.json")),
        "stdin": (["--schema", "-"], SchemaOptions(file="-")),
        "inline": (["--schema-json", "{}"], SchemaOptions(text="{}")),
        "fields": (["--schema-fields", "a int"], SchemaOptions(fields="a int")),
        "name": (["--schema", "s", "--schema-name", "a_B-9"], SchemaOptions(file="s", name="a_B-9")),
        "name of a file": (["--schema", "s", "--schema-name", "a\r"], SchemaOptions(file="s", name="a")),
        "strict": (["--schema", "s", "--schema-strict"], SchemaOptions(file="s")),
        "not strict": (["--schema", "s", "--no-schema-strict"], SchemaOptions(file="s", strict=False)),
        "reask": (["--schema-json", "1", "--reask", "3"], SchemaOptions(text="1", reask=3)),
        "reask 0 is as if not given": (["--reask", "0"], SchemaOptions()),
    },
)
def test_the_options_make_a_record(words: list[str], record: SchemaOptions) -> None:
    assert read(*words) == record


@cases(
    ("words", "line"),
    {
        "two schemas": (
            ["--schema", "s", "--schema-json", "{}"],
            "--schema and --schema-json contradict each other: choose one",
        ),
        "fields as well": (
            ["--schema-fields", "a", "--schema-json", "{}"],
            "--schema-json and --schema-fields contradict each other: choose one",
        ),
        "name": (["--schema-name", "a"], f"--schema-name: {NO_SCHEMA}"),
        "strict": (["--schema-strict"], f"--schema-strict: {NO_SCHEMA}"),
        "not strict": (["--no-schema-strict"], f"--no-schema-strict: {NO_SCHEMA}"),
        "reask": (["--reask", "1"], f"--reask: {NO_SCHEMA}"),
    },
)
def test_a_contradiction_is_refused(words: list[str], line: str) -> None:
    with refused(UsageFault, line):
        read(*words)


@pytest.mark.parametrize("name", ["a b", "a.b", "ä", "a" * 65])
def test_name_is_one_that_the_api_takes(name: str) -> None:
    with pytest.raises(click.BadParameter, match="1 to 64 characters"):
        read("--schema", "s", "--schema-name", name)


@pytest.mark.parametrize("name", ["a", "_", "-a-", "a" * 64])
def test_a_name_at_the_limits_is_taken(name: str) -> None:
    assert read("--schema", "s", f"--schema-name={name}").name == name


@pytest.mark.parametrize("number", ["-1", "1.5", "x"])
def test_reask_is_a_count(number: str) -> None:
    with pytest.raises(click.BadParameter):
        read("--schema", "s", "--reask", number)


def test_without_an_answer_nothing_is_asked_again() -> None:
    assert read("--schema", "s", group=structured_output.writing) == SchemaOptions(file="s")
    with pytest.raises(click.NoSuchOption):
        read("--schema", "s", "--reask", "1", group=structured_output.writing)


@cases(
    ("words", "body", "other"),
    {
        "a description is added": (
            ["--set", "response_format.json_schema.description=d"],
            {"type": "json_schema", "json_schema": {**ANSWER, "description": "d"}},
            "",
        ),
        "a field of the server's is added": (["--set", "response_format.x:=1"], None, None),
        "--response-format": (["--response-format", "text"], None, "--response-format"),
        "--set all": (
            ["--set", 'response_format:={"type":"text"}'],
            None,
            '--set response_format:={"type":"text"}',
        ),
        "--set type": (["--set", "response_format.type=text"], None, "--set response_format.type=text"),
        "--set inside the schema": (
            ["--set", "response_format.json_schema.schema.type=array"],
            None,
            "--set response_format.json_schema.schema.type=array",
        ),
        "--unset": (["--unset", "response_format"], None, "--unset response_format"),
    },
)
def test_another_option_that_sets_the_response_format_is_refused(
    chatpipe: Callable[..., Any], words: list[str], body: Any, other: str | None
) -> None:
    ran = chatpipe("build", "-q", "-m", "m", "q", "--schema-json", '{"type":"object"}', *words)
    if other:
        line = f"chatpipe: --schema-json and {other} both set response_format: choose one\n"
        assert (ran.status, ran.stderr) == (2, line)
    else:
        form = ran.body["response_format"]
        assert form == (body or {**form, "x": 1})
