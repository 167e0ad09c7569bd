"""Results of jobs to lines that a run does not have -> records in its journal, for an input that has them."""

from __future__ import annotations

from chatpipe.batch.expenses import Expenses
from chatpipe.batch.items import Item
from chatpipe.batch.journal.store import RunStore
from chatpipe.batch.provider_jobs.collected_results import CollectedResults
from chatpipe.batch.provider_jobs.job_journal import JobJournal
from chatpipe.batch.result import ResultBuilder
from chatpipe.batch.run_spec import RunSpec


def keep_unused(
    results: CollectedResults,
    spec: RunSpec,
    store: RunStore,
    records: JobJournal,
    server: str,
    spent: Expenses | None,
) -> None:
    """Record and count the answers that no line of the run has asked for.

    Raises CannotWrite and BrokenAnswer.
    """
    builder = ResultBuilder(frozenset(), spec.run_format.properties, server=server)
    for fingerprint, (answer, latency_s) in results.unused():
        if answer.fault is None:
            record = records.job_of(fingerprint)
            body = None if record is None else {"model": record.fields.get("model")}
            item = Item(0, records.custom_id_of(fingerprint) or fingerprint, body)
            result = builder.of_answer(item, fingerprint, answer, latency_s)
            store.keep(result)
            if spent is not None:
                spent.add(result)
