"""The estimate of a run: its lines, and the tokens and the cost of those that would be sent."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping

from chatpipe.batch.journal.answers import hash_key
from chatpipe.batch.journal.send_reasons import SendReason, reasons_report
from chatpipe.inputs import values
from chatpipe.inputs.values import Value
from chatpipe.limits import prices
from chatpipe.limits.prices import ModelPrice
from chatpipe.limits.tokens import TokenEstimator, prompt_bytes
from chatpipe.system.line_index import SortedIndex


class Estimate:
    """The counts of the lines so far, and their cost by a table of prices, which may be empty."""

    def __init__(self, table: Mapping[str, ModelPrice], *, dedupe: bool) -> None:
        self._table = table
        self._estimator = TokenEstimator()
        self._seen = SortedIndex("B") if dedupe else None
        self._has_prices_of_jobs = any(price.of_jobs is not None for price in table.values())
        self._reasons: Counter[SendReason] = Counter()
        self._size = self._tokens = 0
        self._cost = self._cost_of_jobs = 0.0
        self.lines = self.reused = self.in_jobs = 0

    def is_doubled(self, fingerprint: str) -> bool:
        """Return True, with --dedupe, for a request that another line has made."""
        return self._seen is not None and bool(self._seen.find_or_add(hash_key(fingerprint), 0))

    def add(self, body: Mapping[str, Value], reason: SendReason) -> None:
        """Add a request that would be sent."""
        data = len(values.dumps(body))
        usage = self._estimator.usage(body, prompt_bytes(body, data))
        self._reasons[reason] += 1
        self._size += data
        self._tokens += usage.total
        if self._table:
            price = prices.price_of(self._table, body.get("model"))
            self._cost += price.cost(usage)
            self._cost_of_jobs += prices.price_of(self._table, body.get("model"), in_job=True).cost(usage)
            self._has_prices_of_jobs = self._has_prices_of_jobs and price.of_jobs is not None

    def record(self, bad: int) -> dict[str, Value]:
        """The object that --dry-run prints. bad is the number of wrong lines."""
        record: dict[str, Value] = {"lines": self.lines, "bad": bad, "reused": self.reused}
        if self.in_jobs:
            record["in_jobs"] = self.in_jobs
        record["sent"] = reasons_report(self._reasons)
        record |= {"bytes": self._size, "estimated_tokens": self._tokens}
        if self._table:
            record["estimated_cost"] = round(self._cost, 6)
        if self._has_prices_of_jobs:
            record["estimated_batch_cost"] = round(self._cost_of_jobs, 6)
        if self._table:
            record["currency"] = prices.currency_of(self._table)
        return record
