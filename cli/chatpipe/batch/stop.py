"""Stop rules of a run: halt rules, failures that would hit every line, the budget."""

from __future__ import annotations

from chatpipe.batch.budget import Budget
from chatpipe.batch.engine import RunRequest
from chatpipe.batch.failures import FailureNotice
from chatpipe.batch.first_lines import FirstLines
from chatpipe.batch.result import Result
from chatpipe.errors import ChatpipeError, Halted, NoServerLeft, NotRecorded, RunRefused, Status, quantity
from chatpipe.limits.rate import Pauses
from chatpipe.named_tuple import NamedTuple
from chatpipe.options.run import RunLimits

# A percentage of failures means nothing before this number of results.
_FEWEST_FOR_PERCENT = 20
# A request that was not recorded, or a recording that cannot be written.
_OF_RECORDINGS = (Status.NO_INPUT, Status.CANNOT_WRITE)
_RANKS = {Status.NO_ACCESS: 1, Status.BUDGET: 2}


class Stop(NamedTuple):
    """The reason why a run ends before its input: a fault, or the number of a signal.

    With now, the requests in flight are abandoned. abandoned is the number of lines that were handed to the
    engine and had no answer at the end of the run.
    """

    fault: ChatpipeError | None = None
    now: bool = False
    signal: int | None = None
    abandoned: int = 0

    @property
    def rank(self) -> int:
        """The position among several reasons, 0 for the first. Source: chatpipe(1), EXIT STATUS."""
        if self.signal is not None:
            return 0
        return _RANKS.get(self.fault.status, 3) if self.fault is not None else 4

    @property
    def is_of_a_line(self) -> bool:
        """True if the reason is the failure of a line."""
        fault = self.fault
        return isinstance(fault, (NoServerLeft, RunRefused, NotRecorded)) or (
            fault is not None and fault.status is Status.NO_ACCESS
        )


class StopRules:
    """The stop rules of one run. See StopPolicy in driver.py."""

    def __init__(
        self, rate: Pauses, limits: RunLimits, budget: Budget, first: FirstLines, notice: FailureNotice
    ) -> None:
        self._rate = rate
        self._max_pause_s = limits.max_pause_s
        self._halt = limits.halt
        self._budget = budget
        self._first = first
        self._notice = notice
        self._arrived = 0
        self._failed = 0

    def reserve(self, request: RunRequest) -> Stop | None:
        fault = self._budget.reserve(request)
        if fault is not None:
            return Stop(fault)
        self._first.send(request.number)
        return None

    def observe(self, number: int, result: Result) -> Stop | None:
        # Not the counts of the tally: it counts written results, which in an ordered output come later.
        self._arrived += 1
        self._failed += not result.is_good
        self._budget.settle(result)
        self._notice.observe(result)
        hopeless = self._first.observe(number, result)
        stop = None if result.fault is None else self._general_failure(result.fault)
        if stop is None and hopeless is not None:
            return Stop(hopeless)
        # A share of failures counts from the 20th result on, even if that one is good.
        return stop or self._too_many_failures()

    def _general_failure(self, fault: ChatpipeError) -> Stop | None:
        """Stop if the next line would fail for the same reason: no key, no permission, no credit."""
        if isinstance(fault, NoServerLeft) or fault.status in _OF_RECORDINGS:
            return Stop(fault)
        if fault.status is not Status.NO_ACCESS:
            paused = self._rate.pause_fault(self._max_pause_s)
            if paused is not None:
                return Stop(paused)
        if fault.status is Status.BUDGET:  # no further turn: see Budget.reserve_turn
            return Stop(fault)
        # A 403 may concern one line; FirstLines decides.
        return Stop(fault) if fault.status is Status.NO_ACCESS and fault.refusal_status != 403 else None

    def _too_many_failures(self) -> Stop | None:
        halt, failed, arrived = self._halt, self._failed, self._arrived
        if halt is None:
            return None
        if halt.failures is not None and failed >= halt.failures:
            what = f"halted: {quantity(failed, 'line')} failed"
            return Stop(Halted(what), now=halt.now)
        if (
            halt.percent is not None
            and arrived >= _FEWEST_FOR_PERCENT
            and failed * 100 >= halt.percent * arrived
        ):
            what = f"halted: {failed} of {quantity(arrived, 'line')} failed"
            return Stop(Halted(what), now=halt.now)
        return None
