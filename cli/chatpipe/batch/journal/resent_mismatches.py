"""Recorded answers that `--resend mismatch` sends again although they were good for an earlier run.

They do not fit the schema of this run, or have no code block for its format.
"""

from __future__ import annotations

from chatpipe.batch.items import Item
from chatpipe.batch.journal.answers import RecordedAnswer
from chatpipe.batch.recorded_judge import RecordedJudge
from chatpipe.batch.run_spec import RunSpec
from chatpipe.inputs import values
from chatpipe.options.outcomes import Outcome
from chatpipe.response.result_line import ResultLine


class ResentMismatches:
    """The answers that the judge of a run sends again."""

    def __init__(self, judge: RecordedJudge) -> None:
        self._judge = judge

    def has(self, item: Item, fingerprint: str, found: RecordedAnswer) -> bool:
        """Return True if an answer to an item with this fingerprint is sent again."""
        line = ResultLine(values.loads(found.line))
        return self._judge.outcome(item, fingerprint, line, Outcome(found.outcome)) is Outcome.mismatch


def open_resent_mismatches(spec: RunSpec) -> ResentMismatches | None:
    """The answers that a run sends again, None if it sends none again. Raises BadInput for a bad schema."""
    needs_code, has_schema = spec.run_format.properties.is_code, spec.turns.response_format is not None
    if Outcome.mismatch not in spec.resume.resend or not (needs_code or has_schema):
        return None
    from chatpipe.conversation.setup import schema_rules  # jsonschema

    rules = schema_rules(spec.turns, spec.defaults) if has_schema else None
    return ResentMismatches(RecordedJudge(rules, needs_code=needs_code))
