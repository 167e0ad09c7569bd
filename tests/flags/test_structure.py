"""The options for structured output: what they say together, and what contradicts what."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import click
import pytest

from chatpipe.errors import UsageFault
from chatpipe.flags import structure
from chatpipe.flags.types import Command
from chatpipe.request.structure import Structure
from refusals import refused


def read(*words: str, group: Any = structure.options) -> Structure:
    """The record that a command gets. Raises what it raises."""
    got: list[Structure] = []

    def command(structure: Structure) -> None:
        got.append(structure)

    click.command(cls=Command)(group(command)).main(list(words), standalone_mode=False)
    return got[0]


@pytest.mark.parametrize(
    ("words", "record"),
    [
        pytest.param([], Structure(), id="nothing"),
        pytest.param(["--schema", "s.json"], Structure(file="s.json"), id="a file"),
        pytest.param(["--schema", "-"], Structure(file="-"), id="stdin"),
        pytest.param(["--schema-json", "{}"], Structure(text="{}"), id="inline"),
        pytest.param(
            ["--schema", "s", "--schema-name", "a_B-9"], Structure(file="s", name="a_B-9"), id="name"
        ),
        pytest.param(["--schema", "s", "--schema-strict"], Structure(file="s"), id="strict"),
        pytest.param(
            ["--schema", "s", "--no-schema-strict"], Structure(file="s", strict=False), id="not strict"
        ),
        pytest.param(["--schema-json", "1", "--reask", "3"], Structure(text="1", reask=3), id="reask"),
        pytest.param(["--reask", "0"], Structure(), id="reask 0 is as if not given"),
    ],
)
def test_record(words: list[str], record: Structure) -> None:
    assert read(*words) == record


@pytest.mark.parametrize(
    ("words", "line"),
    [
        pytest.param(
            ["--schema", "s", "--schema-json", "{}"],
            "--schema and --schema-json contradict each other: choose one",
            id="two schemas",
        ),
        pytest.param(
            ["--schema-name", "a"], "--schema-name: there is no schema: name one with --schema", id="name"
        ),
        pytest.param(
            ["--schema-strict"], "--schema-strict: there is no schema: name one with --schema", id="strict"
        ),
        pytest.param(
            ["--no-schema-strict"],
            "--no-schema-strict: there is no schema: name one with --schema",
            id="not strict",
        ),
        pytest.param(["--reask", "1"], "--reask: there is no schema: name one with --schema", id="reask"),
    ],
)
def test_contradiction(words: list[str], line: str) -> None:
    with refused(UsageFault, line):
        read(*words)


@pytest.mark.parametrize("name", ["", "a b", "a.b", "ä", "a" * 65, "a\n"])
def test_name_is_one_that_the_api_takes(name: str) -> None:
    with pytest.raises(click.BadParameter, match="1 to 64 characters"):
        read("--schema", "s", "--schema-name", name)


@pytest.mark.parametrize("name", ["a", "_", "-a-", "a" * 64])
def test_name_at_the_edges(name: str) -> None:
    assert read("--schema", "s", f"--schema-name={name}").name == name


@pytest.mark.parametrize("number", ["-1", "1.5", "x", ""])
def test_reask_is_a_count(number: str) -> None:
    with pytest.raises(click.BadParameter):
        read("--schema", "s", "--reask", number)


def test_without_an_answer_nothing_is_asked_again() -> None:
    assert read("--schema", "s", group=structure.writing) == Structure(file="s")
    with pytest.raises(click.NoSuchOption):
        read("--schema", "s", "--reask", "1", group=structure.writing)


@pytest.mark.parametrize(
    ("words", "body", "stderr"),
    [
        pytest.param(
            ["--set", "response_format.json_schema.description=d"],
            {
                "type": "json_schema",
                "json_schema": {
                    "name": "answer",
                    "schema": {"type": "object"},
                    "strict": True,
                    "description": "d",
                },
            },
            "",
            id="a description is added",
        ),
        pytest.param(["--set", "response_format.x:=1"], None, None, id="a field of the server's is added"),
        pytest.param(
            ["--response-format", "text"],
            None,
            "--schema-json and --response-format both set response_format: choose one",
            id="--response-format",
        ),
        pytest.param(
            ["--set", 'response_format:={"type":"text"}'],
            None,
            '--schema-json and --set response_format:={"type":"text"} both set response_format: choose one',
            id="--set all",
        ),
        pytest.param(
            ["--set", "response_format.type=text"],
            None,
            "--schema-json and --set response_format.type=text both set response_format: choose one",
            id="--set type",
        ),
        pytest.param(
            ["--set", "response_format.json_schema.schema.type=array"],
            None,
            "--schema-json and --set response_format.json_schema.schema.type=array both set response_format:"
            " choose one",
            id="--set inside the schema",
        ),
        pytest.param(
            ["--unset", "response_format"],
            None,
            "--schema-json and --unset response_format both set response_format: choose one",
            id="--unset",
        ),
    ],
)
def test_other_options_that_set_the_form(
    chatpipe: Callable[..., Any], words: list[str], body: Any, stderr: str | None
) -> None:
    ran = chatpipe("build", "-q", "-m", "m", "q", "--schema-json", '{"type":"object"}', *words)
    if stderr:
        assert (ran.status, ran.stderr) == (2, f"chatpipe: {stderr}\n")
    else:
        form = ran.body["response_format"]
        assert form == (body or {**form, "x": 1})
