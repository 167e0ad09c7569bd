"""Amounts in few characters."""

from __future__ import annotations

import pytest

from chatpipe.batch.amounts import cost_text, duration_text, speed_text, tokens_text


@pytest.mark.parametrize(
    ("speed", "expected"),
    [
        *[(350.4, "350/s"), (35.0, "35/s"), (9.96, "10/s"), (1.0, "1.0/s"), (0.96, "1.0/s")],
        *[(0.5, "30/min"), (0.02, "1.2/min"), (0.016, "1.0/min"), (0.01, "36/h")],
    ],
)
def test_speed_in_a_unit_that_people_can_read(speed: float, expected: str) -> None:
    assert speed_text(speed) == expected


@pytest.mark.parametrize(
    ("count", "expected"),
    [
        *[(1, "1 token"), (999, "999 tokens"), (1000, "1k tokens"), (21_040, "21k tokens")],
        *[(1_240_000, "1.24M tokens"), (999_700, "1M tokens"), (2 * 10**9, "2G tokens")],
    ],
)
def test_tokens_with_at_most_three_digits(count: int, expected: str) -> None:
    assert tokens_text(count) == expected


@pytest.mark.parametrize(
    ("cost", "expected"),
    [(12.3, "12.30 X"), (0.0123, "0.012 X"), (0.00012, "0.00012 X"), (0.00001, "<0.0001 X"), (0.0, "0 X")],
)
def test_cost_with_its_first_digits(cost: float, expected: str) -> None:
    assert cost_text(cost, "X") == expected


@pytest.mark.parametrize(
    ("seconds", "expected"),
    [
        *[(0.04, "0.0 s"), (9.94, "9.9 s"), (9.96, "10 s"), (59.4, "59 s"), (59.6, "1 min")],
        *[(200.0, "3 min 20 s"), (3599.6, "1 h"), (7500.0, "2 h 5 min")],
    ],
)
def test_duration_in_two_units(seconds: float, expected: str) -> None:
    assert duration_text(seconds) == expected
