"""What strict mode is likely to refuse: a table of schemas that it takes, and one of those it does not."""

from __future__ import annotations

import json
from typing import Any

import pytest

from chatpipe.errors import BadInput, Problems, Status
from chatpipe.inputs.messages import LocatedValue
from chatpipe.inputs.place import Source
from chatpipe.options.request import CheckOptions
from chatpipe.request.response_format import ResponseFormat
from chatpipe.schema.refuse import refuse_schema
from chatpipe.schema.strict import LintIssue, lint, lint_warnings
from support.parametrize import cases

Json = dict[str, Any]
NO_OBJECT = "strict mode wants 'type': 'object' at the root"
UNION = "strict mode takes no 'anyOf' at the root"
OPEN = "strict mode wants 'additionalProperties': false"
CLOSED: Json = {"type": "object", "properties": {}, "required": [], "additionalProperties": False}


def closed(**properties: Any) -> Json:
    """An object as strict mode wants it."""
    return {**CLOSED, "properties": properties, "required": list(properties)}


def form(schema: Json, *, strict: bool = True, text: bytes | None = None) -> ResponseFormat:
    if text is None:
        return ResponseFormat(
            "--schema-json", "n", LocatedValue(schema, Source("--schema-json", b"")), strict
        )
    return ResponseFormat("--schema", "n", LocatedValue(schema, Source("s.json", text)), strict)


@cases(
    "schema",
    {
        "no properties": CLOSED,
        "types": closed(a={"type": "string"}, b={"type": ["integer", "null"]}),
        "nested": closed(a=closed(b={"type": "null"})),
        "anyOf inside": closed(a={"anyOf": [CLOSED, {"type": "null"}]}),
        "array": closed(a={"type": "array", "items": CLOSED, "minItems": 1, "maxItems": 9}),
        "recursive": closed(a={"$ref": "#"}),
        "$defs": {**closed(a={"$ref": "#/$defs/b"}), "$defs": {"b": CLOSED}},
        "enum and const": closed(a={"enum": ["x", 1, None]}, b={"const": "c"}),
        "limits": closed(
            a={"type": "string", "pattern": "^a", "format": "date-time", "minLength": 1, "maxLength": 2},
            b={"type": "number", "minimum": 0, "exclusiveMaximum": 1, "multipleOf": 0.5},
        ),
        "annotations": {
            **closed(a={"title": "A", "description": "d", "examples": [1], "default": 1}),
            "$schema": "x",
        },
        "keywords as names": closed(allOf={"type": "string"}, oneOf={"enum": ["not"]}),
        "keywords in a value": closed(a={"const": {"allOf": []}}),
        "a later draft's keyword, holding anything": {**CLOSED, "$defs": 5},
        "and what is in it": {**CLOSED, "$defs": {"a": {"format": [], "enum": 5, "$defs": 5}}},
    },
)
def test_strict_mode_takes_these_schemas(schema: Json) -> None:
    assert lint(schema) == []


@cases(
    ("schema", "findings"),
    {
        "anything": ({}, [("", NO_OBJECT)]),
        "array": ({"type": "array", "items": CLOSED}, [("", NO_OBJECT)]),
        "$ref at the root": ({"$ref": "#/$defs/a", "$defs": {"a": CLOSED}}, [("", NO_OBJECT)]),
        "anyOf at the root": ({"anyOf": [CLOSED]}, [("", UNION)]),
        "open": ({"type": "object"}, [("", OPEN)]),
        "a map": ({**CLOSED, "additionalProperties": {"type": "string"}}, [("", OPEN)]),
        "optional": (
            {**closed(a={}, b={}), "required": ["b"]},
            [("/properties/a", "strict mode wants it in 'required' (with null among its types if optional)")],
        ),
        "open inside": (closed(a={"type": ["object", "null"]}), [("/properties/a", OPEN)]),
        "an object that does not say so": (closed(a={"properties": {}}), [("/properties/a", OPEN)]),
        "in anyOf": (
            closed(a={"anyOf": [{"type": "null"}, {"type": "object"}]}),
            [("/properties/a/anyOf/1", OPEN)],
        ),
        "in $defs": (
            {**CLOSED, "$defs": {"a/b": {"type": "array", "items": {"type": "object"}}}},
            [("/$defs/a~1b/items", OPEN)],
        ),
        "format": (
            closed(a={"type": "string", "format": "uri"}),
            [("/properties/a/format", "strict mode knows no format 'uri'")],
        ),
        "required, but not listed": (
            {**closed(a={}), "required": ["a", "b", 7]},
            [
                ("/required/1", "strict mode wants 'b' in 'properties', too"),
                ("/required/2", "strict mode wants '7' in 'properties', too"),
            ],
        ),
        "keywords": (
            {**CLOSED, "allOf": [{}], "not": {"type": "null"}},
            [("/allOf", "strict mode takes no 'allOf'"), ("/not", "strict mode takes no 'not'")],
        ),
    },
)
def test_strict_mode_is_likely_to_refuse_these_schemas(schema: Json, findings: list[tuple[str, str]]) -> None:
    assert lint(schema) == [LintIssue(*each) for each in findings]


@pytest.mark.parametrize(
    "keyword",
    [
        *("allOf", "oneOf", "not", "if", "then", "else", "dependentRequired", "dependentSchemas"),
        *("patternProperties", "propertyNames", "unevaluatedProperties", "minProperties", "maxProperties"),
        *("prefixItems", "contains", "minContains", "maxContains", "uniqueItems", "unevaluatedItems"),
    ],
)
def test_keyword_that_is_not_supported(keyword: str) -> None:
    schema = closed(a={"type": "array", keyword: True})
    assert lint(schema) == [LintIssue(f"/properties/a/{keyword}", f"strict mode takes no '{keyword}'")]


def nested(levels: int) -> Json:
    schema = CLOSED
    for _ in range(levels - 1):
        schema = closed(a={"type": "array", "items": schema})
    return schema


def test_ten_levels_of_objects_are_taken() -> None:
    assert lint(nested(10)) == []
    [finding] = lint(nested(12))
    assert finding.pointer.count("items") == 10
    assert finding.what == "strict mode takes objects in 10 levels at most"


def many(count: int, length: int = 1) -> list[str]:
    return [str(number).rjust(length, "x") for number in range(count)]


@cases(
    ("schema", "whats"),
    {
        "5000 properties": (closed(**{key: {} for key in many(5000)}), []),
        "5001": (
            closed(**{key: {} for key in many(5001)}),
            ["5001 properties: strict mode takes 5000 at most"],
        ),
        "1000 values": (closed(a={"enum": many(500)}, b={"enum": many(500)}), []),
        "1001": (
            closed(a={"enum": many(500)}, b={"enum": many(501)}),
            ["1001 values in 'enum': strict mode takes 1000 at most"],
        ),
        "250 long values": (closed(a={"enum": many(250, 100)}), []),
        "251": (
            closed(a={"enum": many(251, 60)}),
            ["15060 characters in an 'enum' of 251 values: strict mode takes 15000 at most"],
        ),
        "120000 letters": (closed(**{key: {} for key in many(1000, 100)}, a={"const": "x" * 19_999}), []),
        "120002": (
            {
                **closed(**{key: {} for key in many(1000, 100)}, a={"const": "x" * 19_999}),
                "$defs": {"bc": {}},
            },
            ["120002 characters in names and values: strict mode takes 120000 at most"],
        ),
    },
)
def test_strict_mode_limits_sizes(schema: Json, whats: list[str]) -> None:
    assert [(finding.pointer, finding.what) for finding in lint(schema)] == [("", what) for what in whats]


@pytest.mark.parametrize("value", [None, True, 5, "x", [], [1], [[]], {}, {"a": 5}])
def test_a_schema_that_is_not_valid_raises_nothing(value: Any) -> None:
    """The parameters of a tool may be one."""
    wrong = dict.fromkeys(("type", "enum", "const", "required", "items", "anyOf", "$defs", "format"), value)
    for schema in (wrong, {**wrong, "properties": value}, closed(a=wrong)):
        lint(schema)


def test_warnings_are_lines_with_their_places() -> None:
    text = b'{"type": "object",\n "additionalProperties": false,\n "properties": {\n  "a": {}}}'
    schema = json.loads(text)
    assert lint_warnings(form(schema, text=text)) == [
        "s.json:4: /properties/a: strict mode wants it in 'required' (with null among its types if optional)"
    ]
    assert lint_warnings(form({})) == ["--schema-json: strict mode wants 'type': 'object' at the root"]


def test_no_warnings_where_the_server_is_not_to_hold_to_it() -> None:
    assert lint_warnings(form({}, strict=False)) == []
    assert lint_warnings(form({}, strict=False), strict=True) == []


def test_ten_warnings_are_listed() -> None:
    eleven = {**CLOSED, "properties": {key: {"type": "string"} for key in many(11)}}
    lines = lint_warnings(form({**eleven, "properties": {key: {} for key in many(10)}}))
    assert len(lines) == 10
    assert lines[9].startswith("--schema-json: /properties/9: ")
    lines = lint_warnings(form(eleven))
    assert len(lines) == 11
    assert lines[10] == "--schema-json: and 1 more of strict mode"


def test_strict_check_makes_errors_of_all_of_them() -> None:
    with pytest.raises(Problems) as raised:
        lint_warnings(form({**CLOSED, "properties": {key: {} for key in many(11)}}), strict=True)
    assert raised.value.status == Status.BAD_INPUT
    assert len(raised.value.faults) == 11
    assert lint_warnings(form(CLOSED), strict=True) == []


def test_a_schema_is_checked_before_its_warnings() -> None:
    check = CheckOptions()
    assert refuse_schema(None, check) == []
    assert refuse_schema(form(CLOSED), check) == []
    assert refuse_schema(form({"type": "array"}), check) == [
        "--schema-json: strict mode wants 'type': 'object' at the root"
    ]
    with pytest.raises(BadInput, match="is not a number"):
        refuse_schema(form({"minimum": "a"}), check)


def test_without_a_check_a_schema_must_still_be_valid() -> None:
    assert refuse_schema(form({"type": "array"}), CheckOptions(off=True)) == []
    with pytest.raises(BadInput, match="is not a number"):
        refuse_schema(form({"minimum": "a"}), CheckOptions(off=True))
