"""The faults of each request: rules, counts and chances. The same seed and bodies have the same faults."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator, Sequence

from chatpipe.inputs.values import Value
from chatpipe.options.serve import FaultRule
from chatpipe.serve.draws import draw
from chatpipe.serve.fault_grammar import API_KINDS, KINDS

_ALWAYS = FaultRule("")
_ORDER = {kind: order for order, kind in enumerate((*API_KINDS, *KINDS))}


class FaultRules:
    """The rules of a server, which count its requests."""

    def __init__(self, rules: Sequence[FaultRule], seed: int) -> None:
        self._rules = sorted(rules, key=lambda rule: _ORDER[rule.kind])
        self._seed = seed
        self._of_all: Counter[int] = Counter()
        self._of_body: Counter[tuple[int, str]] = Counter()

    def faults_of(self, key: str, body: Value = None, place: str = "chat") -> list[FaultRule]:
        """The rules that apply to a request of a place, in the order of KINDS.

        key stands for the bytes of its body. body is their value, for the places that have messages.
        """
        return [
            rule
            for index, rule in enumerate(self._rules)
            if rule.place == place and _admits(rule, body) and self._is_due(index, rule, key)
        ]

    def _is_due(self, index: int, rule: FaultRule, key: str) -> bool:
        """Count the request, and return True if it has the fault."""
        if rule._replace(kind="", value=None, match=None, model=None, place="chat") == _ALWAYS:
            return True  # what has no conditions keeps no counts
        self._of_body[index, key] += 1
        self._of_all[index] += 1
        count = self._of_body[index, key]
        if not rule.is_due(self._of_all[index] if rule.of_all else count):
            return False
        return rule.chance >= 1 or draw(self._seed, "fault", index, key, count) < rule.chance


def _admits(rule: FaultRule, body: Value) -> bool:
    """Return True if match and model admit the body of a request."""
    if rule.match is None and rule.model is None:
        return True
    if not isinstance(body, dict):
        return False
    if rule.model is not None:
        name = body.get("model")
        return isinstance(name, str) and re.search(rule.model, name) is not None
    return any(rule.match in text for text in _texts(body.get("messages")) if rule.match is not None)


def _texts(value: Value) -> Iterator[str]:
    """All texts in the messages of a request."""
    left = [value]
    while left:
        each = left.pop()
        if isinstance(each, str):
            yield each
        elif isinstance(each, dict):
            left.extend(each.values())
        elif isinstance(each, list):
            left.extend(each)
