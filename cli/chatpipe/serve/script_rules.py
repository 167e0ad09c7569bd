"""A script of `serve`: a rule a line -> rules, and what is wrong with them. Pure.

{"match": {"user": "weather", "turn": 0}, "answer": {"tool_calls": [{"name": "weather", "arguments": {}}]}}
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence

from chatpipe.errors import BadInput, Problems
from chatpipe.inputs import values
from chatpipe.inputs.place import Source, repeated_members
from chatpipe.named_tuple import NamedTuple
from chatpipe.serve.script_answer import RuleAnswer, parse_answer
from chatpipe.serve.script_match import (
    COUNTS,
    Condition,
    Facts,
    NoRule,
    covers,
    parse_condition,
    parse_count,
    shown_value,
    tried,
    unknown,
)

_MOST_COMPARED = 500

_NAMES = frozenset({"match", "answer"})


class ScriptRule(NamedTuple):
    """A rule at a place of a script. occurrence and attempt are None for any number."""

    place: str
    conditions: Mapping[str, Condition]
    answer: RuleAnswer
    occurrence: frozenset[int] | None = None
    attempt: frozenset[int] | None = None

    def admits(self, request: Facts) -> bool:
        """Return True if the conditions admit a request, apart from the counts."""
        return all(condition.admits(request) for condition in self.conditions.values())

    def shadows(self, later: ScriptRule) -> bool:
        """Return True if no request is left to a later rule, as far as that can be seen in the rules."""
        if self.attempt is not None and not (later.attempt is not None and later.attempt <= self.attempt):
            return False
        if self.occurrence is None:
            return covers(self.conditions, later.conditions)
        return (
            later.occurrence is not None
            and later.occurrence <= self.occurrence
            and self.conditions == later.conditions
        )


def rules_from(lines: Iterable[Source]) -> list[ScriptRule]:
    """The rules of the lines. Raises Problems for all lines that are none, each with its place."""
    rules, faults = [], []
    for line in lines:
        if not line.data.strip():
            continue
        wrong: list[NoRule] = []
        try:
            rule = tried(wrong, _rule, line, wrong)
        except values.NotJSON as error:
            what = f"not JSON: {error.what} (column {error.column})"
            fix = "" if line.data.strip()[-1:] == b"}" else "write each rule on one line"
            faults.append(BadInput(what, place=line.place(), fix=fix))
            continue
        faults += [BadInput(each.what, place=_place(line, each.pointer), fix=each.fix) for each in wrong]
        if rule is not None:
            rules.append(rule)
    if faults:
        raise Problems(faults)
    return rules


def shadowed(rules: Sequence[ScriptRule]) -> Iterator[tuple[ScriptRule, ScriptRule]]:
    """The rules that can never answer, each with the earlier one that leaves nothing to it.

    The first ones only, because each is compared with all that are before it.
    """
    for at, rule in enumerate(rules[:_MOST_COMPARED]):
        earlier = next((each for each in rules[:at] if each.shadows(rule)), None)
        if earlier is not None:
            yield rule, earlier


def _rule(line: Source, faults: list[NoRule]) -> ScriptRule:
    """The rule of a line. What is wrong with its parts is added to faults.

    Raises NoRule for the whole line, and NotJSON.
    """
    value = values.loads_strict(line.data)
    if not isinstance(value, dict):
        raise NoRule("", f"a rule is {shown_value(value)}, not an object")
    if values.has_repeated_name(line.data):
        faults += [
            NoRule(pointer, "this name comes twice in one object", "leave one of the two out")
            for pointer, _, _ in repeated_members(line.data)
        ]
    faults += [unknown(f"/{name}", name, _NAMES, "a part of a rule") for name in value if name not in _NAMES]
    if "answer" not in value:
        raise NoRule("", "a rule has no 'answer'", 'add "answer": {"content": TEXT}')
    match = value.get("match", {})
    if not isinstance(match, dict):
        raise NoRule("/match", f"'match' is {shown_value(match)}, not an object")
    tests = {
        name: tried(faults, parse_condition, name, each, faults)
        for name, each in match.items()
        if name not in COUNTS
    }
    counts = {name: parse_count(name, match[name], faults) for name in COUNTS if name in match}
    conditions = {name: each for name, each in tests.items() if each is not None}
    answer = tried(faults, parse_answer, value["answer"], faults)
    return ScriptRule(line.place(), conditions, answer or RuleAnswer(), **counts)


def _place(line: Source, pointer: str) -> str:
    return f"{line.place()}: {pointer}" if pointer else line.place()
