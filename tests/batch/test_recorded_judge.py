"""Recorded answers that a run with another schema takes over: `--match id`."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from batch.result_lines import outcomes
from support.parametrize import cases
from support.process import Done, run

WHOLE = ("--schema-fields", "k int")
TEXT = ("--schema-fields", "k str")
ROWS = b'{"custom_id":"a","prompt":"x"}\n{"custom_id":"b","prompt":"y"}\n'


def batch(folder: Path, *options: str) -> Done:
    (folder / "in.jsonl").write_bytes(ROWS)
    return run("batch", "-p", "echo", "in.jsonl", *options, cwd=folder)


def recorded_by(folder: Path, *options: str) -> None:
    assert batch(folder, *options, "-o", "old").status == 0


@cases(
    ("before", "after", "status", "outcome"),
    {
        "another field": (WHOLE, ("--schema-fields", "topic a|b"), 5, "mismatch"),
        "another type": (TEXT, WHOLE, 5, "mismatch"),
        "a further field": (WHOLE, ("--schema-fields", "k int, urgent bool"), 5, "mismatch"),
        "a text": ((), WHOLE, 5, "mismatch"),
        "a text, allowed": ((), (*WHOLE, "--allow", "mismatch"), 0, "mismatch"),
        "a text, without a request": ((), (*WHOLE, "--no-send"), 5, "mismatch"),
        "a text, once more in vain": ((), (*WHOLE, "--reask", "2"), 5, "mismatch"),
        "a wider schema": (WHOLE, ("--schema-json", '{"type":"object"}'), 0, "ok"),
        "the same schema": (WHOLE, (*WHOLE, "--temperature", "1"), 0, "ok"),
        "no schema": (WHOLE, (), 0, "ok"),
    },
)
def test_the_schema_of_this_run_decides(
    before: tuple[str, ...], after: tuple[str, ...], status: int, outcome: str, tmp_path: Path
) -> None:
    recorded_by(tmp_path, *before)
    done = batch(tmp_path, *after, "--match", "id", "--reuse", "old")
    assert (done.status, outcomes(done.stdout)) == (status, [outcome, outcome])
    errors = [json.loads(line)["error"] for line in done.stdout.splitlines()]
    assert all((error is not None) == (status == 5) for error in errors)


def test_a_mismatch_that_fits_the_schema_of_this_run_is_good(tmp_path: Path) -> None:
    recorded_by(tmp_path, *WHOLE)
    done = batch(tmp_path, *TEXT, "--match", "id", "--reuse", "old")
    (tmp_path / "unfit").write_bytes(done.stdout)
    other = batch(tmp_path, "--schema-fields", "topic a|b", "--match", "id", "--reuse", "unfit")
    assert b"'topic' is missing" in other.stdout
    same = batch(tmp_path, *WHOLE, "--temperature", "1", "--match", "id", "--reuse", "unfit")
    assert (same.status, outcomes(same.stdout)) == (0, ["ok", "ok"])


@cases(
    ("before", "options"),
    {
        "by id": ((), (*WHOLE, "--match", "id")),
        "for another format": ((), ("-f", "code", "--allow", "mismatch")),
    },
)
def test_resend_buys_what_is_a_mismatch_in_this_run_alone(
    before: tuple[str, ...], options: tuple[str, ...], tmp_path: Path
) -> None:
    recorded_by(tmp_path, *before)
    again = (*options, "--reuse", "old", "--resend", "mismatch", "-o", "new")
    estimate = json.loads(batch(tmp_path, *again, "--dry-run").stdout)
    assert (estimate["reused"], estimate["sent"]) == (0, {"resent": 2})
    assert batch(tmp_path, *again, "--report", "report").status == 0
    report = json.loads((tmp_path / "report").read_bytes())
    assert (report["reused"], report["sent"]) == (0, {"resent": 2})


def test_an_answer_that_was_bought_again_is_not_kept(tmp_path: Path) -> None:
    recorded_by(tmp_path)
    assert batch(tmp_path, *WHOLE, "--match", "id", "--resend", "mismatch", "-o", "old").status == 0
    assert sorted(path.name for path in tmp_path.iterdir()) == ["in.jsonl", "old"]


@pytest.mark.parametrize("options", [(), ("--resend", "refused")], ids=["kept", "others"])
def test_only_resend_mismatch_buys_it_again(options: tuple[str, ...], tmp_path: Path) -> None:
    recorded_by(tmp_path)
    done = batch(tmp_path, *WHOLE, "--match", "id", "--reuse", "old", "--dry-run", *options)
    assert json.loads(done.stdout)["reused"] == 2


def test_cells_of_another_schema_are_no_success(tmp_path: Path) -> None:
    (tmp_path / "in.csv").write_text("custom_id,t\na,x\n")
    rows = ("map", "-p", "echo", "{{t}}", "--csv", "in.csv", "--unpack", "-o", "out")
    assert run(*rows, "--schema-fields", "k int", cwd=tmp_path).status == 0
    done = run(*rows, "--schema-fields", "topic a|b", "--match", "id", cwd=tmp_path)
    assert (done.status, (tmp_path / "out").read_text()) == (5, "custom_id,t,k\na,x,0\n")
