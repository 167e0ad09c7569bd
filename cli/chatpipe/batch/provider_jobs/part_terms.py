"""A run with jobs at a provider -> the rules by which its lines are put into parts, its budget included."""

from __future__ import annotations

from collections.abc import Mapping

from chatpipe.batch.budget import open_budget
from chatpipe.batch.items import Item
from chatpipe.batch.journal.answers import AnswerIndex
from chatpipe.batch.journal.store import RunStore
from chatpipe.batch.provider_jobs.collected_results import CollectedResults
from chatpipe.batch.provider_jobs.job_parts import PartTerms
from chatpipe.batch.provider_jobs.job_records import JobRecords
from chatpipe.batch.run_spec import RunSpec
from chatpipe.inputs import values
from chatpipe.inputs.values import Value
from chatpipe.jobs.job_dialects import JobDialect
from chatpipe.limits.tokens import TokenEstimator
from chatpipe.response.result_line import ResultLine
from chatpipe.response.usage import usage_of
from chatpipe.system.console import once


def part_terms(
    spec: RunSpec, store: RunStore, records: JobRecords, results: CollectedResults, dialect: JobDialect
) -> PartTerms:
    """The rules. Raises like open_budget()."""
    budget = open_budget(spec.limits, TokenEstimator(), store.files.recorded, spec.console.note, in_jobs=True)
    console = spec.console

    def is_known(item: Item, fingerprint: str) -> bool:
        return records.job_of(fingerprint) is not None or store.has_answer(item, fingerprint)

    def count_known(item: Item, fingerprint: str) -> None:
        """Count a line that lies in a job, unless the journal has its answer: open_budget() counts those."""
        if budget.is_unlimited or records.job_of(fingerprint) is None:
            return
        completion = results.completion(fingerprint)
        if completion is None and results.holds(fingerprint):
            return  # it has failed
        if completion is not None and _is_recorded(fingerprint, completion, store.files.recorded):
            return  # a run was killed between the answer and the note that the job is collected
        if completion is not None and (usage := usage_of(completion)).total:
            budget.spend(usage, completion.get("model"), in_job=True)
        else:
            budget.reserve_bought(item)

    return PartTerms(
        spec.input_name,
        dialect,
        spec.endpoint.patches,
        store.fingerprint,
        is_known,
        count_known,
        budget.reserve,
        budget.expected_cost,
        once(console.detail if console.options.verbose else None),
        spec.input.dedupe,
    )


def _is_recorded(fingerprint: str, completion: Mapping[str, Value], recorded: AnswerIndex | None) -> bool:
    """Return True if this answer of a job is recorded. There may be an older one to the same request."""
    found = None if recorded is None else recorded.find(fingerprint)
    return found is not None and ResultLine(values.loads(found.line)).completion == completion
