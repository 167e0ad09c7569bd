"""Long runs against servers that refuse and fail, that are killed, and that run out of disk."""

from __future__ import annotations

import random
import signal
import time
from pathlib import Path

import pytest

from batch.resuming import RunHarness, names, texts, write_rows
from batch.runs import without_get
from batch.test_reliability import Crowded
from batch.weather import Weather, questions, wrong_results
from soak.measured import seed
from support.process import run, start
from support.servers.loopback import Server

LINES = 20_000


@pytest.mark.parametrize("stream", [pytest.param((), id="whole"), pytest.param(("--stream",), id="streamed")])
def test_days_of_bad_weather(stream: tuple[str, ...]) -> None:
    weather = Weather(seed(), in_flight=128, calm=900, burst=40, faulty=15)
    with Server(weather, keep=False) as server:
        command = ("batch", "--base-url", server.url, "-m", "m", "-j128", *stream)
        done = run(*command, stdin=questions(LINES), timeout=600)

    print(f"\n{LINES} lines: {weather.refused} refusals, {weather.faults.total()} faults", end="")
    assert (done.status, done.stderr) == (0, b"")
    assert wrong_results(done.stdout, LINES) == []
    assert weather.broken == []
    assert weather.refused > 50
    assert weather.faults.total() > 1000


def test_killed_again_and_again_until_it_is_finished(tmp_path: Path) -> None:
    """Every line is answered once; of a kill at most what was in flight is sent a second time."""
    jobs = 64
    prompts = [f"p{number}" for number in range(LINES)]
    write_rows(tmp_path / "in.jsonl", *prompts)
    journal = tmp_path / "out.jsonl.journal"
    moments = random.Random(seed())
    kills = 0
    with RunHarness(tmp_path, latency_s=0.01) as harness:
        kept: list[
            tuple[set[str], int]
        ] = []  # what each kill left in the journal, and the number of prompts by then
        while True:
            enough = len(harness.prompts) + moments.randrange(1, 1_500)
            with harness.start("in.jsonl", "-o", "out.jsonl", "-j", str(jobs)) as process:
                while process.poll() is None and len(harness.prompts) < enough:
                    time.sleep(0.001)
                time.sleep(moments.uniform(0, 0.01))
                process.kill()
                stdout, stderr = process.communicate(timeout=30)
            if process.returncode == 0:
                break
            assert process.returncode == -signal.SIGKILL, stderr
            kills += 1
            whole = journal.read_bytes().rpartition(b"\n")[0] if journal.exists() else b""
            kept.append(({text.split()[0] for text in texts(whole) if text}, len(harness.prompts)))
            assert not (tmp_path / "out.jsonl").exists()

    print(f"\n{LINES} lines, {kills} kills: {len(harness.prompts) - LINES} sent twice", end="")
    assert (stdout, stderr) == (b"", b"")
    assert kills >= 20
    for answered, by_then in kept:
        assert not answered & {*harness.prompts[by_then:]}
    assert {*harness.prompts} == {*prompts}
    assert len(harness.prompts) - LINES <= kills * jobs
    assert names(tmp_path / "out.jsonl") == [(line, f"line-{line}") for line in range(1, LINES + 1)]
    assert [(text or "").split(" #")[0] for text in texts(tmp_path / "out.jsonl")] == prompts


def test_a_disk_that_fills_up_again_and_again(tmp_path: Path) -> None:
    """Each run has room for a little more: it stops with 74, and the next one sends only the rest."""
    jobs, lines = 16, 4_000
    prompts = [f"p{number}" for number in range(lines)]
    write_rows(tmp_path / "in.jsonl", *prompts)
    journal = tmp_path / "out.jsonl.journal"
    full = 0
    with RunHarness(tmp_path) as harness:
        command = (
            "batch",
            "--base-url",
            harness.server.url,
            "-m",
            "m",
            f"-j{jobs}",
            "in.jsonl",
            "-o",
            "out.jsonl",
        )
        for room in range(400, 100_000, 400):
            limited = ("sh", "-c", f'ulimit -f {room}; exec "$@"', "-")
            before = len(harness.prompts)
            whole = journal.read_bytes().rpartition(b"\n")[0] if journal.exists() else b""
            answered = {(text or "").split()[0] for text in texts(whole)}
            with start(*command, cwd=tmp_path, through=limited) as process:
                _, stderr = process.communicate(timeout=60)
            assert not answered & {*harness.prompts[before:]}
            if process.returncode == 0:
                break
            full += 1
            assert (process.returncode, stderr.count(b"\n")) == (74, 1), stderr
            assert not (tmp_path / "out.jsonl").exists()
    assert full >= 3
    assert len(harness.prompts) - lines <= full * jobs
    assert [(text or "").split(" #")[0] for text in texts(tmp_path / "out.jsonl")] == prompts


@pytest.mark.parametrize("places", [6, 24, 100])
@pytest.mark.parametrize("status", [429, 503])
def test_auto_respects_what_the_server_has_room_for(places: int, status: int) -> None:
    """It uses the places, and is refused now and then only: that is how it learns of them."""
    lines, service_s = 100 * places + 2_000, 0.05
    crowded = Crowded(places, status, service_s)
    began = time.monotonic()
    with Server(without_get(crowded), keep=False) as server:
        command = ("batch", "--base-url", server.url, "-m", "m", "-jauto")
        done = run(*command, stdin=questions(lines), timeout=600)
    used = lines * service_s / places / (time.monotonic() - began)

    print(f"\n{places} places: {used:.0%} used, {crowded.refused} of {lines} refused", end="")
    assert (done.status, done.stderr) == (0, b"")
    assert wrong_results(done.stdout, lines) == []
    assert crowded.refused <= lines * 0.04
    assert used > 0.5
