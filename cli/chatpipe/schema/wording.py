"""An error of jsonschema -> where it is and what it is, in words short enough for one line.

jsonschema's own messages hold the whole value; ours show a small one and name the kind of a large one.
Of several errors one is told: the outermost, and of the alternatives of anyOf the one that was meant.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from itertools import groupby
from typing import TYPE_CHECKING, Any, NamedTuple

from chatpipe.inputs import values
from chatpipe.inputs.messages import kind
from chatpipe.schema.rules import pointer_of

if TYPE_CHECKING:
    from jsonschema.exceptions import ValidationError

_LONGEST = 200
_LONGEST_VALUE = 60
# The types, `any` being one of draft 3 only.
ARTICLES = {
    "null": "null",
    "boolean": "a boolean",
    "integer": "an integer",
    "number": "a number",
    "string": "a string",
    "array": "an array",
    "object": "an object",
    "any": "any value",
}


class Wording(NamedTuple):
    """pointer leads into the value, "" to all of it; what has its subject: `'x' is not one of 'a', 'b'`."""

    pointer: str
    what: str


def told(errors: Iterable[ValidationError]) -> Wording:
    """The one of errors to tell: the outermost, of several the first, looked for inside anyOf and oneOf."""
    error = min(errors, key=_depth)
    while branches := _branches(error):
        apart = [each for branch in branches if (each := _other_kind(branch, error))]
        if len(apart) == len(branches):
            return _none_of(apart)
        branches = [branch for branch in branches if not _other_kind(branch, error)]
        tags = [each for branch in branches if (each := _other_tag(branch))]
        if len(tags) == len(branches):
            return _none_of([each for each in tags if each.absolute_path == tags[0].absolute_path])
        nearest = min(branches, key=_distance)
        error = min(nearest, key=_depth)
    return Wording(pointer_of(error.absolute_path), _cut(_words(error)))


def _depth(error: ValidationError) -> int:
    return len(error.absolute_path)


def _branches(error: ValidationError) -> list[list[ValidationError]]:
    """The errors inside a union, by the alternative that they are of; none when error is of no union."""
    if error.validator not in ("anyOf", "oneOf"):
        return []
    inside = [each for each in error.context or () if each.schema_path]  # `false` as an alternative has none
    return [list(group) for _, group in groupby(inside, key=lambda each: each.schema_path[0])]


def _other_kind(branch: list[ValidationError], union: ValidationError) -> ValidationError | None:
    """Why an alternative is not what was meant at all: the value is of another type, or another word."""
    own = [each for each in branch if _depth(each) == _depth(union)]
    return next((each for each in own if each.validator in ("type", "const", "enum")), None)


def _other_tag(branch: list[ValidationError]) -> ValidationError | None:
    """Where an alternative is told apart by a field, such as `kind`, which says another one."""
    return next((each for each in branch if each.validator in ("const", "enum")), None)


def _distance(branch: list[ValidationError]) -> tuple[bool, int]:
    """How far an alternative is from the value: one that is told apart is the farthest."""
    return _other_tag(branch) is not None, len(branch)


def _none_of(errors: list[ValidationError]) -> Wording:
    """A value that is none of what several errors want."""
    wanted = list(dict.fromkeys(word for error in errors for word in _wanted(error)))
    what = f"{shown(errors[0].instance)} is not {_joined(wanted)}"
    return Wording(pointer_of(errors[0].absolute_path), _cut(what))


def _cut(text: str) -> str:
    return text if len(text) <= _LONGEST else text[: _LONGEST - 3] + "..."


def _words(error: ValidationError) -> str:
    value, limit = error.instance, error.validator_value
    if error.validator == "enum":
        return f"{shown(value)} is not one of {', '.join(_wanted(error))}"
    if error.validator in ("type", "const"):
        return f"{shown(value)} is not {_joined(_wanted(error))}"
    if error.validator is None:  # the schema `false`, whose place jsonschema does not tell
        return f"{shown(value)} stands where nothing is allowed"
    if worded := _WORDINGS.get(str(error.validator)):
        text = worded(value, limit, error.schema)
    else:  # such as unevaluatedProperties, whose names only jsonschema knows
        text = error.message[:1].lower() + error.message[1:]
    return f"the name {shown(value)}: {text}" if "propertyNames" in error.relative_schema_path else text


def shown(value: object) -> str:
    """The value if it is small, else what kind of thing it is."""
    if isinstance(value, str):
        return quoted(value)
    if isinstance(value, list | dict):
        return kind(value)
    text = values.dumps(value).decode()
    return text if len(text) <= _LONGEST_VALUE else f"a number of {len(text)} digits"


def quoted(text: str) -> str:
    """In single quotes, on one line, of some 60 characters at most."""
    return repr(text if len(text) <= _LONGEST_VALUE else text[: _LONGEST_VALUE - 3] + "...")


def _wanted(error: ValidationError) -> list[str]:
    """What an error of type, const or enum says there should be: alternatives."""
    limit: Any = error.validator_value
    if error.validator == "const":
        return [shown(limit)]
    if error.validator == "enum":
        return [shown(each) for each in limit]
    types = [limit] if isinstance(limit, str | dict) else limit  # in draft 3 there are schemas among them
    return [ARTICLES[each] if isinstance(each, str) else "what it may be" for each in types]


def _joined(words: list[str]) -> str:
    *most, last = words
    return f"{', '.join(most)} or {last}" if most else last


def _required(value: Mapping[str, object], names: list[str] | bool, schema: object) -> str:
    if isinstance(names, bool):  # draft 3, where a property says it of itself
        return "a required property is missing"
    missing = [quoted(name) for name in names if name not in value]
    return f"{', '.join(missing)} {'is' if len(missing) == 1 else 'are'} missing"


def _additional(value: Mapping[str, object], limit: object, schema: Mapping[str, Any]) -> str:
    patterns = schema.get("patternProperties", {})
    extra = [
        quoted(name)
        for name in value
        if name not in schema.get("properties", {})
        and not any(re.search(pattern, name) for pattern in patterns)
    ]
    return f"{', '.join(extra)} {'is' if len(extra) == 1 else 'are'} not among the properties"


def _pattern(value: str, pattern: str, schema: object) -> str:
    return f"{shown(value)} does not match the pattern {quoted(pattern)}"


def _limit(relation: str) -> Callable[[Any, Any, Any], str]:
    return lambda value, limit, schema: f"{shown(value)} is {relation} {shown(limit)}"


def _size(unit: str, relation: str) -> Callable[[Any, Any, Any], str]:
    return lambda value, limit, schema: f"{len(value)} {unit}, {relation.format(shown(limit))}"


_WORDINGS: dict[str, Callable[[Any, Any, Any], str]] = {
    "required": _required,
    "additionalProperties": _additional,
    "anyOf": lambda value, limit, schema: f"{shown(value)} fits none of the alternatives",
    "oneOf": lambda value, limit, schema: f"{shown(value)} fits more than one of the alternatives",
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
    "not": lambda value, limit, schema: f"{shown(value)} is what the schema excludes",
    "contains": lambda value, limit, schema: "too few or too many items of the kind that has to be there",
}
