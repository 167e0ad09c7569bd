"""Runs with --engine ray on a cluster that is there: nodes that die and join, keys, limits, bad input."""

from __future__ import annotations

import re
import signal
import time
from collections.abc import Iterator
from pathlib import Path

import orjson
import pytest

from engines.ray_cluster import RayCluster, ray_cluster
from engines.ray_runs import JOBS, KEY, Prompts, arguments, files_with, wait_for_lines, write_prompts
from support.process import Process, run, start
from support.servers import loopback


@pytest.fixture(scope="module")
def cluster() -> Iterator[RayCluster]:
    with ray_cluster(3, {"CHATPIPE_API_KEY": KEY}) as running:
        yield running


@pytest.fixture
def prompts() -> Prompts:
    return Prompts()


@pytest.fixture
def url(prompts: Prompts) -> Iterator[str]:
    with loopback.serve(prompts.answer) as server:
        yield server.url


def started(cluster: RayCluster, folder: Path, url: str, *more: str) -> Process:
    given = arguments(url, f"ray:{cluster.address}", "-o", "out.jsonl", "-q", *more)
    return start(*given, env=cluster.env, cwd=folder)


def check_output(folder: Path, count: int) -> None:
    rows = [orjson.loads(line) for line in (folder / "out.jsonl").read_bytes().splitlines()]
    assert [row["chatpipe"]["line"] for row in rows] == list(range(1, count + 1))
    texts = [row["response"]["body"]["choices"][0]["message"]["content"] for row in rows]
    assert texts == [f"p{number}!" for number in range(count)]
    assert {row["chatpipe"]["engine"] for row in rows} == {"ray"}
    assert {row["chatpipe"]["attempts"] for row in rows} == {1}


def test_two_nodes_die_and_one_joins(cluster: RayCluster, prompts: Prompts, url: str, tmp_path: Path) -> None:
    write_prompts(tmp_path, 8000)
    with started(cluster, tmp_path, url) as process:
        wait_for_lines(process, tmp_path, 1000)
        cluster.kill()
        wait_for_lines(process, tmp_path, 3000)
        cluster.kill()
        cluster.add()
        wait_for_lines(process, tmp_path, 5000)
        cluster.add()  # for the tests that follow, too
        assert process.wait() == 0
    check_output(tmp_path, 8000)
    assert prompts.answered_twice <= 2 * JOBS


def test_a_run_that_is_killed_goes_on(
    cluster: RayCluster, prompts: Prompts, url: str, tmp_path: Path
) -> None:
    write_prompts(tmp_path, 2000)
    with started(cluster, tmp_path, url) as process:
        wait_for_lines(process, tmp_path, 700)
        process.kill()
    with started(cluster, tmp_path, url) as process:
        assert process.wait() == 0
    check_output(tmp_path, 2000)
    assert prompts.answered_twice <= JOBS


def test_a_limit_per_minute_holds_for_all_workers(
    cluster: RayCluster, prompts: Prompts, url: str, tmp_path: Path
) -> None:
    """--rpm 600: the short version. In no 20 s more than a third of 618, and in these 20 s at least 190."""
    write_prompts(tmp_path, 220)
    with started(cluster, tmp_path, url, "--rpm", "600") as process:
        assert process.wait() == 0
    times = sorted(prompts.times)
    begun = [sum(begin <= at < begin + 20 for at in times) for begin in times]
    assert max(begun) <= 206
    assert begun[0] >= 190


def test_three_engines_fill_one_output(tmp_path: Path, cluster: RayCluster) -> None:
    write_prompts(tmp_path, 30)
    with start("serve", "--port", "0") as server:
        url = server.line().decode().strip()
        for limit, engine in ((10, "local"), (20, f"ray:{cluster.address}"), (30, "batch-api")):
            given = arguments(url, engine, "-o", "out.jsonl", "--limit", str(limit))
            if engine == "batch-api":
                given = (*given, "--poll", "0.1")
            env = {**cluster.env, "CHATPIPE_API_KEY": KEY}
            done = run(*given, env=env, cwd=tmp_path, timeout=120)
            assert done.status == 0, done.stderr
    rows = [orjson.loads(line) for line in (tmp_path / "out.jsonl").read_bytes().splitlines()]
    engines = [row["chatpipe"].get("engine") for row in rows]
    assert engines == [None] * 10 + ["ray"] * 10 + ["batch-api"] * 10


def test_a_key_does_not_go_through_a_cluster_that_is_there(cluster: RayCluster, tmp_path: Path) -> None:
    other = "sk-other-0123456789abcdefghij"
    (tmp_path / "key").write_text(other)

    def answer(request: loopback.Request) -> loopback.Answer:
        assert request.headers["authorization"] == f"Bearer {other}"
        return loopback.reply(200, loopback.completion(f"your key is {other}"))

    write_prompts(tmp_path, 300)
    key = ("--key-file", str(tmp_path / "key"))
    with loopback.serve(answer) as server, started(cluster, tmp_path, server.url, *key) as process:
        assert process.wait() == 0
    assert not files_with(cluster.folder, other.encode())
    assert other.encode() not in (tmp_path / "out.jsonl").read_bytes()


class Expiry(Prompts):
    """A server whose first key expires after some answers. The file with the key then has the next."""

    keys = ("sk-old-key-0123456789", "sk-new-key-0123456789")

    def __init__(self, file: Path, left: int) -> None:
        super().__init__()
        self.file = file
        self.left = left
        file.write_text(self.keys[0])

    def answer(self, request: loopback.Request) -> loopback.Answer:
        if request.headers["authorization"] != f"Bearer {self.keys[not self.left]}":
            return loopback.error(401, "it has expired")
        if self.left:
            self.left -= 1
            if not self.left:
                self.file.write_text(self.keys[1])
        return super().answer(request)


def test_a_key_that_expires_is_renewed_by_each_worker(cluster: RayCluster, tmp_path: Path) -> None:
    expiry = Expiry(tmp_path / "key", left=100)
    write_prompts(tmp_path, 300)
    command = ("--key-command", f"cat {expiry.file}")
    with loopback.serve(expiry.answer) as server, started(cluster, tmp_path, server.url, *command) as process:
        assert process.wait() == 0
    check_output(tmp_path, 300)
    assert not expiry.answered_twice
    assert not [key for key in expiry.keys if files_with(cluster.folder, key.encode())]


def test_a_command_without_another_key_ends_the_run(cluster: RayCluster, tmp_path: Path) -> None:
    expiry = Expiry(tmp_path / "key", left=100)
    write_prompts(tmp_path, 300)
    script = tmp_path / "command"
    script.write_text(f"#!/bin/sh\ngrep old {expiry.file} || {{ echo locked >&2; exit 3; }}\n")
    script.chmod(0o755)
    more = ("--key-command", str(script), "-o", "out.jsonl", "-q")
    with loopback.serve(expiry.answer) as server:
        given = arguments(server.url, f"ray:{cluster.address}", *more)
        done = run(*given, env=cluster.env, cwd=tmp_path, timeout=60)
    assert done.status == 77
    assert b"no new key: --key-command" in done.stderr
    assert sum(expiry.answered.values()) == 100


BAD = {
    "no Ray there": (["--engine", "ray:127.0.0.1:{closed}"], 69, b"no Ray at '127.0.0.1:"),
    "another server": (["--engine", "ray:127.0.0.1:{server}"], 69, b"it is another server"),
    "no key on the nodes": (["--key-env", "NONE"], 77, b"variable 'NONE' is not set"),
    "no file on the nodes": (["--key-file", "/none"], 77, b"cannot read '/none'"),
    "a key that is here only": (["--key-fd", "9"], 78, b"--key-fd: is on this machine only"),
    "a secret header": (["-H", "X-Api-Key: abc"], 78, b"the header 'X-Api-Key' is secret"),
    "a password of a proxy": (["--proxy", "http://a:b@h:1"], 78, b"the proxy has a password"),
}


@pytest.mark.parametrize(("options", "status", "words"), BAD.values(), ids=BAD)
def test_bad_input_is_one_line_before_anything_is_sent(
    options: list[str],
    status: int,
    words: bytes,
    cluster: RayCluster,
    prompts: Prompts,
    url: str,
    tmp_path: Path,
) -> None:
    write_prompts(tmp_path, 3)
    ports = {"closed": loopback.closed_port(), "server": url.split(":")[2].partition("/")[0]}
    filled = [each.format(**ports) for each in options]
    given = arguments(url, f"ray:{cluster.address}", *filled)
    done = run(*given, env=cluster.env, cwd=tmp_path, timeout=60)
    assert (done.status, done.stdout) == (status, b"")
    assert done.stderr.count(b"\n") == 1
    assert words in done.stderr
    assert not prompts.answered


def test_a_cluster_whose_cpus_are_all_taken(prompts: Prompts, url: str, tmp_path: Path) -> None:
    """A worker needs next to no CPU, and waits for none."""
    write_prompts(tmp_path, 30)
    with ray_cluster(2) as cluster:
        cluster.fill()
        with started(cluster, tmp_path, url) as process:
            assert process.wait() == 0
    check_output(tmp_path, 30)


def test_a_cluster_without_a_cpu(prompts: Prompts, url: str, tmp_path: Path) -> None:
    write_prompts(tmp_path, 3)
    with ray_cluster(0) as cluster:
        given = arguments(url, f"ray:{cluster.address}")
        done = run(*given, env=cluster.env, cwd=tmp_path, timeout=60)
    assert (done.status, done.stdout) == (78, b"")
    assert b"no node has a CPU" in done.stderr


def test_a_node_without_chatpipe_says_so(prompts: Prompts, url: str, tmp_path: Path) -> None:
    """The code that says it comes from the run."""
    is_worker = "any('default_worker' in word for word in sys.orig_argv)"
    hidden = f"import sys\nif {is_worker}: sys.modules['chatpipe'] = None\n"
    (tmp_path / "sitecustomize.py").write_text(hidden)
    write_prompts(tmp_path, 3)
    with ray_cluster(1, {"PYTHONPATH": str(tmp_path)}) as cluster:
        given = arguments(url, f"ray:{cluster.address}")
        done = run(*given, env=cluster.env, cwd=tmp_path, timeout=60)
    assert (done.status, done.stdout) == (78, b"")
    assert re.fullmatch(
        rb"chatpipe: no chatpipe on the node '.*' \(import of .*\): install chatpipe .* there\n", done.stderr
    )


def test_a_signal_does_not_wait_for_a_head_that_is_silent(tmp_path: Path) -> None:
    write_prompts(tmp_path, 8000)
    prompts = Prompts(0.2)
    with (
        loopback.serve(prompts.answer) as server,
        ray_cluster(1, {"CHATPIPE_API_KEY": KEY}) as cluster,
        started(cluster, tmp_path, server.url) as process,
    ):
        wait_for_lines(process, tmp_path, 100)
        with cluster.silent_head():
            began = time.monotonic()
            process.send_signal(signal.SIGINT)
            assert process.wait() == -signal.SIGINT
            assert time.monotonic() - began < 8  # it took 10 s, and Ray itself would wait for a minute
    assert prompts.answered_twice == 0
