"""The schema of `--schema` and an answer -> the value in it, or what about it does not fit.

jsonschema is imported with this module, which nothing imports unless there is a schema.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from fractions import Fraction
from typing import Any, NamedTuple

from jsonschema import ValidationError, validators
from referencing import Registry

from chatpipe.inputs import values
from chatpipe.inputs.messages import kind
from chatpipe.inputs.values import NotJSON, Value
from chatpipe.schema import resolve, wording


class Violation(NamedTuple):
    """What about an answer does not fit. pointer leads into its value, "" to all of it."""

    pointer: str
    what: str

    def __str__(self) -> str:
        return f"{self.pointer}: {self.what}" if self.pointer else self.what


class Expected:
    """A schema that answers are held to. `format` is an annotation in it, as the drafts have it."""

    def __init__(self, schema: dict[str, Any], place: Callable[[str], str]) -> None:
        """Raises BadInput for what is no schema of its draft; place gives the `file:line` of a pointer."""
        draft = resolve.checked(schema, place)
        # Without its $schema, which would lead jsonschema back from our class to the draft's.
        plain = {key: value for key, value in schema.items() if key != "$schema"}
        exact = {"multipleOf": _multiple_of} if "multipleOf" in draft.VALIDATORS else {}
        extended = validators.extend(draft, exact)  # type: ignore[no-untyped-call]  # of the stubs
        self._validator = extended(plain, registry=Registry())  # one that retrieves nothing

    def violation(self, content: Value) -> Violation | None:
        """Why the content of a message is no answer; None when it fits. Never raises."""
        text = _text(content)
        if text is None:
            return Violation("", f"its content is {kind(content)}, not text")
        try:
            value = _parsed(text)
            if self._validator.is_valid(value):
                return None
            return Violation(*wording.told(self._validator.iter_errors(value)))
        except NotJSON as error:
            return Violation("", f"it is not JSON ({_why(error, text)})")
        except (RecursionError, ArithmeticError, ValueError):
            # jsonschema writes out the values it refuses: a thousand brackets or digits are too many
            return Violation("", "it holds a value that is too deep or too long")
        except TypeError as error:
            # jsonschema's own, as of 4.26: 'unevaluatedItems' of 2019-09 beside 'items': true
            return Violation("", f"the schema cannot be applied ({error})")

    def value(self, content: Value) -> Value:
        """The value of an answer that fits. Raises NotJSON for one without JSON."""
        return _parsed(_text(content) or "")


def _text(content: Value) -> str | None:
    """The text of a message, that of its parts joined as it is in every format; None when there is none."""
    if not isinstance(content, list):
        return content if isinstance(content, str) else None
    parts = [part.get("text") for part in content if isinstance(part, dict)]
    texts = [text for text in parts if isinstance(text, str)]
    return "".join(texts) if texts else None


def _parsed(text: str) -> Value:
    # A lone surrogate has no bytes in UTF-8, but JSON has an escape for it.
    return values.loads_exactly(text.encode("utf-8", "backslashreplace"))


def _why(error: NotJSON, text: str) -> str:
    if text.lstrip().startswith("```"):
        return "it is in a Markdown fence"
    return f"{error.what} at line {error.line}, column {error.column}"


def _multiple_of(
    validator: Any, divisor: float, instance: Value, schema: object
) -> Iterator[ValidationError]:
    """In decimal, as both numbers are written: in binary 19.99 is no multiple of 0.01."""
    if validator.is_type(instance, "number"):
        quotient = Fraction(str(instance)) / Fraction(str(divisor))
        if quotient.denominator != 1:
            yield ValidationError("is not a multiple")
