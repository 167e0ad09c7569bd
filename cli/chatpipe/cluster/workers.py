"""The workers of a run, as it sees them: a request goes in, its reply comes out.

    request -> allotted to a worker -> in a block with others -> relay -> worker -> reply
                    ^                                                      |
                    +------------------ the worker is lost <---------------+

The first request starts the cluster. A worker that is lost gives back what was in flight: that goes to others
at once, and counts as no try.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Coroutine
from dataclasses import dataclass
from itertools import count
from typing import Any

import httpx
import orjson

from chatpipe.cluster.allotment import allot
from chatpipe.cluster.cluster_wait import ClusterWait
from chatpipe.cluster.frames import Frame, FrameKind, write_frame
from chatpipe.cluster.parcels import Parcel, Template, WorkerReply, read_replies, write_parcels
from chatpipe.cluster.plain_faults import read_fault
from chatpipe.errors import ChatpipeError, Unreachable, quantity
from chatpipe.named_tuple import NamedTuple

# Requests of this time go out together.
_GATHER_S = 0.001
# A run waits so long for a worker, while there is none, ...
PATIENCE_S = 60.0
# ... and so long for the cluster. Ray's own limits are shorter; this one is for when they do not hold.
_CLUSTER_PATIENCE_S = 600.0
# Once one worker is there, the first request waits this long for the others.
_START_S = 10.0
# A request whose workers die so often may be what kills them.
_MOST_LOSSES = 3


class ClusterWords(NamedTuple):
    """The words for a cluster: what is waited for until it is there, what has happened when the relay is
    gone, and what to do then.
    """

    awaited: str
    lost: str
    fix: str


class RelayLink(NamedTuple):
    """The link to the relay. receive returns None once the relay is gone."""

    send: Callable[[bytes], None]
    receive: Callable[[], Awaitable[Frame | None]]
    close: Callable[[], None]


@dataclass(slots=True)
class _Sent(Parcel):
    """A request in flight. worker is the number of the one that has it, None while it waits for one.

    losses counts the workers that died with it.
    """

    future: asyncio.Future[WorkerReply]
    worker: int | None = None
    losses: int = 0


class Workers:
    """The workers of a run. start opens the link to a relay; note prints a long wait, warn a warning."""

    def __init__(
        self,
        start: Callable[[], Awaitable[RelayLink]],
        words: ClusterWords,
        note: Callable[[str], None],
        warn: Callable[[str], None],
        patience_s: float = PATIENCE_S,
    ) -> None:
        self._start = start
        self._words = words
        self._wait = ClusterWait(note, self._fail, words.fix)
        self._warn = warn
        self._patience_s = patience_s
        self._fault: ChatpipeError | None = None
        self._link: RelayLink | None = None
        self._running: asyncio.Task[None] | None = None
        self._users = 0
        self._numbers = count(1)
        self._calls: dict[int, _Sent] = {}  # those without a reply, by number
        self._waiting: list[_Sent] = []  # those of them that go out next
        self._in_flight: dict[int, int] = {}  # the number of requests that each worker has
        self._cancelled: dict[int, list[int]] = {}  # by worker
        self._is_gathering = False
        self._early_workers: list[int] = []  # workers that are there before the run begins
        self._expected_workers = 0
        self._is_sending = False
        self._changed: asyncio.Future[None] | None = None  # a worker has joined, or none ever will

    def ready(self) -> Coroutine[Any, Any, None] | None:
        """A wait for a worker, which raises ChatpipeError if none comes. None: one is there."""
        return None if self._in_flight and self._fault is None else self._wait_for_worker()

    async def _wait_for_worker(self) -> None:
        self._start_once()
        while not self._in_flight and self._fault is None:
            if self._changed is None:
                self._changed = asyncio.get_running_loop().create_future()
            await asyncio.wait([self._changed])
        if self._fault is not None:
            raise self._fault.with_traceback(None)  # each raise adds to the one it has

    def _start_once(self) -> None:
        if self._running is None:
            self._running = asyncio.get_running_loop().create_task(self._run())

    def _wake_waiters(self) -> None:
        """Resume the requests that wait for a worker."""
        if self._changed is not None:
            self._changed.set_result(None)
            self._changed = None

    async def send(
        self, template: Template, deadline_s: float | None, body: bytes, *, wants_new: bool = False
    ) -> WorkerReply:
        """The reply to a request. Raises ChatpipeError if there are no workers, and httpx.ReadError.

        wants_new: see Parcel.
        """
        if self._fault is not None:
            raise self._fault.with_traceback(None)  # each raise adds to the one it has
        self._start_once()
        future: asyncio.Future[WorkerReply] = asyncio.get_running_loop().create_future()
        call = _Sent(next(self._numbers), template, deadline_s, body, wants_new, future)
        self._calls[call.number] = call
        self._wait_for_block(call)
        try:
            return await future
        finally:
            if call.number in self._calls:  # nobody waits for the reply any more
                self._cancel(call)

    def open(self) -> None:
        """Count a user, who calls aclose() at the end."""
        self._users += 1

    async def aclose(self) -> None:
        """End what the last user leaves."""
        self._users -= 1
        if self._users:
            return
        self._wait.end()
        if self._running is not None:
            self._running.cancel()
            await asyncio.wait([self._running])
        if self._link is not None:
            self._link.close()
            self._link = None  # what is still gathered is not sent

    # Requests

    def _wait_for_block(self, call: _Sent) -> None:
        self._waiting.append(call)
        if not self._is_gathering:
            self._gather()

    def _gather(self) -> None:
        """Send a block for each worker a little later."""
        if not self._is_gathering:
            self._is_gathering = True
            asyncio.get_running_loop().call_later(_GATHER_S, self._send)

    def _send(self) -> None:
        """Send what was gathered. Without a worker it waits for one."""
        self._is_gathering = False
        if not self._in_flight or self._link is None:
            return
        waiting, self._waiting = self._waiting, []
        cancelled, self._cancelled = self._cancelled, {}
        allotted = allot([call for call in waiting if call.number in self._calls], self._in_flight)
        for worker in allotted.keys() | cancelled.keys():
            calls = allotted.get(worker, [])
            for call in calls:
                call.worker = worker
            self._in_flight[worker] += len(calls)
            block = write_parcels(calls, cancelled.get(worker, ()))
            self._link.send(write_frame(FrameKind.REQUESTS, block, worker))

    def _end(self, call: _Sent) -> None:
        del self._calls[call.number]
        if call.worker is not None:
            self._in_flight[call.worker] -= 1

    def _cancel(self, call: _Sent) -> None:
        """End a request at its worker."""
        self._end(call)
        if call.worker is not None:
            self._cancelled.setdefault(call.worker, []).append(call.number)
            self._gather()

    # The relay

    async def _run(self) -> None:
        try:
            self._link = await self._start()
            self._wait.begin(_CLUSTER_PATIENCE_S, lambda: self._words.awaited)
            while (message := await self._link.receive()) is not None:
                self._receive(message)
                if self._fault is not None:
                    return
            self._lose_all(Unreachable(self._words.lost, fix=self._words.fix))
        except ChatpipeError as fault:
            self._fail(fault)
        except Exception as error:  # a bug: the requests must not wait for ever
            self._fail(ChatpipeError(f"{type(error).__name__}: {error}"))
            raise

    def _receive(self, message: Frame) -> None:
        kind, worker, data = message
        if kind is FrameKind.REPLIES:
            for reply in read_replies(data):
                self._deliver(reply)
        elif kind is FrameKind.NODES:
            self._expected_workers = orjson.loads(data)
            self._wait_for_workers()
        elif kind is FrameKind.JOINED:
            self._join(worker)
        elif kind is FrameKind.LOST:
            self._lose(worker, data.decode())
        elif kind is FrameKind.WARNING:
            self._warn(data.decode())
        elif kind is FrameKind.UNUSABLE and self._is_sending:
            self._warn(f"a worker cannot be used: {read_fault(data)}")
        elif kind in (FrameKind.FAULT, FrameKind.UNUSABLE):
            self._lose_all(read_fault(data))

    def _deliver(self, reply: WorkerReply) -> None:
        """Hand over a reply. One that came before, from a worker that was taken for lost, is dropped."""
        if (call := self._calls.get(reply.number)) is not None:
            self._end(call)
            if not call.future.done():
                call.future.set_result(reply)

    # Workers

    def _join(self, worker: int) -> None:
        if self._is_sending:
            self._add(worker)
            return
        self._early_workers.append(worker)
        if len(self._early_workers) >= self._expected_workers:
            self._begin()
        elif len(self._early_workers) == 1:
            asyncio.get_running_loop().call_later(_START_S, self._begin)

    def _begin(self) -> None:
        """Let the requests go out: the workers that are there have all that they need."""
        if not self._is_sending and self._fault is None:
            self._is_sending = True
            self._add(*self._early_workers)

    def _add(self, *workers: int) -> None:
        self._in_flight.update(dict.fromkeys(workers, 0))
        if workers:
            self._wait.end()
            self._gather()
        self._wake_waiters()

    def _lose(self, worker: int, why: str) -> None:
        """Give what a lost worker had in flight to others."""
        if worker in self._early_workers and not self._is_sending:
            self._early_workers.remove(worker)
            return
        del self._in_flight[worker]
        self._cancelled.pop(worker, None)
        left = len(self._in_flight)
        self._warn(f"a worker is lost, {quantity(left, 'worker')} left: {why}")
        if not left:
            self._wait_for_workers()
        for call in self._calls.values():
            if call.worker != worker:
                continue
            call.worker = None
            call.losses += 1
            if call.losses < _MOST_LOSSES:
                self._wait_for_block(call)
            elif not call.future.done():
                error = httpx.ReadError(f"the worker that had it died, {_MOST_LOSSES} times")
                call.future.set_exception(error)

    # The end

    def _wait_for_workers(self) -> None:
        """Begin to wait for a worker, and for those that are expected beside it."""
        self._wait.begin(self._patience_s, self._awaited_workers)

    def _awaited_workers(self) -> str:
        missing = self._expected_workers - len(self._early_workers)
        if self._is_sending or not self._early_workers:
            return "a worker of the Ray cluster"
        return f"{quantity(missing, 'more worker')} of the Ray cluster"

    def _lose_all(self, fault: ChatpipeError) -> None:
        """End all that waits, and say how much is lost: the cluster or the relay is gone, or cannot work."""
        in_flight = sum(self._in_flight.values())
        if in_flight:
            fault.what += f", with {quantity(in_flight, 'request')} in flight"
        self._fail(fault)

    def _fail(self, fault: ChatpipeError) -> None:
        """End all that waits."""
        self._fault = self._fault or fault
        self._wake_waiters()
        for call in self._calls.values():
            if not call.future.done():
                call.future.set_exception(self._fault)
