"""Several processes on one machine that share a pace, for some minutes' worth of requests."""

from __future__ import annotations

import contextlib
import itertools
from pathlib import Path

from batch.weather import questions, wrong_results
from support.process import start
from support.servers.loopback import Answer, Pause, Request, Server, completion, reply

PROCESSES, LINES, PER_SECOND = 4, 500, 100


class Counting:
    """Answers, and keeps the time of each request."""

    def __init__(self) -> None:
        self.at: list[float] = []

    def __call__(self, request: Request) -> Answer:
        self.at.append(request.at)
        prompt = request.json()["messages"][-1]["content"]
        return [Pause(0.02), reply(200, completion(f"answer to {prompt}"))]

    def most_within(self, seconds: float) -> int:
        """The largest number of requests in any span of so many seconds."""
        first = most = 0
        for last, at in enumerate(self.at):
            while self.at[first] < at - seconds:
                first += 1
            most = max(most, last - first + 1)
        return most


def test_processes_keep_the_sum_of_their_rate(tmp_path: Path) -> None:
    """Also when one of them is killed: its place in the timetable is lost, and nobody else's."""
    (tmp_path / "in.jsonl").write_bytes(questions(LINES))
    counting = Counting()
    with Server(counting, keep=False) as server, contextlib.ExitStack() as stack:
        limits = ("--rpm", str(60 * PER_SECOND), "--pace-file", "pace.json")
        command = ("batch", "--base-url", server.url, "-m", "m", *limits, "in.jsonl")
        killed, *others = (stack.enter_context(start(*command, cwd=tmp_path)) for _ in range(PROCESSES))
        server.until(lambda: len(counting.at) > LINES // 2)
        killed.kill()
        for process in others:
            stdout, stderr = process.communicate(timeout=120)
            assert (process.returncode, stderr) == (0, b"")
            assert wrong_results(stdout, LINES) == []
    assert sorted(counting.at) == counting.at
    # A tenth of a second's burst, and what came late for a busy machine
    assert counting.most_within(1.0) <= PER_SECOND * 1.25
    assert counting.most_within(5.0) <= PER_SECOND * 5 * 1.1
    took_s = counting.at[-1] - counting.at[0]
    print(
        f"\n{len(counting.at)} requests of {PROCESSES} processes: {len(counting.at) / took_s:.1f}/s", end=""
    )
    assert len(counting.at) / took_s <= PER_SECOND * 1.02


def test_processes_keep_the_sum_of_what_is_in_flight(tmp_path: Path) -> None:
    (tmp_path / "in.jsonl").write_bytes(questions(LINES))
    counting = Counting()
    with Server(counting, keep=False) as server, contextlib.ExitStack() as stack:
        shared = ("--pace-file", "pace.json", "--pace-jobs", "10", "-j16")
        command = ("batch", "--base-url", server.url, "-m", "m", *shared, "in.jsonl")
        processes = [stack.enter_context(start(*command, cwd=tmp_path)) for _ in range(PROCESSES)]
        for process in processes:
            stdout, stderr = process.communicate(timeout=120)
            assert (process.returncode, stderr) == (0, b"")
            assert wrong_results(stdout, LINES) == []
    assert server.peak <= 10
    gaps = [late - early for early, late in itertools.pairwise(counting.at)]
    assert max(gaps) < 2.0  # nobody waits for the lease of somebody who has finished
