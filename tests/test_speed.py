"""Tests of limits of time have more time where the machine is slow."""

from __future__ import annotations

import inspect

import pytest

from support.parametrize import cases
from support.speed import at_any_speed


@cases(
    "good, tried, passes",
    {
        "at once": ({1, 4, 16}, [1], True),
        "a stall": ({4, 16}, [1, 4], True),
        "a slow machine": ({16}, [1, 4, 16], True),
        "a fault": (set(), [1, 4, 16], False),
    },
)
@cases(
    "failure",
    {
        "assertion": AssertionError,
        "error": TimeoutError,
        "did not raise": pytest.fail.Exception,
    },
)
def test_longer_times_are_tried_until_one_is_long_enough(
    failure: type[BaseException], good: set[int], tried: list[int], passes: bool
) -> None:
    factors = []

    @at_any_speed
    def test(factor: int, name: str) -> None:
        factors.append(factor)
        assert name == "given"
        if factor not in good:
            raise failure(str(factor))

    if passes:
        test("given")
    else:
        with pytest.raises(failure, match="16"):
            test("given")
    assert factors == tried


def test_pytest_asks_for_all_arguments_but_the_factor(tmp_path: object) -> None:

    @at_any_speed
    def test(factor: int, tmp_path: object, *, pause: float) -> None: ...

    assert list(inspect.signature(test).parameters) == ["tmp_path", "pause"]
