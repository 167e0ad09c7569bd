"""part_record.py: the lines of a part, and where they stand in the input."""

from __future__ import annotations

import pytest

from chatpipe.jobs.part_record import LineRuns, PartRecord

RUNS = [[1, 1], [3, 2], [9, 1]]


@pytest.mark.parametrize(("position", "number"), [(1, 1), (2, 3), (3, 4), (4, 9)])
def test_a_line_of_a_part_is_one_of_the_input(position: int, number: int) -> None:
    lines = LineRuns(RUNS)
    assert (lines.number(position), lines.position(number)) == (number, position)


@pytest.mark.parametrize("number", [0, 2, 5, 8, 10, 99])
def test_lines_of_the_input_that_are_in_another_part(number: int) -> None:
    assert LineRuns(RUNS).position(number) is None


@pytest.mark.parametrize(("runs", "position"), [(RUNS, 0), (RUNS, 5), ([], 1)])
def test_a_number_that_nobody_knows_stays(runs: list[list[int]], position: int) -> None:
    assert LineRuns(runs).number(position) == position


def test_a_record_of_an_old_file_knows_no_lines() -> None:
    record = PartRecord("t", {})
    assert (record.size, record.lines.number(7), record.lines.position(7)) == (0, 7, None)
