"""Workers in this process, in place of a relay and a cluster."""

from __future__ import annotations

import asyncio

from chatpipe.cluster.frames import Frame, FrameKind
from chatpipe.cluster.worker import Worker
from chatpipe.cluster.workers import RelayLink


class Crew:
    """A relay whose workers are in this process. They may be lost, and join."""

    def __init__(self, terms: bytes, workers: int = 1) -> None:
        self.terms = terms
        self.messages: asyncio.Queue[Frame | None] = asyncio.Queue()
        self.workers: dict[int, Worker] = {}
        self.tasks: dict[int, asyncio.Task[None]] = {}
        self.sent: list[bytes] = []
        self.ended: list[Worker] = []
        self._taking: set[asyncio.Task[None]] = set()  # the event loop alone would not keep them
        self._count = workers
        self._numbers = iter(range(1, 1000))

    async def start(self) -> RelayLink:
        self.messages.put_nowait(Frame(FrameKind.NODES, 0, str(self._count).encode()))
        for _ in range(self._count):
            await self.join()
        return RelayLink(self.send, self.messages.get, self.close)

    async def join(self) -> int:
        number = next(self._numbers)
        worker = self.workers[number] = Worker(lambda: self.terms)
        await worker.open()
        self.messages.put_nowait(Frame(FrameKind.JOINED, number, b""))
        self.tasks[number] = asyncio.create_task(self._pass_on(number, worker))
        return number

    async def _pass_on(self, number: int, worker: Worker) -> None:
        while True:
            if block := await worker.replies():
                self.messages.put_nowait(Frame(FrameKind.REPLIES, number, block))

    def lose(self, number: int) -> None:
        self.tasks.pop(number).cancel()
        self.ended.append(self.workers.pop(number))
        self.messages.put_nowait(Frame(FrameKind.LOST, number, b"it was killed"))

    def send(self, data: bytes) -> None:
        length, kind, number = data[:4], data[4], int.from_bytes(data[5:9], "big")
        assert int.from_bytes(length, "big") == len(data) - 9
        self.sent.append(data)
        assert kind == FrameKind.REQUESTS
        if (worker := self.workers.get(number)) is not None:
            task = asyncio.create_task(worker.take(data[9:]))
            self._taking.add(task)
            task.add_done_callback(self._taking.discard)
            task.add_done_callback(lambda done: done.result())

    def close(self) -> None:
        for task in self.tasks.values():
            task.cancel()

    async def aclose(self) -> None:
        """End what the end of a process would end."""
        await asyncio.gather(*self._taking)
        for worker in (*self.workers.values(), *self.ended):
            tasks = list(worker._tasks.values())
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
            for transport in worker._transports:
                await transport.aclose()
