"""Stop rules of a run: halt rules, failures that would hit every line, the budget."""

from __future__ import annotations

from typing import NamedTuple

from chatpipe.batch.budget import Budget
from chatpipe.batch.engine import RunRequest
from chatpipe.batch.result import Result
from chatpipe.errors import ChatpipeError, Halted, Status
from chatpipe.limits.rate import RateLimiter
from chatpipe.options.run import HaltRule

# A percentage of failures means nothing before this number of results.
_FEWEST_FOR_PERCENT = 20
# When the first requests are all answered with 403, and there are this many, the key is at fault.
_FORBIDDEN_AT_START = 3


class Stop(NamedTuple):
    """The reason why a run ends before its input: a fault, or the number of a signal.

    With now, the requests in flight are abandoned.
    """

    fault: ChatpipeError | None = None
    now: bool = False
    signal: int | None = None


def count_lines(lines: int) -> str:
    """`1 line`, `2 lines`."""
    return f"{lines} line" if lines == 1 else f"{lines} lines"


class StopRules:
    """The stop rules of one run. See StopPolicy in driver.py."""

    def __init__(self, rate: RateLimiter, max_pause_s: float, halt: HaltRule | None, budget: Budget) -> None:
        self._rate = rate
        self._max_pause_s = max_pause_s
        self._halt = halt
        self._budget = budget
        self._arrived = 0
        self._failed = 0
        self._forbidden = 0
        self._sent = 0

    def reserve(self, request: RunRequest) -> Stop | None:
        fault = self._budget.reserve(request)
        return None if fault is None else Stop(fault)

    def observe(self, result: Result) -> Stop | None:
        # Not the counts of the tally: it counts written results, which in an ordered output come later.
        self._arrived += 1
        self._failed += not result.is_good
        self._sent += result.latency_s is not None
        self._budget.settle(result)
        stop = self._general_failure(result)
        return stop or (None if result.is_good else self._too_many_failures())

    def _general_failure(self, result: Result) -> Stop | None:
        """Stop if the next line would fail for the same reason: no key, no permission, no credit."""
        fault = result.fault
        if fault is None:
            return None
        if fault.status is not Status.NO_ACCESS:
            paused = self._rate.pause_fault(self._max_pause_s)
            if paused is not None:
                return Stop(paused)
        if fault.status is Status.BUDGET:  # no further turn: see Budget.reserve_turn
            return Stop(fault)
        if fault.status is not Status.NO_ACCESS:
            return None
        if fault.refusal_status == 403:
            self._forbidden += 1
            if self._forbidden != self._sent or self._sent != _FORBIDDEN_AT_START:
                return None
        return Stop(fault)

    def _too_many_failures(self) -> Stop | None:
        halt, failed, arrived = self._halt, self._failed, self._arrived
        if halt is None:
            return None
        if halt.failures is not None and failed >= halt.failures:
            what = f"halted: {count_lines(failed)} failed"
            return Stop(Halted(what, fix="see --halt"), now=halt.now)
        if (
            halt.percent is not None
            and arrived >= _FEWEST_FOR_PERCENT
            and failed * 100 >= halt.percent * arrived
        ):
            what = f"halted: {failed} of {count_lines(arrived)} failed"
            return Stop(Halted(what, fix="see --halt"), now=halt.now)
        return None
