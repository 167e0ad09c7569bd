"""A recorded answer -> its outcome in this run, which may have other rules than the run that recorded it."""

from __future__ import annotations

from collections.abc import Callable

from chatpipe.batch.items import Item
from chatpipe.conversation.turns import TurnRules
from chatpipe.inputs.values import Value
from chatpipe.options.outcomes import Outcome
from chatpipe.response import judge
from chatpipe.response.judge import Verdict
from chatpipe.response.result_line import ResultLine

# The outcomes that depend on the rules. All others depend on the answer alone.
_OF_RULES = (Outcome.ok, Outcome.mismatch)


class RecordedJudge:
    """The judge of the recorded answers of one run.

    rules have its schema. needs_code is set if its format needs a code block.
    """

    def __init__(self, rules: TurnRules | None, *, needs_code: bool) -> None:
        self._rules = rules
        self._needs_code = needs_code

    def outcome(self, item: Item, fingerprint: str, found: ResultLine, recorded: Outcome) -> Outcome:
        """The outcome of an answer that was recorded for this item or for another one. Never raises.

        fingerprint is the item's.
        """
        if recorded not in _OF_RULES:
            return recorded
        if self.judges_anew(item, fingerprint, found):
            verdict = self.verdict(item, found.completion or {})
            judged = Outcome.ok if verdict is None else verdict.outcome
            return judged if judged in _OF_RULES else recorded
        if recorded is Outcome.ok and self._needs_code and judge.lacks_code(found.completion or {}):
            return Outcome.mismatch
        if recorded is Outcome.mismatch and not self._needs_code:
            # A mismatch that was allowed has no error. It stays one if this run has a schema, too.
            was_allowed = not found.record.get("error") and self._rules is None
            if was_allowed or found.error("").message == judge.NO_CODE:
                return Outcome.ok
        return recorded

    def judges_anew(self, item: Item, fingerprint: str, found: ResultLine) -> bool:
        """Return True if the schema of this run decides.

        An answer to the same request was checked against it before: the schema is a part of the request. A
        second check would take ten times as long as reading the line.
        """
        return found.fingerprint != fingerprint and self._violation(item) is not None

    def verdict(self, item: Item, completion: dict[str, Value]) -> Verdict | None:
        """The verdict on a recorded completion; None if it is good. Never raises."""
        return judge.verdict(
            completion,
            allow=frozenset(),
            text_format=True,
            needs_code=self._needs_code,
            violation_of=self._violation(item),
        )

    def _violation(self, item: Item) -> Callable[[Value], object | None] | None:
        return None if self._rules is None else self._rules.for_line(item.body or {}).violation
