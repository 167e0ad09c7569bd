"""Failed lines of a run by what helps: to send them again, to accept them, or to change something."""

from __future__ import annotations

import re
from collections import Counter

from chatpipe.batch.result import Result
from chatpipe.errors import ChatpipeError, Status, UnreadableReply
from chatpipe.inputs.values import Value, as_object
from chatpipe.options.outcomes import OUTCOMES, Outcome
from chatpipe.response.completion import choices
from chatpipe.response.finish_reasons import is_context_full
from chatpipe.response.result_line import read_result

LIMITS = ("max_completion_tokens", "max_tokens")
_SHOWN = 3
_NOT_FOUND = 404  # refused as a model that is not there; an unknown path is a bad configuration
_OPTION = r"(?:^|\s)--?[a-z]"  # in a fix
# The error of a line that was cut off at --max-reply, in this run or an earlier one.
_OVERLONG = r"was cut off: (?:longer|more) than [\d.]+ (?:[kMG]B|bytes?)"


class LineNumbers:
    """Numbers of lines: all are counted, and the first three kept."""

    def __init__(self) -> None:
        self.count = 0
        self._first: list[int] = []

    def add(self, line: int) -> None:
        self.count += 1
        if self.count <= _SHOWN:
            self._first.append(line)

    def __str__(self) -> str:
        """`line 3`, `lines 3, 7`, `lines 3, 7, 9 and 12 more`."""
        numbers = ", ".join(map(str, sorted(self._first)))
        rest = f" and {self.count - _SHOWN} more" if self.count > _SHOWN else ""
        return f"{'line' if self.count == 1 else 'lines'} {numbers}{rest}"


class FailureKinds:
    """The failed lines of a run.

    wrong lines have to be changed, unless wrong_fix names an option for all of them. misdirected counts
    lines that were refused for the key, the account or the base URL, by status. unwelcome counts answers
    that were paid for, by outcome, and unreadable those of them of which nothing came that could be
    accepted. limited are those that were cut off at a limit of tokens in their request, filled those at the
    end of the model's context, overlong counts those at --max-reply. Others may succeed if they are sent
    again: their number is transient. advice has what may have to be seen to first, for lines that found no
    server, or not the model, or got a reply of another kind. model is that of lines without one of their own.
    """

    def __init__(self, model: object) -> None:
        self._model = model
        self.wrong = LineNumbers()
        self.wrong_fix: str | None = None
        self.misdirected: Counter[Status] = Counter()
        self.unwelcome: Counter[Outcome] = Counter()
        self.limited = LineNumbers()
        self.filled = LineNumbers()
        self.overlong = 0
        self.unreadable: Counter[Outcome] = Counter()
        self.transient = 0
        self.advice: dict[str, None] = {}

    def add(self, result: Result) -> None:
        """Add a result that is not good."""
        if OUTCOMES[result.outcome].paid:
            self.unwelcome[result.outcome] += 1
            self.unreadable[result.outcome] += result.completion is None
            if result.outcome is Outcome.truncated:
                self._add_truncated(result)
        elif result.status is Status.BAD_INPUT and not self._is_for_common_model(result):
            self._add_wrong(result)
        elif result.status in (Status.NO_ACCESS, Status.BAD_CONFIGURATION):
            self.misdirected[result.status] += 1
        else:
            # The next reply would be of the same kind, and may have to be paid for like this one.
            self.transient += not isinstance(result.fault, UnreadableReply)
            self._add_advice(result.fault)

    def _add_wrong(self, result: Result) -> None:
        self.wrong.add(result.item.line)
        fix = result.item.fault.fix if result.item.fault is not None else ""
        is_common = re.search(_OPTION, fix) is not None and self.wrong_fix in (None, fix)
        self.wrong_fix = fix if is_common else ""

    def _is_for_common_model(self, result: Result) -> bool:
        """Return True for a 404 that no line can mend: the options name its model."""
        is_unknown = result.fault is not None and result.fault.http_status == _NOT_FOUND
        return is_unknown and self._model is not None and (result.item.body or {}).get("model") == self._model

    def _add_advice(self, fault: ChatpipeError | None) -> None:
        """Add the fix for a server that is not reached or read, for a model, or one that names an option."""
        if fault is None or len(self.advice) >= _SHOWN:
            return
        is_lasting = not fault.reached_server or isinstance(fault, UnreadableReply)
        if is_lasting or "--" in fault.fix or fault.http_status == _NOT_FOUND:
            self.advice[fault.fix] = None

    def _add_truncated(self, result: Result) -> None:
        record = read_result(result.line)
        if record is not None and re.search(_OVERLONG, record.error("").message):
            self.overlong += 1
        elif any(map(_fills_context, choices(result.completion or {}))):
            self.filled.add(result.item.line)
        elif any((result.item.body or {}).get(each) for each in LIMITS):
            self.limited.add(result.item.line)


def _fills_context(choice: Value) -> bool:
    return is_context_full(as_object(choice).get("finish_reason"))
