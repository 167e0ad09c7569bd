"""Whether a run goes on: halt rules, failures that would hit every line, and the budget."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

from chatpipe.batch.engine import Stop
from chatpipe.batch.items import Item
from chatpipe.batch.result import Result
from chatpipe.batch.tally import Tally, spent_on
from chatpipe.errors import BudgetReached, ChatpipeError, Halted, Status, TryLater
from chatpipe.inputs import values
from chatpipe.inputs.values import Value
from chatpipe.limits.concurrency import ConcurrencyLimit
from chatpipe.limits.prices import ModelPrice, price_of
from chatpipe.limits.rate import RateLimiter
from chatpipe.limits.tokens import TokenEstimator, answer_limits
from chatpipe.options.run import HaltRule
from chatpipe.response.usage import Usage
from chatpipe.wire import retry

# Below this many lines that have come a share of failures says nothing.
_ENOUGH_FOR_A_SHARE = 20
# So many answers of 403, before anything has succeeded, are about the key and not about a line.
_FORBIDDEN_AT_THE_START = 3


class _Held(NamedTuple):
    """What is set aside for a line, and what the turns before have used, which is booked already."""

    tokens: int = 0
    cost: float = 0.0
    booked: Usage = Usage()


class Budget:
    """`--max-total-tokens` and `--max-cost`: what was spent, before this run too, and what is in flight.

    Of a conversation each turn is set aside by itself, when the one before it has been booked.
    """

    def __init__(
        self,
        tokens: int | None,
        cost: float | None,
        prices: Mapping[str, ModelPrice],
        estimator: TokenEstimator,
    ) -> None:
        self._tokens = tokens
        self._cost = cost
        self._prices = prices
        self._estimator = estimator
        self._reserved: dict[int, _Held] = {}
        self._waiting: set[int] = set()  # lines whose next turn had no room: they come before new ones
        self._held_tokens = 0
        self._held_cost = 0.0
        self.spent_tokens = 0
        self.spent_cost = 0.0

    def reserve(self, item: Item) -> ChatpipeError | None:
        """Set aside what a request may use. The fault says that there is not enough left."""
        fault = self._set_aside(item, Usage(), "line")
        if fault is None and self._waiting:
            self._free(item)
            return BudgetReached("a turn of a line before this one waits for a part of the budget")
        return fault

    def reserve_turn(self, item: Item, usage: Usage) -> ChatpipeError | None:
        """The same before each further turn of a line: item has the body of that turn.

        usage is of all its turns before. They are booked, whatever is said of the next one, for
        which may be asked again: what others have set aside may come to less.
        """
        if self._is_unlimited:
            return None
        self._book(item, usage, self._free(item))
        fault = self._set_aside(item, usage, "turn")
        if fault is not None:
            self._reserved[item.line] = _Held(booked=usage)
            self._waiting.add(item.line)
        return fault

    @property
    def _is_unlimited(self) -> bool:
        return self._tokens is None and self._cost is None

    def _set_aside(self, item: Item, booked: Usage, what: str) -> ChatpipeError | None:
        if self._is_unlimited:
            return None
        tokens, cost = self._estimate(item)
        if self._tokens is not None and self.spent_tokens + self._held_tokens + tokens > self._tokens:
            return BudgetReached(
                f"the budget of {self._tokens} tokens is reached: {self.spent_tokens} are spent, "
                f"and the next {what} may take {tokens}",
                fix="raise --max-total-tokens",
            )
        if self._cost is not None and self.spent_cost + self._held_cost + cost > self._cost:
            return BudgetReached(
                f"the budget of {self._cost:g} is reached: {self.spent_cost:.4g} is spent, "
                f"and the next {what} may take {cost:.4g}",
                fix="raise --max-cost",
            )
        self._reserved[item.line] = _Held(tokens, cost, booked)
        self._held_tokens += tokens
        self._held_cost += cost
        return None

    def spend(self, usage: Usage, model: Value) -> None:
        """Book what was used before this run. model is as the answer names it, None for a failure."""
        self.spent_tokens += usage.total
        if self._cost is not None:
            self.spent_cost += max((price.cost(usage) for price in self._prices_paid(model)), default=0.0)

    def _prices_paid(self, model: Value) -> list[ModelPrice]:
        """That of the model, which servers name more exactly: `m-2026-01-01`. Else it may be any."""
        names = [name for name in self._prices if isinstance(model, str) and model.startswith(name)]
        return [self._prices[max(names, key=len)]] if names else list(self._prices.values())

    def settle(self, result: Result) -> None:
        """Book what a line really used, and free what was set aside for it."""
        if self._tokens is None and self._cost is None:
            return
        if result.latency_s is None:  # recorded: it was booked from the journal, or is another run's
            return
        self._book(result.item, spent_on(result), self._free(result.item))

    def _free(self, item: Item) -> Usage:
        """What was set aside for a line is free again. Returns what of its usage is booked already."""
        held = self._reserved.pop(item.line, _Held())
        self._waiting.discard(item.line)
        self._held_tokens -= held.tokens
        self._held_cost -= held.cost
        return held.booked

    def _book(self, item: Item, usage: Usage, booked: Usage) -> None:
        """Book what a line has used in all, less what is booked."""
        self.spent_tokens += usage.total - booked.total
        if self._prices and any(usage) and item.body is not None:
            price = price_of(self._prices, item.body.get("model"))
            self.spent_cost += price.cost(usage) - price.cost(booked)

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


def count_lines(lines: int) -> str:
    """`1 line`, `2 lines`."""
    return f"{lines} line" if lines == 1 else f"{lines} lines"


class StopRules:
    """The course of one run: see run.Course."""

    def __init__(
        self,
        capacity: ConcurrencyLimit,
        pace: RateLimiter,
        max_pause_s: float,
        tally: Tally,
        halt: HaltRule | None,
        budget: Budget,
    ) -> None:
        self._capacity = capacity
        self._pace = pace
        self._max_pause_s = max_pause_s
        self._tally = tally
        self._halt = halt
        self._budget = budget
        self._arrived = 0
        self._failed = 0
        self._forbidden = 0
        self._sent = 0

    @property
    def places(self) -> int:
        return self._capacity.limit

    def may_send(self, item: Item) -> Stop | None:
        fault = self._budget.reserve(item)
        return None if fault is None else Stop(fault)

    def arrived(self, result: Result) -> Stop | None:
        """Counted by itself: in an ordered output its turn may come much later, and the tally with it."""
        self._arrived += 1
        self._failed += not result.is_good
        self._sent += result.latency_s is not None
        self._budget.settle(result)
        stop = self._hits_all(result)
        return stop or (None if result.is_good else self._too_many())

    def handed_on(self, result: Result) -> None:
        self._tally.add(result)

    def _hits_all(self, result: Result) -> Stop | None:
        """No key, no permission, no credit: the next line would fare no better."""
        fault = result.fault
        if fault is None:
            return None
        if retry.is_busy(fault.http_status) and self._pace.paused_s > self._max_pause_s:
            what = f"the server has paused this run for {self._pace.paused_s:.0f} s: {fault.what}"
            return Stop(TryLater(what, fix="wait, or raise --max-pause"))
        if fault.status is Status.BUDGET:  # no further turn: see Budget.reserve_turn
            return Stop(fault)
        if fault.status is not Status.NO_ACCESS:
            return None
        if fault.http_status == 403:
            self._forbidden += 1
            if self._forbidden != self._sent or self._sent != _FORBIDDEN_AT_THE_START:
                return None
        return Stop(fault)

    def _too_many(self) -> Stop | None:
        halt, failed, arrived = self._halt, self._failed, self._arrived
        if halt is None:
            return None
        if halt.failures is not None and failed >= halt.failures:
            what = f"halted: {count_lines(failed)} failed"
            return Stop(Halted(what, fix="see --halt"), now=halt.now)
        if (
            halt.percent is not None
            and arrived >= _ENOUGH_FOR_A_SHARE
            and failed * 100 >= halt.percent * arrived
        ):
            what = f"halted: {failed} of {count_lines(arrived)} failed"
            return Stop(Halted(what, fix="see --halt"), now=halt.now)
        return None
