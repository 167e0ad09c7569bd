"""The slots of the local server: requests that are being answered at a time, and the queue behind them."""

from __future__ import annotations

from collections import deque

from chatpipe.serve.wakeup import Wakeup


class Slots:
    """The slots of one server. limit is their number, None for no limit. queues: other requests wait."""

    def __init__(self, limit: int | None, *, queues: bool) -> None:
        self._limit = limit
        self._queues = queues
        self._queue: deque[Ticket] = deque()
        self.running = 0

    @property
    def waiting(self) -> int:
        return len(self._queue)

    @property
    def has_limit(self) -> bool:
        return self._limit is not None

    def enter(self) -> Ticket | None:
        """A ticket for a slot, or for a place in the queue. None if there is neither."""
        ticket = Ticket(self)
        if self._limit is None or self.running < self._limit:
            self.running += 1
            ticket.is_running = True
        elif self._queues:
            self._queue.append(ticket)
        else:
            return None
        return ticket

    def leave(self, ticket: Ticket) -> None:
        """Free the slot for the first of the queue, or the place in the queue."""
        if not ticket.is_running:
            self._queue.remove(ticket)
        elif self._queue:
            following = self._queue.popleft()
            following.is_running = True
            following.wake()
        else:
            self.running -= 1


class Ticket(Wakeup):
    """A place among the slots or in the queue. It wakes when it moves from there to a slot."""

    __slots__ = ("_slots", "is_running")

    def __init__(self, slots: Slots) -> None:
        self.resume = bool
        self._slots = slots
        self.is_running = False

    def leave(self) -> None:
        """Give the place up. Call it once."""
        self._slots.leave(self)
