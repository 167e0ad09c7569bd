"""Each system call of the commands that use files fails once, and once with all that follow."""

from __future__ import annotations

import random
from pathlib import Path

from soak.measured import seed
from support.disk.disk_points import SCENARIOS, laboratory, points, violations

POINTS = 5_000


def test_no_call_that_fails_breaks_a_rule(tmp_path: Path) -> None:
    with laboratory(tmp_path) as lab:
        every = {each.name: list(points(lab, each)) for each in SCENARIOS}
        good = {each.name: lab.calls(each)[1] for each in SCENARIOS}
        chosen = [point for each in every.values() for point in each]
        random.Random(seed()).shuffle(chosen)
        broken = []
        for point in chosen[:POINTS]:
            broken += [f"{point}: {each}" for each in violations(lab, point, good[point.scenario.name])]
    print(f"\n{min(POINTS, len(chosen))} of {len(chosen)} points, {len(broken)} violations", end="")
    assert broken == []
