"""A JSON Schema -> what strict mode is likely to refuse about it, before anything is spent on asking.

Source: OpenAI's guide "Structured model outputs", section "Supported schemas", as of 2026. It lists what
is supported; what it does not name is reported, but for annotations, and for minLength and maxLength,
which it rules out for fine-tuned models only. Other servers take more, and say what they do not take:
these are warnings.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, NamedTuple

from chatpipe.errors import BadInput, Problems
from chatpipe.request.form import Form
from chatpipe.schema.rules import pointer_of

_MOST_PROPERTIES = 5000
_MOST_LEVELS = 10
_MOST_CHARACTERS = 120_000  # of names, enum and const values together
_MOST_VALUES = 1000  # of all enums together
_MANY_VALUES, _MOST_CHARACTERS_OF_MANY = 250, 15_000  # of one enum of strings

_MOST_TOLD = 10

_DEFINITIONS = ("$defs", "definitions")

_REFUSED = frozenset(
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


class Finding(NamedTuple):
    """One thing that strict mode refuses; pointer leads into the schema, "" to all of it."""

    pointer: str
    what: str


class _Part(NamedTuple):
    """A schema inside the schema, and how many objects it is in, itself included."""

    pointer: str
    schema: dict[str, Any]
    level: int


def warnings(form: Form, *, strict: bool = False) -> list[str]:
    """The findings as lines, the first ten of them; none unless the server is to hold to the schema.

    strict makes errors of them. Raises Problems.
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
    more = len(faults) - _MOST_TOLD
    lines = [str(fault) for fault in faults[:_MOST_TOLD]]
    return [*lines, f"{form.option}: and {more} more of strict mode"] if more > 0 else lines


def lint(schema: dict[str, Any]) -> list[Finding]:
    """All findings: of the whole, then of each part in turn. schema is one that its draft allows."""
    parts = list(_parts(schema))
    return [
        *_of_root(schema),
        *_of_size([part.schema for part in parts]),
        *(finding for part in parts for finding in _of_part(part)),
    ]


def _parts(schema: dict[str, Any]) -> Iterator[_Part]:
    """Every schema in the places where strict mode has them. A $ref is not followed."""
    todo = [_Part("", schema, 0)]
    while todo:
        pointer, part, level = todo.pop()
        level += _is_object(part)
        yield _Part(pointer, part, level)
        inner = [
            *_members(pointer, part, "properties", level),
            *_members(pointer, part, "anyOf", level),
            *(each for keyword in _DEFINITIONS for each in _members(pointer, part, keyword, 0)),
        ]
        if isinstance(part.get("items"), dict):
            inner.append(_Part(f"{pointer}/items", part["items"], level))
        todo += reversed(inner)


def _members(pointer: str, part: dict[str, Any], keyword: str, level: int) -> Iterator[_Part]:
    inner = part.get(keyword)
    named = enumerate(inner) if isinstance(inner, list) else inner.items() if isinstance(inner, dict) else ()
    for name, schema in named:
        if isinstance(schema, dict):
            yield _Part(pointer + pointer_of([keyword, name]), schema, level)


def _is_object(schema: dict[str, Any]) -> bool:
    kind = schema.get("type")
    return kind == "object" or (isinstance(kind, list) and "object" in kind) or "properties" in schema


def _of_root(schema: dict[str, Any]) -> Iterator[Finding]:
    if "anyOf" in schema:
        yield Finding("", "strict mode takes no 'anyOf' at the root")
    elif schema.get("type") != "object":
        yield Finding("", "strict mode wants 'type': 'object' at the root")


def _of_part(part: _Part) -> Iterator[Finding]:
    pointer, schema, level = part
    for keyword in schema:
        if keyword in _REFUSED:
            yield Finding(pointer + pointer_of([keyword]), f"strict mode takes no '{keyword}'")
    if isinstance(word := schema.get("format"), str) and word not in _FORMATS:
        yield Finding(f"{pointer}/format", f"strict mode knows no format '{word}'")
    if not _is_object(schema):
        return
    if level == _MOST_LEVELS + 1:
        yield Finding(pointer, f"strict mode takes objects in {_MOST_LEVELS} levels at most")
    if schema.get("additionalProperties") is not False:
        yield Finding(pointer, "strict mode wants 'additionalProperties': false")
    required = schema.get("required")
    listed = required if isinstance(required, list) else []
    for name in _names(schema, "properties"):
        if name not in listed:
            where = pointer + pointer_of(["properties", name])
            yield Finding(where, "strict mode wants it in 'required' (with null among its types if optional)")


def _of_size(schemas: list[dict[str, Any]]) -> Iterator[Finding]:
    names = [name for each in schemas for name in _names(each, "properties")]
    kept = [name for each in schemas for keyword in _DEFINITIONS for name in _names(each, keyword)]
    enums = [each["enum"] for each in schemas if isinstance(each.get("enum"), list)]
    words = [value for enum in enums for value in enum]
    consts = [each["const"] for each in schemas if "const" in each]
    counts = [
        (len(names), _MOST_PROPERTIES, "properties"),
        (len(words), _MOST_VALUES, "values in 'enum'"),
        (_length([*names, *kept, *words, *consts]), _MOST_CHARACTERS, "characters in names and values"),
        *(
            (_length(enum), _MOST_CHARACTERS_OF_MANY, f"characters in an 'enum' of {len(enum)} values")
            for enum in enums
            if len(enum) > _MANY_VALUES
        ),
    ]
    for count, most, what in counts:
        if count > most:
            yield Finding("", f"{count} {what}: strict mode takes {most} at most")


def _names(schema: dict[str, Any], keyword: str) -> list[str]:
    """Of properties or definitions. What stands where its draft knows no schema may hold anything."""
    named = schema.get(keyword)
    return list(named) if isinstance(named, dict) else []


def _length(values: list[Any]) -> int:
    """The characters of the strings among values."""
    return sum(len(value) for value in values if isinstance(value, str))
