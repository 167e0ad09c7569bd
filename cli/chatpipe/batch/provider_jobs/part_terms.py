"""A run with jobs at a provider -> the rules by which its lines are put into parts, its budget included."""

from __future__ import annotations

from chatpipe.batch.budget import open_budget
from chatpipe.batch.items import Item
from chatpipe.batch.job import Job
from chatpipe.batch.journal.store import RunStore
from chatpipe.batch.provider_jobs.collected_results import CollectedResults
from chatpipe.batch.provider_jobs.job_parts import PartTerms
from chatpipe.batch.provider_jobs.job_records import JobRecords
from chatpipe.jobs.job_dialects import JobDialect
from chatpipe.limits.tokens import TokenEstimator
from chatpipe.response.usage import usage_of


def part_terms(
    job: Job, store: RunStore, records: JobRecords, results: CollectedResults, dialect: JobDialect
) -> PartTerms:
    """The rules. Raises like open_budget()."""
    lookup, recorded = store.again(), store.files.recorded
    budget = open_budget(job.limits, TokenEstimator(), recorded, job.console.note, in_jobs=True)

    def is_in_job(fingerprint: str) -> bool:
        return records.job_of(fingerprint) is not None or results.holds(fingerprint)

    def count_known(item: Item, fingerprint: str) -> None:
        """Count a line that lies in a job: the journal does not have its answer yet."""
        if budget.is_unlimited or not is_in_job(fingerprint):
            return
        completion = results.completion(fingerprint)
        if completion is None and results.holds(fingerprint):
            return  # it has failed
        if completion is not None and (usage := usage_of(completion)).total:
            budget.spend(usage, completion.get("model"), in_job=True)
        else:
            budget.reserve(item)

    return PartTerms(
        dialect,
        job.endpoint.patches,
        lookup.fingerprint,
        lambda item, fingerprint: is_in_job(fingerprint) or lookup.has_answer(item, fingerprint),
        count_known,
        budget.reserve,
        budget.expected_cost,
    )
