"""The wait for a cluster: a note when it is long, an end when it is too long."""

from __future__ import annotations

import asyncio

import pytest

from chatpipe.cluster import cluster_wait
from chatpipe.cluster.cluster_wait import ClusterWait
from chatpipe.errors import ChatpipeError, NoServerLeft


class Waiting:
    """A wait, and what came of it."""

    def __init__(self) -> None:
        self.said: list[str] = []
        self.faults: list[ChatpipeError] = []
        self.wait = ClusterWait(self.said.append, self.faults.append, "run again")


def test_a_long_wait_is_noted_and_one_that_is_too_long_fails(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cluster_wait, "_NOTICE_S", 0.0)
    awaited = "Ray to start"

    async def play() -> Waiting:
        nonlocal awaited
        waiting = Waiting()
        waiting.wait.begin(0.01, lambda: awaited)
        while not waiting.said:
            await asyncio.sleep(0)
        awaited = "a worker"  # the words are those of then
        while not waiting.faults:
            await asyncio.sleep(0.001)
        return waiting

    waiting = asyncio.run(play())
    assert waiting.said == ["waiting for Ray to start"]
    assert [(type(each), str(each)) for each in waiting.faults] == [
        (NoServerLeft, "waited 0 s for a worker: run again")
    ]


def test_a_wait_that_ends_says_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cluster_wait, "_NOTICE_S", 0.0)

    async def play() -> Waiting:
        waiting = Waiting()
        waiting.wait.begin(0.0, lambda: "Ray to start")
        waiting.wait.begin(0.0, lambda: "a worker")
        waiting.wait.end()
        await asyncio.sleep(0.01)
        return waiting

    waiting = asyncio.run(play())
    assert (waiting.said, waiting.faults) == ([], [])
