"""Outcomes of answers and of the lines of a run: one table with all that depends on them.

Kept light, because `--help` imports it.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from enum import StrEnum

from chatpipe.errors import Status
from chatpipe.named_tuple import NamedTuple


class Outcome(StrEnum):
    """The outcome of a choice, of an answer or of a line.

    The values are the words of `--allow`, `--resend`, reports and result lines.
    """

    ok = "ok"
    truncated = "truncated"
    refused = "refused"
    empty = "empty"
    mismatch = "mismatch"
    tool_calls = "tool-calls"
    http = "http"
    network = "network"
    input = "input"
    unsent = "unsent"
    # An answer that the server broke off or sent damaged. A run counts it as one that never came.
    broken = network


class OutcomeRow(NamedTuple):
    """One outcome.

    status is the exit status, unless the fault of a line has another one. paid: there is an answer and
    it cost something, so a run keeps it and does not send the line again. fix says what to do about
    such an answer in a single call, recorded_fix what to do where a recorded one is shown.
    """

    status: Status
    paid: bool = False
    fix: str = ""
    recorded_fix: str = ""


OUTCOMES: Mapping[Outcome, OutcomeRow] = {
    Outcome.ok: OutcomeRow(Status.OK, paid=True),
    Outcome.truncated: OutcomeRow(
        Status.TRUNCATED,
        paid=True,
        fix="raise --max-completion-tokens or --max-tokens, or --allow truncated",
        recorded_fix="--allow truncated accepts it",
    ),
    Outcome.refused: OutcomeRow(
        Status.REFUSED,
        paid=True,
        fix="change the prompt, or --allow refused",
        recorded_fix="--allow refused accepts it",
    ),
    Outcome.empty: OutcomeRow(
        Status.REFUSED,
        paid=True,
        fix="change the prompt, or --allow empty",
        recorded_fix="--allow empty accepts it",
    ),
    Outcome.mismatch: OutcomeRow(
        Status.MISMATCH,
        paid=True,
        fix="--reask N, or --allow mismatch",
        recorded_fix="--allow mismatch accepts it",
    ),
    Outcome.tool_calls: OutcomeRow(
        Status.TOOL_CALLS,
        paid=True,
        fix="get them with -f tool-calls, answer them with --tool-result",
        recorded_fix="get them with -f tool-calls",
    ),
    Outcome.http: OutcomeRow(Status.SOME_FAILED),
    Outcome.network: OutcomeRow(Status.BROKEN_ANSWER, fix="try again"),
    Outcome.input: OutcomeRow(Status.BAD_INPUT),
    Outcome.unsent: OutcomeRow(Status.SOME_FAILED),
}

# In Python 3.11 a member of an enum takes 1,000 instructions to look up, and most lines need only these.
OK = Outcome.ok
UNSENT = Outcome.unsent
PAID = frozenset(outcome for outcome, row in OUTCOMES.items() if row.paid)
# Answers that are not good. --allow accepts them, and --resend lets a run pay for them again.
ALLOWABLE = PAID - {Outcome.ok}
FAILED_TOOLS = "failed-tools"  # good ones, too: the model made do without the result
RESENDABLE = ALLOWABLE | {FAILED_TOOLS}
# --allow of a run: a line may also have no answer.
FAILED = "failed"
RUN_ALLOWABLE = ALLOWABLE | {FAILED}
# Words for lines without an answer.
UNPAID = frozenset(Outcome) - PAID | {FAILED}

# Several choices or answers may be bad. The first of these statuses that applies is the exit status:
# chatpipe(1), EXIT STATUS.
PRECEDENCE = (
    Status.BAD_INPUT,
    Status.BROKEN_ANSWER,
    Status.REFUSED,
    Status.TRUNCATED,
    Status.MISMATCH,
    Status.TOOL_CALLS,
    Status.SOME_FAILED,
)


def leading_status(statuses: Iterable[Status]) -> Status:
    """The exit status for several, at least one, of those in PRECEDENCE."""
    return min(statuses, key=PRECEDENCE.index)


def is_accepted(outcome: Outcome, allow: frozenset[str]) -> bool:
    """Return True if a line of a run with this outcome counts as good."""
    if outcome is OK or outcome in allow:
        return True
    return FAILED in allow and not OUTCOMES[outcome].paid
