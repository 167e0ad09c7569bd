"""Whether a run goes on: halt rules, failures that would hit every line, and the budget."""

from __future__ import annotations

from collections.abc import Mapping

from chatpipe.batch.capacity import Capacity
from chatpipe.batch.lines import Item
from chatpipe.batch.options import Halt
from chatpipe.batch.pace import Pace
from chatpipe.batch.prices import Price, price_of
from chatpipe.batch.results import Result
from chatpipe.batch.run import Stop
from chatpipe.batch.tally import Tally, Usage, spent_on
from chatpipe.batch.tokens import Estimator
from chatpipe.errors import ChatpipeError, Status, TryLater
from chatpipe.inputs import values
from chatpipe.inputs.values import Value

# Below this many finished lines a share of failures says nothing.
_ENOUGH_FOR_A_SHARE = 20
# So many answers of 403, before anything has succeeded, are about the key and not about a line.
_FORBIDDEN_AT_THE_START = 3


class BudgetReached(ChatpipeError):
    status = Status.BUDGET


class Halted(ChatpipeError):
    status = Status.SOME_FAILED


class Budget:
    """`--max-total-tokens` and `--max-cost`: what was spent, before this run too, and what is in flight."""

    def __init__(
        self, tokens: int | None, cost: float | None, prices: Mapping[str, Price], estimator: Estimator
    ) -> None:
        self._tokens = tokens
        self._cost = cost
        self._prices = prices
        self._estimator = estimator
        self._reserved: dict[int, tuple[int, float]] = {}
        self._held_tokens = 0
        self._held_cost = 0.0
        self.spent_tokens = 0
        self.spent_cost = 0.0

    def reserve(self, item: Item) -> ChatpipeError | None:
        """Set aside what a request may use. The fault says that there is not enough left."""
        if self._tokens is None and self._cost is None:
            return None
        tokens, cost = self._estimate(item)
        if self._tokens is not None and self.spent_tokens + self._held_tokens + tokens > self._tokens:
            return BudgetReached(
                f"the budget of {self._tokens} tokens is reached, {self.spent_tokens} are spent",
                fix="raise --max-total-tokens and run the same command again",
            )
        if self._cost is not None and self.spent_cost + self._held_cost + cost > self._cost:
            return BudgetReached(
                f"the budget of {self._cost:g} is reached, {self.spent_cost:.4f} is spent",
                fix="raise --max-cost and run the same command again",
            )
        self._reserved[item.line] = (tokens, cost)
        self._held_tokens += tokens
        self._held_cost += cost
        return None

    def spend(self, usage: Usage, model: Value) -> None:
        """Book what was used before this run."""
        self.spent_tokens += usage.total
        if self._cost is not None:
            self.spent_cost += price_of(self._prices, self._asked_for(model)).cost(usage)

    def _asked_for(self, model: Value) -> Value:
        """The name in the prices for the name in an answer, which servers make more exact: `m-2026-01-01`."""
        names = [name for name in self._prices if isinstance(model, str) and model.startswith(name)]
        return max(names, key=len, default=model)

    def settle(self, result: Result) -> None:
        """Book what a line really used, and free what was set aside for it."""
        if result.latency_s is None:  # recorded: it was booked from the journal, or is another run's
            return
        usage = spent_on(result)
        tokens, cost = self._reserved.pop(result.item.line, (0, 0.0))
        self._held_tokens -= tokens
        self._held_cost -= cost
        self.spent_tokens += usage.total
        if self._prices and result.completion is not None and result.item.body is not None:
            self.spent_cost += price_of(self._prices, result.item.body.get("model")).cost(usage)

    def _estimate(self, item: Item) -> tuple[int, float]:
        body = item.body or {}
        size = len(values.dumps(body))
        tokens = self._estimator.estimate(size, *answer_limits(body))
        cost = 0.0
        if self._cost is not None:
            prompt = self._estimator.estimate(size, 0, 1)
            price = price_of(self._prices, body.get("model"))
            cost = price.cost(Usage(prompt, 0, max(0, tokens - prompt), tokens))
        return tokens, cost


def answer_limits(body: Mapping[str, Value]) -> tuple[int | None, int]:
    """What bounds the answer: its limit of tokens, if there is one, and the number of choices."""
    limit = body.get("max_completion_tokens") or body.get("max_tokens")
    choices = body.get("n")
    return limit if isinstance(limit, int) else None, choices if isinstance(choices, int) else 1


def counted(lines: int) -> str:
    """`1 line`, `2 lines`."""
    return f"{lines} line" if lines == 1 else f"{lines} lines"


class Course:
    """The course of one run: see run.Course."""

    def __init__(
        self,
        capacity: Capacity,
        pace: Pace,
        max_pause_s: float,
        tally: Tally,
        halt: Halt | None,
        budget: Budget,
    ) -> None:
        self._capacity = capacity
        self._pace = pace
        self._max_pause_s = max_pause_s
        self._tally = tally
        self._halt = halt
        self._budget = budget
        self._forbidden = 0
        self._sent = 0

    @property
    def places(self) -> int:
        return self._capacity.limit

    def may_send(self, item: Item) -> Stop | None:
        fault = self._budget.reserve(item)
        return None if fault is None else Stop(fault)

    def finished(self, result: Result) -> Stop | None:
        self._tally.add(result)
        self._sent += result.latency_s is not None
        self._budget.settle(result)
        stop = self._hits_all(result)
        return stop or (None if result.is_good else self._too_many())

    def _hits_all(self, result: Result) -> Stop | None:
        """No key, no permission, no credit: the next line would fare no better."""
        fault = result.fault
        if fault is None:
            return None
        if fault.http_status in (429, 503) and self._pace.paused_s > self._max_pause_s:
            what = f"the server has paused this run for {self._pace.paused_s:.0f} s: {fault.what}"
            return Stop(TryLater(what, fix="run the same command again later, or raise --max-pause"))
        if fault.status is not Status.NO_ACCESS:
            return None
        if fault.http_status == 403:
            self._forbidden += 1
            if self._forbidden != self._sent or self._sent != _FORBIDDEN_AT_THE_START:
                return None
        return Stop(fault)

    def _too_many(self) -> Stop | None:
        halt, failed, finished = self._halt, self._tally.failed, self._tally.finished
        if halt is None:
            return None
        if halt.failures is not None and failed >= halt.failures:
            what = f"halted: {counted(failed)} failed"
            return Stop(Halted(what, fix="see --halt"), now=halt.now)
        if (
            halt.percent is not None
            and finished >= _ENOUGH_FOR_A_SHARE
            and failed * 100 >= halt.percent * finished
        ):
            what = f"halted: {failed} of {counted(finished)} failed"
            return Stop(Halted(what, fix="see --halt"), now=halt.now)
        return None
