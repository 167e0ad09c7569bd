"""The reasons why lines are sent: `--dry-run` tells them before, `--report` after, and they are the same."""

from __future__ import annotations

import json
from typing import Any, NamedTuple

import pytest

from batch.resuming import RunHarness
from support.parametrize import cases

TROUBLE = {"http": 1, "network": 1}


def sent(harness: RunHarness, *options: str) -> dict[str, int]:
    """The `sent` of a dry run, which a run with these options confirms. It sends as many lines."""
    estimate = json.loads(harness.resume("--dry-run", *options).stdout)
    assert harness.new_prompts() == []
    harness.resume("--report", "report.json", *options)
    report = json.loads((harness.folder / "report.json").read_bytes())
    assert (estimate["sent"], estimate["reused"]) == (report["sent"], report["reused"])
    assert sum(report["sent"].values()) == len(harness.new_prompts())
    found: dict[str, int] = report["sent"]
    return found


@pytest.fixture
def troubled(harness: RunHarness) -> RunHarness:
    """A run in which b was refused, c was cut off, d got no answer, and line 6 was wrong."""
    harness.refused, harness.cut, harness.dropped = {"b"}, {"c"}, {"d"}
    with harness.input.open("a") as file:
        file.write("{\n")
    assert harness.status_and_prompts() == (1, [*"abcde"])
    harness.refused, harness.cut, harness.dropped = set(), set(), set()
    return harness


class Second(NamedTuple):
    """A second run: its prompts, its options, and the reasons why it sends."""

    prompts: str
    options: str
    sent: dict[str, int]


@cases(
    "second",
    {
        "failures": Second("abcde", "", TROUBLE),
        "a line is mended": Second("abcdef", "", {"input": 1, **TROUBLE}),
        "a line is edited": Second("abcdX", "", {"changed": 1, **TROUBLE}),
        "a failed line is edited": Second("aXcde", "", {"changed": 1, "network": 1}),
        "lines are added": Second("abcdefgh", "", {"new": 2, "input": 1, **TROUBLE}),
        "lines are moved": Second("edcba", "", TROUBLE),
        "a line is in the place of another": Second("Xabcde", "", {"changed": 1, **TROUBLE}),
        "a line is doubled": Second("abcdefa", "", {"new": 1, "input": 1, **TROUBLE}),
        "an equal line": Second("abcdefa", "--dedupe", {"input": 1, **TROUBLE}),
        "an equal line of one that fails": Second("abcdbb", "--dedupe", TROUBLE),
        "another model": Second("abcdefg", "-m n", {"new": 1, "changed": 5, "input": 1}),
        "resend": Second("abcde", "--resend truncated", {**TROUBLE, "resent": 1}),
        "resend of nothing": Second("abcde", "--resend refused", TROUBLE),
        "fresh": Second("abcde", "--fresh", {**TROUBLE, "resent": 3}),
        "the server of before": Second("abcde", "--same-server", TROUBLE),
        "by the place, for lines without an id": Second("abcdX", "--match id", {"changed": 1, **TROUBLE}),
    },
)
def test_a_line_is_sent_for_a_reason(second: Second, troubled: RunHarness) -> None:
    troubled.write(*second.prompts)
    assert sent(troubled, *second.options.split()) == second.sent


def test_the_reasons_are_those_of_all_files(troubled: RunHarness) -> None:
    troubled.journal.rename(troubled.folder / "old")
    troubled.write(*"abXdef")
    assert sent(troubled, "--reuse", "old") == {"changed": 1, "input": 1, **TROUBLE}


def test_the_last_failure_counts(troubled: RunHarness) -> None:
    troubled.dropped = {"b"}
    troubled.write(*"abcde")
    assert troubled.status_and_prompts() == (1, ["b", "d"])
    troubled.dropped = set()
    assert sent(troubled) == {"network": 1}


@cases(
    ("options", "found"),
    {
        "the id of a failed line": ((), {"http": 1, "changed": 4}),
        "an answer sent again by its id": (("--resend", "truncated"), {"http": 1, "changed": 4, "resent": 1}),
    },
)
def test_by_id_the_record_of_the_id_is_the_reason(
    options: tuple[str, ...], found: dict[str, int], harness: RunHarness
) -> None:
    rows: list[Any] = [{"custom_id": f"id-{each}", "prompt": each} for each in "abc"]
    harness.write(*rows, "d", "e", "f", "g")
    harness.refused, harness.cut = {"b"}, {"c"}
    assert harness.status_and_prompts()[0] == 1
    harness.refused = harness.cut = set()
    assert sent(harness, "--match", "id", "-m", "n", *options) == found


@cases(
    ("first", "found"),
    {
        "nothing was sent": (["--no-send"], {"unsent": 5}),
        "a halt leaves no records": (["-j", "1", "--halt", "now,fail=1"], {"new": 3, "http": 1}),
        "no records are looked for": (["--journal", "other"], {"new": 5}),
    },
)
def test_a_line_that_was_not_sent_before(
    first: list[str], found: dict[str, int], harness: RunHarness
) -> None:
    harness.refused = {"b"}
    harness.resume(*first)
    harness.refused = set()
    harness.new_prompts()
    harness.out.unlink(missing_ok=True)
    assert sent(harness) == found


def test_lines_that_were_in_flight_at_a_signal_are_known(harness: RunHarness) -> None:
    """They may have been paid for, and have a record."""
    harness.held = 3
    with harness.begin("-j", "2", "--grace", "0.01", "--report", "report.json") as process:
        harness.until_prompts(4)
        process.send_signal(2)
        process.wait()
    report = json.loads((harness.folder / "report.json").read_bytes())
    assert (report["lines"], report["sent"]) == (2, {"new": 2})
    harness.held = None
    harness.gate.set()
    harness.new_prompts()
    assert sent(harness) == {"new": 1, "network": 2}
