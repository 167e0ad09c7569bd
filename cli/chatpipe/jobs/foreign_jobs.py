"""Jobs with lines that are about to be submitted, of which this state knows nothing.

The metadata of a job have a sample of its lines: the smallest of their fingerprints. So a job that another
state has, or one that is lost, is found in the list of the account, also if lines were added or removed
since, or are divided into other jobs. Where jobs have no metadata, the name of the input file has a smaller
sample.
"""

from __future__ import annotations

import heapq
import re
import uuid
from collections.abc import Callable, Iterator, Sequence
from itertools import islice

from chatpipe.errors import ChatpipeError
from chatpipe.jobs.input_parts import InputPart, split_fingerprints
from chatpipe.jobs.job_api import JobApi
from chatpipe.jobs.job_dialects import JobDialect, ProviderJob
from chatpipe.jobs.part_record import OF_RUN, JobState
from chatpipe.named_tuple import NamedTuple

# The names of fields of metadata
TOKEN = "chatpipe_job"  # noqa: S105
_SAMPLE = "chatpipe_lines"
_MOST_SAMPLED = 15  # a value of metadata has at most 512 characters, ...
_MOST_IN_NAME = 5  # ... and the name of a file 255
_FILE_NAME = re.compile("chatpipe-([a-z]+-[0-9a-f]{32})-([0-9a-f]+)\\.jsonl")
_MOST_NAMES = 20  # each is a request
_MOST_PAGES = 3
_LONGEST_S = 2 * 86400.0  # hardly any job is open for longer


class ForeignJob(NamedTuple):
    """A job that has lines of ours. has_most: these are half or more of its lines, or of ours.

    is_of_run: its results have the fingerprints of requests as their custom_ids.
    """

    job: ProviderJob
    has_most: bool
    is_of_run: bool

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


class _Mark(NamedTuple):
    """The token of a job, and a sample of its lines: all of them if there are fewer than most."""

    token: str
    sample: Sequence[str]
    most: int = _MOST_SAMPLED


def metadata_of(token: str, part: InputPart) -> dict[str, str]:
    """The metadata of the job of a part."""
    return {TOKEN: token, _SAMPLE: _sample_of(part, _MOST_SAMPLED)}


def file_name_of(token: str, part: InputPart, dialect: JobDialect) -> str:
    """The name of the input file of a part. It has the sample if the job cannot have it."""
    sample = "" if dialect.has_metadata else f"-{_sample_of(part, _MOST_IN_NAME)}"
    return f"chatpipe-{token}{sample}.jsonl"


def _sample_of(part: InputPart, most: int) -> str:
    return "".join(heapq.nsmallest(most, part.each_fingerprint()))


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
    their results were collected. There are none at a provider that shows no list: that is no reason to send
    nothing. Raises the fault of a provider that is not reached.
    """
    new = [part for part in parts if state.with_digest(part.digest, server) is None]
    if not new:
        return []
    marked = [(job, mark) for job, mark in _marked(api) if mark.token not in state.records]
    sampled = {each for _, mark in marked for each in mark.sample}
    if not sampled:
        return []
    ours = {each for part in new for each in part.each_fingerprint() if each in sampled}
    found: list[ForeignJob] = []
    for job, mark in marked:
        if not (shared := sum(each in ours for each in mark.sample)):
            continue
        has_most = 2 * shared >= _comparable(mark, new)
        if not job.has_ended or (has_most and not any(map(is_recorded, mark.sample))):
            found.append(ForeignJob(job, has_most, mark.token.startswith(OF_RUN)))
    return found


def _marked(api: JobApi) -> Iterator[tuple[ProviderJob, _Mark]]:
    """The newest jobs with our marks. Without metadata each is a request: few of them, open ones first."""
    if api.dialect.has_metadata:
        for job in _newest(api):
            yield job, _Mark(token_of(job), list(split_fingerprints(_metadatum(job, _SAMPLE))))
        return
    for job in sorted(_newest(api), key=lambda job: job.has_ended)[:_MOST_NAMES]:
        name = _FILE_NAME.fullmatch(_file_name(api, job))
        if name is not None:
            yield job, _Mark(name[1], list(split_fingerprints(name[2])), _MOST_IN_NAME)


def _file_name(api: JobApi, job: ProviderJob) -> str:
    """The name of the input file of a job, empty if it is unknown."""
    try:
        return "" if job.input_file_id is None else api.file_name(job.input_file_id)
    except ChatpipeError as fault:
        if not fault.reached_server:
            raise
        return ""


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


def _comparable(mark: _Mark, parts: Sequence[InputPart]) -> int:
    """The most lines of a sample that can be lines of parts: a small input has few with such fingerprints."""
    last = "g" if len(mark.sample) < mark.most else mark.sample[-1]  # no digit comes after "g"
    ours = (each for part in parts for each in part.each_fingerprint() if each <= last)
    return sum(1 for _ in islice(ours, len(mark.sample)))


def _metadatum(job: ProviderJob, name: str) -> str:
    metadata = job.value.get("metadata")
    value = metadata.get(name) if isinstance(metadata, dict) else None
    return value if isinstance(value, str) else ""
