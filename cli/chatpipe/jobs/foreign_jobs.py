"""Jobs with lines that are about to be submitted, of which this state knows nothing.

The metadata of a job have a sample of its lines: the smallest of their fingerprints. So a job that another
state has, or one that is lost, is found in the list of the account, also if lines were added or removed
since, or are divided into other jobs.
"""

from __future__ import annotations

import heapq
import uuid
from collections.abc import Callable, Iterator, Sequence
from itertools import islice

from chatpipe.errors import ChatpipeError
from chatpipe.jobs.input_parts import InputPart, split_fingerprints
from chatpipe.jobs.job_api import JobApi
from chatpipe.jobs.job_dialects import ProviderJob
from chatpipe.jobs.part_record import OF_RUN, JobState
from chatpipe.named_tuple import NamedTuple

# The names of fields of metadata
TOKEN = "chatpipe_job"  # noqa: S105
_SAMPLE = "chatpipe_lines"
_MOST_SAMPLED = 15  # a value of metadata has at most 512 characters
_MOST_PAGES = 3
_LONGEST_S = 2 * 86400.0  # hardly a job is open for longer


class ForeignJob(NamedTuple):
    """A job that has lines of ours. has_most: these are half or more of its lines, or of ours."""

    job: ProviderJob
    has_most: bool

    @property
    def is_of_run(self) -> bool:
        """True if its results have the fingerprints of requests as their custom_ids."""
        return token_of(self.job).startswith(OF_RUN)

    def warning(self, api: JobApi, path: str) -> str:
        """The warning that the state at this path does not know it."""
        id_ = self.job.id
        if self.job.has_ended:
            way = f"{api.command('results', id_)} gets its answers"
        else:
            way = f"{api.command('cancel', id_)} gives it up"
        lines = "most" if self.has_most else "some"
        return f"{id_} has {lines} of these lines, too, and '{path}' does not know it: {way}"


def new_token(beginning: str) -> str:
    """A token that no other job has."""
    return f"{beginning}{uuid.uuid4().hex}"


def metadata_of(token: str, part: InputPart) -> dict[str, str]:
    """The metadata of the job of a part."""
    return {TOKEN: token, _SAMPLE: "".join(heapq.nsmallest(_MOST_SAMPLED, part.each_fingerprint()))}


def token_of(job: ProviderJob) -> str:
    """Our token in a job, empty without one."""
    return _metadatum(job, TOKEN)


def foreign_jobs(
    api: JobApi,
    state: JobState,
    parts: Sequence[InputPart],
    server: str,
    is_recorded: Callable[[str], bool] = lambda fingerprint: False,
) -> list[ForeignJob]:
    """The jobs with lines of parts that have no record for this server, among the newest of the account.

    Jobs that have ended count if they have answers, most of the lines, and no line that is_recorded: then
    their results were collected. There are none at a provider that keeps no metadata or shows no list: that
    is no reason to send nothing. Raises the fault of a provider that is not reached.
    """
    new = [part for part in parts if state.with_digest(part.digest, server) is None]
    if not new or not api.dialect.has_metadata:
        return []
    samples = [(job, _sample_of(job)) for job in _newest(api) if token_of(job) not in state.records]
    sampled = {each for _, sample in samples for each in sample}
    if not sampled:
        return []
    ours = {each for part in new for each in part.each_fingerprint() if each in sampled}
    found: list[ForeignJob] = []
    for job, sample in samples:
        if not (shared := sum(each in ours for each in sample)):
            continue
        has_most = 2 * shared >= _comparable(sample, new)
        if not job.has_ended or (has_most and not any(map(is_recorded, sample))):
            found.append(ForeignJob(job, has_most))
    return found


def _newest(api: JobApi) -> Iterator[ProviderJob]:
    """The newest jobs that may have answers. One that is being cancelled is given up."""
    try:
        for page in islice(api.pages(api.connection.context.now() - _LONGEST_S), _MOST_PAGES):
            for job in page.jobs:
                is_void = job.output_file_id is None if job.has_ended else job.status == "cancelling"
                if not is_void:
                    yield job
    except ChatpipeError as fault:
        if not fault.reached_server:  # an upload would be tried in vain, too
            raise


def _comparable(sample: Sequence[str], parts: Sequence[InputPart]) -> int:
    """The most lines of a sample that can be lines of parts: a small input has few with such fingerprints."""
    last = "g" if len(sample) < _MOST_SAMPLED else sample[-1]  # no digit comes after "g"
    ours = (each for part in parts for each in part.each_fingerprint() if each <= last)
    return sum(1 for _ in islice(ours, len(sample)))


def _sample_of(job: ProviderJob) -> list[str]:
    return list(split_fingerprints(_metadatum(job, _SAMPLE)))


def _metadatum(job: ProviderJob, name: str) -> str:
    metadata = job.value.get("metadata")
    value = metadata.get(name) if isinstance(metadata, dict) else None
    return value if isinstance(value, str) else ""
