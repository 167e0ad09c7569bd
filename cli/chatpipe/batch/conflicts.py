"""Refuse a run that would overwrite its own input, or write two outputs to one file."""

from __future__ import annotations

from collections.abc import Sequence

from chatpipe.batch.job import Job
from chatpipe.batch.journal.answers import expand_patterns
from chatpipe.errors import UsageFault
from chatpipe.system import replace
from chatpipe.system.same_file import find_same_file


def refuse_conflicts(job: Job, inputs: Sequence[str]) -> None:
    """Raise UsageFault for outputs that are inputs or each other, and CannotWrite for `--report`."""
    if _is_stdout(job) and find_same_file(1, [job.file]):
        raise UsageFault("stdout is the input, too: the run would never end", fix="write to another file")
    taken = [*inputs, *job.connection.files, "/dev/fd/0", "/dev/fd/1"]
    if job.to_file and job.target.path is not None:
        taken.append(job.target.path)
    _refuse(job, "--journal", job.resume.journal, taken)
    if job.journal_path is not None:
        taken.append(job.journal_path)
    taken += expand_patterns(job.resume.reuse)
    _refuse(job, "--errors", job.report.errors, taken)
    _refuse(job, "--report", job.report.report, taken)
    if job.report.report is not None:
        replace.check_side_file(job.report.report)


def _refuse(job: Job, option: str, path: str | None, taken: list[str]) -> None:
    """Refuse a path that is already taken, else add it to taken."""
    if path is None:
        return
    if path == "-" and (option != "--report" or _is_stdout(job)):
        raise UsageFault("stdout is for the results", place=option, fix="name a file")
    if path in taken or find_same_file(path, taken):
        raise UsageFault(f"'{path}' is an input or an output, too", place=option, fix="name another file")
    taken.append(path)


def _is_stdout(job: Job) -> bool:
    return job.target.path in (None, "-")
