"""`--fault KIND[=VALUE][:CONDITION]...` -> a rule. Pure.

status=429,retry_after=2:times=2     the first two requests of each body
cut:every=3:of=all                   each third request
stall=30s:p=0.1                      one in ten, by the seed
garbage:after=1:match=the words      from the second on, if a message has these words
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any

from chatpipe.named_tuple import NamedTuple
from chatpipe.options.serve import FaultRule, FaultValue, StatusValue
from chatpipe.response.delays import parse_duration, parse_number

_LONGEST_S = 86_400.0
TOOL_FAULTS = ("bad-json", "unknown", "missing-index")


class NoFault(ValueError):
    """A text that is no fault. Its words are for the user."""


def parse_fault(text: str) -> FaultRule:
    """The rule of a text. Raises NoFault."""
    head, _, rest = text.partition(":")
    kind, equals, value = head.partition("=")
    if kind not in KINDS:
        raise NoFault(_no_kind(head, kind))
    needs_value, parse, example = KINDS[kind]
    if needs_value and not equals:
        raise NoFault(f"{kind} needs a value, such as {kind}={example}")
    if equals and parse is None:
        raise NoFault(f"{kind} takes no value")
    parsed = parse(value) if equals and parse is not None else None
    if equals and parsed is None:
        raise NoFault(f"'{value}' is no value of {kind}, such as {kind}={example}")
    return FaultRule(kind, parsed, **_conditions(rest))


def _no_kind(head: str, kind: str) -> str:
    from chatpipe.inputs.names import nearest  # for a wrong word only

    meant = f"status={head}" if _status(head) is not None else nearest(kind, frozenset(KINDS), least=3)
    hint = f"did you mean {meant}?" if meant else f"use one of {', '.join(KINDS)}"
    return f"'{kind}' is no kind of fault: {hint}"


def _conditions(rest: str) -> dict[str, Any]:
    """The fields of a rule that its conditions set."""
    found: dict[str, Any] = {}
    while rest:
        name = rest.partition("=")[0]
        if name in ("match", "model"):  # the last one: it may have colons
            found[name] = _pattern(name, rest[len(name) + 1 :])
            break
        each, _, rest = rest.partition(":")
        field, value = _condition(each)
        if field in found:
            raise NoFault(f"'{name}' twice")
        found[field] = value
    return found


def _condition(text: str) -> tuple[str, object]:
    """The field of a rule and its value."""
    name, _, value = text.partition("=")
    number = parse_number(value)
    match name:
        case "times" | "after" | "every" if value.isdecimal() and value.isascii() and len(value) < 10:
            if int(value) >= (0 if name == "after" else 1):
                return name, int(value)
        case "p" if number is not None and 0 < number <= 1:
            return "chance", number
        case "of" if value in ("all", "body"):
            return "of_all", value == "all"
    conditions = "times=N, after=N, every=N, p=0.1, of=all, match=TEXT or model=PATTERN"
    raise NoFault(f"'{text}' is no condition: use {conditions}")


def _pattern(name: str, value: str) -> str:
    if not value:
        raise NoFault(f"{name} is empty")
    if name == "model":
        try:
            re.compile(value)
        except re.error as error:
            raise NoFault(f"'{value}' is no pattern: {error}") from error
    return value


# The values of kinds. Each returns None for a text that is none.


def _status(text: str) -> StatusValue | None:
    code, comma, more = text.partition(",")
    if not re.fullmatch(r"[45][0-9]{2}", code):
        return None
    name, _, value = more.partition("=")
    seconds = parse_duration(value) if name == "retry_after" else None
    if comma and seconds is None:
        return None
    return StatusValue(int(code), seconds)


def _time(text: str) -> float | None:
    seconds = parse_duration(text)
    return seconds if seconds is not None and seconds <= _LONGEST_S else None


def _count(text: str) -> int | None:
    return int(text) if re.fullmatch(r"[0-9]{1,9}", text) else None


def _above_0(text: str) -> int | None:
    return _count(text) or None


def _tool(text: str) -> str | None:
    return text if text in TOOL_FAULTS else None


class ValueForm(NamedTuple):
    """is_needed: the kind has no meaning without a value. parse is None for a kind that takes none."""

    is_needed: bool = False
    parse: Callable[[str], FaultValue] | None = None
    example: str = ""


# In the order in which several faults of one reply are made: what a later one changes, it changes as the
# earlier ones left it.
KINDS: Mapping[str, ValueForm] = {
    "status": ValueForm(True, _status, "429,retry_after=2"),
    "html": ValueForm(),
    "length": ValueForm(),
    "filter": ValueForm(),
    "refuse": ValueForm(),
    "tool": ValueForm(True, _tool, "bad-json"),
    "truncate": ValueForm(),
    "no-done": ValueForm(),
    "error-event": ValueForm(False, _count, "3"),
    "garbage": ValueForm(False, _count, "3"),
    "blank": ValueForm(False, _above_0, "3"),
    "comment": ValueForm(),
    "stall": ValueForm(False, _time, "30s"),
    "cut": ValueForm(False, _count, "3"),
    "reset": ValueForm(False, _count, "3"),
    "empty": ValueForm(),
    "delay": ValueForm(True, _time, "2s"),
    "ttft": ValueForm(True, _time, "1s"),
    "itl": ValueForm(True, _time, "20ms"),
    "slice": ValueForm(True, _above_0, "7"),
}
