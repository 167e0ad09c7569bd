"""Failed lines of a run: their number by exit status and by error code, why they failed, and what helps."""

from __future__ import annotations

from collections import Counter

from chatpipe.batch.failure_kinds import FailureKinds
from chatpipe.batch.failure_reasons import FailureReasons
from chatpipe.batch.result import Result
from chatpipe.errors import Status
from chatpipe.inputs import values
from chatpipe.response.result_line import ResultLine

# The most error codes, and characters of a message, in the last line of a run.
_CODES = 5
_MESSAGE_LENGTH = 200
_CODE_LENGTH = 80  # of a code; those of records may have any length


class FailureCounts:
    """The counts of the failed lines of a run. sent_by_status counts those that were sent in this run.

    kinds are by what helps, reasons by the error. model: see FailureKinds.
    """

    def __init__(self, model: object) -> None:
        self.by_status: Counter[Status] = Counter()
        self.sent_by_status: Counter[Status] = Counter()
        self.kinds = FailureKinds(model)
        self.reasons = FailureReasons()
        self._codes: Counter[str] = Counter()
        self._first_message = ""

    @property
    def total(self) -> int:
        return self.by_status.total()

    def add(self, result: Result) -> None:
        """Add a result that is not good."""
        self.by_status[result.status] += 1
        if result.was_sent:
            self.sent_by_status[result.status] += 1
        error = ResultLine(values.loads(result.line)).error(str(result.outcome))
        code = error.code[:_CODE_LENGTH]
        self._codes[code] += 1
        self._first_message = self._first_message or error.message
        self.reasons.add(code, error.message, result.item.line)
        self.kinds.add(result)

    def text(self, *, are_all_lines: bool) -> str:
        """The error codes, the most common first: `10 http_400, 2 network`.

        If all lines of the run failed with one code, it is that code and the message of the first line.
        """
        if are_all_lines and len(self._codes) == 1:
            (code,) = self._codes
            message = self._first_message
            cut = message if len(message) <= _MESSAGE_LENGTH else f"{message[:_MESSAGE_LENGTH]}..."
            return f"{code}: {cut}"
        shown = self._codes.most_common()
        if len(shown) > _CODES:
            shown = shown[: _CODES - 1]  # `other kinds` then stands for two or more
        left = self.total - sum(count for _, count in shown)
        texts = [f"{count} {code}" for code, count in shown]
        return ", ".join(texts + ([f"{left} of other kinds"] if left else []))
