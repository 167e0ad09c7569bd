"""The engine of a run: it keeps requests in flight, in asyncio tasks, one for each slot.

    Driver -- submit(RunRequest) --> Engine -- answered(number, Answer) --> Driver

    queue -> slot -> sender -> answer -> the next request of the queue, in the same slot

The driver (driver.py) decides which items are sent, in which order results are written and when the run
stops. The sender waits for the rate limits. How a request travels is decided below it, by the transport:
from this process, or through a worker of a cluster.

Some requests are ready before there is a slot for them. Replies arrive in bursts, and the next request is
sent in the same turn of the event loop in which an answer arrived: no server waits until we have read all
the other answers.
"""

from __future__ import annotations

import asyncio
from collections import deque
from typing import Protocol

from chatpipe.inputs.values import Value
from chatpipe.line_record import LineRecord
from chatpipe.wire.answer import Answer, TimedAnswer

# The largest queue: one request for each slot, for the worst burst, but never more than this number, ...
_QUEUED = 256
# ... nor more than these characters. One large request (images) is enough.
_QUEUED_SIZE = 4 << 20


class RunRequest(LineRecord):
    """A request of a run. number counts its items from 0, line the lines of the input from 1."""

    number: int
    line: int
    custom_id: str
    body: dict[str, Value]
    fingerprint: str


class RequestSender(Protocol):
    """Sends one request to its final answer."""

    async def send(self, request: RunRequest) -> TimedAnswer:
        """Send a request until its answer is final."""

    def stop(self) -> None:
        """End all waits that precede an attempt: their requests raise CancelledError."""


class Capacity(Protocol):
    """The number of requests that may be in flight now."""

    @property
    def limit(self) -> int: ...


class Callbacks(Protocol):
    """Questions and reports from an engine to the driver. No method raises or suspends."""

    def may_send(self, request: RunRequest) -> bool:
        """Reserve the budget of the first request in the queue, immediately before it is sent.

        After False the request stays in the queue. The engine asks again after the next answer, which
        may free a part of the budget. Once the run stops, the reply is always False.
        """

    def answered(self, number: int, answer: Answer, latency_s: float) -> None:
        """Accept the final answer to a request, and the seconds that its last attempt took."""

    def failed(self, error: BaseException) -> None:
        """End the run because of an error that is not the fault of one request."""


class Engine:
    """Keeps as many requests in flight as capacity allows, and reports each answer once, in any order.

    The driver calls start() first, then submit() for each request, each followed by room(), then drain().
    It may call stop() at any time. A request that stop() prevents or abandons has no answer.
    """

    def __init__(self, sender: RequestSender, capacity: Capacity) -> None:
        self._sender = sender
        self._capacity = capacity
        self._callbacks: Callbacks
        self._slots: set[asyncio.Task[None]] = set()
        self._in_flight = 0
        self._queue: deque[tuple[RunRequest, int]] = deque()  # each with its approximate size
        self._queued_size = 0
        self._answer_came = asyncio.Event()
        self._is_asked = False  # room() waits for an answer

    def start(self, callbacks: Callbacks) -> None:
        """Set the receiver of the answers."""
        self._callbacks = callbacks

    def submit(self, request: RunRequest) -> None:
        """Add a request to the queue, and send it if there is a free slot."""
        size = _size_of_messages(request.body.get("messages"))
        self._queue.append((request, size))
        self._queued_size += size
        self._fill_slots()

    async def room(self) -> None:
        """Wait until the queue has room for another request."""
        most = min(self._capacity.limit, _QUEUED) - 1
        while len(self._queue) > most or self._queued_size > _QUEUED_SIZE:
            self._answer_came.clear()
            self._is_asked = True
            await self._answer_came.wait()
            self._is_asked = False

    async def drain(self) -> None:
        """Wait until nothing is in flight. No more requests will be submitted."""
        while self._slots:
            await asyncio.wait(self._slots)

    def stop(self, *, now: bool) -> None:
        """Start nothing more. With now, abandon the requests in flight too. May be called again."""
        self._sender.stop()
        if now:
            for slot in self._slots:
                slot.cancel()

    def _fill_slots(self) -> None:
        """Put requests in flight while there are free slots."""
        while self._in_flight < self._capacity.limit and (request := self._next()) is not None:
            slot = asyncio.create_task(self._run_slot(request))
            self._slots.add(slot)
            slot.add_done_callback(self._slots.discard)

    def _next(self) -> RunRequest | None:
        """Take the first request of the queue, if there is a free slot and the driver agrees."""
        if not self._queue or self._in_flight >= self._capacity.limit:
            return None
        request, size = self._queue[0]
        if not self._callbacks.may_send(request):
            return None
        self._queue.popleft()
        self._queued_size -= size
        self._in_flight += 1
        return request

    async def _run_slot(self, request: RunRequest) -> None:
        """Send one request after another, until the queue is empty or there are too many slots."""
        following: RunRequest | None = request
        try:
            while following is not None:
                await self._send(following)
                following = self._next()
                self._fill_slots()  # the limit may have risen
        except asyncio.CancelledError:
            raise
        except BaseException as error:
            # Here, not when the task is over: the next task to run has an answer and would send another.
            self._callbacks.failed(error)

    async def _send(self, request: RunRequest) -> None:
        try:
            answer, latency_s = await self._sender.send(request)
        finally:
            self._in_flight -= 1
        self._callbacks.answered(request.number, answer, latency_s)
        if self._is_asked:
            self._answer_came.set()


def _size_of_messages(messages: Value) -> int:
    """The size of the messages of a body, most of which are objects of texts."""
    size = 0
    for message in messages if isinstance(messages, list) else ():
        for each in message.values() if isinstance(message, dict) else (message,):
            size += len(each) if isinstance(each, str) else _size(each)
    return size


def _size(value: Value) -> int:
    """The approximate number of characters of a value, and so of the memory that it takes."""
    if isinstance(value, str):
        return len(value)
    size = 1
    if isinstance(value, (dict, list)):
        for each in value.values() if isinstance(value, dict) else value:
            size += len(each) if isinstance(each, str) else _size(each)
    return size
