"""Results of jobs for lines that are no longer in the input -> the journal: they were paid for."""

from __future__ import annotations

from chatpipe.batch.items import Item
from chatpipe.batch.journal.store import RunStore
from chatpipe.batch.provider_jobs.collected_results import CollectedResults
from chatpipe.batch.result import ResultBuilder
from chatpipe.batch.run_spec import RunSpec


def keep_unused(spec: RunSpec, store: RunStore, results: CollectedResults) -> None:
    """Record the answers that the run did not use. Raises CannotWrite."""
    builder = ResultBuilder(frozenset(), spec.run_format.properties, server=spec.server_names[0])
    for fingerprint, found in results.unused():
        if found.answer.fault is None:
            item = Item(0, fingerprint, None)
            store.keep(builder.of_answer(item, fingerprint, found.answer, found.latency_s))
