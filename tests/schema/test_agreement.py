"""The generated code and jsonschema with the same file give the same verdict."""

from __future__ import annotations

import json
from typing import Any

import pytest
from jsonschema import Draft202012Validator

from chatpipe.schema.accept import accepts, accepts_beside_messages, checks_beside_messages
from chatpipe.schema.check import are_valid
from chatpipe.schema.parameter_rules import USUAL_VALUES
from chatpipe.schema.rules import are_all_plain, are_plain, rules_for, rules_for_usual_values
from schema.generate_accept import SCHEMA
from schema.mutations import mutated
from support.parametrize import cases


def test_both_engines_agree_on_thousands_of_bodies() -> None:
    validator = Draft202012Validator(json.loads(SCHEMA.read_bytes()))
    verdicts, plain = [], []
    for body in mutated(6000, seed=1):
        verdict = accepts(body)
        assert validator.is_valid(body) is verdict, body
        verdicts.append(verdict)
        if isinstance(body, dict) and are_plain(body.get("messages")):
            checks = checks_beside_messages(tuple(body))
            assert (checks is not None and accepts_beside_messages(body, checks)) is verdict, body
            plain.append(verdict)
    # a test in which nearly all pass, or nearly all fail, would show little
    for each in (verdicts, plain):
        assert 0.2 < sum(each) / len(each) < 0.8


def test_messages_are_plain_alone_if_they_are_together() -> None:
    plain = [{"role": "user", "content": "hi"}]
    found = []
    for body in mutated(2000, seed=2):
        messages = body.get("messages") if isinstance(body, dict) else body
        found.append(are_plain(messages))
        assert are_all_plain([plain, messages]) is found[-1], messages
    assert 0.1 < sum(found) / len(found) < 0.9


PLAIN: dict[str, Any] = {"model": "m", "messages": [{"role": "user", "content": "hi"}]}


@cases(
    "other, expected",
    {
        "the same": ({**PLAIN}, True),
        "another model": ({**PLAIN, "model": "n"}, True),
        "another key": ({**PLAIN, "n": 1}, False),
        "keys in another order": ({"messages": PLAIN["messages"], "model": "m"}, False),
        "no model": ({"messages": PLAIN["messages"]}, False),
        "a model that is no text": ({**PLAIN, "model": 1}, False),
        "a blank model": ({**PLAIN, "model": " "}, False),
        "no messages": ({**PLAIN, "messages": []}, False),
        "messages that are none": ({**PLAIN, "messages": {"role": "user", "content": "hi"}}, False),
        "a message with a part": ({**PLAIN, "messages": [{"role": "user", "content": []}]}, False),
        "a message with a name": ({**PLAIN, "messages": [{**PLAIN["messages"][0], "name": "n"}]}, False),
        "another role": ({**PLAIN, "messages": [{"role": "tool", "content": "hi"}]}, False),
        "a role that is no text": ({**PLAIN, "messages": [{"role": [], "content": "hi"}]}, False),
    },
)
def test_bodies_are_valid_together_only_if_each_is(other: dict[str, Any], expected: bool) -> None:
    assert are_valid([PLAIN, other, PLAIN]) is expected


def test_a_value_is_not_taken_for_an_equal_one_of_another_type() -> None:
    bodies: list[dict[str, Any]] = [{**PLAIN, "n": 1}, {**PLAIN, "n": True}]
    assert [are_valid([body]) for body in bodies] == [True, False]
    assert not are_valid(bodies)


def test_bodies_with_a_breach_of_a_rule_are_not_valid() -> None:
    good, bad = {**PLAIN, "top_p": 1, "logit_bias": {"5": 1}}, {**PLAIN, "top_p": 1, "logit_bias": {"x": 1}}
    assert are_valid([good, good])
    assert not are_valid([good, bad])


@pytest.mark.parametrize("key", USUAL_VALUES)
def test_a_usual_value_needs_no_schema_and_none_of_the_rules_that_are_left_out(key: str) -> None:
    """A value that is not usual may be good all the same."""
    usual: list[object] = []
    value: object
    for value in (None, True, -1, 0, 1, 10**20, 0.5, 1.0, "", " \n", "m", " m", "5", [], [1], {}):
        body = {"model": "m", "messages": [{"role": "user", "content": "hi"}], "n": 1, key: value}
        if not USUAL_VALUES[key](value):
            continue
        usual.append(value)
        assert accepts(body), value
        keys = tuple(body)
        kept = rules_for_usual_values(keys, True)
        left_out = [rule for rule in rules_for(keys, None, True) if rule not in kept]
        assert left_out
        assert not [breach for rule in left_out for breach in rule.check(body)], value
    assert usual


def test_a_rule_that_another_key_triggers_too_is_not_left_out() -> None:
    keys = ("model", "messages", "max_tokens", "max_completion_tokens")
    assert {rule.name for rule in rules_for_usual_values(keys, False)} == {"no-tokens", "two-token-limits"}
