"""Long runs with --engine ray: a node that dies in the middle, and a limit that all workers keep together."""

from __future__ import annotations

from pathlib import Path

import orjson

from engines.ray_cluster import ray_cluster
from engines.ray_runs import JOBS, Prompts, arguments, wait_for_lines, write_prompts
from support.process import start
from support.servers import loopback

LINES = 20_000
MINUTES, PER_MINUTE = 3, 600
# Requests that a bucket has saved when it starts, which it may spend at once.
SAVED = 18


def test_one_of_two_nodes_dies_in_the_middle(tmp_path: Path) -> None:
    """Every line has its answer once, in order; no more is paid for twice than was in flight."""
    prompts = Prompts()
    write_prompts(tmp_path, LINES)
    with loopback.serve(prompts.answer) as server, ray_cluster(2) as cluster:
        given = arguments(server.url, f"ray:{cluster.address}", "-o", "out.jsonl", "-q")
        with start(*given, env=cluster.env, cwd=tmp_path) as process:
            wait_for_lines(process, tmp_path, LINES // 2)
            cluster.kill()
            assert process.wait() == 0
    rows = [orjson.loads(line) for line in (tmp_path / "out.jsonl").read_bytes().splitlines()]
    assert [row["chatpipe"]["line"] for row in rows] == list(range(1, LINES + 1))
    texts = [row["response"]["body"]["choices"][0]["message"]["content"] for row in rows]
    assert texts == [f"p{number}!" for number in range(LINES)]
    assert prompts.answered_twice <= JOBS
    print(f"\n{LINES} lines, one of two nodes killed: {prompts.answered_twice} answered twice", end="")


def test_three_workers_keep_a_limit_per_minute_together(tmp_path: Path) -> None:
    prompts = Prompts()
    write_prompts(tmp_path, MINUTES * PER_MINUTE)
    with loopback.serve(prompts.answer) as server, ray_cluster(3) as cluster:
        given = arguments(server.url, f"ray:{cluster.address}", "--rpm", str(PER_MINUTE), "-o", "out.jsonl")
        with start(*given, env=cluster.env, cwd=tmp_path) as process:
            assert process.wait() == 0
    times = sorted(prompts.times)
    within = [sum(begin <= at < begin + 60 for at in times) for begin in times]
    in_all = sum(at < times[0] + 60 * MINUTES for at in times)
    print(f"\n--rpm {PER_MINUTE}: {max(within)} in 60 s at most, {in_all} in {MINUTES} minutes", end="")
    assert max(within) <= PER_MINUTE + SAVED
    assert in_all >= MINUTES * PER_MINUTE - 50
