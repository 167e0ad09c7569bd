"""The budget of a run: tokens and money that it has spent, and that its requests in flight may spend."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Protocol

from chatpipe.batch.expenses import spent_on
from chatpipe.batch.journal.answers import AnswerIndex
from chatpipe.batch.result import Result
from chatpipe.errors import BudgetReached, ChatpipeError, quantity
from chatpipe.inputs import values
from chatpipe.inputs.values import Value
from chatpipe.limits import prices
from chatpipe.limits.prices import ModelPrice, price_of
from chatpipe.limits.tokens import TokenEstimator, prompt_bytes
from chatpipe.named_tuple import NamedTuple
from chatpipe.options.outcomes import PAID
from chatpipe.options.run import RunLimits
from chatpipe.response.result_line import LostAttempts, ResultLine
from chatpipe.response.usage import Usage, usage_of


class Billable(Protocol):
    """A request that uses tokens: the number of its line, and its body."""

    @property
    def line(self) -> int: ...

    @property
    def body(self) -> dict[str, Value] | None: ...


class _Reservation(NamedTuple):
    """The reservation for the next turns of a line. recorded is the usage of its earlier ones."""

    tokens: int = 0
    cost: float = 0.0
    recorded: Usage = Usage()


class Budget:
    """`--max-total-tokens` and `--max-cost`. Earlier runs of the same journal count as well.

    Each turn of a conversation has its own reservation, made after the usage of the turn before it
    was recorded. A line that may call tools is sent if there is room for its first turn and as much again:
    without a second one, the first would have been paid for nothing. turns is 2 then. With in_jobs, requests
    are reserved at the prices of the Batch API.

    lost has the attempts whose usage is unknown, by line, until the record of the line
    takes it for the next run.
    """

    def __init__(
        self,
        tokens: int | None,
        cost: float | None,
        prices: Mapping[str, ModelPrice],
        estimator: TokenEstimator,
        *,
        in_jobs: bool = False,
        turns: int = 1,
    ) -> None:
        self._turns = turns
        self._tokens = tokens
        self._cost = cost
        self.prices = prices
        self.estimator = estimator
        self._in_jobs = in_jobs
        self._reservations: dict[int | str, _Reservation] = {}  # by line, or by the token of a job
        self._waiting: set[int | str] = set()  # lines whose next turn had no room: they come before new ones
        self._reserved_tokens = 0
        self._reserved_cost = 0.0
        self.is_unlimited = tokens is None and cost is None
        self.lost: dict[int, LostAttempts] = {}
        self.spent_tokens = 0
        self.spent_cost = 0.0
        self._when = ""  # the words for runs before this one, if they have spent a part

    def check_model(self, model: object) -> None:
        """Raise BadConfiguration if a cost is limited, and requests for this model have no price."""
        if self._cost is not None:
            price_of(self.prices, model)

    def reserve(self, request: Billable) -> ChatpipeError | None:
        """Reserve the estimated usage of a request. Returns the reason if there is not enough left."""
        if self.is_unlimited:
            return None
        fault = self._reserve(request, Usage(), "line", self._turns)
        if fault is None and self._waiting:
            self._release(request.line)
            return BudgetReached("a turn of a line before this one waits for a part of the budget")
        return fault

    def reserve_job(self, token: str, usage: Usage, model: Value) -> None:
        """Reserve the expected usage of a job of an earlier run, whose answers are not known. It is paid for.

        token names the job.
        """
        cost = 0.0 if self._cost is None else prices.highest_cost(self.prices, usage, model, in_job=True)
        self._book(token, _Reservation(usage.total, cost))

    def release_job(self, token: str) -> None:
        """Release the reservation of a job."""
        self._release(token)

    def spend_answer(self, completion: dict[str, Value]) -> None:
        """Record the usage of an answer of such a job."""
        usage = usage_of(completion)
        if not usage.total:
            usage = _usage_of_length(completion, self.estimator)
        self.spend(usage, completion.get("model"), in_job=True)

    def reserve_turn(self, request: Billable, usage: Usage) -> ChatpipeError | None:
        """Reserve the estimated usage of a further turn of a line: request has the body of that turn.

        usage counts all earlier turns. It is recorded even if the turn is refused. The caller may
        ask again, because other requests may use less than was reserved for them.
        """
        if self.is_unlimited:
            return None
        released = self._release(request.line)
        self._record(request, usage, released.recorded)
        fault = self._reserve(request, usage, "turn")
        if fault is not None:
            self._reservations[request.line] = _Reservation(recorded=usage)
            self._waiting.add(request.line)
        return fault

    @property
    def currency(self) -> str:
        """The currency of all costs."""
        return prices.currency_of(self.prices)

    def spend(self, usage: Usage, model: Value, *, in_job: bool = False) -> None:
        """Record usage of an earlier run. model is the name in the answer, None for a failure."""
        if usage.total:
            self._when = " in this run and those before it"
        self.spent_tokens += usage.total
        if self._cost is not None:
            self.spent_cost += prices.highest_cost(self.prices, usage, model, in_job=in_job)

    def spend_lost(self, line: int, body: Mapping[str, Value], size_bytes: int, number: int) -> None:
        """Estimate and record the usage of an attempt that has none. size_bytes: see prompt_bytes().

        number is that of the attempt, from 1.
        """
        usage = self.estimator.usage(body, size_bytes)
        self.lost[line] = LostAttempts(self.lost.get(line, LostAttempts()).usage.plus(usage), number)
        if self.is_unlimited:
            return
        self.spent_tokens += usage.total
        if self._cost is not None:
            self.spent_cost += price_of(self.prices, body.get("model")).cost(usage)

    def settle(self, result: Result) -> None:
        """Record the real usage of a line, and release its reservation.

        Of a job's answer without usage the reservation counts: it is the best estimate, and not 0. Other
        answers without one are recorded by spend_lost().
        """
        if self.is_unlimited:
            return
        if result.latency_s is None:  # recorded: the journal had it already, or another run paid for it
            return
        if result.in_job and result.item.line not in self._reservations:
            return  # a job of an earlier run answered it: see JobExpenses
        released = self._release(result.item.line)
        self._record(result.item, Usage(*spent_on(result)), released.recorded, in_job=result.in_job)
        if result.in_job and result.completion is not None and not usage_of(result.completion).total:
            self.spent_tokens += released.tokens
            self.spent_cost += released.cost

    def _reserve(self, request: Billable, recorded: Usage, what: str, turns: int = 1) -> ChatpipeError | None:
        tokens, cost = self._estimate(request)
        tokens, cost = turns * tokens, turns * cost
        if self._tokens is not None and self.spent_tokens + self._reserved_tokens + tokens > self._tokens:
            spent = f"{self.spent_tokens} {'is' if self.spent_tokens == 1 else 'are'} spent"
            reserved = f", {self._reserved_tokens} reserved" if self._reserved_tokens else ""
            return BudgetReached(
                f"the budget of {quantity(self._tokens, 'token')} is reached: {spent}{self._when}{reserved}, "
                f"and the next {what} may take {tokens}",
                fix="raise --max-total-tokens",
            )
        if self._cost is not None and self.spent_cost + self._reserved_cost + cost > self._cost:
            # What is left of sums after their terms were subtracted again is no reservation.
            reserved = f", {self._reserved_cost:.4g} reserved" if self._reservations else ""
            return BudgetReached(
                f"the budget of {self._cost:g} {self.currency} is reached: {self.spent_cost:.4g} is "
                f"spent{self._when}{reserved}, and the next {what} may take {cost:.4g}",
                fix="raise --max-cost",
            )
        self._book(request.line, _Reservation(tokens, cost, recorded))
        return None

    def spent_text(self) -> str:
        """The share of the limits that is spent: `120 of 1600 tokens`, `0.0004 of 0.008 USD`."""
        tokens = "" if self._tokens is None else f"{self.spent_tokens} of {quantity(self._tokens, 'token')}"
        cost = "" if self._cost is None else f"{self.spent_cost:.4g} of {self._cost:g} {self.currency}"
        return " and ".join(filter(None, (tokens, cost)))

    def _book(self, key: int | str, reservation: _Reservation) -> None:
        self._reservations[key] = reservation
        self._reserved_tokens += reservation.tokens
        self._reserved_cost += reservation.cost

    def _release(self, key: int | str) -> _Reservation:
        """Release the reservation for a line or a job, and return it."""
        reservation = self._reservations.pop(key, _Reservation())
        self._waiting.discard(key)
        self._reserved_tokens -= reservation.tokens
        self._reserved_cost -= reservation.cost
        return reservation

    def _record(self, request: Billable, usage: Usage, recorded: Usage, *, in_job: bool = False) -> None:
        """Record the usage of all turns of a line, minus the part that is already recorded."""
        self.spent_tokens += usage.total - recorded.total
        if self.prices and any(usage) and request.body is not None:
            self.spent_cost += self._cost_of(usage, request, in_job=in_job)
            self.spent_cost -= self._cost_of(recorded, request, in_job=in_job)

    def _estimate(self, request: Billable) -> tuple[int, float]:
        """The tokens and the cost, 0 if it has no limit, that a request may come to."""
        body = request.body or {}
        usage = self.estimator.usage(body, prompt_bytes(body, len(values.dumps(body))))
        return usage.total, 0.0 if self._cost is None else self._cost_of(usage, request, in_job=self._in_jobs)

    def _cost_of(self, usage: Usage, request: Billable, *, in_job: bool) -> float:
        return price_of(self.prices, (request.body or {}).get("model"), in_job=in_job).cost(usage)


def open_budget(
    limits: RunLimits,
    recorded: AnswerIndex | None,
    note: Callable[[str], None],
    *,
    in_jobs: bool = False,
    turns: int = 1,
) -> Budget:
    """The budget of a run, with the usage of all recorded answers. Raises like load_prices()."""
    table = prices.load_prices(limits.prices, note) if limits.prices is not None else {}
    budget = Budget(
        limits.max_total_tokens, limits.max_cost, table, TokenEstimator(), in_jobs=in_jobs, turns=turns
    )
    if recorded is not None and not budget.is_unlimited:
        from chatpipe.batch.journal.paid_lines import paid_lines  # few runs have a budget

        for line in paid_lines(recorded.files):
            budget.spend(_recorded_usage(line, budget.estimator), line.model, in_job=line.is_of_job)
            budget.spend(line.lost_usage, line.model)
    return budget


def _recorded_usage(line: ResultLine, estimator: TokenEstimator) -> Usage:
    """The usage of a recorded answer. If nothing is known, its length is an estimate, and not 0.

    That is an answer of a job, or of an earlier release, and its prompt is no longer known.
    """
    usage = line.spent_usage()
    if usage.total or line.lost_usage.total or line.outcome not in PAID:
        return usage
    return _usage_of_length(line.body, estimator)


def _usage_of_length(body: Value, estimator: TokenEstimator) -> Usage:
    """The estimated usage of an answer that states none."""
    tokens = estimator.estimate(len(values.dumps(body)), 0, 1)
    return Usage(0, 0, tokens, tokens)
