"""Jobs at aimock, a server of mock answers that this project did not write: every line gets the same one.

`make test` installs it into .venv-peer, where node is there: see test_litellm.py.
"""

from __future__ import annotations

import json
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from peer.litellm_proxy import peer_python
from support.process import Done, Process, environment, run
from support.programs import node_with
from support.servers.loopback import closed_port

pytestmark = [pytest.mark.peer, pytest.mark.timeout(300)]

SAYS = "Mock batch completion"
OUTCOME = "X-AIMock-Batch-Outcome"  # of a create: how the job ends
START_S = 240.0


@pytest.fixture(scope="module")
def url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The base URL of aimock, once it answers."""
    peers = peer_python().parents[1]
    script = peers / "node_modules" / "@copilotkit" / "aimock" / "dist" / "cli.js"
    folder = tmp_path_factory.mktemp("aimock")
    (folder / "fixtures").mkdir()
    port = closed_port()
    command = [node_with(script), str(script), "-p", str(port), "-f", "fixtures", "--log-level", "silent"]
    with (
        (folder / "log").open("wb") as log,
        Process(command, cwd=folder, env=environment({}), stdin=subprocess.DEVNULL, stdout=log, stderr=log),
    ):
        base_url = f"http://127.0.0.1:{port}/v1"
        end = time.monotonic() + START_S
        while jobs(base_url, "list", "--retries", "0").status != 0:
            assert time.monotonic() < end, (folder / "log").read_text()
            time.sleep(0.1)
        yield base_url


def jobs(base_url: str, *words: str) -> Done:
    return run("jobs", *words, "--base-url", base_url)


def batch(base_url: str, folder: Path, *options: str) -> Done:
    words = ("batch", str(folder / "in.jsonl"), "-o", str(folder / "out.jsonl"), "-m", "m")
    engine = ("--engine", "batch-api", "--poll", "0.05", "--settle", "0.2", "-q")
    return run(*words, *engine, "--base-url", base_url, *options)


def test_a_run_is_answered_by_jobs(url: str, tmp_path: Path) -> None:
    (tmp_path / "in.jsonl").write_text('"a"\n"b"\n"c"\n')
    assert batch(url, tmp_path, "--no-wait").status == 124
    done = batch(url, tmp_path)
    assert (done.status, done.stderr) == (0, b"")
    found = [json.loads(line) for line in (tmp_path / "out.jsonl").read_text().splitlines()]
    assert [each["response"]["body"]["choices"][0]["message"]["content"] for each in found] == [SAYS] * 3


@pytest.mark.parametrize(("outcome", "words"), [("failed", "mock_failure"), ("expired", "expired")])
def test_jobs_that_end_badly_are_bought_again(url: str, tmp_path: Path, outcome: str, words: str) -> None:
    (tmp_path / "in.jsonl").write_text(f'"{outcome} 1"\n"{outcome} 2"\n')
    bad = batch(url, tmp_path, "-H", f"{OUTCOME}: {outcome}")
    assert (bad.status, words in bad.stderr.decode()) == (1, True), bad.stderr
    assert batch(url, tmp_path).status == 0
