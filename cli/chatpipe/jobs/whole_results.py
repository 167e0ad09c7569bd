"""A job that has ended -> its result files, each as the provider has it.

A download that ends cleanly may still be short or damaged, on its way or before the provider has written all.
A file in doubt has to have the size that the provider names, else it is downloaded again. What is missing in
a file of that size, the provider has lost.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import suppress
from itertools import count

from chatpipe.errors import BrokenAnswer, ChatpipeError, quantity
from chatpipe.jobs.job_api import JobApi
from chatpipe.jobs.job_dialects import ProviderJob
from chatpipe.jobs.result_file import ResultFile
from chatpipe.system.spool import Spool
from chatpipe.wire import retry
from chatpipe.wire.retry import FailedAttempt, RetryAfter

_WINDOW_S = 86400.0  # most jobs have to end within
_SETTLED_S = 86400.0  # a file of a job that ended later may be not visible yet, or not whole


def whole_results(
    api: JobApi, job: ProviderJob, download: Callable[[str], Spool | None], lines: int
) -> Mapping[str, ResultFile]:
    """The files of a job by their ids, the output first. download gives one, None if it is gone.

    lines is the number of its requests, 0 if it is unknown. Raises BrokenAnswer if files stay in doubt,
    unless the job ended long ago: then each is the one of its downloads with the most results.
    """
    files: dict[str, ResultFile | None] = {}
    earlier: dict[str, ResultFile] = {}
    for attempt in count(1):
        for id_ in _ids(job):
            if id_ not in files:
                spool = download(id_)
                files[id_] = None if spool is None else _better(ResultFile(spool), earlier.pop(id_, None))
        doubt = _doubt(job, files.get(job.output_file_id or ""), files.get(job.error_file_id or ""), lines)
        found = {id_: file for id_, file in files.items() if file is not None}
        doubtful = [id_ for id_, file in found.items() if doubt and not has_its_size(api, id_, file)]
        if not doubtful:
            break
        if not _wait(api, job, attempt, doubt, "downloading again"):
            break
        for id_ in doubtful:
            earlier[id_] = found[id_]
            del files[id_]
    return found


def _better(file: ResultFile, earlier: ResultFile | None) -> ResultFile:
    """The one with more results of two downloads of a file. Closes the other one."""
    if earlier is None:
        return file
    better, other = (file, earlier) if len(file) >= len(earlier) else (earlier, file)
    other.spool.close()
    return better


def settled_job(api: JobApi, job: ProviderJob) -> ProviderJob:
    """The job when it names the file of its answers, which may be a while after its end.

    Raises BrokenAnswer if a completed job does not, unless it ended long ago, and the fault of a request.
    A provider may keep nothing of a job that expired or was cancelled.
    """
    for attempt in count(1):
        doubt = "" if job.output_file_id is not None else _lacks_file(job)
        if not doubt or not _wait(api, job, attempt, doubt, "looking again"):
            break
        job = api.retrieve(job.id)
    return job


def _lacks_file(job: ProviderJob) -> str:
    """The doubt about a job without a file of answers, empty if there may be none."""
    total, completed, failed = job.counts
    # Some providers count a refused line as completed, too.
    answers = 0 if job.status == "failed" else min(completed, total - failed if total else completed)
    if answers > 0:
        return f"it has {quantity(answers, 'answer')}, and names no file with them"
    are_all_refused = 0 < total <= failed
    # Without its counts, as a list may show it, a job is not known to have no answers.
    is_silent = job.status == "completed" and job.error_file_id is None and not are_all_refused
    return "it has completed, and names no result file" if is_silent else ""


def _wait(api: JobApi, job: ProviderJob, attempt: int, doubt: str, action: str) -> bool:
    """Wait before a further attempt. Return False, with a warning, if there is no hope after the last one.

    Raises BrokenAnswer if there is some.
    """
    context = api.connection.context
    decision = retry.decide(
        attempt, FailedAttempt(), api.connection.retry, now=context.now(), random=context.random
    )
    if isinstance(decision, RetryAfter):
        context.note(f"{job.id}: {doubt}: {action} in {decision.seconds:.1f} s")
        api.sleep(decision.seconds)
        return True
    if not is_old(job, context.now()) and (job.status == "completed" or job.output_file_id is not None):
        raise BrokenAnswer(doubt, place=job.id, fix="run the same command later")
    api.connection.console.warning(f"{job.id}: {doubt}")
    return False


def is_old(job: ProviderJob, now: float) -> bool:
    """Return True if the results of a job were there for a while, even if nobody says when it ended."""
    return now - (job.ended_at or job.created_at + _WINDOW_S) > _SETTLED_S


def _ids(job: ProviderJob) -> list[str]:
    return [id_ for id_ in (job.output_file_id, job.error_file_id) if id_ is not None]


def _doubt(job: ProviderJob, output: ResultFile | None, errors: ResultFile | None, lines: int) -> str:
    """The reason why files may be not whole, empty without one. None stands for a file that is not there."""
    files = [file for file in (output, errors) if file is not None]
    if broken := sum(file.broken for file in files):
        return f"{quantity(broken, 'line')} of its result files cannot be read"
    expected = job.counts.completed * (output is not None) + job.counts.failed * (errors is not None)
    if not job.counts.total and job.status == "completed":  # Together counts nothing
        expected = lines
    results = sum(map(len, files))
    return "" if results >= expected else f"its result files have {results} of {quantity(expected, 'result')}"


def has_its_size(api: JobApi, id_: str, file: ResultFile) -> bool:
    """Return True if a file has the size that the provider names."""
    with suppress(ChatpipeError):
        return api.file_size(id_) == file.spool.size
    return False
