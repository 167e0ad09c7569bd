"""Options without an effect in this call, because of another option or of the action: they are refused.

Only options of the command line count, never defaults. `--dry-run` estimates a command as it would be sent,
so it takes the options of sending. `-f requests` takes limits, which change nothing there. A command with
`--engine` takes the options of jobs: one of our remedies adds `--engine local` to a command that has them.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from chatpipe.errors import UsageFault
from chatpipe.flags.command import typed_options
from chatpipe.named_tuple import NamedTuple
from chatpipe.options.output import FORMATS, OutputOptions
from chatpipe.options.run import RunOptions

# `-f requests` sends nothing, and neither writes nor reads these files and answers.
_OF_SENDING = (
    *("--journal", "--keep-journal", "--no-keep-journal", "--reuse", "--resend", "--same-server", "--fresh"),
    *("--no-send", "--record", "--replay", "--replay-match", "--errors", "--report"),
)
_OF_ROWS = ("--into", "--unpack", "--usage-into", "--error-into", "--to", "--csv-safe")
_OF_JOBS = ("--poll", "--settle", "--job-lines", "--max-wait", "--no-wait")
# The actions of `jobs` that an option is for.
_ACTIONS = {
    "--window": "submit",
    "--job-lines": "submit",
    "--settle": "submit and wait",
    "--poll": "wait",
    "--max-wait": "wait",
    "--limit": "list",
    "--input": "results",
    "--output": "results",
}


class Idle(NamedTuple):
    """Options without an effect, the reason, and the way to give them one."""

    options: tuple[str, ...]
    why: str
    fix: str = "leave it out"


def refuse_idle(rules: Iterable[Idle]) -> None:
    """Raise UsageFault for the first option of the command line that one of the rules is about."""
    typed = typed_options()
    for rule in rules:
        if idle := [option for option in typed if option in rule.options]:
            raise UsageFault(rule.why, place=idle[0], fix=rule.fix)


def idle_in_jobs(action: str) -> Iterator[Idle]:
    """The options that are for other actions of `jobs`."""
    for option, actions in _ACTIONS.items():
        if action not in actions.split(" and "):
            yield Idle((option,), f"it is for {actions} only")


def idle_in_run(run: RunOptions, output: OutputOptions) -> Iterator[Idle]:
    """The options of `batch` or `map` without an effect beside these."""
    format, resume = FORMATS[run.results.format], run.resume
    if "--engine" not in typed_options():
        yield Idle(_OF_JOBS, "is for the Batch API", fix="add --engine batch-api")
    if not format.sends and not run.report.dry_run:
        fix = "leave it out, or take another format"
        yield Idle(_OF_SENDING, f"-f {run.results.format} sends nothing", fix=fix)
        yield Idle(_OF_ROWS, f"-f {run.results.format} writes no rows", fix=fix)
    if resume.fresh:
        yield Idle(("--resend", "--same-server"), "--fresh sends every line")
    if resume.journal is None and (not output.is_file or output.is_special):
        fix = "add -o FILE or --journal FILE"
        yield Idle(("--keep-journal", "--no-keep-journal"), "there is no journal", fix=fix)
        if not resume.reuse:
            fix = "add --journal FILE or --reuse FILE"
            yield Idle(("--resend", "--same-server"), "there are no recorded answers", fix=fix)
    if not (run.report.keep_order or format.needs_order):
        is_map = "--no-keep-order" in typed_options()
        fix = "leave out --no-keep-order" if is_map else "add --keep-order, or leave it out"
        yield Idle(("--window",), "results are written as they are ready", fix=fix)
