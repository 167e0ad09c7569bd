"""The sample of a schema has each keyword, and jsonschema agrees that it fits."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import jsonschema
import pytest

from chatpipe.local import sample
from chatpipe.local.sample import sample_value


def properties(required: str = "", /, **described: Any) -> dict[str, Any]:
    """A schema of these properties; required names some, separated by blanks."""
    return {"properties": described, **({"required": required.split()} if required else {})}


def ref(name: str) -> dict[str, Any]:
    return {"$ref": f"#/$defs/{name}"}


def optional(schema: Any, other: Any) -> dict[str, Any]:
    return {"anyOf": [schema, other]}


INTEGER = {"n": {"type": "integer"}}
TABLE: dict[str, tuple[Any, Any]] = {
    "anything": ({}, "hi"),
    "true": (True, "hi"),
    "string": ({"type": "string"}, "hi"),
    "string-too-short": ({"type": "string", "minLength": 5}, "hixxx"),
    "string-too-long": ({"type": "string", "maxLength": 1}, "h"),
    "integer": ({"type": "integer"}, 0),
    "number": ({"type": "number"}, 0),
    "boolean": ({"type": "boolean"}, False),
    "null": ({"type": "null"}, None),
    "first-type-of-many": ({"type": ["integer", "null"]}, 0),
    "const": ({"const": {"a": 1}}, {"a": 1}),
    "enum": ({"enum": ["red", "green"]}, "red"),
    "enum-of-a-type": ({"type": "integer", "enum": ["a", True, 3]}, 3),
    "minimum": ({"type": "integer", "minimum": 3}, 3),
    "minimum-between-integers": ({"type": "integer", "minimum": 2.5}, 3),
    "exclusive-minimum": ({"type": "integer", "exclusiveMinimum": 3}, 4),
    "maximum": ({"type": "number", "maximum": -1.5}, -1.5),
    "exclusive-maximum-of-integer": ({"type": "integer", "exclusiveMaximum": -3}, -4),
    "between-0-and-1": ({"type": "number", "exclusiveMinimum": 0, "exclusiveMaximum": 1}, 0.5),
    "multiple-of": ({"type": "integer", "minimum": 10, "multipleOf": 7}, 14),
    "multiple-below-0": ({"type": "integer", "maximum": -10, "multipleOf": 7}, -14),
    "number-without-type": ({"minimum": 2}, 2),
    "date": ({"type": "string", "format": "date"}, "2000-01-01"),
    "date-time": ({"type": "string", "format": "date-time"}, "2000-01-01T00:00:00Z"),
    "email": ({"type": "string", "format": "email"}, "user@example.com"),
    "uuid": ({"type": "string", "format": "uuid"}, "00000000-0000-4000-8000-000000000000"),
    "unknown-format": ({"type": "string", "format": "colour"}, "hi"),
    "pattern-that-the-text-has": ({"type": "string", "pattern": "^h"}, "hi"),
    "pattern-digits": ({"type": "string", "pattern": r"^\d{4}-\d{2}$"}, "0000-00"),
    "pattern-class": ({"type": "string", "pattern": "^[A-Z]{3}[0-9]+$"}, "AAA0"),
    "pattern-alternatives": ({"type": "string", "pattern": "^(?:GET|POST) /x?$"}, "GET /"),
    "pattern-escape": ({"type": "string", "pattern": r"^\$\w+\.js$"}, "$a.js"),
    "pattern-and-length": ({"type": "string", "pattern": "^[b-y]+$", "minLength": 4}, "bbbb"),
    "array": ({"type": "array"}, []),
    "array-min-items": ({"type": "array", "items": {"type": "integer"}, "minItems": 2}, [0, 0]),
    "array-prefix": ({"prefixItems": [{"const": 1}, {"const": 2}], "minItems": 3}, [1, 2, "hi"]),
    "array-contains": ({"type": "array", "contains": {"const": 7}}, [7]),
    "unique-strings": (
        {"items": {"type": "string"}, "minItems": 3, "uniqueItems": True},
        ["hi", "hi2", "hi3"],
    ),
    "unique-numbers": ({"items": {"type": "integer"}, "minItems": 3, "uniqueItems": True}, [0, 1, 2]),
    "unique-enum": ({"items": {"enum": ["a", "b"]}, "minItems": 2, "uniqueItems": True}, ["a", "b"]),
    "unique-booleans": ({"items": {"type": "boolean"}, "minItems": 2, "uniqueItems": True}, [False, True]),
    "object-only-required": ({"type": "object", **properties("a", a={"type": "string"}, b={})}, {"a": "hi"}),
    "object-nested": (properties("a", a=properties("b", b={"type": "null"})), {"a": {"b": None}}),
    "object-in-order-of-properties": (properties("a b", b={}, a={}), {"b": "hi", "a": "hi"}),
    "object-required-not-described": (
        {"required": ["x"], "additionalProperties": {"type": "integer"}},
        {"x": 0},
    ),
    "object-pattern-properties": ({"required": ["n1"], "patternProperties": {"^n": {"const": 1}}}, {"n1": 1}),
    "object-min-properties": (
        {**properties(a={"const": 1}), "minProperties": 2, "additionalProperties": {"const": 2}},
        {"a": 1, "key1": 2},
    ),
    "object-dependent": (
        {"required": ["a"], "dependentRequired": {"a": ["b"], "b": ["c"]}},
        {"a": "hi", "b": "hi", "c": "hi"},
    ),
    "any-of-first": ({"anyOf": [{"type": "integer"}, {"type": "string"}]}, 0),
    "one-of-with-siblings": (
        {"type": "object", **properties(a={"const": 1}), "oneOf": [{"required": ["a"]}, {"required": ["b"]}]},
        {"a": 1},
    ),
    "any-of-past-a-dead-end": ({"anyOf": [False, {"enum": []}, {"const": 5}]}, 5),
    "all-of": (
        {
            "allOf": [
                properties("a", a={"type": "number", "minimum": 2}),
                properties("b", a={"type": "integer", "minimum": 1}, b={}),
            ]
        },
        {"a": 2, "b": "hi"},
    ),
    "all-of-enums": ({"allOf": [{"enum": [1, 2, 3]}, {"enum": [3, 2]}]}, 2),
    "ref": ({**ref("n"), "$defs": INTEGER}, 0),
    "ref-with-siblings": ({**ref("n"), "minimum": 4, "$defs": INTEGER}, 4),
    "ref-escaped": ({"$ref": "#/$defs/a~1b~0c", "$defs": {"a/b~c": {"const": 1}}}, 1),
    "ref-used-twice": (
        {**properties("a b", a=ref("n"), b=ref("n")), "$defs": {"n": {"const": 1}}},
        {"a": 1, "b": 1},
    ),
    "ref-inside-itself-but-finite": (
        {**ref("base"), **properties("b", b=ref("base")), "$defs": {"base": {"type": "object"}}},
        {"b": {}},
    ),
    "linked-list": (
        {
            "type": "object",
            **properties(
                "value next", value={"type": "integer"}, next=optional({"$ref": "#"}, {"type": "null"})
            ),
        },
        {"value": 0, "next": {"value": 0, "next": None}},
    ),
    "tree": (
        {
            **ref("node"),
            "$defs": {
                "node": {
                    "type": "object",
                    **properties("children", children={"type": "array", "items": ref("node")}),
                }
            },
        },
        {"children": []},
    ),
    "mutual": (
        {
            **ref("a"),
            "$defs": {"a": properties("b", b=ref("b")), "b": optional(ref("a"), {"const": "end"})},
        },
        {"b": "end"},
    ),
}

NOTHING_FITS: dict[str, Any] = {
    "false": False,
    "empty-enum": {"enum": []},
    "endless": {"properties": {"a": {"$ref": "#"}}, "required": ["a"]},
    "ref-to-itself": {"$ref": "#"},
    "ref-to-nowhere": {"$ref": "#/$defs/none"},
    "ref-elsewhere": {"$ref": "https://example.com/schema.json"},
    "types-exclude-each-other": {"allOf": [{"type": "integer"}, {"type": "string"}]},
    "closed-object": {"type": "object", "required": ["a"], "additionalProperties": False},
    "bounds-exclude-each-other": {"type": "integer", "minimum": 2, "maximum": 1},
    "pattern-that-is-no-regex": {"type": "string", "pattern": "("},
    "too-much": {"type": "array", "minItems": 10_000_000_000},
    "not-a-schema": [1, 2],
    "keyword-of-wrong-type": {"type": "integer", "minimum": "low"},
}


@pytest.mark.parametrize(("schema", "value"), TABLE.values(), ids=TABLE)
def test_made_value(schema: Any, value: Any) -> None:
    made = sample_value(schema, "hi")
    assert made == value
    assert type(made) is type(value)


@pytest.mark.parametrize("schema", [schema for schema, _ in TABLE.values()], ids=TABLE)
@pytest.mark.parametrize("text", ["", "hi", "A rather long text: with 12 digits, \n and \N{GRINNING FACE}"])
def test_value_fits_whatever_the_text(schema: Any, text: str) -> None:
    validator = jsonschema.Draft202012Validator(schema)
    assert [error.message for error in validator.iter_errors(sample_value(schema, text))] == []


def doubled(times: int) -> Any:
    """A value of 2 ** times texts."""
    names = [f"d{at}" for at in range(times)]
    defs = {name: properties("x y", x=ref(after), y=ref(after)) for name, after in pairwise([*names, "end"])}
    return {**ref("d0"), "$defs": {**defs, "end": {}}}


TOO_LARGE: dict[str, Any] = {
    "doubled": doubled(40),
    "branches": {"allOf": [optional({"minimum": 1}, {"minimum": 2})] * 40 + [{"maximum": 0}]},
    "arrays": {"minItems": 10_000, "items": {"minItems": 10_000, "items": {}}},
    "texts": {"minItems": 10_000, "items": {"type": "string", "minLength": 10_000}},
    "constants": {"minItems": 10_000, "items": {"const": "a" * 10_000}},
    "repetitions": {"pattern": "^((a{999}){999}){999}$"},
}


@pytest.mark.parametrize("schema", TOO_LARGE.values(), ids=TOO_LARGE)
def test_a_value_that_is_too_large_is_null(schema: Any) -> None:
    assert sample_value(schema, "hi") is None


@pytest.mark.parametrize(
    "schema",
    [
        {"type": "string", "pattern": "^(a+)+$"},
        {"required": ["a" * 50 + "b"], "patternProperties": {"^(a+)+$": {}}},
        {"allOf": [{"enum": [f"{name}{number}" for number in range(5_000)] + ["x"]} for name in "ab"]},
    ],
    ids=["pattern", "patternProperties", "two long lists"],
)
def test_a_search_that_takes_years_is_given_up(schema: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sample, "_MOST_S", 0.01)
    assert sample_value(schema, "a" * 50 + "b") is None


@pytest.mark.parametrize("schema", NOTHING_FITS.values(), ids=NOTHING_FITS)
def test_nothing_fits_is_null_and_never_an_exception(schema: Any) -> None:
    assert sample_value(schema, "hi") is None


class CountedName(str):
    """A name that counts how often it is compared with another one."""

    compared = 0
    __hash__ = str.__hash__

    def __eq__(self, other: object) -> bool:
        CountedName.compared += 1
        return str.__eq__(self, other)


def test_names_are_not_compared_with_all_others() -> None:
    names = [CountedName(f"p{number}") for number in range(300)]
    made = sample_value({"properties": dict.fromkeys(names, True), "required": names[::-1]}, "a")
    assert list(made) == names
    assert CountedName.compared < 10 * len(names)


def test_many_items_are_unique() -> None:
    items = sample_value({"type": "array", "minItems": 10_000, "uniqueItems": True}, "a")
    assert (len(set(items)), items[:2]) == (10_000, ["a", "a2"])


def test_one_and_one_point_zero_are_the_same_item() -> None:
    schema = {"items": {"enum": [1, 1.0, True]}, "uniqueItems": True}
    assert sample_value(schema | {"minItems": 2}) == [1, True]
    assert sample_value(schema | {"minItems": 3}) is None


def test_draft_7_items_list_is_a_prefix() -> None:
    assert sample_value({"type": "array", "items": [{"const": 1}], "minItems": 2}, "hi") == [1, "hi"]


def test_nesting_deeper_than_the_stack_is_null() -> None:
    schema: dict[str, Any] = {"type": "null"}
    for _ in range(3000):
        schema = {"properties": {"a": schema}, "required": ["a"]}
    assert sample_value(schema) is None


def test_same_schema_same_value_with_keys_in_order() -> None:
    schema = {"properties": {"z": {}, "a": {"type": "integer"}}, "required": ["a", "z"]}
    assert str(sample_value(schema, "t")) == str(sample_value(schema, "t")) == "{'z': 't', 'a': 0}"
