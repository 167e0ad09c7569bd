"""Open jobs of lines that are about to be submitted, of which this state knows nothing.

The token of a job begins with the digest of its lines. So a job that another state has, or one that is lost,
is found in the list of the account.
"""

from __future__ import annotations

import uuid
from collections.abc import Sequence
from itertools import islice

from chatpipe.errors import ChatpipeError
from chatpipe.jobs.input_parts import InputPart
from chatpipe.jobs.job_api import JobApi
from chatpipe.jobs.job_dialects import ProviderJob
from chatpipe.jobs.part_record import JobState
from chatpipe.named_tuple import NamedTuple

TOKEN = "chatpipe_job"  # noqa: S105 - the name of a field
_DIGITS = 16  # of the digest; as many others are random
_MOST_PAGES = 3
_LONGEST_S = 2 * 86400.0  # hardly a job is open for longer


class ForeignJob(NamedTuple):
    """A job, and the part whose lines it has."""

    job: ProviderJob
    part: InputPart


def new_token(digest: str) -> str:
    """A token that no other job has, for lines with this digest."""
    return digest[:_DIGITS] + uuid.uuid4().hex[_DIGITS:]


def token_of(job: ProviderJob) -> str:
    """Our token in a job, empty without one."""
    metadata = job.value.get("metadata")
    token = metadata.get(TOKEN) if isinstance(metadata, dict) else None
    return token if isinstance(token, str) else ""


def foreign_jobs(api: JobApi, state: JobState, parts: Sequence[InputPart], server: str) -> list[ForeignJob]:
    """The open jobs of parts that have no record for this server, among the newest of the account.

    One that is being cancelled is given up. There are none at a provider that keeps no token or shows no
    list: that is no reason to send nothing. Raises the fault of a provider that is not reached.
    """
    by_digest = {
        part.digest[:_DIGITS]: part for part in parts if state.with_digest(part.digest, server) is None
    }
    if not by_digest or not api.dialect.has_metadata:
        return []
    found: list[ForeignJob] = []
    try:
        for page in islice(api.pages(api.connection.context.now() - _LONGEST_S), _MOST_PAGES):
            for job in page.jobs:
                token = token_of(job)
                part = by_digest.get(token[:_DIGITS])
                is_open = not job.has_ended and job.status != "cancelling"
                if part is not None and is_open and token not in state.records:
                    found.append(ForeignJob(job, part))
    except ChatpipeError as fault:
        if not fault.reached_server:  # an upload would be tried in vain, too
            raise
    return found
