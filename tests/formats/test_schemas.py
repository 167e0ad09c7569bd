"""The schemas are good JSON Schema, say what each field is, and refuse what they do not name."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any, get_args

import pytest
from jsonschema import Draft202012Validator

from chatpipe.options.outcomes import Outcome
from chatpipe.recordings.exchange_record import FAILURES
from chatpipe.serve import attempts, script_answer, script_match, verdict
from chatpipe.server import profile_rules
from formats import schemas
from manual import commands

_PACKAGE = Path(__file__).parents[2] / "cli" / "chatpipe"
EACH = pytest.mark.parametrize("name", schemas.names())
# Records with fields of others: a server, a provider, or the user.
OPEN = {
    *("batch-line", "prompt-row", "message", "completion", "chunk", "usage", "job", "job-result", "model"),
    "prices",
}


def _objects(schema: Any) -> Iterator[dict[str, Any]]:
    """All schemas inside a schema that name properties."""
    if isinstance(schema, dict):
        if isinstance(schema.get("properties"), dict):
            yield schema
        for each in schema.values():
            yield from _objects(each)
    elif isinstance(schema, list):
        for each in schema:
            yield from _objects(each)


@EACH
def test_schema_is_one_of_the_draft_that_it_names(name: str) -> None:
    schema = schemas.load(name)
    assert schema["$schema"] == Draft202012Validator.META_SCHEMA["$id"]
    Draft202012Validator.check_schema(schema)


@EACH
def test_examples_fit(name: str) -> None:
    examples = schemas.load(name)["examples"]
    assert examples
    for example in examples:
        if name != "settings":  # its example is the beginning of one
            assert schemas.problems(name, example) == []


@EACH
def test_every_field_has_a_description(name: str) -> None:
    for variant in schemas.variants(name):
        for field in schemas.fields(variant.schema, schemas.load(name)):
            assert field.schema.get("description", "").endswith("."), field.path


@EACH
def test_objects_are_closed_unless_others_add_to_them(name: str) -> None:
    schema = schemas.load(name)
    are_closed = [each.get("additionalProperties") is False for each in _objects(schema)]
    assert all(are_closed) or name in OPEN


@EACH
def test_a_new_field_is_refused(name: str) -> None:
    """So that a record cannot gain a field that nobody described."""
    if name in OPEN:
        return
    for example in schemas.load(name)["examples"]:
        assert schemas.problems(name, {**example, "surprise": 1}) != []


def _field(name: str, path: str) -> Any:
    (variant,) = schemas.variants(name)
    fields = schemas.fields(variant.schema, schemas.load(name))
    return next(field.schema for field in fields if field.path == path)


@pytest.mark.parametrize(
    ("name", "path", "words"),
    [
        ("result", "chatpipe.outcome", Outcome),
        ("result", "chatpipe.engine", commands.options("batch")[("--engine",)].row.choices[1:]),
        ("exchange", "response.error", [*FAILURES, None]),
        ("verdict", "findings[].kind", get_args(verdict.Kind)),
        ("verdict", "counts[].severity", get_args(verdict.Severity)),
        ("verdict", "findings[].attempts[].outcome", get_args(attempts.Outcome)),
    ],
)
def test_words_are_those_of_the_code(name: str, path: str, words: Any) -> None:
    assert _field(name, path)["enum"] == list(words)


@pytest.mark.parametrize(
    ("name", "path", "keys"),
    [
        ("report", "outcomes", set(Outcome)),
        ("verdict", "outcomes", set(get_args(attempts.Outcome))),
    ],
)
def test_keys_are_those_of_the_code(name: str, path: str, keys: set[str]) -> None:
    assert set(_field(name, path)["propertyNames"]["enum"]) == keys


def test_a_script_may_say_what_the_code_reads() -> None:
    assert set(_field("script-rule", "match")["properties"]) == script_match.NAMES
    assert set(_field("script-rule", "answer")["properties"]) == script_answer.NAMES


def test_steps_of_jobs_are_those_of_the_code() -> None:
    source = "".join(path.read_text(encoding="utf-8") for path in _PACKAGE.rglob("*.py"))
    steps = {"planned", *re.findall(r'\.note\(\w+, "(\w+)"', source)}
    in_journal, in_file = (
        set(schemas.variants(name)[-1].schema["properties"][key]["enum"])
        for name, key in (("journal", "chatpipe_job"), ("jobs-file", "event"))
    )
    assert in_journal == steps
    assert in_file == steps - {"collected", "lost"}


_CONFIG = Path(__file__).parent / "files" / "config.toml"
_PROFILES = tomllib.loads(_CONFIG.read_text(encoding="utf-8"))["profiles"]


@pytest.mark.parametrize(
    ("profile", "is_right"),
    [
        *((profile, True) for profile in _PROFILES.values()),
        ({"base_url": 1}, False),
        ({"base_url": ""}, False),
        ({"base_url": "http://a/v1", "base_urls": ["http://b/v1"]}, False),
        ({"base_urls": [{"headers": {}}]}, False),
        ({"base_urls": []}, False),
        ({"auth": "basic"}, False),
        ({"key": "k"}, False),
        ({"key_env": []}, False),
        ({"key_env": {"auth": "bearer"}}, False),
        ({"headers": {"X-A": 1}}, False),
        ({"patch": {"set": {}}}, False),
        ({"patch": [{"move": {}}]}, False),
        ({"patch": [{"drop": "user"}]}, False),
        ({"allow_http": "yes"}, False),
    ],
)
def test_configuration_is_judged_as_by_the_code(profile: dict[str, Any], is_right: bool) -> None:
    assert (schemas.problems("config", {"profiles": {"p": profile}}) == []) == is_right
    assert (not list(profile_rules.profile_faults(profile, ()))) == is_right


def test_configuration_has_the_settings_of_the_code() -> None:
    assert set(_field("config", "profiles")["additionalProperties"]["properties"]) == set(
        profile_rules.SETTINGS
    )
