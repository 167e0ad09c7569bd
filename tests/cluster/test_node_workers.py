"""One worker on each node, at a cluster that is not there."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Awaitable, Callable

import pytest

from chatpipe.cluster import node_workers
from chatpipe.cluster.frames import FrameKind
from chatpipe.cluster.node_workers import ClusterWorker, NodeWorkers, WorkerLost
from chatpipe.cluster.plain_faults import read_fault, write_fault
from chatpipe.errors import NoAccess
from support.patience import PATIENCE_S
from support.speed import at_any_speed

Message = tuple[FrameKind, bytes, int]
Play = Callable[[NodeWorkers, list[Message]], Awaitable[None]]
NO_KEY = write_fault(NoAccess("no key"))


class Node:
    """A worker on a node. It answers each block that it gets, until it is told to end."""

    def __init__(self, fault: bytes = b"") -> None:
        self.fault = fault
        self.blocks: asyncio.Queue[bytes | None] = asyncio.Queue()
        self.has_ended = False

    async def open(self) -> bytes:
        return self.fault

    def take(self, block: bytes) -> None:
        self.blocks.put_nowait(block)

    async def replies(self) -> bytes:
        if (block := await self.blocks.get()) is None:
            raise WorkerLost("it was killed")
        return block.upper()

    def end(self) -> None:
        self.has_ended = True


class Nodes:
    """The nodes of a cluster. Its head answers only while is_there is set. make makes the workers."""

    def __init__(self, *names: str, make: Callable[[], Node] = Node) -> None:
        self.names = list(names)
        self.is_there = threading.Event()
        self.is_there.set()
        self.started: list[tuple[str, Node]] = []
        self._make = make

    def nodes(self) -> list[str]:
        assert self.is_there.wait(PATIENCE_S)
        return list(self.names)

    def start_worker(self, node: str) -> ClusterWorker:
        self.started.append((node, self._make()))
        return self.started[-1][1]


def played(
    nodes: Nodes,
    play: Callable[[NodeWorkers, list[Message]], Awaitable[None]],
    monkeypatch: pytest.MonkeyPatch,
) -> list[Message]:
    """The messages to the run, while play() goes on."""
    monkeypatch.setattr(node_workers, "_LOOK_S", 0.001)
    messages: list[Message] = []

    async def main() -> None:
        workers = NodeWorkers(nodes, lambda *message: messages.append(message))
        keeping = asyncio.create_task(workers.keep())
        async with asyncio.timeout(PATIENCE_S):
            await play(workers, messages)
        keeping.cancel()
        await asyncio.wait([keeping])

    asyncio.run(main())
    return messages


async def wait_for(messages: list[Message], count: int) -> None:
    while len(messages) < count:
        await asyncio.sleep(0.001)


def test_each_node_gets_a_worker_and_replies_come_back(monkeypatch: pytest.MonkeyPatch) -> None:
    nodes = Nodes("a", "b")

    async def play(workers: NodeWorkers, messages: list[Message]) -> None:
        await wait_for(messages, 3)
        workers.take(2, b"x")
        await wait_for(messages, 4)
        nodes.names.append("c")
        await wait_for(messages, 5)
        workers.take(7, b"to a worker that is not there")

    assert played(nodes, play, monkeypatch) == [
        (FrameKind.NODES, b"2", 0),
        (FrameKind.JOINED, b"", 1),
        (FrameKind.JOINED, b"", 2),
        (FrameKind.REPLIES, b"X", 2),
        (FrameKind.JOINED, b"", 3),
    ]
    assert [name for name, _ in nodes.started] == ["a", "b", "c"]


def test_a_worker_that_is_lost_is_replaced(monkeypatch: pytest.MonkeyPatch) -> None:
    nodes = Nodes("a")

    async def play(workers: NodeWorkers, messages: list[Message]) -> None:
        await wait_for(messages, 2)
        nodes.started[0][1].blocks.put_nowait(None)
        await wait_for(messages, 4)

    assert played(nodes, play, monkeypatch)[1:] == [
        (FrameKind.JOINED, b"", 1),
        (FrameKind.LOST, b"it was killed", 1),
        (FrameKind.JOINED, b"", 2),
    ]
    assert nodes.started[0][1].has_ended


def test_a_node_whose_workers_are_of_no_use_gets_five(monkeypatch: pytest.MonkeyPatch) -> None:
    nodes = Nodes("a", make=lambda: Node(NO_KEY))

    async def play(workers: NodeWorkers, messages: list[Message]) -> None:
        await wait_for(messages, 6)
        await asyncio.sleep(0.02)

    messages = played(nodes, play, monkeypatch)
    assert messages[1:] == [(FrameKind.UNUSABLE, NO_KEY, number) for number in range(1, 6)]


def test_a_cluster_without_a_node_is_a_fault(monkeypatch: pytest.MonkeyPatch) -> None:
    async def play(workers: NodeWorkers, messages: list[Message]) -> None:
        await wait_for(messages, 1)

    ((kind, data, number),) = played(Nodes(), play, monkeypatch)
    assert (kind, number) == (FrameKind.FAULT, 0)
    assert str(read_fault(data)) == "no node has a CPU: add a node with one"


def test_a_worker_that_is_silent_is_lost(monkeypatch: pytest.MonkeyPatch) -> None:
    async def main() -> None:
        with pytest.raises(WorkerLost, match="no sign of life for 0 s"):
            await node_workers._sign_of_life(Node(), 0.001, 0.001)

    asyncio.run(main())


@at_any_speed
def test_a_head_that_does_not_answer_is_reported_once(factor: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its workers go on."""
    monkeypatch.setattr(node_workers, "_HEAD_SILENCE_S", 0.02 * factor)
    nodes = Nodes("a")

    async def play(workers: NodeWorkers, messages: list[Message]) -> None:
        await wait_for(messages, 2)
        nodes.is_there.clear()
        await wait_for(messages, 3)
        workers.take(1, b"x")
        await wait_for(messages, 4)
        nodes.is_there.set()
        await wait_for(messages, 5)

    assert played(nodes, play, monkeypatch)[2:] == [
        (FrameKind.WARNING, node_workers._NO_HEAD, 0),
        (FrameKind.REPLIES, b"X", 1),
        (FrameKind.WARNING, node_workers._HEAD_AGAIN, 0),
    ]
