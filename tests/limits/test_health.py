"""The state of one server among several: what leaves it out, and what brings it back."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from chatpipe.limits.health import IN_A_ROW, WAIT_S, Health
from support.parametrize import cases

FAIL, PROVE, ANSWER, ACQUIT = "fail", "prove", "answer", "acquit"


def health_after(*events: str, now: float = 0.0) -> Health:
    health = Health()
    for event in events:
        if event == FAIL:
            health.fail(now)
        elif event == PROVE:
            health.prove(now)
        elif event == ANSWER:
            health.answer()
        else:
            health.acquit()
    return health


@cases(
    "events, is_sound, is_out",
    {
        "nothing": ((), True, False),
        "two failures": ((FAIL, FAIL), True, False),
        "three failures: others decide": ((FAIL,) * 3, False, False),
        "others accepted all three": ((FAIL,) * 3 + (PROVE,) * 3, False, True),
        "others accepted two of them": ((FAIL,) * 3 + (PROVE,) * 2, False, False),
        "others accepted each at once": ((FAIL, PROVE) * 3, False, True),
        "not in a row": ((FAIL, PROVE, FAIL, PROVE, ANSWER, FAIL, PROVE), True, False),
        "one was the fault of its line": ((FAIL, FAIL, ACQUIT, FAIL), True, False),
        "all were the fault of lines": ((FAIL,) * 3 + (ACQUIT,) * 3, True, False),
        "an acquittal of nothing": ((ACQUIT, FAIL), True, False),
        "proof for a failure before its last answer": ((FAIL, ANSWER, PROVE, PROVE, PROVE), True, False),
    },
)
def test_failures_in_a_row_hold_a_server_back(events: Sequence[str], *, is_sound: bool, is_out: bool) -> None:
    health = health_after(*events)
    assert (health.is_sound, health.is_out) == (is_sound, is_out)


def test_the_last_proof_leaves_a_server_out_and_is_reported_once() -> None:
    health = health_after(*[FAIL] * IN_A_ROW)
    assert [health.prove(0.0) for _ in range(IN_A_ROW + 1)] == [*[False] * (IN_A_ROW - 1), True, False]


def test_who_cannot_be_reached_is_left_out_at_once_and_once() -> None:
    health = Health()
    assert health.leave_out(5.0, is_down=True)
    assert not health.leave_out(5.1, is_down=True)
    assert (health.is_out, health.is_down, health.is_sound) == (True, True, False)


def test_a_server_that_was_down_is_asked_for_a_sign_of_life_before_it_gets_a_line() -> None:
    health = Health()
    health.leave_out(0.0, is_down=True)
    assert not health.wants_check(0.5)
    assert health.wants_check(1.0)
    assert not health.wants_trial(1.0)
    health.check(1.0, is_there=True)
    assert health.wants_trial(1.0)
    assert not health.wants_check(9.0)


def test_one_that_refuses_gets_one_line_on_trial() -> None:
    health = health_after(FAIL, FAIL, FAIL, PROVE, PROVE, PROVE)
    assert not health.wants_check(100.0)
    assert not health.wants_trial(0.5)
    assert health.wants_trial(100.0)
    health.on_trial = True
    assert not health.wants_trial(100.0)
    assert health.answer()
    assert (health.is_out, health.is_sound, health.on_trial) == (False, True, False)
    assert not health.answer()


@pytest.mark.parametrize("is_down", [True, False], ids=["down", "refusing"])
def test_waits_double_up_to_a_minute_and_an_answer_ends_the_row(is_down: bool) -> None:
    health, now, waits = Health(), 0.0, []
    health.leave_out(now, is_down=is_down)
    for _ in range(8):
        wanted = health.wants_check if is_down else health.wants_trial
        wait = next(seconds for seconds in range(100) if wanted(now + seconds))
        waits.append(wait)
        now += wait
        if is_down:
            health.check(now, is_there=False)
        else:
            health.on_trial = True
            health.fail(now)
    assert waits == [1, 2, 4, 8, 16, 32, 60, 60]
    assert WAIT_S == (1.0, 60.0)
    health.answer()
    health.leave_out(now, is_down=is_down)
    assert (health.wants_check if is_down else health.wants_trial)(now + 1)


def test_failures_of_what_was_sent_before_it_was_left_out_say_nothing_new() -> None:
    health = Health()
    health.leave_out(0.0, is_down=True)
    for _ in range(IN_A_ROW):
        health.fail(0.1)
        assert not health.prove(0.1)
    health.check(1.0, is_there=True)
    assert health.wants_trial(1.0)


@cases(
    "silent_s, longest_s, patience, quiet",
    {
        "a moment": (1.0, 0.1, 0, False),
        "long, where answers are short": (5.0, 0.1, 0, True),
        "no longer than answers take": (40.0, 10.0, 0, False),
        "five times the longest answer": (50.0, 10.0, 0, True),
        "it has given a sign of life": (9.0, 0.1, 1, False),
        "and is silent for twice as long": (10.0, 0.1, 1, True),
    },
)
def test_a_server_is_quiet_after_longer_than_its_longest_answer(
    silent_s: float, longest_s: float, patience: int, *, quiet: bool
) -> None:
    health = Health()
    for _ in range(patience):
        health.be_patient()
    assert health.is_quiet(silent_s, longest_s) is quiet
