"""Whole processes -> what they cost, by the kernel's own count (wait4).

Runs are interleaved, so that a machine that slows down slows all of them down, each round in another
order, as what ran before leaves its mark in the caches. Reported are medians, and ratios within a run.
"""

from __future__ import annotations

import os
import random
import statistics
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple


class Case(NamedTuple):
    """A command to time. expects stands in its stdout, else it does not do what is to be measured."""

    name: str
    argv: list[str]
    environment: Mapping[str, str]
    expects: bytes = b""
    status: int = 0
    stdout: str = os.devnull  # where a timed run writes


class Cost(NamedTuple):
    """Of one process: seconds of CPU, user and system, and of the clock."""

    cpu_s: float
    wall_s: float


class WrongResult(Exception):
    """A command did something else than what was to be timed."""


def interleaved(cases: Sequence[Case], rounds: int) -> dict[str, list[Cost]]:
    """The costs of each case by its name. Raises WrongResult."""
    costs: dict[str, list[Cost]] = {case.name: [] for case in cases}
    shuffle = random.Random(0).shuffle  # the same orders each time
    order = list(cases)
    for _ in range(rounds):
        shuffle(order)
        for case in order:
            costs[case.name].append(once(case))
    return costs


def once(case: Case) -> Cost:
    """One run, stdin from /dev/null. Raises WrongResult for another status than the expected one."""
    return _run(case, case.stdout)


def cpu_ms(costs: Sequence[Cost]) -> float:
    return statistics.median(cost.cpu_s for cost in costs) * 1e3


def wall_ms(costs: Sequence[Cost]) -> float:
    return statistics.median(cost.wall_s for cost in costs) * 1e3


def prove(case: Case, scratch: Path) -> None:
    """One run whose output is looked at. Raises WrongResult."""
    shown = scratch / "stdout"
    _run(case, str(shown))
    if case.expects not in shown.read_bytes():
        raise WrongResult(f"{case.name}: {case.expects!r} is not in its output {shown.read_bytes()[:200]!r}")


def _run(case: Case, stdout: str) -> Cost:
    # posix_spawn and wait4, not subprocess: its Popen would reap the child before it is asked what it cost
    actions = [
        (os.POSIX_SPAWN_OPEN, 0, os.devnull, os.O_RDONLY, 0),
        (os.POSIX_SPAWN_OPEN, 1, stdout, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600),
    ]
    if case.status:  # a failure that is expected
        actions.append((os.POSIX_SPAWN_OPEN, 2, os.devnull, os.O_WRONLY, 0))
    before = time.perf_counter()
    pid = os.posix_spawn(case.argv[0], case.argv, case.environment, file_actions=actions)
    _, waited, usage = os.wait4(pid, 0)
    after = time.perf_counter()
    status = os.waitstatus_to_exitcode(waited)
    if status != case.status:
        raise WrongResult(f"{case.name}: status {status}, expected {case.status}")
    return Cost(usage.ru_utime + usage.ru_stime, after - before)
