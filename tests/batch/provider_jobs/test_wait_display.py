"""wait_display.py: the wait for jobs on a terminal, and as JSON."""

from __future__ import annotations

import json

import pytest

from chatpipe.batch.progress import ProgressOptions
from chatpipe.batch.provider_jobs.wait_display import WaitCounts, WaitDisplay, format_wait, wait_record
from support.parametrize import cases

COUNTS = WaitCounts(3, 1, 0, 1000, 409, 3, {"in_progress": 2}, None)


@cases(
    ("counts", "text"),
    {
        "a wait": (
            COUNTS,
            "| 412/1000 done, 3 failed, 1/3 jobs ended, 2 in_progress, look in 12 s",
        ),
        "nothing failed, a price": (
            COUNTS._replace(failed=0, expected_cost=0.123456),
            "| 409/1000 done, 1/3 jobs ended, 2 in_progress, expected cost 0.1235 USD, look in 12 s",
        ),
        "parts are held back": (
            COUNTS._replace(held=1, statuses={"validating": 1, "finalizing": 1}),
            "1/3 jobs ended, 1 finalizing, 1 validating, 1 part held back, look in 12 s",
        ),
        "one job, nothing is known yet": (
            WaitCounts(1, 0, 0, 1, 0, 0, {}, None),
            "chatpipe:   0%|",
        ),
    },
)
def test_the_bar(counts: WaitCounts, text: str) -> None:
    shown = format_wait(counts, 11.2, 150)
    assert text in shown
    assert len(shown) <= 150
    narrow = format_wait(counts, 11.2, 40)
    assert len(narrow) <= 40
    assert narrow.startswith(f"{counts.completed + counts.failed}/{counts.lines}")


def paused(kind: str, seconds: float, capfd: pytest.CaptureFixture[str]) -> tuple[list[float], str]:
    """The sleeps of a pause, and what stderr shows."""
    now, slept = [0.0], []

    def sleep(duration: float) -> None:
        slept.append(duration)
        now[0] += duration

    display = WaitDisplay(ProgressOptions(kind), lambda: now[0], sleep)
    with display.open():
        display.pause(seconds, COUNTS)
        display.pause(0.25, COUNTS)
    return slept, capfd.readouterr().err


def test_a_line_of_json_a_second(capfd: pytest.CaptureFixture[str]) -> None:
    slept, shown = paused("json", 2.5, capfd)
    assert slept == [1.0, 1.0, 0.5, 0.25]
    found = [json.loads(line) for line in shown.splitlines()]
    assert [each["jobs"]["next_look_s"] for each in found] == [2.5, 1.5, 0.5]
    assert [each["wall_s"] for each in found] == [0.0, 1.0, 2.0]
    assert found[0]["jobs"]["statuses"] == {"in_progress": 2}
    assert "expected_cost" not in found[0]["jobs"]
    assert found[0]["lines"] == 0


def test_json_has_the_currency_of_an_expected_cost() -> None:
    record = wait_record(COUNTS._replace(expected_cost=0.5, currency="EUR"), 1.0, 1.0)
    assert (record["currency"], record["jobs"]["expected_cost"]) == ("EUR", 0.5)
    assert "currency" not in wait_record(COUNTS, 1.0, 1.0)


def test_a_bar_that_counts_down_and_leaves_nothing(capfd: pytest.CaptureFixture[str]) -> None:
    _, shown = paused("bar", 2.5, capfd)
    assert [f"look in {left} s" in shown for left in (3, 2, 1)] == [True] * 3
    assert shown.rpartition("\r")[2] == ""


def test_no_display_only_waits(capfd: pytest.CaptureFixture[str]) -> None:
    assert paused("none", 1.0, capfd) == ([1.0, 0.25], "")
