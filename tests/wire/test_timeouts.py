"""Limits that are found to have passed: in time, and after the process was stopped."""

from __future__ import annotations

import time

import pytest

from chatpipe.wire.timeouts import WaitLimits
from support.parametrize import cases


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    now = [0.0]
    monkeypatch.setattr(time, "monotonic", lambda: now[0])
    return now


@cases(
    ("found_at", "extended_to"),
    {
        "in time": (10.0, 10.01),
        "late": (10.5, 11.01),
        "after a stop": (99.0, 100.0),
    },
)
@pytest.mark.parametrize("deadline", [False, True], ids=["wait", "deadline"])
def test_a_limit_that_has_passed_is_extended_once(
    found_at: float, extended_to: float, deadline: bool, clock: list[float]
) -> None:
    limits = WaitLimits(10.0) if deadline else WaitLimits()
    if not deadline:
        limits.start_wait(10.0)
    assert limits.ends_at == 10.0
    clock[0] = 9.9
    assert not limits.have_passed()
    clock[0] = found_at
    assert not limits.have_passed()
    assert limits.ends_at == pytest.approx(extended_to)
    clock[0] = extended_to + 0.001
    assert limits.have_passed()


def test_each_wait_is_extended_but_the_deadline_only_once(clock: list[float]) -> None:
    limits = WaitLimits(10.0)
    for _ in range(2):
        limits.start_wait(1.0)
        clock[0] += 2.0
        assert not limits.have_passed()
    clock[0] = 10.0
    limits.start_wait(1.0)
    assert not limits.deadline_has_passed()
    clock[0] = 10.5
    limits.start_wait(1.0)
    assert limits.deadline_has_passed()
    assert limits.have_passed()


def test_without_limits_nothing_passes(clock: list[float]) -> None:
    limits = WaitLimits()
    limits.start_wait(None)
    clock[0] = 1e9
    assert limits.ends_at == float("inf")
    assert not limits.have_passed()
