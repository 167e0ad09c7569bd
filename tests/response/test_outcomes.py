"""Requirements on every row of the table of outcomes."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import orjson
import pytest

from chatpipe.batch.journal.answers import AnswerIndex
from chatpipe.errors import Status
from chatpipe.options.outcomes import (
    ALLOWABLE,
    OUTCOMES,
    PRECEDENCE,
    RESENDABLE,
    Outcome,
    is_accepted,
    leading_status,
)
from chatpipe.options.run import ResumeOptions
from chatpipe.response.judge import verdict

EACH = pytest.mark.parametrize("outcome", Outcome)


def choice(finish: str, **message: Any) -> dict[str, Any]:
    return {"message": {"content": "a", **message}, "finish_reason": finish}


# An answer of each outcome that a completion alone can show.
CHOICES = {
    Outcome.ok: choice("stop"),
    Outcome.truncated: choice("length"),
    Outcome.refused: choice("content_filter"),
    Outcome.empty: choice("stop", content=None),
    Outcome.mismatch: choice("stop"),
    Outcome.tool_calls: choice("tool_calls", tool_calls=[{"id": "c"}]),
    Outcome.network: choice("error"),
}


def test_every_outcome_has_a_row() -> None:
    assert list(OUTCOMES) == list(Outcome)


@EACH
def test_a_row_gives_the_verdict_its_status_and_fix(outcome: Outcome) -> None:
    """An outcome without such an answer belongs to a line that has none, and needs no fix."""
    row = OUTCOMES[outcome]
    assert (row.status is Status.OK) == (outcome is Outcome.ok)
    if outcome not in CHOICES:
        assert (row.paid, row.fix) == (False, "")
        return
    violation_of = (lambda content: "no") if outcome is Outcome.mismatch else None
    found = verdict(
        {"choices": [CHOICES[outcome]]}, allow=frozenset(), text_format=True, violation_of=violation_of
    )
    if outcome is Outcome.ok:
        assert found is None
    else:
        assert found is not None
        assert (found.outcome, found.status, found.fix) == (outcome, row.status, row.fix)
        assert row.fix


@EACH
def test_a_status_has_its_precedence(outcome: Outcome) -> None:
    status = OUTCOMES[outcome].status
    if status is not Status.OK:
        assert leading_status([status, PRECEDENCE[-1]]) is status
        assert leading_status([status, PRECEDENCE[0]]) is PRECEDENCE[0]


@EACH
def test_a_paid_answer_can_be_allowed_and_sent_again(outcome: Outcome) -> None:
    is_choice = OUTCOMES[outcome].paid and outcome is not Outcome.ok
    assert (outcome in ALLOWABLE, outcome in RESENDABLE) == (is_choice, is_choice)


@EACH
def test_a_line_counts_as_good_if_its_outcome_is_allowed(outcome: Outcome) -> None:
    is_ok = outcome is Outcome.ok
    assert is_accepted(outcome, frozenset()) == is_ok
    assert is_accepted(outcome, frozenset({str(outcome)}))
    assert is_accepted(outcome, frozenset({"failed"})) == (is_ok or not OUTCOMES[outcome].paid)


@EACH
def test_a_run_finds_an_answer_that_was_paid_for(outcome: Outcome, tmp_path: Path) -> None:
    """Unless --resend names its outcome."""
    path = tmp_path / "out"
    about = {"line": 1, "outcome": str(outcome), "fingerprint": "f"}
    response: Any = {"status_code": 200, "request_id": None, "body": {"choices": [{}]}}
    record = {"id": "i", "custom_id": "c", "response": response, "error": None, "chatpipe": about}
    path.write_bytes(orjson.dumps(record) + b"\n")
    for resend, expected in ((frozenset[str](), OUTCOMES[outcome].paid), (frozenset({str(outcome)}), False)):
        index = AnswerIndex(ResumeOptions(resend=resend), out=str(path))
        assert (index.find("f") is not None) == expected
        index.close()
