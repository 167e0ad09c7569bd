"""Refuse a run whose files are in each other's way, or whose options contradict each other."""

from __future__ import annotations

from chatpipe.batch.job import Job
from chatpipe.batch.journal.answers import expand_patterns
from chatpipe.errors import UsageFault
from chatpipe.inputs.stdin import STDIN
from chatpipe.options.files import FileUse, optional_uses
from chatpipe.output.target import refuse_shared
from chatpipe.system import replace


def refuse_conflicts(job: Job) -> None:
    """Raise UsageFault for options that are in each other's way, and CannotWrite for `--report`."""
    report, options = job.report, job.resume
    if job.limits.max_cost is not None and job.limits.prices is None:
        raise UsageFault("a cost needs prices", place="--max-cost", fix="add --prices FILE")
    for option, path in (("--journal", options.journal), ("--errors", report.errors)):
        if path == STDIN:
            raise UsageFault("stdout is for the results", place=option, fix="name a file")
    reads = optional_uses(
        ("FILE", None if job.file == STDIN else job.file, "reads"),
        ("--prices", job.limits.prices, "reads"),
        *(("--reuse", path, "reuses") for path in expand_patterns(options.reuse)),
    )
    writes = optional_uses(
        ("--errors", report.errors, "writes"),
        ("--report", "/dev/fd/1" if report.report == STDIN else report.report, "writes"),
    )
    refuse_shared(
        job.target,
        [*job.draft.options.reads(job.draft.sources.files), *reads],
        [*_journal(job), *writes, *job.limits.shared.uses, *job.options.recordings.uses],
        stdout="results",
    )
    if report.report is not None:
        replace.check_side_file(report.report)


def refuse_engine_conflicts(job: Job) -> None:
    """Raise UsageFault for what an engine other than this process cannot do.

    Raises BadConfiguration for a provider without a Batch API, before a key is looked for.
    """
    if not job.options.engine.is_jobs or job.only_requests or job.report.dry_run:
        return
    place = f"--engine {job.options.engine.name}"
    if job.journal_path is None:
        fix = "add --journal FILE" if job.target.is_file else "add -o OUT or --journal FILE"
        raise UsageFault("the jobs are kept in a journal", place=place, fix=fix)
    if len(job.endpoints) > 1:
        raise UsageFault("jobs are at one server", place=place, fix="leave out all --base-url but one")
    if job.defaults.get("stream"):
        raise UsageFault("a job streams nothing", place="--stream", fix="leave it out")
    if job.options.recordings.are_used:
        option = "--record" if job.options.recordings.replay is None else "--replay"
        raise UsageFault("jobs are not recorded", place=option, fix="leave it out, or take --engine local")
    from chatpipe.jobs.job_dialects import WITHOUT_ENGINE, dialect_of  # few runs have jobs

    dialect_of(job.endpoint, WITHOUT_ENGINE)


def _journal(job: Job) -> list[FileUse]:
    if job.journal_path is None:
        return []
    option, part = ("--journal", "file") if job.resume.journal else ("--output", "journal")
    return [FileUse(option, job.journal_path, "results", part)]
