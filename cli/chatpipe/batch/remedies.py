"""The remedy in the last line of a run: the command that helps with what failed, as it can be typed."""

from __future__ import annotations

from collections.abc import Sequence

from chatpipe.batch.failure_kinds import LIMITS
from chatpipe.batch.run_spec import RunSpec
from chatpipe.batch.tally import Tally
from chatpipe.errors import Status
from chatpipe.inputs.text_decoder import quoted
from chatpipe.options.outcomes import Outcome
from chatpipe.wire.http1 import size_text

# What is wrong with the options if a line fails with one of these.
_SETTINGS = {
    Status.NO_ACCESS: "check the key or the account",
    Status.BAD_CONFIGURATION: "correct the base URL",
}
# Answers that may become good if the same request is sent again. Tool calls come again.
_WORTH_SENDING = (Outcome.truncated, Outcome.refused, Outcome.empty, Outcome.mismatch)

# Answers that a further turn makes good. A job has one turn.
_NEED_TURNS = frozenset((Outcome.mismatch, Outcome.tool_calls))


def remedy(spec: RunSpec, tally: Tally, *, is_whole: bool = True) -> str:
    """The place of the error messages, then the next step for each kind of failure.

    is_whole: the run came to the end of its input. Otherwise the rest waits for the next run.
    """
    kinds = tally.failures.kinds
    run = _run_again(spec, tally, is_whole=is_whole)
    limited = _raise_limit(spec, tally)
    filled = f"shorten {kinds.filled}" if kinds.filled.count else ""
    if (limited or filled) and run and not _worth_sending(spec, tally):
        run = f"or {run}"
    settings = [_SETTINGS[status] for status in sorted(kinds.misdirected)]
    steps = (_place(spec), _correct(tally), *settings, *kinds.advice, limited, filled, run)
    return ", ".join(filter(None, steps))


def next_run(spec: RunSpec, options: str = "") -> str:
    """The next run of the same input, with further options. It pays for no recorded answer again.

    Without a journal the results are the only record, if they are result lines. Otherwise there is none.
    """
    if spec.journal_path is not None:
        return f"run the same command again with {options}" if options else "run the same command again"
    more = f" {options}" if options else ""
    if spec.run_format.properties.writes_result_lines:
        return f"run it again with --reuse FILE{more}, where FILE has these results"
    return f"run it again with --journal FILE{more}, which keeps its answers"


def mend_tools(spec: RunSpec) -> str:
    """The next step for answers after the failure of a tool."""
    run = next_run(spec, "--resend failed-tools") if _is_recorded(spec) else "run it again"
    return f"fix the tool, and {run}"


def _place(spec: RunSpec) -> str:
    if spec.run_format.properties.writes_result_lines and not spec.writes_at_the_end:
        return "jq 'select(.error)' shows them"
    if spec.journal_path is not None and not spec.reports_failures:
        return f"jq 'select(.error)' {quoted(spec.journal_path)} shows them"
    return ""


def _correct(tally: Tally) -> str:
    """The step for wrong lines. If the same option helps all of them, it comes first."""
    kinds = tally.failures.kinds
    if not kinds.wrong.count:
        return ""
    return f"{kinds.wrong_fix}, or correct {kinds.wrong}" if kinds.wrong_fix else f"correct {kinds.wrong}"


def _raise_limit(spec: RunSpec, tally: Tally) -> str:
    """The step for answers that were cut off at a limit that stands in their own lines."""
    limited = tally.failures.kinds.limited
    return f"raise the limit in {limited}" if limited.count and not _limit_of_options(spec) else ""


def _run_again(spec: RunSpec, tally: Tally, *, is_whole: bool) -> str:
    """The next run, if there are lines to send, or lines that can be accepted as they are."""
    kinds = tally.failures.kinds
    if spec.resume.no_send and (kinds.transient or kinds.unwelcome):
        return "run it again without --no-send"
    worth = _worth_sending(spec, tally)
    allow = ",".join(
        outcome
        for outcome in Outcome
        if kinds.unwelcome[outcome]
        and not kinds.unreadable[outcome]
        and outcome not in spec.run_format.unacceptable
    )
    if not allow and not worth:
        if is_whole and not kinds.transient and not kinds.misdirected:
            return ""
        return next_run(spec) if tally.good else "run the same command again"
    if not worth:
        return next_run(spec, f"--allow {allow}")
    text = next_run(spec, _options(spec, tally, worth))
    return f"{text}, or with --allow {allow}" if allow else text


def _worth_sending(spec: RunSpec, tally: Tally) -> list[Outcome]:
    """The outcomes of unwelcome answers that may become good if their requests are sent again."""
    kinds = tally.failures.kinds
    might_be = (*_WORTH_SENDING, Outcome.tool_calls) if _leaves_calls(spec) else _WORTH_SENDING
    worth = [outcome for outcome in might_be if kinds.unwelcome[outcome]]
    same_again = kinds.filled.count + (0 if _can_raise_limit(spec, tally) else kinds.limited.count)
    if same_again == kinds.unwelcome[Outcome.truncated] > 0:
        worth.remove(Outcome.truncated)
    return worth


def _options(spec: RunSpec, tally: Tally, worth: Sequence[Outcome]) -> str:
    """The options with which these answers may become good."""
    options = [f"--resend {','.join(worth)}"] if _is_recorded(spec) else []
    if tally.failures.kinds.limited.count and _can_raise_limit(spec, tally):
        limit = _limit_of_options(spec)
        # With a higher limit each line is another request, and only its own name finds its answer.
        options = ["--match id", *options] if options else []
        options.append(f"--{limit.replace('_', '-')} {2 * spec.defaults[limit]}")
    if tally.failures.kinds.overlong and Outcome.truncated in worth:
        options.append(f"--max-reply {_twice(spec.server_options.limits.max_reply_bytes)}")
    if Outcome.mismatch in worth and spec.turns.response_format is not None and not spec.turns.reasks:
        options.append("--reask 2")
    if spec.options.engine.is_jobs and not _NEED_TURNS.isdisjoint(worth):
        options.insert(0, "--engine local")
    return " ".join(options)


def _leaves_calls(spec: RunSpec) -> bool:
    """Return True if the engine leaves calls of tools that another one would run."""
    return spec.options.engine.is_jobs and bool(spec.turns.tools.commands)


def _twice(size: int) -> str:
    """Twice a size, as --max-reply takes it."""
    return size_text(2 * size).replace(" ", "").removesuffix("bytes")


def _is_recorded(spec: RunSpec) -> bool:
    return spec.journal_path is not None or spec.run_format.properties.writes_result_lines


def _can_raise_limit(spec: RunSpec, tally: Tally) -> bool:
    """Return True if an option can raise the limit of tokens, and no good answer is bought again."""
    keeps_answers = tally.own_ids == tally.finished or not _is_recorded(spec)
    return keeps_answers and bool(_limit_of_options(spec))


def _limit_of_options(spec: RunSpec) -> str:
    """The field of the limit of tokens that an option set for all lines; empty if there is none."""
    return next((each for each in LIMITS if type(spec.defaults.get(each)) is int), "")
