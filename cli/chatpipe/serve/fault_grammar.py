"""`--fault KIND[=VALUE][:CONDITION]...` -> a rule. Pure.

status=429,retry_after=2:times=2     the first two requests of each body
cut:every=3:of=all                   each third request
stall=30s:p=0.1                      one in ten, by the seed
garbage:after=1:match=the words      from the second on, if a message has these words
status=503:on=poll:times=2           the first two looks at each batch
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any

from chatpipe.named_tuple import NamedTuple
from chatpipe.options.serve import PLACES, FaultRule, FaultValue, StatusValue
from chatpipe.response.delays import parse_duration, parse_number
from chatpipe.serve.batches.job_fate import FAILURES

_LONGEST_S = 86_400.0
_TOOL_FAULTS = ("bad-json", "unknown", "missing-index")
_WITH_TEXT = ("chat", "line")  # the places that have messages and a model
_LAST = ("match", "model")  # conditions whose values may have colons
_CONDITION_VALUES = {
    "times": "a whole number from 1",
    "after": "a whole number from 0",
    "every": "a whole number from 1",
    "p": "a probability above 0, 1 at most",
    "of": "all or body",
    "on": f"one of {', '.join(PLACES)}",
}
_OF_LINES = ("status", "length", "filter", "refuse", "tool")


class NoFault(ValueError):
    """A text that is no fault. Its words are for the user."""


def parse_fault(text: str) -> FaultRule:
    """The rule of a text. Raises NoFault."""
    head, _, rest = text.partition(":")
    kind, equals, value = head.partition("=")
    form = KINDS.get(kind) or API_KINDS.get(kind)
    if form is None:
        raise NoFault(_no_kind(head, kind))
    needs_value, values, example, place = form
    if needs_value and not equals:
        raise NoFault(f"{kind} needs a value, such as {kind}={example}")
    parsed = None
    if equals:
        if values is None:
            raise NoFault(f"{kind} takes no value")
        parsed = values.parse(value)
        if parsed is None:
            raise NoFault(f"'{value}' is not a value of {kind}: use {values.words}, such as {kind}={example}")
    rule = FaultRule(kind, parsed, **{"place": place, **_conditions(rest)})
    _check_place(rule, place)
    return rule


def _check_place(rule: FaultRule, natural: str) -> None:
    """Raises NoFault if the kind does not exist at its place. natural is the place of kinds with one."""
    if rule.kind in API_KINDS and rule.place != natural:
        raise NoFault(f"{rule.kind} is for on={natural} only")
    if rule.place == "line" and rule.kind not in _OF_LINES:
        raise NoFault(f"{rule.kind} is not a fault of a line: use one of {', '.join(_OF_LINES)}")
    if rule.place not in _WITH_TEXT and (rule.match is not None or rule.model is not None):
        raise NoFault(f"match and model are for on={' and on='.join(_WITH_TEXT)} only")


def _no_kind(head: str, kind: str) -> str:
    from chatpipe.inputs.names import nearest  # for a wrong word only

    kinds = (*KINDS, *API_KINDS)
    meant = f"status={head}" if _status(head) is not None else nearest(kind, frozenset(kinds), least=3)
    hint = f"did you mean {meant}?" if meant else f"use one of {', '.join(kinds)}"
    return f"'{kind}' is not a kind of fault: {hint}"


def _conditions(rest: str) -> dict[str, Any]:
    """The fields of a rule that its conditions set."""
    found: dict[str, Any] = {}
    while rest:
        name = rest.partition("=")[0]
        if name in _LAST:  # it may have colons
            found[name] = _pattern(name, rest[len(name) + 1 :])
            break
        each, _, rest = rest.partition(":")
        field, value = _condition(each)
        if field in found:
            raise NoFault(f"'{name}' twice")
        found[field] = value
    return found


def _is_condition(text: str) -> bool:
    if text.partition("=")[0] in _LAST:
        return True
    try:
        _condition(text)
    except NoFault:
        return False
    return True


def _condition(text: str) -> tuple[str, object]:
    """The field of a rule and its value."""
    name, equals, value = text.partition("=")
    number = parse_number(value)
    match name:
        case "times" | "after" | "every" if value.isdecimal() and value.isascii() and len(value) < 10:
            if int(value) >= (0 if name == "after" else 1):
                return name, int(value)
        case "p" if number is not None and 0 < number <= 1:
            return "chance", number
        case "of" if value in ("all", "body"):
            return "of_all", value == "all"
        case "on" if value in PLACES:
            return "place", value
    if equals and name in _CONDITION_VALUES:
        raise NoFault(f"'{value}' is not a value of {name}: use {_CONDITION_VALUES[name]}")
    conditions = (
        f"times=N, after=N, every=N, p=0.1, of=all, on={'|'.join(PLACES)}, match=TEXT or model=PATTERN"
    )
    raise NoFault(f"'{text}' is not a condition: use {conditions}")


def _pattern(name: str, value: str) -> str:
    if not value:
        raise NoFault(f"{name} is empty")
    for each in value.split(":")[1:]:
        if _is_condition(each):  # as a part of the text it would have no effect, and nobody would know
            raise NoFault(f"'{each}' is after {name}, which takes the rest: put {name} last")
    if name == "model":
        try:
            re.compile(value)
        except re.error as error:
            raise NoFault(f"'{value}' is not a pattern: {error}") from error
    return value


class Values(NamedTuple):
    """The values of a kind. words name them; parse returns None for a text that is none of them."""

    words: str
    parse: Callable[[str], FaultValue]


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


def _word_of(words: tuple[str, ...]) -> Values:
    return Values(f"one of {', '.join(words)}", lambda text: text if text in words else None)


_STATUS = Values("a status from 400 to 599, and ,retry_after=TIME after it if it names a time", _status)
_TIME = Values("a time of a day at most", _time)
_COUNT = Values("a whole number from 0", _count)
_ABOVE_0 = Values("a whole number from 1", _above_0)


class ValueForm(NamedTuple):
    """is_needed: the kind has no meaning without a value. values is None for a kind that takes none."""

    is_needed: bool = False
    values: Values | None = None
    example: str = ""
    place: str = "chat"


# In the order in which several faults of one reply are made: what a later one changes, it changes as the
# earlier ones left it.
KINDS: Mapping[str, ValueForm] = {
    "status": ValueForm(True, _STATUS, "429,retry_after=2"),
    "html": ValueForm(),
    "length": ValueForm(),
    "filter": ValueForm(),
    "refuse": ValueForm(),
    "tool": ValueForm(True, _word_of(_TOOL_FAULTS), "bad-json"),
    "truncate": ValueForm(),
    "no-done": ValueForm(),
    "error-event": ValueForm(False, _COUNT, "3"),
    "garbage": ValueForm(False, _COUNT, "3"),
    "blank": ValueForm(False, _ABOVE_0, "3"),
    "comment": ValueForm(),
    "stall": ValueForm(False, _TIME, "30s"),
    "cut": ValueForm(False, _COUNT, "3"),
    "reset": ValueForm(False, _COUNT, "3"),
    "empty": ValueForm(),
    "delay": ValueForm(True, _TIME, "2s"),
    "ttft": ValueForm(True, _TIME, "1s"),
    "itl": ValueForm(True, _TIME, "20ms"),
    "slice": ValueForm(True, _ABOVE_0, "7"),
}

# Those of files and batches alone, each of one call.
API_KINDS: Mapping[str, ValueForm] = {
    "batch-unseen": ValueForm(place="create"),
    "batch-limit": ValueForm(place="create"),
    "batch-fail": ValueForm(True, _word_of(tuple(FAILURES)), "token_limit_exceeded", "create"),
    "batch-expire": ValueForm(False, _COUNT, "10", "create"),
    "batch-cancel": ValueForm(False, _COUNT, "10", "create"),
    "batch-lose": ValueForm(False, _ABOVE_0, "3", "create"),
    "batch-double": ValueForm(False, _ABOVE_0, "3", "create"),
    "batch-foreign": ValueForm(False, _ABOVE_0, "3", "create"),
    "batch-no-id": ValueForm(True, _word_of(("empty", "missing")), "empty", "create"),
    "no-range": ValueForm(place="content"),
}
