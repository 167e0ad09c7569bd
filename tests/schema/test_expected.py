"""Answers against schemas: what fits, what does not and how it is told, and schemas that cannot be used."""

from __future__ import annotations

import json
import re
import socket
import subprocess
import sys
from typing import Any

import pytest

from chatpipe.errors import BadInput, Status
from chatpipe.inputs.place import Source
from chatpipe.inputs.values import NotJSON
from chatpipe.schema.expected import AnswerSchema, Violation
from support.parametrize import cases
from support.process import environment
from support.refusals import refused
from support.steps import steps

DRAFT_3 = "http://json-schema.org/draft-03/schema#"
DRAFT_4 = "http://json-schema.org/draft-04/schema#"
DRAFT_6 = "http://json-schema.org/draft-06/schema#"
DRAFT_7 = "http://json-schema.org/draft-07/schema#"
DRAFT_2019 = "https://json-schema.org/draft/2019-09/schema"
DRAFT_2020 = "https://json-schema.org/draft/2020-12/schema"

LABEL: dict[str, Any] = {
    "type": "object",
    "properties": {"label": {"enum": ["a", "b"]}, "score": {"type": "number", "minimum": 0}},
    "required": ["label", "score"],
    "additionalProperties": False,
}
LIST = {
    "properties": {"value": {"type": "integer"}, "next": {"anyOf": [{"$ref": "#"}, {"type": "null"}]}},
    "required": ["value", "next"],
}
SHAPES = {
    "anyOf": [
        {"properties": {"kind": {"const": "circle"}, "r": {"type": "number"}}, "required": ["kind", "r"]},
        {
            "properties": {"kind": {"const": "square"}, "side": {"type": "number"}},
            "required": ["kind", "side"],
        },
    ]
}


TYPES = "'array', 'boolean', 'integer', 'null', 'number', 'object', 'string' or an array"


def nowhere(pointer: str) -> str:
    return f"s.json{pointer}"


def violation(schema: Any, content: Any) -> str | None:
    found = AnswerSchema(schema, nowhere).violation(content)
    return None if found is None else str(found)


UNIQUE = {"uniqueItems": True}


@cases(
    ("schema", "content"),
    {
        "object": (LABEL, '{"label":"a","score":0}'),
        "white space, other order": (LABEL, ' \n{"score": 1e3, "label": "b"}\r\n'),
        "of a repeated key the last counts": (LABEL, '{"label":"x","label":"a","score":0}'),
        "anything, a string": ({}, '"a"'),
        "1.0 is an integer": ({"type": "integer"}, "1.0"),
        "integer of any size": ({"type": "integer"}, "123456789012345678901234567890"),
        "exactly": ({"const": 123456789012345678901234567890}, "123456789012345678901234567890"),
        "multiple in decimal": ({"multipleOf": 0.01}, "19.99"),
        "multiple, any size": ({"multipleOf": 0.01}, "123456789012345678901234567890"),
        "multiple of an integer": ({"multipleOf": 3}, "9"),
        "multiple, far apart": ({"multipleOf": 1e-7}, "1e300"),
        "1.0 equals 1": ({"enum": [1]}, "1.0"),
        "union of types": ({"type": ["string", "null"]}, "null"),
        "recursive": (LIST, '{"value":1,"next":{"value":2,"next":null}}'),
        "format is not asserted": ({"type": "string", "format": "date"}, '"soon"'),
        "nor is contentMediaType": ({"type": "string", "contentMediaType": "text/html"}, '"<"'),
        "pattern": ({"pattern": "^[0-9]+$"}, '"12"'),
        "items of equal looks": (
            {"uniqueItems": True},
            '[1,true,"1",[1],[true],{"a":1},{"a":true},[],{},0,false]',
        ),
        "items in linear time": (
            {"uniqueItems": True},
            str([{"a": n} for n in range(20000)]).replace("'", '"'),
        ),
        "equal items allowed": ({"uniqueItems": False}, "[1,1]"),
        "half an emoji, escaped": ({"type": "string"}, '"\\ud83d"'),
        "half an emoji": ({"type": "string"}, '"\ud83d"'),
        "unknown keyword": ({"type": "integer", "unknownKeyword": 5}, "1"),
        "draft 3": ({"$schema": DRAFT_3, "properties": {"a": {"required": True}}}, '{"a":1}'),
        "later keyword of numbers": ({"$schema": DRAFT_3, "type": "integer", "multipleOf": None}, "1"),
        "draft 4": ({"$schema": DRAFT_4, "minimum": 1, "exclusiveMinimum": True}, "2"),
        "draft 6": ({"$schema": DRAFT_6, "contains": {"const": 1}}, "[0,1]"),
        "draft 7": ({"$schema": DRAFT_7, "items": [{"type": "integer"}, True]}, '[1,"a"]'),
        "draft 7 without its #": ({"$schema": DRAFT_7[:-1], "items": [{}]}, "[1]"),
        "later keywords": (
            {"$schema": DRAFT_7, "type": "integer", "$dynamicRef": 5, "dependentSchemas": 5, "$defs": 5},
            "1",
        ),
        "2019-09": ({"$schema": DRAFT_2019, "items": [{"type": "integer"}]}, '[1,"a"]'),
        "2020-12": ({"$schema": DRAFT_2020, "prefixItems": [{"type": "integer"}]}, '[1,"a"]'),
        "parts": (
            {"type": "object"},
            [
                {"type": "thinking", "thinking": [{"type": "text", "text": "hm"}]},
                {"type": "text", "text": "{}"},
            ],
        ),
        "parts are joined": ({"type": "integer"}, [{"text": "1"}, {"text": "2"}]),
    },
)
def test_an_answer_that_fits_has_no_violation(schema: Any, content: Any) -> None:
    assert violation(schema, content) is None


@cases(
    ("schema", "content", "line"),
    {
        "enum": (LABEL, '{"label":"x","score":0}', "/label: 'x' is not one of 'a', 'b'"),
        "a key is missing": (LABEL, '{"score":0}', "'label' is missing"),
        "keys are missing": (LABEL, "{}", "'label', 'score' are missing"),
        "more keys": (LABEL, '{"label":"a","score":0,"z":1,"y":2}', "'z', 'y' are not among the properties"),
        "more keys than patterns": (
            {"patternProperties": {"^x": {}}, "additionalProperties": False},
            '{"x1":1,"y":2}',
            "'y' is not among the properties",
        ),
        "type of all": (LABEL, "[]", "an array is not an object"),
        "type": (LABEL, '{"label":"a","score":"1"}', "/score: '1' is not a number"),
        "minimum": (LABEL, '{"label":"a","score":-1}', "/score: -1 is less than 0"),
        "first of two": (LABEL, '{"label":"x","score":-1}', "/label: 'x' is not one of 'a', 'b'"),
        "outermost of two": (LABEL, '{"label":"x"}', "'score' is missing"),
        "no integer": ({"type": "integer"}, "1.5", "1.5 is not an integer"),
        "a boolean is no integer": ({"type": "integer"}, "true", "true is not an integer"),
        "types": ({"type": ["string", "null"]}, "5", "5 is not a string or null"),
        "const": ({"const": None}, "5", "5 is not null"),
        "values": ({"enum": [{"a": 1}, [], 1.5]}, "2", "2 is not one of an object, an array, 1.5"),
        "maximum": ({"maximum": 1}, "2", "2 is more than 1"),
        "exclusive minimum": ({"exclusiveMinimum": 1}, "1", "1 is not more than 1"),
        "exclusive maximum": ({"exclusiveMaximum": 1}, "1", "1 is not less than 1"),
        "no multiple": ({"multipleOf": 0.01}, "19.995", "19.995 is not a multiple of 0.01"),
        "too short": ({"minLength": 3}, '"ab"', "2 characters, at least 3 needed"),
        "too long": ({"maxLength": 1}, '"ab"', "2 characters, at most 1 allowed"),
        "too few items": ({"minItems": 1}, "[]", "0 items, at least 1 needed"),
        "too many items": ({"maxItems": 1}, "[1,2]", "2 items, at most 1 allowed"),
        "too few properties": ({"minProperties": 1}, "{}", "0 properties, at least 1 needed"),
        "too many": ({"maxProperties": 0}, '{"a":1}', "1 properties, at most 0 allowed"),
        "unique": ({"uniqueItems": True}, "[1,2,1.0]", "two items are the same"),
        "pattern": ({"pattern": "^[0-9]+$"}, '"a"', "'a' does not match the pattern '^[0-9]+$'"),
        "unique objects": (
            {"uniqueItems": True},
            '[{"a":1,"b":[]},{"b":[],"a":1.0}]',
            "two items are the same",
        ),
        "not": ({"not": {"type": "null"}}, "null", "null is what the schema excludes"),
        "false": ({"properties": {"a": False}}, '{"a":1}', "1 is where nothing is allowed"),
        "names": (
            {"propertyNames": {"maxLength": 1}},
            '{"ab":1}',
            "the name 'ab': 2 characters, at most 1 allowed",
        ),
        "then": (
            {"if": {"type": "string"}, "then": {"minLength": 2}},
            '"a"',
            "1 characters, at least 2 needed",
        ),
        "allOf": ({"allOf": [{}, {"type": "null"}]}, "5", "5 is not null"),
        "item": ({"items": {"type": "string"}}, '["a",5]', "/1: 5 is not a string"),
        "escaped": ({"properties": {"a~/b": {"type": "null"}}}, '{"a~/b":1}', "/a~0~1b: 1 is not null"),
        "recursive": (LIST, '{"value":1,"next":{"value":2}}', "/next: 'next' is missing"),
        # unions: the alternative that was meant
        "meant by its tag": (SHAPES, '{"kind":"square","side":"1"}', "/side: '1' is not a number"),
        "unknown tag": (SHAPES, '{"kind":"oval"}', "/kind: 'oval' is not 'circle' or 'square'"),
        "none": ({"anyOf": [{"enum": ["a"]}, {"type": "null"}]}, '"c"', "'c' is not 'a' or null"),
        "neither": ({"anyOf": [LABEL, {"type": "null"}]}, "5", "5 is not an object or null"),
        "nullable": ({"anyOf": [LABEL, {"type": "null"}]}, "{}", "'label', 'score' are missing"),
        "more than one": (
            {"oneOf": [{"type": "integer"}, {"minimum": 2}]},
            "3",
            "3 fits more than one of the alternatives",
        ),
        "one that nothing fits": ({"anyOf": [False, {"type": "null"}]}, "3", "3 is not null"),
        "nothing fits": ({"anyOf": [False]}, "3", "3 fits none of the alternatives"),
        "the first of two": ({"anyOf": [{"minimum": 5}, {"minimum": 4}]}, "3", "3 is less than 5"),
        # drafts
        "draft 4": ({"$schema": DRAFT_4, "type": "integer"}, "1.0", "1.0 is not an integer"),
        "draft 3": (
            {"$schema": DRAFT_3, "properties": {"a": {"required": True}}},
            "{}",
            "/a: a required property is missing",
        ),
        "draft 7": ({"$schema": DRAFT_7, "multipleOf": 0.1}, "0.25", "0.25 is not a multiple of 0.1"),
        "tuple": ({"$schema": DRAFT_7, "items": [{"type": "null"}]}, "[1]", "/0: 1 is not null"),
    },
)
def test_an_answer_that_does_not_fit_has_its_line(schema: Any, content: str, line: str) -> None:
    assert violation(schema, content) == line


@cases(
    ("content", "line"),
    {
        "empty": ("", "it is not JSON (nothing there at line 1, column 1)"),
        "prose": ("Sure!", "it is not JSON (expecting value at line 1, column 1)"),
        "two values": ('{"a":1}\n{}', "it is not JSON (extra data at line 2, column 1)"),
        "Python": ("{'a':1}", None),
        "NaN": ("NaN", "it is not JSON ('NaN' is not JSON at line 1, column 1)"),
        "fence": ("```json\n{}\n```", "it is not JSON (it is in a Markdown fence)"),
        "brackets": (
            "[" * 2000,
            "it is not JSON (nested too deeply, more than 900 levels at line 1, column 901)",
        ),
        "digits": ("9" * 5000, None),
        "null": (None, "its content is null, not text"),
        "object": ({"a": 1}, "its content is an object, not text"),
        "no parts": ([], "its content is an array, not text"),
        "parts without text": ([{"type": "image_url"}], "its content is an array, not text"),
    },
)
def test_content_that_is_not_json_is_reported(content: Any, line: str | None) -> None:
    found = violation({}, content)
    assert found is not None
    assert found == (line or found)
    assert found.startswith(("it is not JSON (", "its content is "))


def test_violation_has_its_pointer() -> None:
    assert AnswerSchema(LABEL, nowhere).violation('{"label":5,"score":1}') == Violation(
        "/label", "5 is not one of 'a', 'b'"
    )


LONG_NAMES = ["k" * 50 + str(number) for number in range(99)]


@cases(
    ("schema", "content"),
    {
        "string": ({"type": "object"}, json.dumps("y" * 100_000)),
        "array": ({"items": {"type": "string"}}, json.dumps([[1] * 100_000])),
        "enum": ({"enum": ["x" * 50] * 100}, '"y"'),
        "keys": (
            {"properties": {}, "additionalProperties": False},
            json.dumps(dict.fromkeys(LONG_NAMES)),
        ),
        "missing": ({"required": LONG_NAMES}, "{}"),
        "unevaluated": ({"unevaluatedProperties": False}, json.dumps(dict.fromkeys(LONG_NAMES))),
        "digits": ({"const": 1}, "7" * 4000),
        "pattern": ({"pattern": "a" * 5000}, '"b"'),
    },
)
def test_line_is_short_however_long_the_value(schema: Any, content: str) -> None:
    found = AnswerSchema(schema, nowhere).violation(content)
    assert found is not None
    assert len(found.what) <= 200


def test_an_answer_too_deep_for_a_recursive_schema_is_reported() -> None:
    found = violation({"items": {"$ref": "#"}}, "[" * 800 + "]" * 800)
    assert found == "it holds a value that is too deep or too long"


def test_a_schema_that_jsonschema_stumbles_over_is_reported() -> None:
    schema = {"$schema": DRAFT_2019, "items": True, "unevaluatedItems": False}
    found = violation(schema, "[1]")
    assert found in (None, "the schema cannot be applied")


def test_the_value_of_an_answer_is_exact() -> None:
    expected = AnswerSchema(LABEL, nowhere)
    assert expected.value(' {"label":"a","score":12345678901234567890123}') == {
        "label": "a",
        "score": 12345678901234567890123,
    }
    assert expected.value([{"type": "text", "text": "[1]"}]) == [1]
    contents: list[Any] = ["x", None, []]
    for content in contents:
        with pytest.raises(NotJSON):
            expected.value(content)


# References

NOTHING = "leads to nothing in the schema"
OUTSIDE = "leads out of the schema: nothing else is read: copy what it means into '$defs'"
ENDLESS = "leads back to itself without an end"
NO_PATTERN = "is not a regular expression as Python has them"
NO_DRAFT = (
    "is not a draft of JSON Schema that is known"
    ": the drafts are 3, 4, 6, 7, 2019-09 and 2020-12: leave '$schema' out for the last"
)

INTEGER = {"type": "integer"}


@cases(
    "schema",
    {
        "$defs": {"$defs": {"n": INTEGER}, "items": {"$ref": "#/$defs/n"}},
        "definitions": {"definitions": {"n": INTEGER}, "items": {"$ref": "#/definitions/n"}},
        "anywhere": {"components": {"n": INTEGER}, "items": {"$ref": "#/components/n"}},
        "escaped": {"$defs": {"a/b~c": INTEGER}, "items": {"$ref": "#/$defs/a~1b~0c"}},
        "$anchor": {"$defs": {"n": {"$anchor": "int", **INTEGER}}, "items": {"$ref": "#int"}},
        "$id": {"$id": "urn:s", "$defs": {"n": INTEGER}, "items": {"$ref": "#/$defs/n"}},
        "$id inside": {"$id": "https://x/s", "$defs": {"n": {"$id": "n", **INTEGER}}, "items": {"$ref": "n"}},
        "$id that others are relative to": {
            "$id": "https://x/s",
            "$defs": {
                "list": {"$id": "in/", "items": {"$ref": "n"}},
                "n": {"$id": "in/n", **INTEGER},
            },
            "$ref": "in/",
        },
        "by way of another": {
            "$ref": "#/$defs/list",
            "$defs": {"list": {"items": {"$ref": "#/$defs/n"}}, "n": INTEGER},
        },
        "$dynamicRef": {
            "$dynamicAnchor": "x",
            "anyOf": [{"type": "array", "items": {"$dynamicRef": "#x"}}, INTEGER],
        },
        "$recursiveRef": {
            "$schema": DRAFT_2019,
            "$recursiveAnchor": True,
            "anyOf": [{"type": "array", "items": {"$recursiveRef": "#"}}, INTEGER],
        },
        "draft 7": {
            "$schema": DRAFT_7,
            "definitions": {"n": {"$id": "#n", **INTEGER}},
            "items": {"$ref": "#n"},
        },
        "draft 4": {
            "$schema": DRAFT_4,
            "id": "urn:s",
            "definitions": {"n": INTEGER},
            "items": {"$ref": "#/definitions/n"},
        },
    },
)
def test_a_reference_within_the_schema_is_followed(schema: Any) -> None:
    expected = AnswerSchema(schema, nowhere)
    assert expected.violation("[1]") is None
    assert expected.violation('["a"]') is not None


@cases(
    ("schema", "line"),
    {
        "nothing there": (
            {"properties": {"a": {"$ref": "#/$defs/x"}}},
            f"/properties/a/$ref: '#/$defs/x' {NOTHING}",
        ),
        "no such anchor": ({"$ref": "#x"}, f"/$ref: '#x' {NOTHING}"),
        "no index": ({"$ref": "#/anyOf/x", "anyOf": [{}]}, f"/$ref: '#/anyOf/x' {NOTHING}"),
        "a URL": (
            {"items": {"$ref": "https://example.com/s.json"}},
            f"/items/$ref: 'https://example.com/s.json' {OUTSIDE}",
        ),
        "a file": ({"not": {"$ref": "other.json#/a"}}, f"/not/$ref: 'other.json#/a' {OUTSIDE}"),
        "the meta-schema": ({"$ref": DRAFT_2020}, f"/$ref: '{DRAFT_2020}' {OUTSIDE}"),
        "no schema": ({"$ref": "#/title", "title": "a"}, "/$ref: '#/title' leads to a string, not a schema"),
        "a wrong schema": ({"$ref": "#/x/y", "x": {"y": {"type": 7}}}, f"/x/y/type: 7 is not {TYPES}"),
        "itself": ({"$ref": "#"}, f"/$ref: {ENDLESS}"),
        "itself, by way of anyOf": (
            {"items": {"allOf": [{"$ref": "#/$defs/a"}]}, "$defs": {"a": {"anyOf": [{"$ref": "#/$defs/a"}]}}},
            f"/$defs/a/anyOf/0/$ref: {ENDLESS}",
        ),
        "itself, where a key is there": (
            {"dependentSchemas": {"a": {"$ref": "#"}}},
            f"/dependentSchemas/a/$ref: {ENDLESS}",
        ),
    },
)
def test_a_reference_that_leads_nowhere_is_refused(schema: Any, line: str) -> None:
    with refused(BadInput, line, status=Status.BAD_INPUT):
        AnswerSchema(schema, lambda pointer: "")


def test_nothing_is_ever_fetched(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:
        raise AssertionError("the network was used")

    monkeypatch.setattr(socket, "socket", refuse)
    monkeypatch.setattr(socket, "getaddrinfo", refuse)
    with pytest.raises(BadInput, match="leads out of the schema"):
        AnswerSchema({"$ref": "http://127.0.0.1:9/s.json"}, nowhere)


# Schemas

NO_KEYWORD = "not a JSON Schema: it has no keyword that checks anything, such as 'type' or 'properties'"


@cases(
    "schema",
    {
        "any answer": {},
        "annotations": {"title": "a", "description": "b", "$defs": {"c": {"type": "string"}}},
        "schema beside a keyword": {"properties": {}, "schema": {"type": "object"}},
    },
)
def test_a_schema_that_any_answer_fits_may_be_meant(schema: Any) -> None:
    assert AnswerSchema(schema, lambda pointer: "").violation("5") is None


@cases(
    ("schema", "line"),
    {
        "type": ({"type": "strng"}, f"/type: 'strng' is not {TYPES}"),
        "minimum": ({"minimum": "1"}, "/minimum: '1' is not a number"),
        "required": ({"required": "a"}, "/required: 'a' is not an array"),
        "$ref": ({"$ref": 5}, "/$ref: 5 is not a string"),
        "$ref of draft 4": ({"$schema": DRAFT_4, "$ref": []}, "/$ref: an array is not a string"),
        "pattern": (
            {"items": {"pattern": "["}},
            f"/items/pattern: '[' {NO_PATTERN} (unterminated character set at position 0)",
        ),
        "pattern of names": (
            {"patternProperties": {"\\p{L}": {}}},
            f"/patternProperties/\\p{{L}}: '\\\\p{{L}}' {NO_PATTERN} (bad escape \\p at position 0)",
        ),
        "empty enum": ({"items": {"enum": []}}, "/items/enum: is empty, so that no answer would fit"),
        "json_schema of a request": (
            {"name": "a", "description": "b", "schema": {"type": "object"}, "strict": True},
            "not a JSON Schema: the schema is under /schema: give only that object",
        ),
        "response_format": (
            {"type": "json_schema", "json_schema": {"name": "a", "schema": {}}},
            "not a JSON Schema: the schema is under /json_schema/schema: give only that object",
        ),
        "an example of an answer": ({"mood": "good", "score": 3}, NO_KEYWORD),
        "names and their types": ({"$schema": DRAFT_7, "mood": {"type": "string"}}, NO_KEYWORD),
        "keyword of a later draft": ({"$schema": DRAFT_3, "const": 1}, NO_KEYWORD),
        "draft 7": ({"$schema": DRAFT_7, "items": [[]]}, None),
        "draft 4": ({"$schema": DRAFT_4, "exclusiveMinimum": 1}, None),
        "draft 3": ({"$schema": DRAFT_3, "required": "yes"}, None),
        "type of draft 3": (
            {"$schema": DRAFT_3, "items": {"type": ["string", "person"]}},
            "/items/type: 'person' is not a type",
        ),
        "unknown draft": (
            {"$schema": "https://json-schema.org/draft-07/schema"},
            f"/$schema: 'https://json-schema.org/draft-07/schema' {NO_DRAFT}",
        ),
        "draft is a number": ({"$schema": 7}, f"/$schema: 7 {NO_DRAFT}"),
        "draft is no URI": ({"$schema": "http://["}, None),
    },
)
def test_a_schema_that_cannot_be_used_is_refused(schema: Any, line: str | None) -> None:
    with pytest.raises(BadInput) as raised:
        AnswerSchema(schema, lambda pointer: "")
    assert str(raised.value) == (line or str(raised.value))


def test_a_fault_of_a_schema_has_its_place() -> None:
    text = b'{\n"properties": {\n  "a": {},\n  "b": {"type":\n    7}}}'
    with refused(BadInput, place="s.json:5"):
        AnswerSchema(json.loads(text), Source("s.json", text).place)


def test_a_schema_that_is_nested_very_deeply_is_reported() -> None:
    schema: dict[str, Any] = {}
    for _ in range(400):
        schema = {"items": schema}
    with pytest.raises(BadInput, match="the schema is nested too deeply"):
        AnswerSchema(schema, nowhere)


def test_schema_is_not_changed() -> None:
    schema = {
        "$schema": DRAFT_7,
        "definitions": {"a": {"type": "null"}},
        "items": {"$ref": "#/definitions/a"},
    }
    before = json.dumps(schema)
    AnswerSchema(schema, nowhere).violation("[1]")
    assert json.dumps(schema) == before


def test_the_draft_holds_in_all_of_the_schema() -> None:
    """Also behind a $ref to the root, and for what is checked in our own way."""
    schema = {"$schema": DRAFT_7, "multipleOf": 0.01, "items": {"$ref": "#"}}
    assert violation(schema, "[19.99, [4.35]]") is None
    assert violation(schema, "[19.99, [4.355]]") == "/1/0: 4.355 is not a multiple of 0.01"


def test_a_small_answer_takes_few_steps() -> None:
    """Nothing is prepared anew for an answer: the 13 us that it takes are 90 calls of functions."""
    expected = AnswerSchema(LABEL, nowhere)
    content = '{"label":"a","score":0.5}'
    expected.violation(content)  # the first one prepares
    assert steps(lambda: expected.violation(content)) < 200


def test_pattern_is_searched_as_python_does() -> None:
    assert re.search("^a$", "a\n")  # unlike in ECMA 262; the manual says whose expressions they are
    assert violation({"pattern": "^a$"}, '"a\\n"') is None


@cases(
    ("words", "is_imported"),
    {
        "no schema": (["build", "-m", "m", "q"], False),
        "no check": (["build", "-m", "m", "q", "--schema-json", "{}", "--no-check"], True),
        "a schema": (["build", "-m", "m", "q", "--schema-json", "{}"], True),
    },
)
def test_jsonschema_is_imported_only_where_a_schema_is_looked_at(words: list[str], is_imported: bool) -> None:
    code = (
        "import sys; from chatpipe import main; main.run(sys.argv[1:]); sys.exit('jsonschema' in sys.modules)"
    )
    command = [sys.executable, "-c", code, *words]
    done = subprocess.run(
        command, env=environment(), stdin=subprocess.DEVNULL, capture_output=True, check=False
    )
    assert done.stdout.startswith(b'{"model":"m"')
    assert done.returncode == is_imported


PRODUCT = {
    "$ref": "#/$defs/0",
    "$defs": {"40": {}} | {str(n): {"allOf": [{"$ref": f"#/$defs/{n + 1}"}] * 2} for n in range(40)},
}
SLOW = "a" * 60 + "b"


@cases(
    ("schema", "content"),
    {
        "pattern": ({"pattern": "^(a+)+$"}, f'"{SLOW}"'),
        "pattern of names": ({"patternProperties": {"^(a+)+$": {}}}, f'{{"{SLOW}":1}}'),
        "quadratic pattern": ({"pattern": "a*b"}, f'"{"a" * 200_000}"'),
        "property names": ({"propertyNames": {"pattern": "^(a|aa)+$"}}, f'{{"{SLOW}":1}}'),
        "branches at every level": (PRODUCT, "1"),
    },
)
def test_a_check_that_takes_too_long_is_a_violation(
    schema: Any, content: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("chatpipe.schema.expected._CHECK_S", 0.05)
    monkeypatch.setattr("chatpipe.schema.expected._CHECK_S_PER_CHARACTER", 0)
    answers = AnswerSchema(schema, str)
    found = answers.violation(content)
    assert str(found) == "its check takes longer than 0.05 s, a simpler pattern or schema may help"
    assert answers.violation(content) is found
