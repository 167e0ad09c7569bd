"""line_set.py"""

from __future__ import annotations

from chatpipe.batch.line_set import LineSet


def test_a_set_of_lines() -> None:
    lines, added = LineSet(), {1, 7, 8, 9, 40_000, 1_000_000}
    assert 1 not in lines
    for line in added:
        lines.add(line)
    assert {line for line in range(1_050_000) if line in lines} == added
