"""Options of a run: its lines, limits, journal, format and reports."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

import click

from chatpipe.errors import UsageFault
from chatpipe.flags import engine, limits, recordings, retries
from chatpipe.flags.format import ends_texts
from chatpipe.flags.idle_options import idle_in_run, refuse_idle
from chatpipe.flags.option_groups import Decorator, bundle, option_group, under
from chatpipe.flags.types import FILE, JSONL, Count, FileName, OneOf, Seconds, Word, word_list
from chatpipe.options.outcomes import RESENDABLE, RUN_ALLOWABLE, UNPAID
from chatpipe.options.output import MAP_FORMATS, RUN_FORMATS, FormatOptions, OutputOptions
from chatpipe.options.run import (
    HaltRule,
    InputOptions,
    Jobs,
    ReportOptions,
    ResumeOptions,
    RunLimits,
    RunOptions,
    SharedLimits,
)
from chatpipe.wire.retry import BUSY, statuses_text

_input_option = under("Input")
_pace_option = under("Pace and retries")
_batch_option = under("Batch")
_resume_option = under("Resume")
_output_option = under("Output")
_progress_option = under("Diagnostics")

_MOST_AUTO = 256
_SENT_ANYWAY = "leave it out: every run sends lines without an answer again"
_DEFAULTS = RunOptions()


class _JobsType(Word):
    """`N`, `auto` or `auto,MAX`."""

    def parse(self, text: str) -> Jobs:
        match = re.fullmatch(r"(?:(auto)(?:,(\d+))?|(\d+))", text)
        if match is None or int(match[2] or match[3] or 1) < 1:
            raise ValueError(f"'{text}' is not a number above 0, auto or auto,MAX")
        return Jobs(int(match[2] or _MOST_AUTO), auto=True) if match[1] else Jobs(int(match[3]))


class _Shard(Word):
    """`K/N`."""

    def parse(self, text: str) -> tuple[int, int]:
        match = re.fullmatch(r"(\d+)/(\d+)", text)
        if match is None or not 1 <= int(match[1]) <= int(match[2]):
            raise ValueError(f"'{text}' is not K/N with K from 1 to N")
        return int(match[1]), int(match[2])


class _Halt(Word):
    """`now,fail=N`, `soon,fail=N%`, `never`."""

    def parse(self, text: str) -> HaltRule:
        if text == "never":
            return HaltRule(never=True)
        match = re.fullmatch(r"(now|soon),fail=(\d+(?:\.\d+)?)(%?)", text)
        if match is None or (not match[3] and "." in match[2]) or float(match[2]) == 0:
            raise ValueError(f"'{text}' is not now,fail=N, soon,fail=N% or never")
        if match[3] and float(match[2]) > 100:
            raise ValueError(f"'{text}' is more than all lines")
        if match[3]:
            return HaltRule(match[1] == "now", percent=float(match[2]))
        return HaltRule(match[1] == "now", failures=int(match[2]))


class _LineFile(FileName):
    """The input of `batch`: JSONL, or any file with `--lines`."""

    def shell_complete(self, ctx: click.Context, param: click.Parameter, incomplete: str) -> list[Any]:
        return self.offer(incomplete, () if ctx.params.get("plain") else self.suffixes)


LINE_FILE = _LineFile(*JSONL.suffixes)


def _read_resume(no_keep_journal: bool, keep_journal: bool, fresh: bool, **others: Any) -> ResumeOptions:
    if fresh and (others["reuse"] or others["no_send"]):
        raise UsageFault("--fresh ignores recorded answers", fix="leave out --reuse and --no-send")
    if keep_journal and no_keep_journal:
        raise UsageFault("--keep-journal and --no-keep-journal at once", fix="choose one")
    keep = True if keep_journal else False if no_keep_journal else None
    return ResumeOptions(keep_journal=keep, fresh=fresh, **others)


def read_file(context: click.Context, argument: click.Parameter, operands: tuple[str, ...]) -> str:
    """A callback: the one FILE, `-` without one. Raises UsageFault for several."""
    if len(operands) > 1:
        fix = "concatenate them: cat FILE... | chatpipe batch"
        raise UsageFault(f"'{operands[1]}' is one FILE too many", fix=fix)
    return operands[0] if operands else "-"


def _read_limits(**values: Any) -> RunLimits:
    values["max_pause_s"] = values.pop("max_pause")
    values["grace_s"] = values.pop("grace")
    shared = SharedLimits(**{name: values.pop(name) for name in SharedLimits._fields})
    limits.refuse_unshared(shared.pace_file, shared.pace_jobs)
    return RunLimits(shared=shared, **values)


_DEDUPE = _input_option(
    "--dedupe", is_flag=True, help="Send identical requests once, and use the answer for all of them"
)

line_input = option_group(
    "input",
    [
        _input_option(
            "--lines", "plain", is_flag=True, daily=True, help="Read each line as a prompt, exactly as it is"
        ),
        _input_option("--limit", type=Count(1), daily=True, help="Read only the first N lines"),
        _input_option(
            "--shard", metavar="K/N", type=_Shard(), help="Read every Nth line, starting with the Kth"
        ),
        _input_option("--override", is_flag=True, help="Let the options override values in the lines"),
        _DEDUPE,
    ],
    InputOptions,
)

# The same for rows, of which one may be several lines. They are no requests: there is nothing to override.
row_input = option_group(
    "input",
    [
        _input_option("--limit", type=Count(1), daily=True, help="Read only the first N rows"),
        _input_option(
            "--shard", metavar="K/N", type=_Shard(), help="Read every Nth row, starting with the Kth"
        ),
        _DEDUPE,
    ],
    InputOptions,
)

_resume = option_group(
    "resume",
    [
        _resume_option(
            "--journal",
            type=FILE,
            default_text="OUT.journal, with -o",
            help="Record the answers in FILE as they arrive",
        ),
        _resume_option(
            "--keep-journal", is_flag=True, help="Keep the journal even when every line has succeeded"
        ),
        _resume_option(
            "--no-keep-journal", is_flag=True, help="Remove the journal when every line has succeeded"
        ),
        _resume_option(
            "--reuse",
            multiple=True,
            type=FILE,
            help="Also use the answers in FILE: a journal or earlier results",
        ),
        _resume_option(
            "--match",
            type=OneOf(("body", "id")),
            default=_DEFAULTS.resume.match,
            help="Find recorded answers by the request body, or by custom_id",
        ),
        _resume_option(
            "--resend",
            metavar="OUTCOME,...",
            **word_list(RESENDABLE, dict.fromkeys(UNPAID, _SENT_ANYWAY)),
            daily=("batch",),
            help="Send lines with these outcomes again",
        ),
        _resume_option(
            "--same-server", is_flag=True, help="Use recorded answers only if they came from the same server"
        ),
        _resume_option("--fresh", is_flag=True, help="Ignore recorded answers, and send every line"),
        _resume_option(
            "--no-send", is_flag=True, help="Send nothing; lines without a recorded answer are 'unsent'"
        ),
    ],
    _read_resume,
)

_limits = option_group(
    "limits",
    [
        _pace_option(
            "--jobs",
            "-j",
            metavar="N|auto[,MAX]",
            type=_JobsType(("auto",)),
            default=str(_DEFAULTS.limits.jobs.limit),
            daily=True,
            help="Requests in flight, or auto",
        ),
        *limits.shared,
        _pace_option(
            "--max-pause",
            type=Seconds(takes_zero=True),
            default=_DEFAULTS.limits.max_pause_s,
            help=f"Stop when pauses for {statuses_text(BUSY)} exceed S seconds",
        ),
        _batch_option(
            "--grace",
            type=Seconds(takes_zero=True),
            default=_DEFAULTS.limits.grace_s,
            help="Wait S seconds for requests in flight after Ctrl-C",
        ),
        _batch_option(
            "--halt",
            metavar="RULE",
            type=_Halt(("soon,fail=", "now,fail=", "never")),
            daily=True,
            help="Stop after failures, as in soon,fail=5% or now,fail=3",
        ),
        _batch_option("--max-total-tokens", type=Count(1), help="Stop before more than N tokens are used"),
        _batch_option(
            "--max-cost",
            metavar="X",
            type=limits.ABOVE_ZERO,
            daily=True,
            help="Stop before more than X is spent; needs --prices",
        ),
        _batch_option("--prices", type=FileName("toml"), help="TOML file of prices per million tokens"),
    ],
    _read_limits,
)

_REPORT = [
    _output_option(
        "--window",
        type=Count(1),
        default_text="4 x jobs",
        help="Let at most N lines wait to be written in order",
    ),
    _output_option("--errors", type=FILE, daily=("batch",), help="Also write the failed lines to FILE"),
    _output_option("--report", type=FILE, help="Write counts, tokens and times to FILE as JSON"),
    _progress_option(
        "--progress",
        type=OneOf(("bar", "json", "none")),
        default_text="a bar on a terminal",
        help="Progress on stderr",
    ),
    _batch_option(
        "--dry-run", is_flag=True, daily=True, help="Count the lines, tokens and cost, and send nothing"
    ),
]

_report = option_group(
    "report",
    [
        _output_option(
            "--keep-order", "-k", is_flag=True, daily=True, help="Write results in the order of the input"
        ),
        *_REPORT,
    ],
    ReportOptions,
)


def _read_row_report(no_keep_order: bool, **others: Any) -> ReportOptions:
    return ReportOptions(keep_order=not no_keep_order, **others)


# The same for rows, which stay in order by default.
_row_report = option_group(
    "report",
    [
        _output_option("--no-keep-order", is_flag=True, help="Write rows as soon as they are answered"),
        *_REPORT,
    ],
    _read_row_report,
)


_ALLOW = _output_option(
    "--allow", metavar="OUTCOME,...", **word_list(RUN_ALLOWABLE), help="Treat these outcomes as success"
)


def _format_option(formats: Sequence[str]) -> Decorator:
    return _output_option(
        "--format",
        "-f",
        type=OneOf(formats),
        default=formats[0],
        daily=("batch",),
        help="Format of the output",
    )


def _read_results(format: str, null: bool, allow: frozenset[str]) -> FormatOptions:
    return FormatOptions(format, null=ends_texts(null, format), allow=allow)


_results = option_group(
    "results",
    [
        _format_option(RUN_FORMATS),
        _output_option(
            "--null", "-0", is_flag=True, help="End each text with a NUL byte instead of a newline"
        ),
        _ALLOW,
    ],
    _read_results,
)
_row_results = option_group("results", [_format_option(MAP_FORMATS), _ALLOW], FormatOptions)


def _bundle(results: Decorator, report: Decorator) -> Decorator:
    groups = {"retry": retries.options, "limits": _limits, "resume": _resume}
    last = {"results": results, "report": report, "recordings": recordings.options, "engine": engine.options}
    return bundle("run", RunOptions, {**groups, **last})


def refuse_idle_options(run: RunOptions, output: OutputOptions) -> None:
    """Raise UsageFault for the first option of the command line that has no effect in this run."""
    refuse_idle(idle_in_run(run, output))


options = _bundle(_results, _report)
row_options = _bundle(_row_results, _row_report)
