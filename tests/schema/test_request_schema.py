"""The schema file itself, and the code generated from it."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

from jsonschema import Draft202012Validator

from chatpipe.schema import check, key_rules
from schema import generate_accept

SCHEMA = json.loads(generate_accept.SCHEMA.read_bytes())

# One option, and one row of the parameters table, each.
PARAMETERS = [
    "messages", "model", "max_completion_tokens", "max_tokens", "temperature", "top_p", "n", "stop",
    "frequency_penalty", "presence_penalty", "logit_bias", "logprobs", "top_logprobs", "seed", "stream",
    "stream_options", "response_format", "tools", "tool_choice", "parallel_tool_calls", "functions",
    "function_call", "modalities", "audio", "prediction", "reasoning_effort", "verbosity", "service_tier",
    "store", "metadata", "user", "safety_identifier", "prompt_cache_key", "prompt_cache_options",
    "prompt_cache_retention", "moderation", "web_search_options",
]  # fmt: skip


def schemas(value: Any) -> Iterator[dict[str, Any]]:
    """Every schema within the file: names under properties and $defs are no keywords."""
    yield value
    for key, item in value.items():
        if key in ("properties", "$defs"):
            for schema in item.values():
                yield from schemas(schema)
        elif key in ("items", "additionalProperties", "if", "then", "else"):
            yield from schemas(item)


def test_generated_code_is_current() -> None:
    assert generate_accept.MODULE.read_text(encoding="utf-8") == generate_accept.source(), "run 'make schema'"


def test_schema_is_valid() -> None:
    Draft202012Validator.check_schema(SCHEMA)


def test_parameters_are_these() -> None:
    assert list(SCHEMA["properties"]) == PARAMETERS
    assert frozenset(PARAMETERS) == key_rules.PARAMETERS


def test_every_parameter_says_what_it_is() -> None:
    assert [name for name, schema in SCHEMA["properties"].items() if not schema.get("description")] == []


def test_keys_beside_a_reference_are_annotations() -> None:
    """The generator ignores them, jsonschema does not."""
    beside = [
        set(schema) - {"$ref", "description", "deprecated"} for schema in schemas(SCHEMA) if "$ref" in schema
    ]
    assert beside
    assert set().union(*beside) == set()


def test_only_keywords_that_both_engines_read_alike_are_used() -> None:
    """No oneOf, anyOf or not: their errors have no place. No const: the generator stumbles over it."""
    annotations = {"$schema", "$id", "$defs", "$ref", "title", "description", "deprecated"}
    structure = {"properties", "items", "additionalProperties", "if", "then", "else", "required"}
    used = set().union(*map(set, schemas(SCHEMA)))
    assert used - annotations - structure == {
        "type", "enum", "minimum", "maximum", "minLength", "maxLength", "minItems", "maxItems",
    }  # fmt: skip
    assert used - annotations - structure == set(check._MESSAGES)


def test_if_always_looks_at_one_tag() -> None:
    tags = {name for schema in schemas(SCHEMA) for name in schema.get("if", {}).get("properties", {})}
    assert tags == {"role", "type"}


def test_unknown_keys_pass() -> None:
    assert not [schema for schema in schemas(SCHEMA) if schema.get("additionalProperties") is False]
