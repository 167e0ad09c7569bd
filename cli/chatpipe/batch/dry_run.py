"""Runs that send nothing: `-f requests` writes Batch lines, `--dry-run` estimates tokens and cost."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence

from chatpipe.batch.items import Item
from chatpipe.batch.job import Job
from chatpipe.batch.journal.store import RunStore, open_store
from chatpipe.errors import BadInput, Status
from chatpipe.inputs import values
from chatpipe.inputs.values import Value
from chatpipe.limits import prices
from chatpipe.limits.tokens import TokenEstimator
from chatpipe.output.target import OpenOutput
from chatpipe.request.batch_line import batch_line
from chatpipe.server.patches import Patch, patch_body
from chatpipe.system.console import Console, FirstFew, once
from chatpipe.system.signals import run_loop


def write_requests(
    items: AsyncIterator[Item], out: OpenOutput, console: Console, patches: Sequence[Patch] = ()
) -> int:
    """Write the Batch lines that would be sent, and print the errors of bad lines. Returns the status.

    The changes of patches are printed, too, each once.
    """
    return run_loop(_write_requests(items, out, console, patches))


async def _write_requests(
    items: AsyncIterator[Item], out: OpenOutput, console: Console, patches: Sequence[Patch]
) -> int:
    bad, report = _bad(console), once(console.note)
    async for item in items:
        if not item.is_ours:
            continue
        if item.fault is not None:
            bad.report(item.fault)
            continue
        assert item.body is not None
        body = patch_body(item.body, patches, report) if patches else item.body
        out.write(values.dumps(batch_line(item.custom_id, body)) + b"\n")
    if bad.count:
        out.keep()
        return Status.BAD_INPUT
    out.replace()
    return Status.OK


def estimate(items: AsyncIterator[Item], job: Job) -> dict[str, Value]:
    """Estimate tokens and cost of the lines without a recorded answer. Bad lines are printed."""
    with open_store(job, is_dry=True) as store:
        return run_loop(_estimate(items, job.limits.prices, job.console, store))


async def _estimate(
    items: AsyncIterator[Item], prices_file: str | None, console: Console, store: RunStore
) -> dict[str, Value]:
    table = prices.load_prices(prices_file, console.note) if prices_file is not None else {}
    estimator = TokenEstimator()
    lines = size = tokens = reused = 0
    bad = _bad(console)
    cost = cost_of_jobs = 0.0
    has_prices_of_jobs = bool(table)
    async for item in items:
        lines += item.is_ours
        if item.fault is not None:
            if item.is_ours:
                bad.report(item.fault)
            continue
        assert item.body is not None
        fingerprint = store.fingerprint(item)  # duplicates are counted over all shards
        if not item.is_ours:
            continue
        if store.has_answer(item, fingerprint):
            reused += 1
            continue
        data = len(values.dumps(item.body))
        usage = estimator.usage(item.body, data)
        size += data
        tokens += usage.total
        if table:
            price = prices.price_of(table, item.body.get("model"))
            cost += price.cost(usage)
            cost_of_jobs += prices.price_of(table, item.body.get("model"), in_job=True).cost(usage)
            has_prices_of_jobs = has_prices_of_jobs and price.of_jobs is not None
    record: dict[str, Value] = {"lines": lines, "bad": bad.count, "reused": reused}
    record |= {"bytes": size, "estimated_tokens": tokens}
    if table:
        record["estimated_cost"] = round(cost, 6)
    if has_prices_of_jobs:
        record["estimated_batch_cost"] = round(cost_of_jobs, 6)
    return record


def _bad(console: Console) -> FirstFew[BadInput]:
    """A reporter of bad lines: it prints the first ones and counts all."""
    return FirstFew(console.error, console.note, "chatpipe check shows them all")
