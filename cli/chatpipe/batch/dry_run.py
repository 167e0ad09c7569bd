"""`--dry-run`: tokens and cost are estimated, and nothing is sent."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import TYPE_CHECKING

from chatpipe.batch.estimate import Estimate
from chatpipe.batch.items import Item
from chatpipe.batch.journal.store import RunStore, open_dry_store
from chatpipe.batch.requests_only import bad_lines
from chatpipe.batch.run_spec import RunSpec
from chatpipe.errors import Status
from chatpipe.inputs import values
from chatpipe.inputs.values import Value
from chatpipe.limits import prices
from chatpipe.options.output import OutputOptions
from chatpipe.output.target import open_target
from chatpipe.system.signals import run_loop

if TYPE_CHECKING:
    from chatpipe.batch.provider_jobs.open_lines import OpenLines


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


def _open_jobs(spec: RunSpec, store: RunStore) -> OpenLines | None:
    """The lines in open jobs of the journal, None for a journal without any, as nearly all are."""
    recorded = store.files.recorded
    if recorded is None or not recorded.events:
        return None
    from chatpipe.batch.provider_jobs.open_lines import OpenLines

    return OpenLines(spec, store, recorded.events)


async def _estimate(items: AsyncIterator[Item], spec: RunSpec, store: RunStore) -> dict[str, Value]:
    file, console = spec.limits.prices, spec.console
    table = prices.load_prices(file, console.note) if file is not None else {}
    found = Estimate(table, dedupe=spec.input.dedupe)
    bad = bad_lines(console)
    jobs = _open_jobs(spec, store)
    async for item in items:
        found.lines += item.is_ours
        if item.fault is not None:
            if item.is_ours:
                bad.report(item.fault)
            continue
        assert item.body is not None
        fingerprint = (jobs or store).fingerprint(item)  # duplicates are counted over all shards
        if not item.is_ours:
            continue
        if store.lookup.has_answer(item, fingerprint):
            found.reused += 1
        elif jobs is not None and jobs.has(fingerprint):
            found.in_jobs += 1
        elif found.is_doubled(fingerprint):
            found.reused += 1
        else:
            found.add(item.body, store.lookup.reason(item, fingerprint))
    if found.lines > found.reused + bad.count and (text := store.lookup.reused_in_vain_text()):
        console.note(text)
    return found.record(bad.count)
