"""A JSON Schema -> the parts that strict mode is likely to reject, before a request is paid for.

Source: OpenAI's guide "Structured model outputs", section "Supported schemas", as of 2026. It lists
the supported keywords. Every other keyword is reported, except annotations and minLength and maxLength,
which the guide excludes for fine-tuned models only. Other servers accept more and report what they do
not accept, so the findings are warnings.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from chatpipe.errors import BadInput, Problems
from chatpipe.inputs.place import pointer_of
from chatpipe.inputs.values import as_list
from chatpipe.named_tuple import NamedTuple
from chatpipe.request.response_format import ResponseFormat
from chatpipe.schema.phrases import quote

_MAX_PROPERTIES = 5000
_MAX_LEVELS = 10
_MAX_CHARACTERS = 120_000  # of names, enum and const values together
_MAX_VALUES = 1000  # of all enums together
_LARGE_ENUM, _MAX_LARGE_ENUM_CHARACTERS = 250, 15_000  # of one enum of strings

_MAX_REPORTED = 10

_DEFINITIONS = ("$defs", "definitions")

_UNSUPPORTED = frozenset(
    (
        *(
            "allOf",
            "oneOf",
            "not",
            "if",
            "then",
            "else",
            "dependentRequired",
            "dependentSchemas",
            "dependencies",
        ),
        *("patternProperties", "propertyNames", "unevaluatedProperties", "minProperties", "maxProperties"),
        *("prefixItems", "additionalItems", "contains", "minContains", "maxContains", "uniqueItems"),
        *("unevaluatedItems", "$dynamicRef", "$recursiveRef", "extends", "disallow", "divisibleBy"),
    )
)
_FORMATS = frozenset(("date-time", "time", "date", "duration", "email", "hostname", "ipv4", "ipv6", "uuid"))


class LintIssue(NamedTuple):
    """One part that strict mode rejects. pointer is a JSON Pointer into the schema, "" for the whole."""

    pointer: str
    what: str


class _Subschema(NamedTuple):
    """A subschema. level is the number of objects that it is nested in, including itself."""

    pointer: str
    schema: dict[str, Any]
    level: int


def lint_warnings(form: ResponseFormat, *, strict: bool = False) -> list[str]:
    """The first ten findings as lines, then a count of the rest; none unless form asks for strict mode.

    strict turns the findings into errors: it raises Problems.
    """
    findings = lint(form.schema.value) if form.strict else []
    faults = [
        BadInput(
            f"{each.pointer}: {each.what}" if each.pointer else each.what, place=form.place(each.pointer)
        )
        for each in findings
    ]
    if faults and strict:
        raise Problems(faults)
    more = len(faults) - _MAX_REPORTED
    lines = [str(fault) for fault in faults[:_MAX_REPORTED]]
    return [*lines, f"{form.option}: and {more} more of strict mode"] if more > 0 else lines


def lint(schema: dict[str, Any]) -> list[LintIssue]:
    """All findings: of the whole schema, then of each subschema. Never raises: schema may be invalid."""
    parts = list(_subschemas(schema))
    return [
        *_check_root(schema),
        *_check_size([part.schema for part in parts]),
        *(finding for part in parts for finding in _check_subschema(part)),
    ]


def _subschemas(schema: dict[str, Any]) -> Iterator[_Subschema]:
    """All subschemas under the keywords that strict mode supports. A $ref is not followed."""
    todo = [_Subschema("", schema, 0)]
    while todo:
        pointer, part, level = todo.pop()
        level += _is_object(part)
        yield _Subschema(pointer, part, level)
        inner = [
            *_members(pointer, part, "properties", level),
            *_members(pointer, part, "anyOf", level),
            *(each for keyword in _DEFINITIONS for each in _members(pointer, part, keyword, 0)),
        ]
        if isinstance(part.get("items"), dict):
            inner.append(_Subschema(f"{pointer}/items", part["items"], level))
        todo += reversed(inner)


def _members(pointer: str, part: dict[str, Any], keyword: str, level: int) -> Iterator[_Subschema]:
    inner = part.get(keyword)
    named = enumerate(inner) if isinstance(inner, list) else inner.items() if isinstance(inner, dict) else ()
    for name, schema in named:
        if isinstance(schema, dict):
            yield _Subschema(pointer + pointer_of([keyword, name]), schema, level)


def _is_object(schema: dict[str, Any]) -> bool:
    kind = schema.get("type")
    return kind == "object" or (isinstance(kind, list) and "object" in kind) or "properties" in schema


def _check_root(schema: dict[str, Any]) -> Iterator[LintIssue]:
    if "anyOf" in schema:
        yield LintIssue("", "strict mode takes no 'anyOf' at the root")
    elif schema.get("type") != "object":
        yield LintIssue("", "strict mode wants 'type': 'object' at the root")


def _check_subschema(part: _Subschema) -> Iterator[LintIssue]:
    pointer, schema, level = part
    for keyword in schema:
        if keyword in _UNSUPPORTED:
            yield LintIssue(pointer + pointer_of([keyword]), f"strict mode takes no '{keyword}'")
    if isinstance(word := schema.get("format"), str) and word not in _FORMATS:
        yield LintIssue(f"{pointer}/format", f"strict mode knows no format '{word}'")
    if not _is_object(schema):
        return
    if level == _MAX_LEVELS + 1:
        yield LintIssue(pointer, f"strict mode takes objects in {_MAX_LEVELS} levels at most")
    if schema.get("additionalProperties") is not False:
        yield LintIssue(pointer, "strict mode wants 'additionalProperties': false")
    listed, names = as_list(schema.get("required")), _names(schema, "properties")
    for index, name in enumerate(listed):
        if name not in names:
            path = f"{pointer}/required/{index}"
            yield LintIssue(path, f"strict mode wants {quote(str(name))} in 'properties', too")
    for name in names:
        if name not in listed:
            path = pointer + pointer_of(["properties", name])
            yield LintIssue(
                path, "strict mode wants it in 'required' (with null among its types if optional)"
            )


def _check_size(schemas: list[dict[str, Any]]) -> Iterator[LintIssue]:
    names = [name for schema in schemas for name in _names(schema, "properties")]
    defined = [name for schema in schemas for keyword in _DEFINITIONS for name in _names(schema, keyword)]
    enums = [schema["enum"] for schema in schemas if isinstance(schema.get("enum"), list)]
    enum_values = [value for enum in enums for value in enum]
    consts = [schema["const"] for schema in schemas if "const" in schema]
    counts = [
        (len(names), _MAX_PROPERTIES, "properties"),
        (len(enum_values), _MAX_VALUES, "values in 'enum'"),
        (
            _length([*names, *defined, *enum_values, *consts]),
            _MAX_CHARACTERS,
            "characters in names and values",
        ),
        *(
            (_length(enum), _MAX_LARGE_ENUM_CHARACTERS, f"characters in an 'enum' of {len(enum)} values")
            for enum in enums
            if len(enum) > _LARGE_ENUM
        ),
    ]
    for count, limit, what in counts:
        if count > limit:
            yield LintIssue("", f"{count} {what}: strict mode takes {limit} at most")


def _names(schema: dict[str, Any], keyword: str) -> list[str]:
    """The names under properties or definitions; none if the value is not an object.

    A draft that does not know the keyword allows any value there.
    """
    named = schema.get(keyword)
    return list(named) if isinstance(named, dict) else []


def _length(values: list[Any]) -> int:
    """The total number of characters of the strings among values."""
    return sum(len(value) for value in values if isinstance(value, str))
