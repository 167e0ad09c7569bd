"""Connection slots: their limit, the idle connections, and the queue of waiting requests.

A request holds a slot from take_idle() or acquire() until release_connection() or release(). Every idle
connection holds one too.
While a request waits, no connection is idle and no slot is free: a slot that is given back goes to
the first in the queue. This module opens no connections; a request that gets a slot without one
opens its own.
"""

from __future__ import annotations

import asyncio
import time
from collections import OrderedDict

import httpx

from chatpipe.named_tuple import NamedTuple
from chatpipe.wire.connection import PooledConnection
from chatpipe.wire.loop_timeout import loop_timeout
from chatpipe.wire.origin import Origin
from chatpipe.wire.timeouts import Timeouts, WaitLimits, within_text


class _SlotRequest(NamedTuple):
    """A queued request for a slot. reuse is true if it accepts an idle connection."""

    origin: Origin
    reuse: bool


class ConnectionSlots:
    """The slots. limit is their number, None for no limit. An idle connection is closed after idle_s."""

    def __init__(self, limit: int | None, idle_s: float) -> None:
        self.used = 0
        self._limit = limit
        self._idle_s = idle_s
        # By origin, the most recently used connection last.
        self._idle: dict[Origin, OrderedDict[PooledConnection, None]] = {}
        self._queue: OrderedDict[asyncio.Future[PooledConnection | None], _SlotRequest] = OrderedDict()
        self._sweep_timer: asyncio.TimerHandle | None = None

    def take_idle(self, origin: Origin) -> PooledConnection | None:
        """Take the slot of an idle connection to the origin, None if there is none."""
        idle = self._idle.get(origin)
        while idle:
            link = idle.popitem()[0]
            if link.is_open and time.monotonic() - link.idle_since < self._idle_s:
                return link
            link.close()
            self.used -= 1
        return None

    async def acquire(self, origin: Origin, reuse: bool, timeouts: Timeouts) -> PooledConnection | None:
        """Take a slot while no connection to the origin is idle.

        Returns the connection that came with it if reuse is true, None for a slot without one. Raises
        httpx.PoolTimeout after the limit of timeouts.
        """
        if self._limit is None or self.used < self._limit:
            self.used += 1
            return None
        if self._evict():
            return None
        return await self._wait(_SlotRequest(origin, reuse), timeouts)

    def release_connection(self, link: PooledConnection) -> None:
        """Give a slot back together with its connection, which the next request may use."""
        first = self._next_waiter()
        if first is not None:
            waiter, slot_request = first
            if slot_request.reuse and slot_request.origin == link.origin:
                waiter.set_result(link)
            else:
                link.close()
                waiter.set_result(None)
            return
        link.idle_since = time.monotonic()
        self._idle.setdefault(link.origin, OrderedDict())[link] = None
        if self._sweep_timer is None:
            self._sweep_timer = asyncio.get_running_loop().call_later(self._idle_s, self._sweep)

    def release(self) -> None:
        """Give a slot back without a connection."""
        first = self._next_waiter()
        if first is not None:
            first[0].set_result(None)
        else:
            self.used -= 1

    def connection_lost(self, link: PooledConnection) -> None:
        """Free the slot of an idle connection that was lost. Does nothing for one that a request holds."""
        idle = self._idle.get(link.origin)
        if idle is not None and link in idle:
            del idle[link]
            self.release()

    def close(self, message: str) -> None:
        """Reject all waiting requests and stop the timer. The caller closes the idle connections."""
        while (first := self._next_waiter()) is not None:
            first[0].set_exception(httpx.CloseError(message))
        if self._sweep_timer is not None:
            self._sweep_timer.cancel()

    def _next_waiter(self) -> tuple[asyncio.Future[PooledConnection | None], _SlotRequest] | None:
        while self._queue:
            waiter, slot_request = self._queue.popitem(last=False)
            if not waiter.done():  # else its task was cancelled but has not run yet
                return waiter, slot_request
        return None

    async def _wait(self, slot_request: _SlotRequest, timeouts: Timeouts) -> PooledConnection | None:
        waiter: asyncio.Future[PooledConnection | None] = asyncio.get_running_loop().create_future()
        self._queue[waiter] = slot_request
        try:
            limits = WaitLimits(timeouts.deadline)
            limits.start_wait(timeouts.pool)
            async with loop_timeout(limits):
                return await waiter
        except BaseException as error:
            if self._queue.pop(waiter, None) is None and not waiter.cancelled() and not waiter.exception():
                self._pass_on(waiter.result())  # a slot was granted at the same moment
            if isinstance(error, TimeoutError):
                text = timeouts.message(f"no free connection{within_text(timeouts.pool)}")
                raise httpx.PoolTimeout(text) from error
            raise

    def _pass_on(self, link: PooledConnection | None) -> None:
        if link is not None and link.is_open:
            self.release_connection(link)
        else:
            self.release()

    def _evict(self) -> bool:
        """Close the longest idle connection of any origin, and leave its slot to the caller."""
        oldest = min(
            (next(iter(idle)) for idle in self._idle.values() if idle),
            key=lambda link: link.idle_since,
            default=None,
        )
        if oldest is None:
            return False
        del self._idle[oldest.origin][oldest]
        oldest.close()
        return True

    def _sweep(self) -> None:
        """Close expired idle connections. One timer serves all of them."""
        self._sweep_timer = None
        now = time.monotonic()
        next_expiry = None
        for origin, idle in list(self._idle.items()):
            while idle:
                link = next(iter(idle))
                expires_at = link.idle_since + self._idle_s
                if expires_at > now:
                    next_expiry = expires_at if next_expiry is None else min(expires_at, next_expiry)
                    break
                del idle[link]
                link.close()
                self.used -= 1
            if not idle:
                del self._idle[origin]
        if next_expiry is not None:
            self._sweep_timer = asyncio.get_running_loop().call_later(next_expiry - now, self._sweep)
