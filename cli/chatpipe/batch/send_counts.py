"""Lines that a run has sent, by the reason why it sent them."""

from __future__ import annotations

from collections import defaultdict

from chatpipe.batch.journal.send_reasons import SendReason, reasons_report
from chatpipe.batch.result import Result
from chatpipe.inputs.values import Value
from chatpipe.options.outcomes import UNSENT

_NEW = SendReason.new  # a member of an enum takes long to look up: see outcomes.py


class SendCounts:
    """The counts of the lines that were sent. reasons has those of lines that are not new, by line number.

    A reason is removed from it with the result of its line: see AnswerLookup.
    """

    def __init__(self) -> None:
        self.reasons: dict[int, SendReason] = {}
        self._by_reason: defaultdict[SendReason, int] = defaultdict(int)

    def add(self, result: Result) -> None:
        """Count a line if it was sent."""
        reason = self.reasons.pop(result.item.line, _NEW) if self.reasons else _NEW  # mostly there are none
        if result.latency_s is not None and result.outcome is not UNSENT:  # was_sent, without a call
            self._by_reason[reason] += 1

    def add_new(self, count: int) -> None:
        """Count this many new lines, which were sent."""
        self._by_reason[_NEW] += count

    @property
    def total(self) -> int:
        return sum(self._by_reason.values())

    def report(self) -> dict[str, Value]:
        """The `sent` of reports."""
        return reasons_report(self._by_reason)
