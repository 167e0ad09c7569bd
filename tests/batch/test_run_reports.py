"""`chatpipe batch` as a process: budgets, and what it reports beside its results."""

from __future__ import annotations

import itertools
import subprocess
import sys
from pathlib import Path
from typing import Any

import orjson
import pytest

from batch.result_lines import numbers, records
from batch.runs import (
    answer,
    batch,
    command,
    jsonl,
    many,
    paused,
)
from chatpipe.batch.estimate import Estimate
from chatpipe.batch.journal.send_reasons import SendReason
from chatpipe.limits.prices import ModelPrice
from support.parametrize import cases
from support.patience import PATIENCE_S
from support.process import environment, run
from support.servers.loopback import (
    Handler,
    Reset,
    completion,
    reply,
    serve,
)


def test_a_budget_of_tokens_stops_the_run() -> None:
    done = batch("-j1", "--max-tokens", "2", "--max-total-tokens", "60", stdin=many(40))
    assert done.status == 7
    # 7 tokens an answer; what the next one may take is estimated
    assert 3 <= len(done.requests) <= 8
    assert done.outcomes == ["ok"] * len(done.requests)
    assert b"--max-total-tokens" in done.stderr


@pytest.mark.parametrize("lost", [0, 1])
def test_a_budget_counts_a_try_that_may_have_been_paid_for(lost: int) -> None:
    tries = itertools.count(1)
    handler: Handler = lambda request: [Reset()] if next(tries) <= lost else answer(request)  # noqa: E731
    done = batch("-j1", "--max-tokens", "2", "--max-total-tokens", "30", stdin=many(2), handler=handler)
    assert (done.status, len(done.requests)) == ((7, 2) if lost else (0, 2))


PRICES = b"[m]\ninput = 1_000_000\noutput = 2_000_000\n"


@cases(
    ("options", "reported"),
    {
        "no usage": ((), {"usage": None}),
        "a turn without it": (("--schema-fields", "a int", "--reask", "1"), {"usage": None}),
        "a reply that was cut off at its limit": (("--max-reply", "1kB"), {"usage": None, "x": "y" * 2000}),
    },
)
def test_answers_of_unknown_usage_are_estimated_once(
    tmp_path: Path, options: tuple[str, ...], reported: dict[str, Any]
) -> None:
    """The same command sends no more than the budget, however often it is repeated."""
    spent: list[bytes] = []
    with serve(lambda request: reply(200, completion("z", **reported))) as server:
        again = command(
            server, "-o", "out", "-j1", "--max-tokens", "2", "--max-total-tokens", "300", *options
        )
        for _ in range(3):
            done = run(*again, stdin=many(40), cwd=tmp_path)
            assert done.status == 7
            spent.append(done.stderr.partition(b" reached: ")[2].partition(b" are spent")[0])
        requests = len(server.requests)
    assert len(set(spent)) == 1
    assert 2 < requests < 15


def test_a_budget_of_money_stops_the_run(tmp_path: Path) -> None:
    (tmp_path / "prices.toml").write_bytes(PRICES)
    options = ("-j1", "--max-tokens", "2", "--max-cost", "100", "--prices", "prices.toml")
    done = batch(*options, stdin=many(40), cwd=tmp_path)
    assert done.status == 7
    # 5 + 2 x 2 = 9 an answer
    assert 5 <= len(done.requests) <= 11


@cases("options", {"a run": (), "an estimate": ("--dry-run",)})
def test_a_budget_has_room_for_an_image(options: tuple[str, ...]) -> None:
    """Its text in base64 has a hundred times as many tokens as the image."""
    image = {"type": "image_url", "image_url": {"url": "data:image/gif;base64," + "R0lGODlh" * 50_000}}
    messages = [{"role": "user", "content": [image]}, {"role": "user", "content": "what is it"}]
    line = orjson.dumps({"messages": messages})
    done = batch("--max-total-tokens", "2000", *options, stdin=line)
    assert (done.status, done.stderr) == (0, b"")
    assert done.records[0].get("estimated_tokens", 0) < 2000


def test_a_budget_of_money_survives_failures(tmp_path: Path) -> None:
    """The reply to a bad request does not say which model it was for."""
    (tmp_path / "prices.toml").write_bytes(PRICES)
    with serve(answer) as server:
        again = command(server, "-o", "out", "--max-cost", "9000", "--prices", "prices.toml")
        assert run(*again, stdin=jsonl("a", "400"), cwd=tmp_path).status == 1
        assert run(*again, stdin=jsonl("a", "b"), cwd=tmp_path).status == 0


@cases("options", {"a budget": ["--max-cost", "9"], "dry run": ["--dry-run"]})
def test_a_model_without_a_price_is_78(options: list[str], tmp_path: Path) -> None:
    (tmp_path / "prices.toml").write_bytes(PRICES.replace(b"[m]", b"[other]"))
    done = batch(*options, "--prices", "prices.toml", stdin=many(3), cwd=tmp_path)
    assert (done.status, done.requests) == (78, [])
    assert b"no price for model 'm'" in done.stderr


def test_a_dry_run_counts_and_sends_nothing(tmp_path: Path) -> None:
    (tmp_path / "prices.toml").write_bytes(PRICES)
    done = batch(
        *("--dry-run", "--max-tokens", "10", "--prices", "prices.toml"),
        stdin=b'"hello"\n\n"world"\noops\n',
        cwd=tmp_path,
    )
    [record] = done.records
    assert (done.status, done.requests) == (65, [])
    assert (record["lines"], record["bad"]) == (3, 1)
    assert done.stderr.startswith(b"chatpipe: <stdin>:4: not JSON")
    # {"max_tokens":10,"model":"m","messages":[{"role":"user","content":"hello"}]}, 4 bytes a token, and 10
    assert record["bytes"] == 2 * 76
    assert record["estimated_tokens"] == 2 * (19 + 10)
    assert record["estimated_cost"] == 2 * (19 + 2 * 10)
    assert record["currency"] == "USD"


OF_CALLS = ModelPrice(1, 1, 1)
OF_BOTH = OF_CALLS._replace(of_jobs=OF_CALLS)


@cases(
    ("table", "models", "has_cost_of_jobs"),
    {
        "no prices": ({}, ["m"], False),
        "prices of calls": ({"m": OF_CALLS}, ["m"], False),
        "nothing is sent, prices of calls": ({"m": OF_CALLS}, [], False),
        "prices of jobs": ({"m": OF_BOTH}, ["m"], True),
        "nothing is sent, prices of jobs": ({"m": OF_BOTH}, [], True),
        "for one of two models": ({"m": OF_BOTH, "n": OF_CALLS}, ["m", "n"], False),
        "for the model that is used": ({"m": OF_BOTH, "n": OF_CALLS}, ["m"], True),
    },
)
def test_an_unknown_price_of_jobs_is_not_estimated(
    table: dict[str, ModelPrice], models: list[str], has_cost_of_jobs: bool
) -> None:
    estimate = Estimate(table, dedupe=False)
    for model in models:
        estimate.add({"model": model}, SendReason.new)
    assert ("estimated_batch_cost" in estimate.record(0)) == has_cost_of_jobs


def test_failed_lines_are_in_the_errors_file_too(tmp_path: Path) -> None:
    (tmp_path / "bad.jsonl").write_text("of the last run\n")
    stdin = jsonl("a", "400", "cut", "b") + b"oops\n"
    done = batch("-k", "--errors", "bad.jsonl", stdin=stdin, cwd=tmp_path)
    assert done.status == 1
    failed = (tmp_path / "bad.jsonl").read_bytes()
    assert sorted(numbers(failed)) == [2, 3, 5]
    assert sorted(failed.splitlines()) == sorted(
        line for line in done.stdout.splitlines() if orjson.loads(line)["error"]
    )


def test_the_errors_file_is_emptied_when_nothing_fails(tmp_path: Path) -> None:
    (tmp_path / "bad.jsonl").write_text("of the last run\n")
    done = batch("--errors", "bad.jsonl", stdin=jsonl("a"), cwd=tmp_path)
    assert (done.status, (tmp_path / "bad.jsonl").read_bytes()) == (0, b"")


def test_the_report_counts(tmp_path: Path) -> None:
    done = batch(
        *("--retries", "1", "--report", "report.json"),
        stdin=jsonl("a", "b", "cut", "400", "500") + b"oops\n",
        cwd=tmp_path,
    )
    report = orjson.loads((tmp_path / "report.json").read_bytes())
    wall_s, per_s, latency = report.pop("wall_s"), report.pop("requests_per_s"), report.pop("latency_s")
    reasons = {each["code"]: (each["line"], each["count"]) for each in report.pop("reasons")}
    assert done.status == 1
    assert reasons == {"truncated": (3, 1), "http_400": (4, 1), "http_500": (5, 1), "input": (6, 1)}
    assert report == {
        "lines": 6,
        "good": 2,
        "failed": 4,
        "reused": 0,
        "sent": {"new": 5},
        "outcomes": {"http": 2, "input": 1, "ok": 2, "truncated": 1},
        "retries": 1,
        "pauses": {"count": 0, "seconds": 0.0},
        "tokens": {"prompt": 15, "cached": 0, "completion": 6, "total": 21},
        "cost": None,
        "servers": {done.server.url: {"good": 2, "failed": 3}},
    }
    assert 0 < wall_s < PATIENCE_S
    assert per_s == pytest.approx(5 / wall_s, rel=0.2)  # of a time that is told in whole milliseconds
    assert 0 < latency["p50"] <= latency["p95"] <= latency["p99"] < PATIENCE_S


def test_progress_is_json_on_stderr() -> None:
    done = batch("-j1", "--progress", "json", stdin=many(3), handler=paused(0.5))
    console = records(done.stderr)
    assert done.status == 0
    assert [each["lines"] for each in console] == sorted(each["lines"] for each in console)
    assert len(console) >= 2
    assert console[-1]["lines"] == console[-1]["good"] == 3


@cases("options", {"quiet": ["-q"], "not quiet, no terminal": []})
def test_a_good_run_says_nothing(options: list[str]) -> None:
    assert batch(*options, stdin=many(2)).stderr == b""


# The event loop


LOOP_THAT_COMPLAINS = """
import asyncio, sys
from chatpipe.batch import dry_run
from chatpipe.main import main

async def estimate(*_):
    asyncio.get_running_loop().call_exception_handler({"message": "lost"})
    asyncio.log.logger.warning("slow")
    return {"bad": 0}

dry_run._estimate = estimate
main()
"""


def test_the_event_loop_never_speaks_on_stderr() -> None:
    command = (sys.executable, "-c", LOOP_THAT_COMPLAINS, "batch", "-p", "echo", "-m", "m", "--dry-run")
    done = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, env=environment())
    assert (done.returncode, done.stdout, done.stderr) == (0, b'{"bad":0}\n', b"")
