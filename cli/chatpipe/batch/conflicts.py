"""Refuse a run whose files are in each other's way, or whose options contradict each other."""

from __future__ import annotations

from chatpipe.batch.journal.reused_answers import expand_patterns
from chatpipe.batch.run_spec import RunSpec
from chatpipe.errors import UsageFault
from chatpipe.inputs.stdin import STDIN
from chatpipe.options.files import FileUse, optional_uses
from chatpipe.output.target import refuse_shared
from chatpipe.system import replace


def refuse_conflicts(spec: RunSpec) -> None:
    """Raise UsageFault for options that are in each other's way, and CannotWrite for `--report`."""
    report, options = spec.report, spec.resume
    if spec.limits.max_cost is not None and spec.limits.prices is None:
        raise UsageFault("a cost needs prices", place="--max-cost", fix="add --prices FILE")
    of_stdout = None if spec.output.is_file else report.report
    for option, path in (
        ("--journal", options.journal),
        ("--errors", report.errors),
        ("--report", of_stdout),
    ):
        if path == STDIN:
            raise UsageFault("stdout is for the results", place=option, fix="name a file")
    if STDIN in options.reuse:
        raise UsageFault("stdin cannot be searched for answers", place="--reuse", fix="name a file")
    reads = optional_uses(
        ("FILE", None if spec.file == STDIN else spec.file, "reads"),
        ("--prices", spec.limits.prices, "reads"),
        *(("--reuse", path, "reuses") for path in expand_patterns(options.reuse)),
    )
    writes = optional_uses(
        ("--errors", report.errors, "writes"),
        ("--report", "/dev/fd/1" if report.report == STDIN else report.report, "writes"),
    )
    refuse_shared(
        spec.output,
        [*spec.draft.options.reads(spec.draft.sources.files), *reads],
        [*_journal(spec), *writes, *spec.limits.shared.uses, *spec.options.recordings.uses],
        stdout="results",
    )
    if report.report is not None:
        replace.check_side_file(report.report)


def refuse_engine_conflicts(spec: RunSpec) -> None:
    """Raise UsageFault for what an engine other than this process cannot do.

    Raises BadConfiguration for a provider without a Batch API, before a key is looked for.
    """
    if not spec.options.engine.is_jobs or spec.only_requests or spec.report.dry_run:
        return
    place = f"--engine {spec.options.engine.name}"
    if spec.journal_path is None:
        fix = "add --journal FILE" if spec.output.is_file else "add -o OUT or --journal FILE"
        raise UsageFault("its jobs need a journal, and there is none", place=place, fix=fix)
    if len(spec.endpoints) > 1:
        raise UsageFault("jobs are at one server", place=place, fix="leave out all --base-url but one")
    if spec.defaults.get("stream"):
        raise UsageFault("a job of the Batch API does not stream", place="--stream", fix="leave it out")
    if spec.options.recordings.are_used:
        option = "--record" if spec.options.recordings.replay is None else "--replay"
        raise UsageFault(
            "jobs of the Batch API are not recorded", place=option, fix="leave it out, or use --engine local"
        )
    from chatpipe.jobs.job_dialects import WITHOUT_ENGINE, dialect_of  # few runs have jobs

    dialect_of(spec.endpoint, WITHOUT_ENGINE)


def _journal(spec: RunSpec) -> list[FileUse]:
    if spec.journal_path is None:
        return []
    option, part = ("--journal", "file") if spec.resume.journal else ("--output", "journal")
    return [FileUse(option, spec.journal_path, "results", part)]
