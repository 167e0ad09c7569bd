"""Tokens and money that a run has spent on the answers to its lines."""

from __future__ import annotations

from collections.abc import Mapping

from chatpipe.batch.result import Result
from chatpipe.inputs.values import Value
from chatpipe.limits.prices import ModelPrice, cost_of, currency_of
from chatpipe.response.usage import Counts, Usage, counts_of, spent_usage


class Expenses:
    """The sum of what the lines of a run have used: tokens, and their cost by prices.

    cost is None without prices, or once a model was used whose price is unknown.
    """

    def __init__(self, prices: Mapping[str, ModelPrice]) -> None:
        self._prices = prices
        self.prompt = self.cached = self.completion = self.total = 0
        self.cost = 0.0 if prices else None

    def add(self, result: Result) -> None:
        """Add a line that was sent in this run."""
        spent = spent_on(result)
        prompt, cached, completion, total = spent
        self.prompt += prompt
        self.cached += cached
        self.completion += completion
        self.total += total
        if self.cost is not None:
            model = (result.item.body or {}).get("model")
            cost = cost_of(self._prices, Usage(*spent), model, in_job=result.in_job)
            self.cost = None if cost is None else self.cost + cost

    @property
    def currency(self) -> str:
        """The currency of cost."""
        return currency_of(self._prices)

    def report(self) -> dict[str, Value]:
        """The `tokens` and the `cost` of reports, with its currency if there are prices."""
        return {
            "tokens": {
                "prompt": self.prompt,
                "cached": self.cached,
                "completion": self.completion,
                "total": self.total,
            },
            "cost": None if self.cost is None else round(self.cost, 9),
            **({"currency": self.currency} if self._prices else {}),
        }


def spent_on(result: Result) -> Counts:
    """The counts of all turns that led to a result."""
    if not result.earlier_usage:  # nearly all
        return counts_of(result.completion)
    return tuple(spent_usage(result.completion, result.earlier_usage))
