"""Errors of jsonschema -> one pointer and one message that is short enough for a line.

jsonschema's own messages contain the whole value; ours show a small value and name the type of a large
one. Of several errors the outermost is reported. For anyOf and oneOf, the error comes from the
alternative that the value most likely meant.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from itertools import groupby
from typing import TYPE_CHECKING, Any

from chatpipe.inputs import values
from chatpipe.inputs.names import or_list
from chatpipe.inputs.place import pointer_of
from chatpipe.inputs.values import json_type
from chatpipe.named_tuple import NamedTuple
from chatpipe.schema.phrases import ARTICLES, quote

if TYPE_CHECKING:
    from jsonschema.exceptions import ValidationError

_MAX_LENGTH = 200
_MAX_VALUE_LENGTH = 60


class Explanation(NamedTuple):
    """An error message with its location.

    pointer is a JSON Pointer into the value, "" for the whole. what is a full clause with its own
    subject: `'x' is not one of 'a', 'b'`.
    """

    pointer: str
    what: str


def explain(errors: Iterable[ValidationError]) -> Explanation:
    """The error to report: the first of the outermost ones, traced into anyOf and oneOf."""
    error = min(errors, key=_depth)
    while branches := _branches(error):
        ruled_out = [each for branch in branches if (each := _type_mismatch(branch, error))]
        if len(ruled_out) == len(branches):
            return _none_of(ruled_out)
        branches = [branch for branch in branches if not _type_mismatch(branch, error)]
        tags = [each for branch in branches if (each := _tag_mismatch(branch))]
        if len(tags) == len(branches):
            return _none_of([each for each in tags if each.absolute_path == tags[0].absolute_path])
        nearest = min(branches, key=_distance)
        error = min(nearest, key=_depth)
    return Explanation(pointer_of(error.absolute_path), _cut(_message(error)))


def _depth(error: ValidationError) -> int:
    return len(error.absolute_path)


def _branches(error: ValidationError) -> list[list[ValidationError]]:
    """The errors inside a union, grouped by alternative; none if error is not from anyOf or oneOf."""
    if error.validator not in ("anyOf", "oneOf"):
        return []
    inside = [each for each in error.context or () if each.schema_path]  # the alternative `false` has no path
    return [list(group) for _, group in groupby(inside, key=lambda each: each.schema_path[0])]


def _type_mismatch(branch: list[ValidationError], union: ValidationError) -> ValidationError | None:
    """The error that rules an alternative out: the value itself has a different type or a different word."""
    own = [each for each in branch if _depth(each) == _depth(union)]
    return next((each for each in own if each.validator in ("type", "const", "enum")), None)


def _tag_mismatch(branch: list[ValidationError]) -> ValidationError | None:
    """The error at a tag field, such as `kind`, whose value names a different alternative."""
    return next((each for each in branch if each.validator in ("const", "enum")), None)


def _distance(branch: list[ValidationError]) -> tuple[bool, int]:
    """Sort key for the distance of an alternative from the value; a different tag is the farthest."""
    return _tag_mismatch(branch) is not None, len(branch)


def _none_of(errors: list[ValidationError]) -> Explanation:
    """One message for a value that matches none of the alternatives that the errors expect."""
    expected = list(dict.fromkeys(alternative for error in errors for alternative in _expected(error)))
    what = f"{summary(errors[0].instance)} is not {or_list(expected)}"
    return Explanation(pointer_of(errors[0].absolute_path), _cut(what))


def _cut(text: str) -> str:
    return text if len(text) <= _MAX_LENGTH else text[: _MAX_LENGTH - 3] + "..."


def _message(error: ValidationError) -> str:
    value, limit = error.instance, error.validator_value
    if error.validator == "enum":
        return f"{summary(value)} is not one of {', '.join(_expected(error))}"
    if error.validator in ("type", "const"):
        return f"{summary(value)} is not {or_list(_expected(error))}"
    if error.validator is None:  # the schema `false`, for which jsonschema gives no keyword
        return f"{summary(value)} is where nothing is allowed"
    if describe := _MESSAGES.get(str(error.validator)):
        text = describe(value, limit, error.schema)
    else:  # such as unevaluatedProperties: only jsonschema knows the names
        text = error.message[:1].lower() + error.message[1:]
    return f"the name {summary(value)}: {text}" if "propertyNames" in error.relative_schema_path else text


def summary(value: object) -> str:
    """The value itself if it is small, otherwise its type."""
    if isinstance(value, str):
        return quote(value)
    if isinstance(value, list | dict):
        return json_type(value)
    text = values.dumps(value).decode()
    return text if len(text) <= _MAX_VALUE_LENGTH else f"a number of {len(text)} digits"


def _expected(error: ValidationError) -> list[str]:
    """The alternatives that an error of type, const or enum expects."""
    limit: Any = error.validator_value
    if error.validator == "const":
        return [summary(limit)]
    if error.validator == "enum":
        return [summary(each) for each in limit]
    types = [limit] if isinstance(limit, str | dict) else limit  # draft 3 allows schemas in the list
    return [ARTICLES[each] if isinstance(each, str) else "what it may be" for each in types]


def _required(value: Mapping[str, object], names: list[str] | bool, schema: object) -> str:
    if isinstance(names, bool):  # draft 3: `required` is a boolean on the property itself
        return "a required property is missing"
    missing = [quote(name) for name in names if name not in value]
    return f"{', '.join(missing)} {'is' if len(missing) == 1 else 'are'} missing"


def _additional(value: Mapping[str, object], limit: object, schema: Mapping[str, Any]) -> str:
    patterns = schema.get("patternProperties", {})
    extra = [
        quote(name)
        for name in value
        if name not in schema.get("properties", {})
        and not any(re.search(pattern, name) for pattern in patterns)
    ]
    return f"{', '.join(extra)} {'is' if len(extra) == 1 else 'are'} not among the properties"


def _pattern(value: str, pattern: str, schema: object) -> str:
    return f"{summary(value)} does not match the pattern {quote(pattern)}"


def _limit(relation: str) -> Callable[[Any, Any, Any], str]:
    return lambda value, limit, schema: f"{summary(value)} is {relation} {summary(limit)}"


def _size(unit: str, relation: str) -> Callable[[Any, Any, Any], str]:
    return lambda value, limit, schema: f"{len(value)} {unit}, {relation.format(summary(limit))}"


_MESSAGES: dict[str, Callable[[Any, Any, Any], str]] = {
    "required": _required,
    "additionalProperties": _additional,
    "anyOf": lambda value, limit, schema: f"{summary(value)} fits none of the alternatives",
    "oneOf": lambda value, limit, schema: f"{summary(value)} fits more than one of the alternatives",
    "pattern": _pattern,
    "minimum": _limit("less than"),
    "maximum": _limit("more than"),
    "exclusiveMinimum": _limit("not more than"),
    "exclusiveMaximum": _limit("not less than"),
    "multipleOf": _limit("not a multiple of"),
    "minLength": _size("characters", "at least {} needed"),
    "maxLength": _size("characters", "at most {} allowed"),
    "minItems": _size("items", "at least {} needed"),
    "maxItems": _size("items", "at most {} allowed"),
    "minProperties": _size("properties", "at least {} needed"),
    "maxProperties": _size("properties", "at most {} allowed"),
    "uniqueItems": lambda value, limit, schema: "two items are the same",
    "not": lambda value, limit, schema: f"{summary(value)} is what the schema excludes",
    "contains": lambda value, limit, schema: "too few or too many items of the kind that has to be there",
}
