"""A request body in, its problems out: by the schema, and by the rules between fields.

Nearly every request is good, so generated code says yes first (accept.py, microseconds). Only what
it refuses goes to jsonschema with the same schema file: imported then, it has the last word and
gives the places, which are put into our own words here.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

from chatpipe.inputs import values
from chatpipe.schema import rules
from chatpipe.schema.accept import accepts

if TYPE_CHECKING:
    from jsonschema import Draft202012Validator
    from jsonschema.exceptions import ValidationError

# Not importlib.resources: that costs more at start-up than the whole check.
_SCHEMA = Path(__file__).with_name("request.schema.json")

_ARTICLES = {
    "null": "null",
    "boolean": "a boolean",
    "integer": "an integer",
    "number": "a number",
    "string": "a string",
    "array": "an array",
    "object": "an object",
}
_HINT_FOR_MISSING = {
    "model": "pass -m MODEL or set CHATPIPE_MODEL",
    "messages": "give a prompt, -u TEXT or --messages FILE",
    "role": "add one of developer, system, user, assistant, tool, function",
    "content": "add a string, or an array of parts",
    "tool_call_id": "add the id of the tool call that this answers",
    "type": "add it: it says which kind of thing this is",
    "arguments": "add the arguments as a JSON string",
    "url": "add the address, http(s): or data:",
}
_HINT_FOR_EMPTY = {
    "messages": "give a prompt, -u TEXT or --messages FILE",
    "content": "add a part, or write a string",
    "tools": "leave it out, or add one",
    "functions": "leave it out, or add one",
    "stop": "leave it out, or add one",
}
_HINT_FOR_TYPE = {
    "arguments": "write the arguments as a JSON string",
    "messages": "write an array of objects with role and content",
    "tools": "write an array, also for one tool",
}
_HINTS = {"type": _HINT_FOR_TYPE, "minItems": _HINT_FOR_EMPTY}


class Problem(NamedTuple):
    """One thing wrong in a request body.

    pointer is a JSON Pointer (RFC 6901), "" for the body itself; keyword that of JSON Schema, or
    the name of a rule; message goes on from the pointer ("is 5, not a string"), without a full
    stop; hint says what to do, and may be empty.
    """

    pointer: str
    keyword: str
    message: str
    hint: str
    severity: Literal["error", "warning"]


def check(body: object, *, strict: bool = False, without_model: bool = False) -> list[Problem]:
    """All problems of one request body at once, errors and warnings, in document order. Never raises.

    strict makes errors of warnings and of keys that no server is known to take. without_model: the
    model comes later, so its absence is no problem.
    """
    if without_model and isinstance(body, dict) and "model" not in body:
        body = {**body, "model": ""}
    problems = [] if accepts(body) else _refusals(body)
    if isinstance(body, dict):
        for rule, found in rules.broken(body, strict=strict):
            severity: Literal["error", "warning"] = (
                "warning" if rule.severity == "warning" and not strict else "error"
            )
            problems.append(
                Problem(found.pointer, rule.name, found.message, found.hint or rule.hint, severity)
            )
    if len(problems) > 1:
        problems.sort(key=lambda problem: _position(problem.pointer, body))
    return problems


def _refusals(body: object) -> list[Problem]:
    try:
        errors = list(_validator().iter_errors(body))
    except (RecursionError, ValueError):
        # jsonschema writes out the values it refuses: a thousand brackets or digits are too many
        return [Problem("", "type", "holds a value that is too deep or too long", "", "error")]
    # a set that keeps order: a key may be refused twice, for every role and for this one
    return list(dict.fromkeys(problem for error in errors for problem in _explain(error)))


@cache
def _validator() -> Draft202012Validator:
    from jsonschema import Draft202012Validator  # some 50 ms, which only refused requests pay

    return Draft202012Validator(values.loads(_SCHEMA.read_bytes()))


def _explain(error: ValidationError) -> Iterator[Problem]:
    """One problem, or for "required" one for each key that is missing."""
    path = list(error.absolute_path)
    pointer = rules.pointer_of(path)
    keyword = str(error.validator)
    limit: Any = error.validator_value
    value: Any = error.instance
    if keyword == "required":
        for key in limit:
            if key not in value:
                # Of a model, only the body's own has an option.
                hint = "add it" if key == "model" and path else _HINT_FOR_MISSING.get(key, f"add '{key}'")
                yield Problem(pointer, keyword, f"has no '{key}'", hint, "error")
        return
    message, hint = _WORDINGS.get(keyword, _other)(value, limit)
    hint = hint or _HINTS.get(keyword, {}).get(str(path[-1]) if path else "", "")
    yield Problem(pointer, keyword, message, hint, "error")


def _type(value: object, types: str | list[str]) -> tuple[str, str]:
    wanted = [types] if isinstance(types, str) else [name for name in types if name != "null"]
    hint = ""
    if isinstance(value, str) and _is_written(value, wanted):
        hint = f"write {value.strip()} without quotes"
    return f"is {_shown(value)}, not {_joined(_ARTICLES[name] for name in wanted)}", hint


def _is_written(text: str, types: list[str]) -> bool:
    """Whether text is a number or boolean in quotes, where that is wanted."""
    try:
        value = values.loads_exactly(text[:40].encode())
    except ValueError:
        return False
    if isinstance(value, bool):
        return "boolean" in types
    whole = isinstance(value, int) or (isinstance(value, float) and value.is_integer())
    return ("number" in types and isinstance(value, (int, float))) or ("integer" in types and whole)


def _enum(value: object, words: list[str | None]) -> tuple[str, str]:
    known = [word for word in words if word is not None]
    close = rules.nearest(value, frozenset(known), least=3) if isinstance(value, str) else None
    return f"is {_shown(value)}, not one of {', '.join(known)}", f"did you mean '{close}'?" if close else ""


def _minimum(value: object, limit: object) -> tuple[str, str]:
    return f"is {_shown(value)}, less than {limit}", ""


def _maximum(value: object, limit: object) -> tuple[str, str]:
    return f"is {_shown(value)}, more than {limit}", ""


def _min_length(value: str, limit: int) -> tuple[str, str]:
    return "is empty" if not value else f"has {len(value)} characters, at least {limit} needed", ""


def _max_length(value: str, limit: int) -> tuple[str, str]:
    return f"has {len(value)} characters, at most {limit} allowed", ""


def _min_items(value: list[object], limit: int) -> tuple[str, str]:
    return "is empty" if not value else f"has {len(value)} items, at least {limit} needed", ""


def _max_items(value: list[object], limit: int) -> tuple[str, str]:
    return f"has {len(value)} items, at most {limit} allowed", ""


def _other(value: object, limit: object) -> tuple[str, str]:
    return f"is {_shown(value)}, which the schema does not allow", ""


# What the schema file uses; a keyword that it does not use yet is worded by _other.
_WORDINGS: dict[str, Callable[[Any, Any], tuple[str, str]]] = {
    "type": _type,
    "enum": _enum,
    "minimum": _minimum,
    "maximum": _maximum,
    "minLength": _min_length,
    "maxLength": _max_length,
    "minItems": _min_items,
    "maxItems": _max_items,
}


def _shown(value: object) -> str:
    """The value if it is small, else what kind of thing it is."""
    if isinstance(value, str):
        return rules.shown(value)
    if isinstance(value, list):
        return "an array"
    if isinstance(value, dict):
        return "an object"
    if isinstance(value, int) and abs(value) >= 10**60:
        return "an integer of more than 60 digits"
    known = value is None or isinstance(value, (bool, int, float))
    return values.dumps(value).decode() if known else type(value).__name__


def _joined(words: Iterable[str]) -> str:
    *most, last = words
    return f"{', '.join(most)} or {last}" if most else last


def _position(pointer: str, body: object) -> list[int]:
    """Where pointer is in the document: the number of each step among its siblings, for sorting."""
    position: list[int] = []
    value: Any = body
    for token in pointer.split("/")[1:]:
        step = token.replace("~1", "/").replace("~0", "~")
        if isinstance(value, dict):
            position.append(list(value).index(step) if step in value else len(value))
            value = value.get(step)
        elif isinstance(value, list) and step.isdigit() and int(step) < len(value):
            position.append(int(step))
            value = value[int(step)]
    return position
