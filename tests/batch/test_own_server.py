"""`-j auto` at a server of one's own that queues and shows its gauges, in a real run."""

from __future__ import annotations

import heapq
import subprocess
import sys
from pathlib import Path

import pytest

from batch.runs import answer, jsonl
from support.process import environment
from support.servers.loopback import Answer, Pause, Request, Server, error, reply, serve

SERVICE_S = 0.05
# chatpipe that reads gauges 20 times as often.
PROGRAM = """
from chatpipe.limits import metrics
from chatpipe.main import main

metrics.PERIOD_S = 0.05
main()
"""


class Queue:
    """A server that is never full. If it shows gauges, they say that 2 requests run and more wait."""

    def __init__(self, *, shows: bool) -> None:
        self.shows = shows
        self.metrics: list[Request] = []
        self.in_flight: list[int] = []  # when each request came, with it
        self._ends: list[float] = []

    def __call__(self, request: Request) -> Answer:
        while self._ends and self._ends[0] <= request.at:
            heapq.heappop(self._ends)
        if request.target == "/metrics":
            self.metrics.append(request)
            return self._show() if self.shows else error(404, "no such page")
        heapq.heappush(self._ends, request.at + SERVICE_S)
        self.in_flight.append(len(self._ends))
        return [Pause(SERVICE_S), _bytes(answer(request))]

    def _show(self) -> bytes:
        return reply(200, b"vllm:num_requests_running 2\nvllm:num_requests_waiting 40\n")


def _bytes(answered: Answer) -> bytes:
    assert isinstance(answered, bytes)
    return answered


def ask(server: Server, tmp_path: Path, *arguments: str, lines: int = 300) -> None:
    """A run that must succeed."""
    (tmp_path / "in.jsonl").write_bytes(jsonl(*(f"p{number}" for number in range(lines))))
    program = tmp_path / "program.py"
    program.write_text(PROGRAM)
    server_options = ("-m", "m", "--base-url", server.url, "-H", "X-Ours: 1")
    done = subprocess.run(
        [sys.executable, program, "batch", *server_options, *arguments, "in.jsonl"],
        env=environment({"OPENAI_API_KEY": "k3y"}),
        cwd=tmp_path,
        capture_output=True,
        timeout=60,
    )
    assert (done.returncode, done.stderr, done.stdout.count(b"\n")) == (0, b"", lines)


def test_gauges_bound_the_number_in_flight(tmp_path: Path) -> None:
    queue = Queue(shows=True)
    with serve(queue) as server:
        ask(server, tmp_path, "-jauto")
    assert len(queue.metrics) > 3
    assert max(queue.in_flight[-50:]) <= 3
    for request in queue.metrics:
        assert request.method == "GET"
        assert not {"authorization", "x-ours", "user-agent"} & {*request.headers}


def test_server_without_gauges_is_asked_once(tmp_path: Path) -> None:
    queue = Queue(shows=False)
    with serve(queue) as server:
        ask(server, tmp_path, "-jauto")
    assert len(queue.metrics) == 1
    assert len(queue.in_flight) == 300
    assert max(queue.in_flight) > 3


@pytest.mark.parametrize("arguments", [("-j16",), ("-jauto", "--no-send", "--allow", "failed")])
def test_gauges_are_not_read_without_need(tmp_path: Path, arguments: tuple[str, ...]) -> None:
    queue = Queue(shows=True)
    with serve(queue) as server:
        ask(server, tmp_path, *arguments)
    assert queue.metrics == []
