"""`--dry-run`: tokens and cost are estimated, and nothing is sent."""

from __future__ import annotations

from collections import Counter
from collections.abc import AsyncIterator, Mapping

from chatpipe.batch.items import Item
from chatpipe.batch.journal.answers import hash_key
from chatpipe.batch.journal.send_reasons import SendReason, reasons_report
from chatpipe.batch.journal.store import RunStore, open_dry_store
from chatpipe.batch.requests_only import bad_lines
from chatpipe.batch.run_spec import RunSpec
from chatpipe.errors import Status
from chatpipe.inputs import values
from chatpipe.inputs.values import Value
from chatpipe.limits import prices
from chatpipe.limits.prices import ModelPrice
from chatpipe.limits.tokens import TokenEstimator
from chatpipe.options.output import OutputOptions
from chatpipe.output.target import open_target
from chatpipe.system.line_index import SortedIndex
from chatpipe.system.signals import run_loop


def print_estimate(items: AsyncIterator[Item], spec: RunSpec) -> int:
    """Print the estimate of `--dry-run`. With bad lines the status is 65, as for check."""
    record = _estimate_of(items, spec)
    with open_target(OutputOptions(), (), escape=True) as out:
        out.write(values.dumps(record) + b"\n")
    return Status.BAD_INPUT if record["bad"] else Status.OK


def _estimate_of(items: AsyncIterator[Item], spec: RunSpec) -> dict[str, Value]:
    """Estimate tokens and cost of the lines without a recorded answer. Bad lines are printed."""
    with open_dry_store(spec) as store:
        return run_loop(_estimate(items, spec, store))


class _Estimate:
    """The counts of the lines so far, and their cost by a table of prices, which may be empty."""

    def __init__(self, table: Mapping[str, ModelPrice], *, dedupe: bool) -> None:
        self._table = table
        self._estimator = TokenEstimator()
        self._seen = SortedIndex("B") if dedupe else None
        self._has_prices_of_jobs = bool(table)
        self._reasons: Counter[SendReason] = Counter()
        self._size = self._tokens = 0
        self._cost = self._cost_of_jobs = 0.0
        self.lines = self.reused = 0

    def is_doubled(self, fingerprint: str) -> bool:
        """Return True, with --dedupe, for a request that another line has made."""
        return self._seen is not None and bool(self._seen.find_or_add(hash_key(fingerprint), 0))

    def add(self, body: Mapping[str, Value], reason: SendReason) -> None:
        """Add a request that would be sent."""
        data = len(values.dumps(body))
        usage = self._estimator.usage(body, data)
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
        record["sent"] = reasons_report(self._reasons)
        record |= {"bytes": self._size, "estimated_tokens": self._tokens}
        if self._table:
            record["estimated_cost"] = round(self._cost, 6)
        if self._has_prices_of_jobs:
            record["estimated_batch_cost"] = round(self._cost_of_jobs, 6)
        if self._table:
            record["currency"] = prices.currency_of(self._table)
        return record


async def _estimate(items: AsyncIterator[Item], spec: RunSpec, store: RunStore) -> dict[str, Value]:
    file, console = spec.limits.prices, spec.console
    table = prices.load_prices(file, console.note) if file is not None else {}
    found = _Estimate(table, dedupe=spec.input.dedupe)
    bad = bad_lines(console)
    async for item in items:
        found.lines += item.is_ours
        if item.fault is not None:
            if item.is_ours:
                bad.report(item.fault)
            continue
        assert item.body is not None
        fingerprint = store.fingerprint(item)  # duplicates are counted over all shards
        if not item.is_ours:
            continue
        if store.lookup.has_answer(item, fingerprint) or found.is_doubled(fingerprint):
            found.reused += 1
        else:
            found.add(item.body, store.lookup.reason(item, fingerprint))
    if found.lines > found.reused + bad.count and (text := store.lookup.reused_in_vain_text()):
        console.note(text)
    return found.record(bad.count)
