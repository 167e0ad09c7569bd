"""A JSON Schema -> one value that fits it, always the same one.

$ref, allOf, anyOf and oneOf are resolved first, and the first branch is tried first. A branch that
leads back into a $ref that is already being filled is dropped for the next one, so a linked list
ends in its null. Objects get only their required properties, numbers are as close to 0 as the schema
allows, and an unconstrained string is the given text.
Ignored: not, if, dependentSchemas, propertyNames, unevaluated*, and the rule that only one oneOf
branch may match (the value for the first may fit another branch too).
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import chain
from typing import Any, TypeVar

from chatpipe.inputs.place import pointer_steps
from chatpipe.inputs.values import Value, dumps
from chatpipe.system.cpu_time import CpuTimeExceeded, limit_cpu_time

_Schema = dict[str, Any]
_T = TypeVar("_T")
_Refs = tuple[str, ...]  # the $refs followed to get here, outermost first

_COMBINING = frozenset(("$ref", "allOf", "anyOf", "oneOf"))
_LOWER = frozenset(("minimum", "exclusiveMinimum", "minLength", "minItems", "minProperties", "minContains"))
_UPPER = frozenset(("maximum", "exclusiveMaximum", "maxLength", "maxItems", "maxProperties"))
_TYPE_HINTS = (
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
_MAX_COUNT = 10_000  # characters, items, properties: a larger minimum would fill the memory
# Work for one value, in characters: a few $refs can ask for more values than any memory holds.
_MOST_WORK = 4_000_000
_WORK_OF_A_VALUE = 20
# CPU seconds for one value. What the work counts takes less. A search for a pattern such as `^(a+)+$` may
# take years, lists of thousands of names or values many seconds, and a server answers nobody meanwhile.
_MOST_S = 2.0
_USUAL_BYTES = 10_000  # of a schema; one without a pattern takes less than that


class _NoFit(Exception):
    """No value fits on this path; another branch may have one."""


class _TooMuch(Exception):
    """The value, or the search for it, is too large."""


class _Work:
    """The work that is left, in characters. The same schema always takes the same work."""

    def __init__(self, left: int) -> None:
        self._left = left

    def spend(self, characters: int) -> None:
        """Raises _TooMuch."""
        self._left -= characters
        if self._left < 0:
            raise _TooMuch


def sample_value(schema: Value, text: str = "") -> Value:
    """A value that fits schema, or None if none is found, or not in time. Never raises.

    text is the value of unconstrained strings.
    """
    if not _may_take_long(schema):  # the timer costs as much as a usual value
        return _fitting_value(schema, text)
    try:
        return limit_cpu_time(_MOST_S, lambda: _fitting_value(schema, text))
    except CpuTimeExceeded:
        return None


def _may_take_long(schema: Value) -> bool:
    try:
        data = dumps(schema)
        return len(data) > _USUAL_BYTES or b'"pattern' in data
    except (RecursionError, TypeError, ValueError):  # nested deeper than JSON can be written
        return True


def _fitting_value(schema: Value, text: str) -> Value:
    work = _Work(_MOST_WORK + len(text))
    for repeats in (1, 3):  # a repeated $ref is usually a loop, but may be a plain type used twice
        try:
            return _Fitter(schema, text, repeats, work).value(schema, ())
        except _NoFit:
            continue
        except (
            _TooMuch,
            ArithmeticError,
            AttributeError,
            LookupError,
            RecursionError,
            TypeError,
            ValueError,
            re.error,
        ):
            return None  # not a valid schema: {"minimum": "low"}, or a pattern that is no regex
    return None


class _TakenItems:
    """The items of an array whose items are unique. last_number is the last number among them."""

    def __init__(self) -> None:
        self.last_number = -math.inf
        self._keys: set[bytes] = set()

    def __len__(self) -> int:
        return len(self._keys)

    def __contains__(self, value: Value) -> bool:
        return self._key(value) in self._keys

    def add(self, value: Value) -> Value:
        """Add a value, and return it."""
        self._keys.add(self._key(value))
        if isinstance(value, int | float):
            self.last_number = value
        return value

    def _key(self, value: Value) -> bytes:
        """The text of the value, which is the same for 1 and 1.0."""
        return dumps(int(value) if isinstance(value, float) and value.is_integer() else value)


@dataclass(frozen=True, slots=True)
class _Fitter:
    """The search for a value.

    root is the document that $refs point into. text is the value of unconstrained strings. max_repeats
    limits how often the same $ref may occur on a path.
    """

    root: Value
    text: str
    max_repeats: int
    work: _Work

    def value(self, schema: Value, refs: _Refs) -> Value:
        self.work.spend(_WORK_OF_A_VALUE + len(refs))
        for plain, followed in self._resolved(schema, refs):
            for kind in _kinds(plain):
                try:
                    return self._value_of_type(kind, plain, followed)
                except _NoFit:
                    continue
        raise _NoFit

    def _resolved(self, schema: Value, refs: _Refs) -> Iterator[tuple[_Schema, _Refs]]:
        """All equivalents of schema without combining keywords, one for each choice of branches.

        Each comes with the $refs that it followed.
        """
        if schema is False:
            return
        if schema is True:
            schema = {}
        choices = [[part] for part in schema.get("allOf", ())]
        choices += [schema[keyword] for keyword in ("anyOf", "oneOf") if keyword in schema]
        if "$ref" in schema:
            ref = schema["$ref"]
            if refs.count(ref) >= self.max_repeats:
                return
            refs = (*refs, ref)
            choices.insert(0, [self._target(ref)])
        plain = {keyword: value for keyword, value in schema.items() if keyword not in _COMBINING}
        yield from self._combined(plain, choices, refs)

    def _combined(
        self, plain: _Schema, choices: list[list[Value]], refs: _Refs
    ) -> Iterator[tuple[_Schema, _Refs]]:
        self.work.spend(_WORK_OF_A_VALUE + len(plain))
        if not choices:
            yield plain, refs
            return
        for branch in choices[0]:
            for branch_schema, followed in self._resolved(branch, refs):
                yield from self._combined(_merged(plain, branch_schema), choices[1:], followed)

    def _target(self, ref: str) -> Value:
        """The schema at a JSON Pointer fragment (`#`, `#/$defs/name`). Raises _NoFit for any other $ref."""
        if ref != "#" and not ref.startswith("#/"):
            raise _NoFit
        found = self.root
        for key in pointer_steps(ref):
            found = found[int(key)] if isinstance(found, list) else found[key]
        return found

    def _value_of_type(self, kind: str, schema: _Schema, refs: _Refs) -> Value:
        if "const" in schema or "enum" in schema:
            choices = [schema["const"]] if "const" in schema else schema["enum"]
            chosen = _first(value for value in choices if _has_type(kind, value))
            self.work.spend(len(dumps(chosen)))
            return chosen
        match kind:
            case "object":
                return self._object(schema, refs)
            case "array":
                return self._array(schema, refs)
            case "string":
                return _string(schema, self.text, self.work)
            case "number" | "integer":
                return _number(schema, whole=kind == "integer")
            case "boolean":
                return False
        return None

    def _object(self, schema: _Schema, refs: _Refs) -> dict[str, Value]:
        properties = schema.get("properties", {})
        names = list(schema.get("required", ()))
        wanted = set(names)
        for name in names:  # grows during the loop: a dependent property may have dependents of its own
            more = [each for each in schema.get("dependentRequired", {}).get(name, ()) if each not in wanted]
            names += more
            wanted.update(more)
        count = _capped(schema.get("minProperties", 0))
        spare = [*(name for name in properties if name not in wanted), *(f"key{n + 1}" for n in range(count))]
        names += spare[: max(0, count - len(names))]
        wanted.update(names)
        in_order = [name for name in properties if name in wanted]
        in_order += [name for name in names if name not in properties]
        return {name: self.value(_property(schema, name), refs) for name in in_order}

    def _array(self, schema: _Schema, refs: _Refs) -> list[Value]:
        contains = schema.get("contains")
        contained = 0 if contains is None else schema.get("minContains", 1)
        remainder = schema.get("items", True)
        prefix = schema.get("prefixItems", [])
        if isinstance(remainder, list):  # the form of prefixItems in draft 7
            prefix, remainder = remainder, schema.get("additionalItems", True)
        items: list[Value] = []
        taken = _TakenItems()
        for index in range(_capped(max(schema.get("minItems", 0), contained))):
            item = prefix[index] if index < len(prefix) else remainder
            if index < contained:
                item = {"allOf": [item, contains]}
            items.append(
                taken.add(self._distinct(item, taken, refs))
                if schema.get("uniqueItems")
                else self.value(item, refs)
            )
        return items

    def _distinct(self, schema: Value, taken: _TakenItems, refs: _Refs) -> Value:
        """A value that is not taken yet: a later branch, a greater number, a numbered string."""
        for plain, followed in self._resolved(schema, refs):
            if "enum" in plain:
                self.work.spend(len(plain["enum"]))
                plain["enum"] = [value for value in plain["enum"] if value not in taken]
            if taken.last_number > -math.inf:
                plain["exclusiveMinimum"] = max(taken.last_number, plain.get("exclusiveMinimum", -math.inf))
            for kind in _kinds(plain):
                text = f"{self.text}{len(taken) + 1}" if taken else self.text
                try:
                    value = _Fitter(self.root, text, self.max_repeats, self.work)._value_of_type(
                        kind, plain, followed
                    )
                except _NoFit:
                    continue
                if value not in taken:
                    return value
                if kind == "boolean" and True not in taken:
                    return True
        raise _NoFit


def _kinds(schema: _Schema) -> list[str]:
    """The types to try, in order: those of `type`, otherwise those that the other keywords imply."""
    named = schema.get("type")
    if named is not None:
        return [named] if isinstance(named, str) else list(named)
    if "const" in schema or "enum" in schema:
        return ["any"]
    return [kind for kind, keywords in _TYPE_HINTS if any(keyword in schema for keyword in keywords)] or [
        "string"
    ]


def _has_type(kind: str, value: Value) -> bool:
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
    """One schema that requires what both require. Neither has combining keywords at its top level."""
    both = {
        keyword: _both_values(keyword, left[keyword], right[keyword]) for keyword in left if keyword in right
    }
    return {**left, **right, **both}


def _both_values(keyword: str, left: Value, right: Value) -> Value:
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
            return list(dict.fromkeys([*left, *right]))
        case "properties":
            return {**left, **right, **{n: {"allOf": [left[n], right[n]]} for n in left if n in right}}
        case "items" | "contains" | "additionalProperties":
            return {"allOf": [left, right]}
        case "multipleOf" if isinstance(left, int) and isinstance(right, int):
            return math.lcm(left, right)
    return right


def _property(schema: _Schema, name: str) -> Value:
    """The schema of one property: its own, or of the first matching pattern, or additionalProperties."""
    if name in schema.get("properties", {}):
        return schema["properties"][name]
    for pattern, found in schema.get("patternProperties", {}).items():
        if re.search(pattern, name):
            return found
    return schema.get("additionalProperties", True)


def _string(schema: _Schema, text: str, work: _Work) -> str:
    low, high = _capped(schema.get("minLength", 0)), schema.get("maxLength", math.inf)
    if "pattern" in schema:
        samples = (_sample(schema["pattern"], 0, extra)[0] for extra in range(low + 1))
        return _first(
            candidate
            for candidate in _counted(chain((text,), samples), len(schema["pattern"]), work)
            if low <= len(candidate) <= high and re.search(schema["pattern"], candidate) is not None
        )
    candidate = _FORMATS.get(schema.get("format", ""), text)
    work.spend(max(low, len(candidate)))
    return candidate.ljust(low, "x")[: None if high == math.inf else int(high)]


def _counted(candidates: Iterable[str], pattern_size: int, work: _Work) -> Iterator[str]:
    for candidate in candidates:
        work.spend(pattern_size + len(candidate))
        yield candidate


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
        if _satisfies(number, schema) and not (whole and number != int(number))
    )


def _satisfies(number: float, schema: _Schema) -> bool:
    step = schema.get("multipleOf")
    return (
        schema.get("minimum", -math.inf) <= number <= schema.get("maximum", math.inf)
        and schema.get("exclusiveMinimum", -math.inf) < number < schema.get("exclusiveMaximum", math.inf)
        and (not step or number / step == int(number / step))
    )


def _sample(pattern: str, index: int, extra: int) -> tuple[str, int]:
    """Text that matches the pattern from index on, and the index where parsing stopped: a `)` or the end.

    An open-ended repetition gets extra repetitions beyond its minimum. Supported are the constructs
    that schemas use: literals, escapes, classes, groups, alternatives (the first one) and repetitions.
    Anything else gives text that may not match, so the caller must check it.
    """
    text = ""
    while index < len(pattern) and pattern[index] not in "|)":
        piece, index = _atom(pattern, index, extra)
        repetition = _REPETITION.match(pattern, index)
        times = 1
        if repetition:
            index = repetition.end()
            low, high = repetition["low"], repetition["high"]
            times = int(low) if low else int(repetition[0][0] == "+")
            open_ended = not low or (repetition["to"] and not high)
            times += extra if open_ended and repetition[0][0] != "?" else 0
        _capped(len(text) + len(piece) * times)
        text += piece * times
    if index < len(pattern) and pattern[index] == "|":
        index = _sample(pattern, index + 1, extra)[1]
    return text, index


_REPETITION = re.compile(r"(?:[*+?]|\{(?P<low>\d+)(?P<to>,)?(?P<high>\d+)?\})\??")
_CLASS = re.compile(r"\[\^?\]?(?:\\.|[^\]\\])*\]|\\[dDwWsS]|\.")
_OPENING = re.compile(r"\((?:\?(?::|P?<\w+>))?")
_CHARACTERS = "a0A" + "".join(map(chr, range(0x20, 0x7F))) + "\té"


def _atom(pattern: str, index: int, extra: int) -> tuple[str, int]:
    """Text for one repeatable unit of the pattern, and the index after the unit."""
    if opening := _OPENING.match(pattern, index):
        piece, index = _sample(pattern, opening.end(), extra)
        return piece, index + 1
    if one := _CLASS.match(pattern, index):
        return _first(c for c in _CHARACTERS if re.fullmatch(one[0], c)), one.end()
    if pattern[index] in "^$" or pattern[index : index + 2] in (r"\b", r"\B"):
        return "", index + (2 if pattern[index] == "\\" else 1)
    if pattern[index] == "\\" and index + 1 < len(pattern):
        return pattern[index + 1], index + 2
    return pattern[index], index + 1


def _first(values: Iterable[_T]) -> _T:
    for value in values:
        return value
    raise _NoFit


def _capped(count: int) -> int:
    if count > _MAX_COUNT:
        raise _NoFit
    return count
