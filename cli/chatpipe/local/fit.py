"""A JSON Schema -> one value that fits it, always the same one.

$ref, allOf, anyOf and oneOf are read away first, first choices first; a choice that leads back
into a $ref which is being filled is given up for the next one, so a linked list ends in its null.
Objects get what they require and no more, numbers are as near to 0 as they may be, and strings
are the given text where nothing else is asked of them.
Not looked at: not, if, dependentSchemas, propertyNames, unevaluated*, and more than one oneOf
branch (the first may fit another branch too).
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any, TypeVar

from chatpipe.inputs.values import Value

_Schema = dict[str, Any]
_T = TypeVar("_T")
_Refs = tuple[str, ...]  # the $refs followed to get here, outermost first

_COMBINING = frozenset(("$ref", "allOf", "anyOf", "oneOf"))
_LOWER = frozenset(("minimum", "exclusiveMinimum", "minLength", "minItems", "minProperties", "minContains"))
_UPPER = frozenset(("maximum", "exclusiveMaximum", "maxLength", "maxItems", "maxProperties"))
_GUESSES = (
    ("object", ("properties", "required", "additionalProperties", "patternProperties", "minProperties")),
    ("array", ("items", "prefixItems", "minItems", "contains", "uniqueItems")),
    ("number", ("minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum", "multipleOf")),
)
_FORMATS = {
    "date-time": "2000-01-01T00:00:00Z",
    "date": "2000-01-01",
    "time": "00:00:00Z",
    "duration": "P1D",
    "email": "user@example.com",
    "idn-email": "user@example.com",
    "hostname": "example.com",
    "idn-hostname": "example.com",
    "ipv4": "192.0.2.1",
    "ipv6": "2001:db8::1",
    "uri": "https://example.com/",
    "uri-reference": "/",
    "iri": "https://example.com/",
    "iri-reference": "/",
    "uuid": "00000000-0000-4000-8000-000000000000",
    "json-pointer": "/a",
    "regex": ".",
}
_MOST = 10_000  # characters, items, properties: a schema that wants more wants to fill the memory


class _NoFit(Exception):
    """Nothing fits on this path; another choice may have a value."""


def fit(schema: Value, text: str = "") -> Value:
    """A value that fits schema, or None when none is found. text is what free strings say. Never raises."""
    for turns in (1, 3):  # a $ref that is met again is mostly a loop, but may be a plain type used twice
        try:
            return _Fitter(schema, text, turns).value(schema, ())
        except _NoFit:
            continue
        except (
            ArithmeticError,
            AttributeError,
            LookupError,
            RecursionError,
            TypeError,
            ValueError,
            re.error,
        ):
            return None  # not a schema at all: {"minimum": "low"}, a pattern that is no regex
    return None


@dataclass(frozen=True, slots=True)
class _Fitter:
    """root is the document that $refs point into; turns is how often one may stand on a path."""

    root: Value
    text: str
    turns: int

    def value(self, schema: Value, refs: _Refs) -> Value:
        for plain, seen in self._readings(schema, refs):
            for kind in _kinds(plain):
                try:
                    return self._made(kind, plain, seen)
                except _NoFit:
                    continue
        raise _NoFit

    def _readings(self, schema: Value, refs: _Refs) -> Iterator[tuple[_Schema, _Refs]]:
        """Every way to read schema without the combining keywords, with the $refs that it took."""
        if schema is False:
            return
        if schema is True:
            schema = {}
        choices = [[part] for part in schema.get("allOf", ())]
        choices += [schema[keyword] for keyword in ("anyOf", "oneOf") if keyword in schema]
        if "$ref" in schema:
            ref = schema["$ref"]
            if refs.count(ref) >= self.turns:
                return
            refs = (*refs, ref)
            choices.insert(0, [self._target(ref)])
        plain = {keyword: value for keyword, value in schema.items() if keyword not in _COMBINING}
        yield from self._joined(plain, choices, refs)

    def _joined(
        self, plain: _Schema, choices: list[list[Value]], refs: _Refs
    ) -> Iterator[tuple[_Schema, _Refs]]:
        if not choices:
            yield plain, refs
            return
        for branch in choices[0]:
            for reading, seen in self._readings(branch, refs):
                yield from self._joined(_merged(plain, reading), choices[1:], seen)

    def _target(self, ref: str) -> Value:
        """What a JSON pointer fragment (`#`, `#/$defs/name`) names in the root. Raises _NoFit for others."""
        if ref != "#" and not ref.startswith("#/"):
            raise _NoFit
        found = self.root
        for token in ref.split("/")[1:]:
            key = token.replace("~1", "/").replace("~0", "~")
            found = found[int(key)] if isinstance(found, list) else found[key]
        return found

    def _made(self, kind: str, schema: _Schema, refs: _Refs) -> Value:
        if "const" in schema:
            return schema["const"]
        if "enum" in schema:
            return _first(value for value in schema["enum"] if _is(kind, value))
        match kind:
            case "object":
                return self._object(schema, refs)
            case "array":
                return self._array(schema, refs)
            case "string":
                return _string(schema, self.text)
            case "number" | "integer":
                return _number(schema, whole=kind == "integer")
            case "boolean":
                return False
        return None

    def _object(self, schema: _Schema, refs: _Refs) -> dict[str, Value]:
        properties = schema.get("properties", {})
        wanted = list(schema.get("required", ()))
        for name in wanted:  # grows under the loop: what a dependent requires may have dependents
            wanted += [
                other for other in schema.get("dependentRequired", {}).get(name, ()) if other not in wanted
            ]
        least = _capped(schema.get("minProperties", 0))
        spare = [*(name for name in properties if name not in wanted), *(f"key{n + 1}" for n in range(least))]
        wanted += spare[: max(0, least - len(wanted))]
        in_order = [name for name in properties if name in wanted]
        in_order += [name for name in wanted if name not in properties]
        return {name: self.value(_property(schema, name), refs) for name in in_order}

    def _array(self, schema: _Schema, refs: _Refs) -> list[Value]:
        contains = schema.get("contains")
        marked = 0 if contains is None else schema.get("minContains", 1)
        rest = schema.get("items", True)
        heads = schema.get("prefixItems", [])
        if isinstance(rest, list):  # draft 7 wrote prefixItems so
            heads, rest = rest, schema.get("additionalItems", True)
        made: list[Value] = []
        for at in range(_capped(max(schema.get("minItems", 0), marked))):
            item = heads[at] if at < len(heads) else rest
            if at < marked:
                item = {"allOf": [item, contains]}
            made.append(
                self._another(item, made, refs) if schema.get("uniqueItems") else self.value(item, refs)
            )
        return made

    def _another(self, schema: Value, made: list[Value], refs: _Refs) -> Value:
        """A value that is not in made: a later choice, a greater number, a numbered string."""
        for plain, seen in self._readings(schema, refs):
            if "enum" in plain:
                plain["enum"] = [value for value in plain["enum"] if value not in made]
            numbers = [value for value in made if isinstance(value, int | float)]
            if numbers:
                plain["exclusiveMinimum"] = max(numbers[-1], plain.get("exclusiveMinimum", -math.inf))
            for kind in _kinds(plain):
                text = f"{self.text}{len(made) + 1}" if made else self.text
                try:
                    value = _Fitter(self.root, text, self.turns)._made(kind, plain, seen)
                except _NoFit:
                    continue
                if value not in made:
                    return value
                if kind == "boolean" and True not in made:
                    return True
        raise _NoFit


def _kinds(schema: _Schema) -> list[str]:
    """The types to try, in order: those of `type`, else what the other keywords are about."""
    named = schema.get("type")
    if named is not None:
        return [named] if isinstance(named, str) else list(named)
    if "const" in schema or "enum" in schema:
        return ["any"]
    return [kind for kind, keywords in _GUESSES if any(keyword in schema for keyword in keywords)] or [
        "string"
    ]


def _is(kind: str, value: Value) -> bool:
    match kind:
        case "null":
            return value is None
        case "boolean":
            return isinstance(value, bool)
        case "integer":
            return isinstance(value, int | float) and not isinstance(value, bool) and value == int(value)
        case "number":
            return isinstance(value, int | float) and not isinstance(value, bool)
        case "string" | "array" | "object":
            return isinstance(value, {"string": str, "array": list, "object": dict}[kind])
    return True


def _merged(left: _Schema, right: _Schema) -> _Schema:
    """One schema that asks what both ask; neither has combining keywords on its top level."""
    both = {keyword: _both(keyword, left[keyword], right[keyword]) for keyword in left if keyword in right}
    return {**left, **right, **both}


def _both(keyword: str, left: Value, right: Value) -> Value:
    if keyword in _LOWER:
        return max(left, right)
    if keyword in _UPPER:
        return min(left, right)
    match keyword:
        case "type":
            rights = [right] if isinstance(right, str) else right
            lefts = [left] if isinstance(left, str) else left
            whole = ["integer"] if {"integer", "number"} <= {*lefts, *rights} else []
            return [kind for kind in lefts if kind in rights] or whole
        case "enum":
            return [value for value in left if value in right]
        case "required":
            return [*left, *(name for name in right if name not in left)]
        case "properties":
            return {**left, **right, **{n: {"allOf": [left[n], right[n]]} for n in left if n in right}}
        case "items" | "contains" | "additionalProperties":
            return {"allOf": [left, right]}
        case "multipleOf" if isinstance(left, int) and isinstance(right, int):
            return math.lcm(left, right)
    return right


def _property(schema: _Schema, name: str) -> Value:
    """The schema of one property: its own, that of the first pattern for its name, or that of the rest."""
    if name in schema.get("properties", {}):
        return schema["properties"][name]
    for pattern, found in schema.get("patternProperties", {}).items():
        if re.search(pattern, name):
            return found
    return schema.get("additionalProperties", True)


def _string(schema: _Schema, text: str) -> str:
    low, high = _capped(schema.get("minLength", 0)), schema.get("maxLength", math.inf)
    if "pattern" in schema:
        samples = (_sample(schema["pattern"], 0, extra)[0] for extra in range(low + 1))
        return _first(
            said
            for said in (text, *samples)
            if low <= len(said) <= high and re.search(schema["pattern"], said) is not None
        )
    said = _FORMATS.get(schema.get("format", ""), text)
    return said.ljust(low, "x")[: None if high == math.inf else int(high)]


def _number(schema: _Schema, *, whole: bool) -> int | float:
    low = max(schema.get("minimum", -math.inf), schema.get("exclusiveMinimum", -math.inf))
    high = min(schema.get("maximum", math.inf), schema.get("exclusiveMaximum", math.inf))
    steps = [step for step in (schema.get("multipleOf"), 1) if step]
    candidates: list[int | float] = [0]
    if low > 0:
        candidates += [low, *(math.ceil(low / step) * step for step in steps)]
        candidates += [math.floor(low / step) * step + step for step in steps]
    if high < 0:
        candidates += [high, *(math.floor(high / step) * step for step in steps)]
        candidates += [math.ceil(high / step) * step - step for step in steps]
    candidates += [end for end in (low, high, (low + high) / 2, low + 1) if math.isfinite(end)]
    candidates += [math.floor(low) + 1] if math.isfinite(low) else []
    return _first(
        int(number) if number == int(number) else number
        for number in candidates
        if _within(number, schema) and not (whole and number != int(number))
    )


def _within(number: float, schema: _Schema) -> bool:
    step = schema.get("multipleOf")
    return (
        schema.get("minimum", -math.inf) <= number <= schema.get("maximum", math.inf)
        and schema.get("exclusiveMinimum", -math.inf) < number < schema.get("exclusiveMaximum", math.inf)
        and (not step or number / step == int(number / step))
    )


def _sample(pattern: str, at: int, extra: int) -> tuple[str, int]:
    """Text that the pattern from at on matches, and where that ends: at a `)` or the end.

    Open counts are repeated extra times more than they must. Knows literals, escapes, classes,
    groups, alternatives (takes the first) and counts: what schemas use. Anything else gives text
    that does not match, so the caller has to look.
    """
    said = ""
    while at < len(pattern) and pattern[at] not in "|)":
        piece, at = _atom(pattern, at, extra)
        found = _TIMES.match(pattern, at)
        times = 1
        if found:
            at = found.end()
            least, most = found["low"], found["high"]
            times = int(least) if least else int(found[0][0] == "+")
            open_ended = not least or (found["to"] and not most)
            times += extra if open_ended and found[0][0] != "?" else 0
        said += piece * times
    if at < len(pattern) and pattern[at] == "|":
        at = _sample(pattern, at + 1, extra)[1]
    return said, at


_TIMES = re.compile(r"(?:[*+?]|\{(?P<low>\d+)(?P<to>,)?(?P<high>\d+)?\})\??")
_CLASS = re.compile(r"\[\^?\]?(?:\\.|[^\]\\])*\]|\\[dDwWsS]|\.")
_OPENING = re.compile(r"\((?:\?(?::|P?<\w+>))?")
_CHARACTERS = "a0A" + "".join(map(chr, range(0x20, 0x7F))) + "\té"


def _atom(pattern: str, at: int, extra: int) -> tuple[str, int]:
    """The text of one thing that can be repeated, and where it ends."""
    if opening := _OPENING.match(pattern, at):
        piece, at = _sample(pattern, opening.end(), extra)
        return piece, at + 1
    if one := _CLASS.match(pattern, at):
        return _first(c for c in _CHARACTERS if re.fullmatch(one[0], c)), one.end()
    if pattern[at] in "^$" or pattern[at : at + 2] in (r"\b", r"\B"):
        return "", at + (2 if pattern[at] == "\\" else 1)
    if pattern[at] == "\\" and at + 1 < len(pattern):
        return pattern[at + 1], at + 2
    return pattern[at], at + 1


def _first(values: Iterable[_T]) -> _T:
    for value in values:
        return value
    raise _NoFit


def _capped(count: int) -> int:
    if count > _MOST:
        raise _NoFit
    return count
