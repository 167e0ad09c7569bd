"""Runs with --engine ray on clusters of this machine: nodes that die and join, keys, limits, bad input."""

from __future__ import annotations

import os
import signal
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path

import orjson
import pytest

import loopback
from engines.ray_cluster import RayCluster, ray_cluster
from process import Process, home, run, start

KEY = "sk-canary-0123456789abcdefghij"
JOBS = 64


class Prompts:
    """A server that sells an answer to each prompt after a while, and keeps count."""

    def __init__(self, latency_s: float = 0.05) -> None:
        self.latency_s = latency_s
        self.sold: Counter[str] = Counter()
        self.times: list[float] = []

    def answer(self, request: loopback.Request) -> loopback.Answer:
        prompt = orjson.loads(request.body)["messages"][0]["content"]
        self.sold[prompt] += 1
        self.times.append(time.monotonic())
        return [loopback.Pause(self.latency_s), loopback.reply(200, loopback.completion(f"{prompt}!"))]

    @property
    def bought_twice(self) -> int:
        return sum(count - 1 for count in self.sold.values())


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


def write_prompts(folder: Path, count: int) -> None:
    lines = (f'{{"prompt":"p{number}"}}\n' for number in range(count))
    (folder / "in.jsonl").write_text("".join(lines))


def arguments(url: str, engine: str, *more: str) -> tuple[str, ...]:
    return ("batch", "in.jsonl", "--base-url", url, "-m", "m", "--engine", engine, "-j", str(JOBS), *more)


def started(cluster: RayCluster, folder: Path, url: str, *more: str) -> Process:
    given = arguments(url, f"ray:{cluster.address}", "-o", "out.jsonl", "-q", *more)
    return start(*given, env=cluster.env, cwd=folder)


def recorded(folder: Path) -> int:
    """The number of lines in the journal, without its first."""
    journal = folder / "out.jsonl.journal"
    return journal.read_bytes().count(b"\n") - 1 if journal.exists() else -1


def wait_for_lines(folder: Path, count: int) -> None:
    while recorded(folder) < count:
        time.sleep(0.05)


def check_output(folder: Path, count: int) -> None:
    rows = [orjson.loads(line) for line in (folder / "out.jsonl").read_bytes().splitlines()]
    assert [row["chatpipe"]["line"] for row in rows] == list(range(1, count + 1))
    texts = [row["response"]["body"]["choices"][0]["message"]["content"] for row in rows]
    assert texts == [f"p{number}!" for number in range(count)]
    assert {row["chatpipe"]["engine"] for row in rows} == {"ray"}
    assert {row["chatpipe"]["attempts"] for row in rows} == {1}


def test_a_node_is_killed_and_every_line_is_there_once(prompts: Prompts, url: str, tmp_path: Path) -> None:
    write_prompts(tmp_path, 20_000)
    with ray_cluster(2, {"CHATPIPE_API_KEY": KEY}) as cluster, started(cluster, tmp_path, url) as process:
        wait_for_lines(tmp_path, 10_000)
        cluster.kill()
        assert process.wait() == 0
    check_output(tmp_path, 20_000)
    assert prompts.bought_twice <= JOBS


def test_two_nodes_die_and_one_joins(prompts: Prompts, url: str, tmp_path: Path) -> None:
    write_prompts(tmp_path, 6000)
    with ray_cluster(2, {"CHATPIPE_API_KEY": KEY}) as cluster, started(cluster, tmp_path, url) as process:
        wait_for_lines(tmp_path, 1000)
        cluster.kill()
        wait_for_lines(tmp_path, 2500)
        cluster.kill()
        cluster.add()
        assert process.wait() == 0
    check_output(tmp_path, 6000)
    assert prompts.bought_twice <= 2 * JOBS


def test_a_run_that_is_killed_goes_on(
    cluster: RayCluster, prompts: Prompts, url: str, tmp_path: Path
) -> None:
    write_prompts(tmp_path, 2000)
    with started(cluster, tmp_path, url) as process:
        wait_for_lines(tmp_path, 700)
        process.kill()
    with started(cluster, tmp_path, url) as process:
        assert process.wait() == 0
    check_output(tmp_path, 2000)
    assert prompts.bought_twice <= JOBS


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


# A cluster of the run's own


def ray_processes() -> dict[int, bytes]:
    """The processes of a cluster of a run, with all that their command lines and environments say."""
    found = {}
    for name in filter(str.isdecimal, os.listdir("/proc")):
        try:
            said = Path(f"/proc/{name}/cmdline").read_bytes() + Path(f"/proc/{name}/environ").read_bytes()
        except OSError:
            continue
        if b"chatpipe-ray-" in said or b"chatpipe.cluster.relay" in said:
            found[int(name)] = said
    return found


def files_with(folders: Sequence[Path], text: bytes) -> list[Path]:
    paths = (path for folder in folders for path in folder.rglob("*") if path.is_file())
    return [path for path in paths if text in path.read_bytes()]


def wait_for_end_of_ray() -> None:
    """Wait for the processes that a signal has reached: init takes note of their ends."""
    ends_at = time.monotonic() + 20
    while ray_processes() and time.monotonic() < ends_at:
        time.sleep(0.1)
    assert not ray_processes()


ENDS = {"complete": None, "SIGINT": signal.SIGINT, "SIGKILL": signal.SIGKILL}


@pytest.mark.parametrize("end", ENDS.values(), ids=ENDS)
def test_a_cluster_of_the_run_has_no_key_and_leaves_nothing(
    end: signal.Signals | None, tmp_path: Path
) -> None:
    def answer(request: loopback.Request) -> loopback.Answer:
        assert request.headers["authorization"] == f"Bearer {KEY}"
        text = f"your key is {KEY}"
        return [loopback.Pause(0.1), loopback.reply(200, loopback.completion(text))]

    write_prompts(tmp_path, 3000)
    before = set(home().iterdir())
    (tmp_path / "tmp").mkdir()
    # The names of sockets are short.
    env = {"CHATPIPE_API_KEY": KEY, "TMPDIR": "/tmp", "RAY_ADDRESS": ""}
    with loopback.serve(answer) as server:
        given = arguments(server.url, "ray", "-o", "out.jsonl", "-H", f"X-Api-Key: {KEY}x")
        with start(*given, env=env, cwd=tmp_path) as process:
            wait_for_lines(tmp_path, 500)
            processes = ray_processes()
            assert len(processes) > 3
            assert not [pid for pid, said in processes.items() if KEY.encode() in said]
            folders = [each for each in Path("/tmp").glob("chatpipe-ray-*") if each.is_dir()]
            assert folders
            assert not files_with(folders, KEY.encode())
            if end is not None:
                process.send_signal(end)
            status = process.wait()
            _, stderr = process.communicate()
    assert status == (0 if end is None else -end)
    assert KEY.encode() not in stderr
    wait_for_end_of_ray()
    assert not [each for each in folders if each.exists()]
    assert set(home().iterdir()) == before


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
    assert not files_with([cluster.folder], other.encode())
    assert other.encode() not in (tmp_path / "out.jsonl").read_bytes()


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
    assert not prompts.sold


def test_a_cluster_without_a_cpu(prompts: Prompts, url: str, tmp_path: Path) -> None:
    write_prompts(tmp_path, 3)
    with ray_cluster(0) as cluster:
        given = arguments(url, f"ray:{cluster.address}")
        done = run(*given, env=cluster.env, cwd=tmp_path, timeout=60)
    assert (done.status, done.stdout) == (78, b"")
    assert b"no node has a CPU" in done.stderr
