"""The generated code and jsonschema with the same file give the same verdict."""

from __future__ import annotations

import json

from jsonschema import Draft202012Validator

from chatpipe.schema.accept import accepts, accepts_beside_messages, checks_beside_messages
from chatpipe.schema.rules import are_plain
from schema.generate_accept import SCHEMA
from schema.mutations import mutated


def test_both_engines_agree_on_thousands_of_bodies() -> None:
    validator = Draft202012Validator(json.loads(SCHEMA.read_bytes()))
    verdicts, plain = [], []
    for body in mutated(6000, seed=1):
        verdict = accepts(body)
        assert validator.is_valid(body) is verdict, body
        verdicts.append(verdict)
        if isinstance(body, dict) and are_plain(body.get("messages")):
            checks = checks_beside_messages(tuple(body))
            assert accepts_beside_messages(body, checks) is verdict, body
            plain.append(verdict)
    # a test in which nearly all pass, or nearly all fail, would show little
    for each in (verdicts, plain):
        assert 0.2 < sum(each) / len(each) < 0.8
