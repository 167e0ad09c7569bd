"""The workers of a run, as it sees them: a request goes in, its reply comes out.

    ask -> allotted to a worker -> in a block with others -> relay -> worker -> reply
                ^                                                      |
                +------------------ the worker is lost <---------------+

The first request starts the cluster. A worker that is lost gives back what was in flight: that goes to others
at once, and counts as no try.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Coroutine
from itertools import count
from typing import Any

import httpx
import orjson

from chatpipe.cluster.allotment import Allotment
from chatpipe.cluster.cluster_wait import ClusterWait
from chatpipe.cluster.frames import Frame, FrameKind, write_frame
from chatpipe.cluster.parcels import Parcel, Returned, Template, read_replies, write_parcels
from chatpipe.cluster.plain_faults import read_fault
from chatpipe.errors import ChatpipeError, Unreachable, quantity
from chatpipe.named_tuple import NamedTuple

# Requests of this time go out together.
_GATHER_S = 0.001
# A run waits so long for a worker, while there is none, ...
PATIENCE_S = 60.0
# ... and so long for the cluster. Ray's own limits are shorter; this one is for when they do not hold.
_CLUSTER_PATIENCE_S = 600.0
# Once one worker is there, the others are waited for so long before the first request goes out.
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


class _Awaited:
    """A request in flight. losses counts the workers that died with it."""

    __slots__ = ("future", "losses", "parcel")

    def __init__(self, parcel: Parcel, future: asyncio.Future[Returned]) -> None:
        self.parcel = parcel
        self.future = future
        self.losses = 0


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
        self._allotment = Allotment()
        self._users = 0
        self._numbers = count(1)
        self._calls: dict[int, _Awaited] = {}
        self._outgoing: dict[int, list[Parcel]] = {}
        self._cancelled: dict[int, list[int]] = {}
        self._is_gathering = False
        self._present: list[int] = []  # workers that are there before the run begins
        self._expected = 0
        self._has_begun = False
        self._moved: asyncio.Future[None] | None = None  # a worker has joined, or none ever will

    def ready(self) -> Coroutine[Any, Any, None] | None:
        """A wait for a worker, which raises ChatpipeError if none comes. None: one is there."""
        return None if self._allotment.workers and self._fault is None else self._wait_for_worker()

    async def _wait_for_worker(self) -> None:
        self._start_once()
        while not self._allotment.workers and self._fault is None:
            if self._moved is None:
                self._moved = asyncio.get_running_loop().create_future()
            await asyncio.wait([self._moved])
        if self._fault is not None:
            raise self._fault

    def _start_once(self) -> None:
        if self._running is None:
            self._running = asyncio.get_running_loop().create_task(self._run())

    def _move(self) -> None:
        """Let those go on that wait for a worker."""
        if self._moved is not None:
            self._moved.set_result(None)
            self._moved = None

    async def ask(self, template: Template, path: str, deadline_s: float | None, body: bytes) -> Returned:
        """The reply to a request. Raises ChatpipeError if there are no workers, and httpx.ReadError."""
        if self._fault is not None:
            raise self._fault
        self._start_once()
        number = next(self._numbers)
        call = _Awaited(
            Parcel(number, template, path, deadline_s, body), asyncio.get_running_loop().create_future()
        )
        self._calls[number] = call
        self._allot(call)
        try:
            return await call.future
        finally:
            del self._calls[number]
            is_open, worker = self._allotment.end(number)
            if is_open and worker is not None:
                self._cancelled.setdefault(worker, []).append(number)
                self._gather()

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

    # Requests

    def _allot(self, call: _Awaited) -> None:
        worker = self._allotment.give(call.parcel.number)
        if worker is not None:
            self._put(worker, call.parcel)

    def _put(self, worker: int, parcel: Parcel) -> None:
        self._outgoing.setdefault(worker, []).append(parcel)
        self._gather()

    def _gather(self) -> None:
        if not self._is_gathering:
            self._is_gathering = True
            asyncio.get_running_loop().call_later(_GATHER_S, self._send)

    def _send(self) -> None:
        """Send what was gathered, a block for each worker."""
        self._is_gathering = False
        outgoing, self._outgoing = self._outgoing, {}
        cancelled, self._cancelled = self._cancelled, {}
        for worker in outgoing.keys() | cancelled.keys():
            block = write_parcels(outgoing.get(worker, ()), cancelled.get(worker, ()))
            assert self._link is not None
            self._link.send(write_frame(FrameKind.REQUESTS, block, worker))

    # The relay

    async def _run(self) -> None:
        try:
            self._link = await self._start()
            self._wait.begin(_CLUSTER_PATIENCE_S, lambda: self._words.awaited)
            while (message := await self._link.receive()) is not None:
                self._receive(message)
                if self._fault is not None:
                    return
            self._fail(Unreachable(self._words.lost, fix=self._words.fix))
        except ChatpipeError as fault:
            self._fail(fault)
        except Exception as error:  # a bug: the requests must not wait for ever
            self._fail(ChatpipeError(f"{type(error).__name__}: {error}"))
            raise

    def _receive(self, message: Frame) -> None:
        kind, worker, data = message
        if kind is FrameKind.REPLIES:
            for returned in read_replies(data):
                self._return(returned)
        elif kind is FrameKind.NODES:
            self._expected = orjson.loads(data)
            self._wait_for_workers()
        elif kind is FrameKind.JOINED:
            self._join(worker)
        elif kind is FrameKind.LOST:
            self._lose(worker, data.decode())
        elif kind is FrameKind.UNUSABLE and self._has_begun:
            self._warn(f"a worker is of no use: {read_fault(data)}")
        elif kind in (FrameKind.FAULT, FrameKind.UNUSABLE):
            self._fail(read_fault(data))

    def _return(self, returned: Returned) -> None:
        """Hand over a reply. One that came before, from a worker that was taken for lost, is dropped."""
        call = self._calls.get(returned.number)
        is_open, _ = self._allotment.end(returned.number)
        if call is not None and is_open and not call.future.done():
            call.future.set_result(returned)

    # Workers

    def _join(self, worker: int) -> None:
        if self._has_begun:
            self._add(worker)
            return
        self._present.append(worker)
        if len(self._present) >= self._expected:
            self._begin()
        elif len(self._present) == 1:
            asyncio.get_running_loop().call_later(_START_S, self._begin)

    def _begin(self) -> None:
        """Let the requests go out: the workers that are there have all that they need."""
        if not self._has_begun and self._fault is None:
            self._has_begun = True
            self._add(*self._present)

    def _add(self, *workers: int) -> None:
        for number, worker in self._allotment.join(*workers):
            self._put(worker, self._calls[number].parcel)
        if workers:
            self._wait.end()
        self._move()

    def _lose(self, worker: int, why: str) -> None:
        """Give what a lost worker had in flight to others."""
        if worker in self._present and not self._has_begun:
            self._present.remove(worker)
            return
        self._outgoing.pop(worker, None)
        self._cancelled.pop(worker, None)
        lost = self._allotment.leave(worker)
        left = self._allotment.workers
        self._warn(f"a worker is lost, {quantity(left, 'worker')} left: {why}")
        if not left:
            self._wait_for_workers()
        for number in lost:
            call = self._calls[number]
            call.losses += 1
            if call.losses < _MOST_LOSSES:
                self._allot(call)
            elif not call.future.done():
                error = httpx.ReadError(f"the worker that had it died, {_MOST_LOSSES} times")
                call.future.set_exception(error)

    # The end

    def _wait_for_workers(self) -> None:
        """Begin to wait for a worker, and for those that are expected beside it."""
        self._wait.begin(self._patience_s, self._awaited_workers)

    def _awaited_workers(self) -> str:
        missing = self._expected - len(self._present)
        if self._has_begun or not self._present:
            return "a worker of the Ray cluster"
        return f"{quantity(missing, 'more worker')} of the Ray cluster"

    def _fail(self, fault: ChatpipeError) -> None:
        """End all that waits."""
        self._fault = self._fault or fault
        self._move()
        for call in self._calls.values():
            if not call.future.done():
                call.future.set_exception(self._fault)
