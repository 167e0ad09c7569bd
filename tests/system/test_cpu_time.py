"""The limit on the CPU time of a computation."""

from __future__ import annotations

import re
import signal
import threading

import pytest

from chatpipe.system.cpu_time import CpuTimeExceeded, limit_cpu_time


def search() -> object:
    return re.search("^(a+)+$", "a" * 60 + "b")


def count() -> int:
    number = 0
    while True:
        number += 1


def swallow() -> None:
    """The exception may come where somebody catches it."""
    while True:
        try:
            count()
        except CpuTimeExceeded:
            break
    count()


@pytest.mark.parametrize("action", [search, count, swallow])
def test_an_endless_computation_ends(action: object) -> None:
    with pytest.raises(CpuTimeExceeded):
        limit_cpu_time(0.02, action)  # type: ignore[arg-type]  # any of them
    assert signal.getitimer(signal.ITIMER_VIRTUAL) == (0.0, 0.0)


def test_a_short_one_gives_its_value_and_stops_the_timer() -> None:
    assert limit_cpu_time(60, lambda: 5) == 5
    assert signal.getitimer(signal.ITIMER_VIRTUAL) == (0.0, 0.0)


def test_an_error_passes() -> None:
    with pytest.raises(ZeroDivisionError):
        limit_cpu_time(60, lambda: 1 / 0)
    assert signal.getitimer(signal.ITIMER_VIRTUAL) == (0.0, 0.0)


def test_another_thread_has_no_limit() -> None:
    got: list[int] = []
    thread = threading.Thread(target=lambda: got.append(limit_cpu_time(0.0001, lambda: sum(range(300_000)))))
    thread.start()
    thread.join()
    assert got == [sum(range(300_000))]
