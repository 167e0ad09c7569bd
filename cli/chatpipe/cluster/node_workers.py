"""One worker on each node of a cluster that has a CPU, as nodes come and go.

Nothing in here knows Ray (ray_api.py), nor what is in a block.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from typing import Protocol

from chatpipe.cluster.frames import FrameKind
from chatpipe.cluster.plain_faults import write_fault
from chatpipe.errors import BadConfiguration

_LOOK_S = 1.0
# A worker is lost after this many seconds of silence: it sends something every second. It gets some more
# time, because a machine that slept has much to catch up with.
_SILENCE_S = (30.0, 2.0)
# A head that does not answer for this long is reported.
_HEAD_SILENCE_S = 10.0
_NO_HEAD = (
    b"the head of the Ray cluster does not answer: if it has ended, the workers continue for a minute only"
)
_HEAD_AGAIN = b"the head of the Ray cluster answers again"
# A node whose workers end at once gets no more than this number of them.
_MOST_STARTS = 5

# Sends a message to the run: its kind, its data, the number of the worker.
Report = Callable[[FrameKind, bytes, int], None]


class WorkerLost(Exception):
    """A worker is gone. Its text is a clause that says why."""


class ClusterWorker(Protocol):
    """A worker on a node. The waits raise WorkerLost."""

    async def open(self) -> bytes:
        """Get ready. Returns the bytes of a fault, none if the worker can work."""

    def take(self, block: bytes) -> None:
        """Send the requests of a block."""

    async def replies(self) -> bytes:
        """The next block of replies. It is empty after a second without any."""

    def end(self) -> None:
        """End it, if it is still there."""


class WorkerNodes(Protocol):
    """The nodes of a cluster, and a worker on one of them."""

    def nodes(self) -> list[str]:
        """The names of the nodes with a CPU. It blocks while the head of the cluster does not answer."""

    def start_worker(self, node: str) -> ClusterWorker:
        """Start a worker on a node. It returns at once."""


class NodeWorkers:
    """The workers of a run on the nodes of a cluster."""

    def __init__(self, cluster: WorkerNodes, report: Report) -> None:
        self._cluster = cluster
        self._report = report
        self._ready: dict[int, ClusterWorker] = {}
        self._tasks: dict[str, asyncio.Task[None]] = {}  # by node
        self._starts: dict[str, int] = {}
        self._next = 1

    def take(self, number: int, block: bytes) -> None:
        """Give a block of requests to a worker. It is dropped if that is lost, as the run learns soon."""
        if (worker := self._ready.get(number)) is not None:
            worker.take(block)

    async def keep(self) -> None:
        """Keep one worker on each node, until cancelled. Returns if there is no node at the start."""
        nodes = await self._list_nodes()
        if not nodes:
            fault = BadConfiguration("no node has a CPU", fix="add a node with one")
            self._report(FrameKind.FAULT, write_fault(fault), 0)
            return
        self._report(FrameKind.NODES, json.dumps(len(nodes)).encode(), 0)
        while True:
            for node in nodes:
                task = self._tasks.get(node)
                if (task is None or task.done()) and self._starts.get(node, 0) < _MOST_STARTS:
                    self._starts[node] = self._starts.get(node, 0) + 1
                    self._tasks[node] = asyncio.create_task(self._serve(node))
            await asyncio.sleep(_LOOK_S)
            nodes = await self._list_nodes()

    async def _list_nodes(self) -> list[str]:
        """The nodes, as the head of the cluster knows them. A head that does not answer is reported.

        Workers continue without it, and it may come back. Ray itself ends this process a minute after its
        end.
        """
        listing = asyncio.ensure_future(asyncio.to_thread(self._cluster.nodes))
        done, _ = await asyncio.wait([listing], timeout=_HEAD_SILENCE_S)
        if not done:
            self._report(FrameKind.WARNING, _NO_HEAD, 0)
            await listing
            self._report(FrameKind.WARNING, _HEAD_AGAIN, 0)
        return await listing

    async def _serve(self, node: str) -> None:
        """Start a worker on a node, and pass on its replies until it is lost."""
        number, self._next = self._next, self._next + 1
        worker = self._cluster.start_worker(node)
        try:
            fault = await worker.open()
            if fault:
                self._report(FrameKind.UNUSABLE, fault, number)
                return
            self._ready[number] = worker
            self._report(FrameKind.JOINED, b"", number)
            while True:
                block = await _sign_of_life(worker, *_SILENCE_S)
                self._starts[node] = 0
                if block:
                    self._report(FrameKind.REPLIES, block, number)
        except WorkerLost as error:
            if self._ready.pop(number, None) is not None:
                self._report(FrameKind.LOST, str(error).encode(), number)
            worker.end()


async def _sign_of_life(worker: ClusterWorker, *limits_s: float) -> bytes:
    """The next block of a worker. Raises WorkerLost if none comes within the limits, one after the other."""
    future = asyncio.ensure_future(worker.replies())
    for limit_s in limits_s:
        done, _ = await asyncio.wait([future], timeout=limit_s)
        if done:
            return future.result()
    raise WorkerLost(f"no sign of life for {limits_s[0]:.0f} s")
