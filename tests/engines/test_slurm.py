"""The script of chatpipe-engines(7) for a Slurm array, on a cluster."""

from __future__ import annotations

import os
import re
import signal
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

from batch.resuming import RunHarness, records, texts
from engines.slurm_cluster import SlurmCluster, slurm_cluster, until
from manual import pages
from manual.test_engines_page import PAGE, slurm_script
from support.process import sh, start

TASKS = 8
PROMPTS = [f"p{number}" for number in range(10 * TASKS)]
KEY = "sk-canary"


@pytest.fixture(scope="module")
def cluster() -> Iterator[SlurmCluster]:
    with slurm_cluster() as running:
        yield running


@pytest.fixture
def harness(tmp_path: Path) -> Iterator[RunHarness]:
    """A server, and beside its input the script and a key."""
    (tmp_path / "key").write_text(KEY)
    (tmp_path / "answers.sh").write_text(slurm_script())
    with RunHarness(tmp_path) as running:
        running.write(*PROMPTS)
        yield running


def gather(folder: Path, env: dict[str, str]) -> tuple[int, bytes]:
    done = sh(pages.display(PAGE, "chatpipe batch in.jsonl --reuse"), cwd=folder, env=env)
    return done.status, done.stderr


def test_array_against_a_server_with_faults(
    cluster: SlurmCluster, harness: RunHarness, tmp_path: Path
) -> None:
    """Tasks whose lines fail are queued again, and ask only for those."""
    faults = ("status=429,retry_after=0:p=0.2", "reset:p=0.1")
    flags = [word for fault in faults for word in ("--fault", fault)]
    script = tmp_path / "answers.sh"
    script.write_text(script.read_text().replace("--grace", "--retries 0 --grace"))
    log = tmp_path / "requests"
    serve = ("serve", "--log", str(log), "--seed", "3", "--require-key-env", "SERVED_KEY", *flags)
    with start(*serve, env={"SERVED_KEY": KEY}) as server:
        env = {"CHATPIPE_BASE_URL": server.line().decode().strip(), "CHATPIPE_MODEL": "echo"}
        job = cluster.submit(script, env=env)
        cluster.wait(job)
    assert gather(tmp_path, env) == (0, b"")
    assert texts(tmp_path / "out.jsonl") == PROMPTS
    assert cluster.restarts(job) > 0
    good = [entry for entry in records(log) if entry["status"] == 200 and not entry["faults"]]
    assert len(good) == len(PROMPTS)


def process_of(shard: int, folder: Path) -> int:
    """The process of a shard."""
    option = f"--shard\0{shard}/{TASKS}\0".encode()
    found = []
    for path in Path("/proc").glob("[0-9]*"):
        try:
            if option in (path / "cmdline").read_bytes() and (path / "cwd").readlink() == folder:
                found.append(int(path.name))
        except OSError:
            continue
    (number,) = found
    return number


def is_reached(process: int) -> bool:
    """Whether SIGTERM waits for a stopped process, or SIGCONT has come before it."""
    status = Path(f"/proc/{process}/status").read_text()
    fields = dict(re.findall(r"^(\w+):\s+(\S+)", status, re.MULTILINE))
    return fields["State"] != "T" or bool(int(fields["ShdPnd"], 16) & 1 << signal.SIGTERM - 1)


def test_tasks_that_are_stopped_in_the_middle_buy_nothing_twice(
    cluster: SlurmCluster, harness: RunHarness, tmp_path: Path
) -> None:
    """One loses its process, one is queued again, one is near its time limit."""
    at_once = PROMPTS[: 3 * TASKS]  # three of each shard, before two that wait
    harness.late = set(PROMPTS) - set(at_once)
    script = tmp_path / "answers.sh"
    script.write_text(script.read_text().replace("--grace", "-j 2 --grace"))
    env = {"CHATPIPE_BASE_URL": harness.server.url, "CHATPIPE_MODEL": "m"}
    job = cluster.submit(script, env=env)
    until(lambda: len(harness.prompts) == len(at_once) + 2 * TASKS)
    journals = [tmp_path / f"part-{shard}.jsonl.journal" for shard in range(1, TASKS + 1)]
    until(lambda: sum(len(records(journal)) for journal in journals) == len(at_once))
    killed, queued, timed_out = (process_of(shard, tmp_path) for shard in (1, 2, 3))
    os.kill(killed, signal.SIGKILL)
    for process in (queued, timed_out):
        os.kill(process, signal.SIGSTOP)
    cluster.command("scontrol", "requeue", f"{job}_2")
    cluster.command("scancel", "--signal=USR1", "--batch", f"{job}_3")
    until(lambda: is_reached(queued) and is_reached(timed_out))
    for process in (queued, timed_out):
        os.kill(process, signal.SIGCONT)
    harness.gate.set()
    cluster.wait(job)
    assert gather(tmp_path, env) == (0, b"")
    assert [text.partition(" ")[0] for text in texts(harness.out) if text is not None] == PROMPTS
    twice = {prompt for prompt, count in Counter(harness.prompts).items() if count > 1}
    assert len(twice) <= 2
    assert twice <= set(PROMPTS[0::TASKS]) - set(at_once)
    said = {shard: (tmp_path / f"slurm-{job}_{shard}.out").read_text() for shard in (2, 3)}
    assert all("interrupted after" in words for words in said.values()), said


def test_cancelled_task_is_not_queued_again(
    cluster: SlurmCluster, harness: RunHarness, tmp_path: Path
) -> None:
    harness.held = 1
    env = {"CHATPIPE_BASE_URL": harness.server.url, "CHATPIPE_MODEL": "m"}
    job = cluster.submit(tmp_path / "answers.sh", "--array=1", env=env)
    harness.until_prompts(10)
    cluster.command("scancel", job)
    harness.gate.set()
    cluster.wait(job)
    assert len(harness.prompts) == 10
