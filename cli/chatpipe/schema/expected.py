"""The schema of `--schema` and an answer -> the answer's value, or the first thing that violates the schema.

This module imports jsonschema, so the program imports it only when there is a schema.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterator
from fractions import Fraction
from typing import Any

from jsonschema import ValidationError, validators
from referencing import Registry

from chatpipe.inputs import values
from chatpipe.inputs.parts import text_of
from chatpipe.inputs.values import NotJSON, Value, json_type
from chatpipe.named_tuple import NamedTuple
from chatpipe.schema import explain, json_schema
from chatpipe.system.cpu_time import CpuTimeExceeded, limit_cpu_time

# CPU seconds for the check of one answer: this much, and more for a long one, up to a maximum. An honest
# check takes a second for 400 kB. A pattern such as `^(a+)+$`, or references that branch at every level, may
# take years.
_CHECK_S = 2.0
_CHECK_S_PER_CHARACTER = 1e-5
_CHECK_MAX_S = 10.0


class Violation(NamedTuple):
    """One reason why an answer does not fit. pointer is a JSON Pointer into its value, "" for the whole."""

    pointer: str
    what: str

    def __str__(self) -> str:
        return f"{self.pointer}: {self.what}" if self.pointer else self.what


class AnswerSchema:
    """A schema that answers must satisfy. `format` is only an annotation, as the drafts define it."""

    def __init__(self, schema: dict[str, Any], place: Callable[[str], str]) -> None:
        """Raise BadInput if the schema is invalid under its draft. place maps a pointer to `file:line`."""
        draft = json_schema.validator_class(schema, place)
        # $schema is removed: with it, jsonschema would switch from our class back to the draft's own.
        plain = {key: value for key, value in schema.items() if key != "$schema"}
        overrides = {name: check for name, check in _OVERRIDES.items() if name in draft.VALIDATORS}
        self._schema = schema
        extended = validators.extend(draft, overrides)  # type: ignore[no-untyped-call]  # of the stubs
        self._validator = extended(plain, registry=Registry())  # it never retrieves anything
        self._too_slow: tuple[Value, Violation] | None = None  # the last content that took too long

    def __reduce__(self) -> tuple[type[AnswerSchema], tuple[dict[str, Any], Callable[[str], str]]]:
        """Pickle the schema alone: its validator is a class that was made at run time.

        It has been found valid, so the copy never needs a place.
        """
        return AnswerSchema, (self._schema, str)

    def violation(self, content: Value) -> Violation | None:
        """The reason why the content of a message does not fit, or None if it fits. Never raises.

        A content whose check takes too much CPU time does not fit.
        """
        if self._too_slow is not None and self._too_slow[0] == content:
            return self._too_slow[1]  # an answer is checked again when it is written
        text = text_of(content)
        if not text and not isinstance(content, str):
            return Violation("", f"its content is {json_type(content)}, not text")
        seconds = min(_CHECK_S + len(text or "") * _CHECK_S_PER_CHARACTER, _CHECK_MAX_S)
        try:
            return limit_cpu_time(seconds, lambda: self._violation(text or ""))
        except CpuTimeExceeded:
            what = f"its check takes longer than {seconds:.2g} s, a simpler pattern or schema may help"
            violation = Violation("", what)
            self._too_slow = (content, violation)
            return violation

    def _violation(self, text: str) -> Violation | None:
        try:
            value = _parse(text)
            if self._validator.is_valid(value):
                return None
            return Violation(*explain.explain(self._validator.iter_errors(value)))
        except NotJSON as error:
            return Violation("", f"it is not JSON ({_json_fault(error, text)})")
        except (RecursionError, ArithmeticError, ValueError):
            # jsonschema formats every value it rejects, which fails on about 1,000 brackets or digits
            return Violation("", "it holds a value that is too deep or too long")
        except TypeError:
            # A bug in jsonschema, as of 4.26: 'unevaluatedItems' of 2019-09 next to 'items': true
            return Violation("", "the schema cannot be applied")

    def value(self, content: Value) -> Value:
        """The value of an answer that fits. Raises NotJSON if the answer is not JSON."""
        return _parse(text_of(content) or "")


def _parse(text: str) -> Value:
    # UTF-8 cannot encode a lone surrogate, but JSON has an escape for it.
    return values.loads_strict(text.encode("utf-8", "backslashreplace"))


def _json_fault(error: NotJSON, text: str) -> str:
    if text.lstrip().startswith("```"):
        return "it is in a Markdown fence"
    return f"{error.what} at line {error.line}, column {error.column}"


def _multiple_of(
    validator: Any, divisor: float, instance: Value, schema: object
) -> Iterator[ValidationError]:
    """Check `multipleOf` in decimal, as both numbers are written: in binary 19.99 is no multiple of 0.01."""
    if validator.is_type(instance, "number"):
        quotient = Fraction(str(instance)) / Fraction(str(divisor))
        if quotient.denominator != 1:
            yield ValidationError("is not a multiple")


def _unique_items(validator: Any, wanted: bool, instance: Value, schema: object) -> Iterator[ValidationError]:
    """Check `uniqueItems` in linear time: jsonschema compares each pair of objects."""
    if wanted and validator.is_type(instance, "array"):
        seen: set[Hashable] = set()
        for item in instance:
            key = _identity(item)
            if key in seen:
                yield ValidationError("has two equal items")
                return
            seen.add(key)


def _identity(value: Value) -> Hashable:
    """A key that two JSON values share if and only if they are equal: 1 equals 1.0, and not true."""
    if isinstance(value, dict):
        return frozenset((name, _identity(each)) for name, each in value.items())
    if isinstance(value, list):
        return tuple(map(_identity, value))
    return (bool, value) if isinstance(value, bool) else value


# Keywords whose check by jsonschema is wrong, or quadratic.
_OVERRIDES = {"multipleOf": _multiple_of, "uniqueItems": _unique_items}
