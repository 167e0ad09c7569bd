"""Who may have a connection: so many places, the idle connections, and the line of those who wait.

A place is held by a request from get() until keep() or give(), and by every idle connection.
Where somebody waits, nothing is idle and no place is free: what comes back goes to the first in line.
Nothing in here opens a connection: a place without one is for the request to open its own.
"""

import asyncio
import time
from collections import OrderedDict
from typing import NamedTuple

from chatpipe.wire.link import Link
from chatpipe.wire.origin import Origin
from chatpipe.wire.timeouts import Waits, within

import httpx  # isort: skip - after chatpipe.wire, which keeps httpx's own command line out


class _Wish(NamedTuple):
    """reuse: an idle connection will do."""

    origin: Origin
    reuse: bool


class Places:
    """limit is their number, None for any; idle_s, how long a connection is kept for the next request."""

    def __init__(self, limit: int | None, idle_s: float) -> None:
        self.taken = 0
        self._limit = limit
        self._idle_s = idle_s
        # By origin, the one used last at the end.
        self._idle: dict[Origin, OrderedDict[Link, None]] = {}
        self._line: OrderedDict[asyncio.Future[Link | None], _Wish] = OrderedDict()
        self._sweeper: asyncio.TimerHandle | None = None

    async def get(self, origin: Origin, reuse: bool, limit_s: float | None, waits: Waits) -> Link | None:
        """A place, with an idle connection to the origin if there is one and reuse allows it.

        Raises httpx.PoolTimeout after limit_s.
        """
        if reuse:
            idle = self._idle.get(origin)
            while idle:
                link = idle.popitem()[0]
                if link.is_open and time.monotonic() - link.idle_since < self._idle_s:
                    return link
                link.close()
                self.taken -= 1
        if self._limit is None or self.taken < self._limit:
            self.taken += 1
            return None
        if self._evict():
            return None
        return await self._wait(_Wish(origin, reuse), limit_s, waits)

    def keep(self, link: Link) -> None:
        """Give a place back, and leave the connection to whoever is next."""
        first = self._first_in_line()
        if first is not None:
            waiter, wish = first
            if wish.reuse and wish.origin == link.origin:
                waiter.set_result(link)
            else:
                link.close()
                waiter.set_result(None)
            return
        link.idle_since = time.monotonic()
        self._idle.setdefault(link.origin, OrderedDict())[link] = None
        if self._sweeper is None:
            self._sweeper = asyncio.get_running_loop().call_later(self._idle_s, self._sweep)

    def give(self) -> None:
        """Give a place back."""
        first = self._first_in_line()
        if first is not None:
            first[0].set_result(None)
        else:
            self.taken -= 1

    def lost(self, link: Link) -> None:
        """A connection is gone. Does nothing for one that a request has."""
        idle = self._idle.get(link.origin)
        if idle is not None and link in idle:
            del idle[link]
            self.give()

    def close(self, why: str) -> None:
        """Turn away who waits, and stop the clock; the idle connections are the caller's to close."""
        while (first := self._first_in_line()) is not None:
            first[0].set_exception(httpx.CloseError(why))
        if self._sweeper is not None:
            self._sweeper.cancel()

    def _first_in_line(self) -> tuple[asyncio.Future[Link | None], _Wish] | None:
        while self._line:
            waiter, wish = self._line.popitem(last=False)
            if not waiter.done():  # else its task was cancelled, and did not come to say so yet
                return waiter, wish
        return None

    async def _wait(self, wish: _Wish, limit_s: float | None, waits: Waits) -> Link | None:
        waiter: asyncio.Future[Link | None] = asyncio.get_running_loop().create_future()
        self._line[waiter] = wish
        try:
            async with asyncio.timeout(waits.cut(limit_s)):
                return await waiter
        except BaseException as error:
            if self._line.pop(waiter, None) is None and not waiter.cancelled() and not waiter.exception():
                self._pass_on(waiter.result())  # granted in the very moment
            if isinstance(error, TimeoutError):
                text = waits.why(f"no free connection{within(limit_s)}")
                raise httpx.PoolTimeout(text) from error
            raise

    def _pass_on(self, link: Link | None) -> None:
        if link is not None and link.is_open:
            self.keep(link)
        else:
            self.give()

    def _evict(self) -> bool:
        """Close the connection that is idle longest, of any origin: its place is the caller's now."""
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
        """Close what is idle for too long. One timer for all of them, not one each."""
        self._sweeper = None
        now = time.monotonic()
        next_at = None
        for origin, idle in list(self._idle.items()):
            while idle:
                link = next(iter(idle))
                at = link.idle_since + self._idle_s
                if at > now:
                    next_at = at if next_at is None else min(at, next_at)
                    break
                del idle[link]
                link.close()
                self.taken -= 1
            if not idle:
                del self._idle[origin]
        if next_at is not None:
            self._sweeper = asyncio.get_running_loop().call_later(next_at - now, self._sweep)
