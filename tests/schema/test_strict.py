"""What strict mode is likely to refuse: a table of schemas that it takes, and one of those it does not."""

from __future__ import annotations

import json
from typing import Any

import pytest

from chatpipe.errors import BadInput, Problems, Status
from chatpipe.inputs.messages import Found
from chatpipe.inputs.place import Source
from chatpipe.request.form import Form
from chatpipe.schema.refuse import refuse_form
from chatpipe.schema.strict import Finding, lint, warnings

Json = dict[str, Any]
NO_OBJECT = "strict mode wants 'type': 'object' at the root"
UNION = "strict mode takes no 'anyOf' at the root"
OPEN = "strict mode wants 'additionalProperties': false"
CLOSED: Json = {"type": "object", "properties": {}, "required": [], "additionalProperties": False}


def closed(**properties: Any) -> Json:
    """An object as strict mode wants it."""
    return {**CLOSED, "properties": properties, "required": list(properties)}


def form(schema: Json, *, strict: bool = True, text: bytes | None = None) -> Form:
    if text is None:
        return Form("--schema-json", "n", Found(schema, Source("--schema-json", b"")), strict)
    return Form("--schema", "n", Found(schema, Source("s.json", text)), strict)


@pytest.mark.parametrize(
    "schema",
    [
        pytest.param(CLOSED, id="no properties"),
        pytest.param(closed(a={"type": "string"}, b={"type": ["integer", "null"]}), id="types"),
        pytest.param(closed(a=closed(b={"type": "null"})), id="nested"),
        pytest.param(closed(a={"anyOf": [CLOSED, {"type": "null"}]}), id="anyOf inside"),
        pytest.param(closed(a={"type": "array", "items": CLOSED, "minItems": 1, "maxItems": 9}), id="array"),
        pytest.param(closed(a={"$ref": "#"}), id="recursive"),
        pytest.param({**closed(a={"$ref": "#/$defs/b"}), "$defs": {"b": CLOSED}}, id="$defs"),
        pytest.param(closed(a={"enum": ["x", 1, None]}, b={"const": "c"}), id="enum and const"),
        pytest.param(
            closed(
                a={"type": "string", "pattern": "^a", "format": "date-time", "minLength": 1, "maxLength": 2},
                b={"type": "number", "minimum": 0, "exclusiveMaximum": 1, "multipleOf": 0.5},
            ),
            id="limits",
        ),
        pytest.param(
            {**closed(a={"title": "A", "description": "d", "examples": [1], "default": 1}), "$schema": "x"},
            id="annotations",
        ),
        pytest.param(closed(allOf={"type": "string"}, oneOf={"enum": ["not"]}), id="keywords as names"),
        pytest.param(closed(a={"const": {"allOf": []}}), id="keywords in a value"),
        pytest.param({**CLOSED, "$defs": 5}, id="a later draft's keyword, holding anything"),
        pytest.param(
            {**CLOSED, "$defs": {"a": {"format": [], "enum": 5, "$defs": 5}}}, id="and what is in it"
        ),
    ],
)
def test_taken(schema: Json) -> None:
    assert lint(schema) == []


@pytest.mark.parametrize(
    ("schema", "findings"),
    [
        pytest.param({}, [("", NO_OBJECT)], id="anything"),
        pytest.param({"type": "array", "items": CLOSED}, [("", NO_OBJECT)], id="array"),
        pytest.param(
            {"$ref": "#/$defs/a", "$defs": {"a": CLOSED}},
            [("", NO_OBJECT)],
            id="$ref at the root",
        ),
        pytest.param({"anyOf": [CLOSED]}, [("", UNION)], id="anyOf at the root"),
        pytest.param({"type": "object"}, [("", OPEN)], id="open"),
        pytest.param(
            {**CLOSED, "additionalProperties": {"type": "string"}},
            [("", OPEN)],
            id="a map",
        ),
        pytest.param(
            {**closed(a={}, b={}), "required": ["b"]},
            [("/properties/a", "strict mode wants it in 'required' (with null among its types if optional)")],
            id="optional",
        ),
        pytest.param(
            closed(a={"type": ["object", "null"]}),
            [("/properties/a", OPEN)],
            id="open inside",
        ),
        pytest.param(
            closed(a={"properties": {}}),
            [("/properties/a", OPEN)],
            id="an object that does not say so",
        ),
        pytest.param(
            closed(a={"anyOf": [{"type": "null"}, {"type": "object"}]}),
            [("/properties/a/anyOf/1", OPEN)],
            id="in anyOf",
        ),
        pytest.param(
            {**CLOSED, "$defs": {"a/b": {"type": "array", "items": {"type": "object"}}}},
            [("/$defs/a~1b/items", OPEN)],
            id="in $defs",
        ),
        pytest.param(
            closed(a={"type": "string", "format": "uri"}),
            [("/properties/a/format", "strict mode knows no format 'uri'")],
            id="format",
        ),
        pytest.param(
            {**CLOSED, "allOf": [{}], "not": {"type": "null"}},
            [("/allOf", "strict mode takes no 'allOf'"), ("/not", "strict mode takes no 'not'")],
            id="keywords",
        ),
    ],
)
def test_refused(schema: Json, findings: list[tuple[str, str]]) -> None:
    assert lint(schema) == [Finding(*each) for each in findings]


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
    assert lint(schema) == [Finding(f"/properties/a/{keyword}", f"strict mode takes no '{keyword}'")]


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


@pytest.mark.parametrize(
    ("schema", "whats"),
    [
        (closed(**{key: {} for key in many(5000)}), []),
        (closed(**{key: {} for key in many(5001)}), ["5001 properties: strict mode takes 5000 at most"]),
        (closed(a={"enum": many(500)}, b={"enum": many(500)}), []),
        (
            closed(a={"enum": many(500)}, b={"enum": many(501)}),
            ["1001 values in 'enum': strict mode takes 1000 at most"],
        ),
        (closed(a={"enum": many(250, 100)}), []),
        (
            closed(a={"enum": many(251, 60)}),
            ["15060 characters in an 'enum' of 251 values: strict mode takes 15000 at most"],
        ),
        (closed(**{key: {} for key in many(1000, 100)}, a={"const": "x" * 19_999}), []),
        (
            {
                **closed(**{key: {} for key in many(1000, 100)}, a={"const": "x" * 19_999}),
                "$defs": {"bc": {}},
            },
            ["120002 characters in names and values: strict mode takes 120000 at most"],
        ),
    ],
    ids=[
        "5000 properties",
        "5001",
        "1000 values",
        "1001",
        "250 long values",
        "251",
        "120000 letters",
        "120002",
    ],
)
def test_sizes(schema: Json, whats: list[str]) -> None:
    assert [(finding.pointer, finding.what) for finding in lint(schema)] == [("", what) for what in whats]


def test_warnings_are_lines_with_their_places() -> None:
    text = b'{"type": "object",\n "additionalProperties": false,\n "properties": {\n  "a": {}}}'
    schema = json.loads(text)
    assert warnings(form(schema, text=text)) == [
        "s.json:4: /properties/a: strict mode wants it in 'required' (with null among its types if optional)"
    ]
    assert warnings(form({})) == ["--schema-json: strict mode wants 'type': 'object' at the root"]


def test_no_warnings_where_the_server_is_not_to_hold_to_it() -> None:
    assert warnings(form({}, strict=False)) == []
    assert warnings(form({}, strict=False), strict=True) == []


def test_ten_warnings_are_told() -> None:
    eleven = {**CLOSED, "properties": {key: {"type": "string"} for key in many(11)}}
    lines = warnings(form({**eleven, "properties": {key: {} for key in many(10)}}))
    assert len(lines) == 10
    assert lines[9].startswith("--schema-json: /properties/9: ")
    lines = warnings(form(eleven))
    assert len(lines) == 11
    assert lines[10] == "--schema-json: and 1 more of strict mode"


def test_strict_check_makes_errors_of_all_of_them() -> None:
    with pytest.raises(Problems) as raised:
        warnings(form({**CLOSED, "properties": {key: {} for key in many(11)}}), strict=True)
    assert raised.value.status == Status.BAD_INPUT
    assert len(raised.value.faults) == 11
    assert warnings(form(CLOSED), strict=True) == []


def test_refuse_form_looks_at_the_schema_first() -> None:
    assert refuse_form(None) == []
    assert refuse_form(form(CLOSED)) == []
    assert refuse_form(form({"type": "array"})) == [
        "--schema-json: strict mode wants 'type': 'object' at the root"
    ]
    with pytest.raises(BadInput, match="is not a number"):
        refuse_form(form({"minimum": "a"}))
