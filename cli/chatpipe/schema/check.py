"""A request body -> its problems, from the JSON schema and from the rules between fields.

Nearly every request is valid, so generated code (accept.py) answers first, in microseconds. Only a
body that it rejects goes to jsonschema, which is imported at that point and uses the same schema
file. jsonschema decides and supplies the pointers; this module writes the messages.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import cache, lru_cache
from typing import TYPE_CHECKING, Any, Literal

from chatpipe.errors import quantity
from chatpipe.inputs import values
from chatpipe.inputs.names import or_list
from chatpipe.inputs.place import pointer_of, pointer_steps
from chatpipe.named_tuple import NamedTuple
from chatpipe.schema import hints, rules
from chatpipe.schema.accept import (
    MemberChecks,
    accepts,
    accepts_beside_messages,
    checks_beside_messages,
)
from chatpipe.schema.key_rules import misspelt_keys
from chatpipe.schema.parameter_rules import USUAL_VALUES
from chatpipe.schema.phrases import ARTICLES, quote
from chatpipe.schema.rule import Breach, Rule, message_traits
from chatpipe.system.package_data import read_package_data

if TYPE_CHECKING:
    from jsonschema import Draft202012Validator
    from jsonschema.exceptions import ValidationError


class Problem(NamedTuple):
    """One error or warning about a request body.

    pointer is a JSON Pointer (RFC 6901), "" for the body itself. keyword is the JSON Schema keyword
    or the name of a rule. message continues the sentence that the pointer begins ("is 5, not a
    string") and has no full stop. hint says what to do in the text of the body, and may be empty;
    schema/refuse.py says what to do on the command line.
    """

    pointer: str
    keyword: str
    message: str
    hint: str = ""
    severity: Literal["error", "warning"] = "error"


def check(body: object, *, strict: bool = False, without_model: bool = False) -> list[Problem]:
    """All errors and warnings of one request body, in document order. Never raises.

    strict turns warnings into errors, and also reports keys that no known server accepts. without_model
    accepts a missing model, because the caller adds it later.
    """
    if without_model and isinstance(body, dict) and "model" not in body:
        body = {**body, "model": "later"}
    if not isinstance(body, dict):
        return _schema_problems(body)
    is_plain = rules.are_plain(body.get("messages"))
    if not is_plain and "messages" not in body and (other := _other_kind(body) or _misspelt_prompt(body)):
        return [other]
    checks, relevant_rules = _checks_for(tuple(body), is_plain, strict)
    problems: list[Problem] = []
    if checks is None or not accepts_beside_messages(body, checks):
        traits = None if is_plain else message_traits(body.get("messages"))
        relevant_rules = rules.rules_for(tuple(body), traits, strict)
        if not accepts(body):
            problems = _schema_problems(body)
    for rule in relevant_rules:
        if breaches := rule.check(body):
            problems += _rule_problems(rule, breaches, strict=strict)
    return problems if len(problems) < 2 else _in_document_order(problems, body)


def are_valid(bodies: Sequence[dict[str, Any]], *, strict: bool = False) -> bool:
    """True for bodies with the same keys, plain messages and no problem, as most bodies of a run.

    For many bodies it takes a part of the time of check(), which may find no problem either if this is
    False.
    """
    key_lists = {*map(tuple, bodies)}
    if len(key_lists) != 1 or not rules.are_all_plain([body.get("messages") for body in bodies]):
        return False
    checks, relevant_rules = _checks_for(key_lists.pop(), True, strict)
    if checks is None:
        return False
    for key, accept in checks:
        values_of_key: Iterable[Any] = [body[key] for body in bodies]
        if {*map(type, values_of_key)} == {str}:  # most are the same name of a model
            values_of_key = set(values_of_key)
        if not all(map(accept, values_of_key)):
            return False
    return not any(breach for rule in relevant_rules for body in bodies for breach in rule.check(body))


@lru_cache(maxsize=64)  # most lines of a run have the same keys
def _checks_for(
    keys: tuple[str, ...], is_plain: bool, strict: bool
) -> tuple[MemberChecks | None, tuple[Rule, ...]]:
    """The checks of the members other than plain messages, and the rules for a body that passes them.

    None if only the whole schema decides.
    """
    checks = checks_beside_messages(keys) if is_plain else None
    if checks is None:
        return None, ()
    checks = tuple((key, USUAL_VALUES.get(key, accept)) for key, accept in checks)
    return checks, rules.rules_for_usual_values(keys, strict)


def _rule_problems(rule: Rule, breaches: Iterable[Breach], *, strict: bool) -> Iterator[Problem]:
    is_warning = rule.severity == "warning" and not strict
    severity: Literal["error", "warning"] = "warning" if is_warning else "error"
    for breach in breaches:
        yield Problem(breach.pointer, rule.name, breach.message, breach.hint or rule.hint, severity)


def _other_kind(body: dict[str, Any]) -> Problem | None:
    """The problem of an object that is no request at all, such as an answer; None if it may be one."""
    from chatpipe.inputs.other_objects import no_request  # for errors only

    other = no_request(body, may_be_line=True)
    return other and Problem("", "required", f"is {other.what}", other.fix)


def _misspelt_prompt(body: dict[str, Any]) -> Problem | None:
    """The problem of a row whose prompt has a misspelt name. What else it lacks follows from that."""
    for breach in misspelt_keys(body):
        if breach.hint == "did you mean 'prompt'?":
            return Problem(breach.pointer, "unknown-key", breach.message, breach.hint)
    return None


def _schema_problems(body: object) -> list[Problem]:
    try:
        errors = list(_validator().iter_errors(body))
    except (RecursionError, ValueError):
        # jsonschema formats every value it rejects, which fails on about 1,000 brackets or digits
        return [Problem("", "type", "holds a value that is too deep or too long")]
    # An ordered set: a key may be rejected twice, once for every role and once for this one.
    return list(dict.fromkeys(problem for error in errors for problem in _explain(error)))


@cache
def _validator() -> Draft202012Validator:
    from jsonschema import Draft202012Validator  # about 50 ms, which only rejected requests pay

    return Draft202012Validator(values.loads(read_package_data(__name__, "request.schema.json")))


def _explain(error: ValidationError) -> Iterator[Problem]:
    """One problem for each error, and for "required" one for each missing key."""
    path = list(error.absolute_path)
    pointer = pointer_of(path)
    keyword = str(error.validator)
    # Each number with a limit has two of them: the message names both.
    limit: Any = error.schema if keyword in ("minimum", "maximum") else error.validator_value
    value: Any = error.instance
    if keyword == "required":
        for key in limit:
            if key not in value:
                yield Problem(pointer, keyword, f"has no '{key}'", hints.for_missing(key, path, value))
        return
    message, hint = _MESSAGES.get(keyword, _other)(value, limit)
    yield Problem(pointer, keyword, message, hint or hints.for_value(error))


def _type(value: object, types: str | list[str]) -> tuple[str, str]:
    expected = [types] if isinstance(types, str) else [name for name in types if name != "null"]
    hint = ""
    if isinstance(value, str) and _is_quoted(value, expected):
        hint = f"write {value.strip()} without quotes"
    return f"is {_summary(value)}, not {or_list(ARTICLES[name] for name in expected)}", hint


def _is_quoted(text: str, types: list[str]) -> bool:
    """Return True if text reads as a number or boolean of one of types, so only the quotes are wrong."""
    try:
        value = values.loads_strict(text[:40].encode())
    except ValueError:
        return False
    if isinstance(value, bool):
        return "boolean" in types
    whole = isinstance(value, int) or (isinstance(value, float) and value.is_integer())
    return ("number" in types and isinstance(value, (int, float))) or ("integer" in types and whole)


def _enum(value: object, words: list[str | None]) -> tuple[str, str]:
    allowed = [word for word in words if word is not None]
    hint = hints.for_word(value, allowed) if isinstance(value, str) else ""
    return f"is {_summary(value)}, not one of {', '.join(allowed)}", hint


def _range(value: object, limits: dict[str, int]) -> tuple[str, str]:
    return f"is {_summary(value)}, not from {limits['minimum']} to {limits['maximum']}", ""


def _size(unit: str, relation: str) -> Callable[[Any, int], tuple[str, str]]:
    return lambda value, limit: (f"has {quantity(len(value), unit)}, {relation.format(limit)}", "")


def _least_size(unit: str) -> Callable[[Any, int], tuple[str, str]]:
    describe = _size(unit, "at least {} needed")
    return lambda value, limit: describe(value, limit) if value else ("is empty", "")


def _other(value: object, limit: object) -> tuple[str, str]:
    return f"is {_summary(value)}, which the schema does not allow", ""


# The keywords that the schema file uses. _other covers any keyword that it does not use yet.
_MESSAGES: dict[str, Callable[[Any, Any], tuple[str, str]]] = {
    "type": _type,
    "enum": _enum,
    "minimum": _range,
    "maximum": _range,
    "minLength": _least_size("character"),
    "maxLength": _size("character", "at most {} allowed"),
    "minItems": _least_size("item"),
    "maxItems": _size("item", "at most {} allowed"),
}
SCHEMA_KEYWORDS = frozenset(("required", *_MESSAGES))


def _summary(value: object) -> str:
    """The value itself if it is small, otherwise its type."""
    if isinstance(value, str):
        return quote(value)
    if isinstance(value, list):
        return "an array"
    if isinstance(value, dict):
        return "an object"
    if isinstance(value, int) and abs(value) >= 10**60:
        return "an integer of more than 60 digits"
    is_plain = value is None or isinstance(value, (bool, int, float))
    return values.dumps(value).decode() if is_plain else type(value).__name__


def _in_document_order(problems: list[Problem], body: object) -> list[Problem]:
    return sorted(problems, key=lambda problem: _document_order(problem.pointer, body))


def _document_order(pointer: str, body: object) -> list[int]:
    """Sort key for document order: the index of each step of pointer among its siblings."""
    position: list[int] = []
    value: Any = body
    for step in pointer_steps(pointer):
        if isinstance(value, dict):
            position.append(list(value).index(step) if step in value else len(value))
            value = value.get(step)
        elif isinstance(value, list) and step.isdigit() and int(step) < len(value):
            position.append(int(step))
            value = value[int(step)]
    return position
