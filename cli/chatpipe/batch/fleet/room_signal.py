"""The signal on which the lines of a run look again for a server that has room."""

from __future__ import annotations

import asyncio

from chatpipe.limits.run_pacer import RunWaits


class RoomSignal:
    """A signal to all lines that wait for a server: one may have room for them now."""

    def __init__(self, waits: RunWaits) -> None:
        self._waits = waits
        self._waiting: set[asyncio.Future[None]] = set()

    def notify(self) -> None:
        """Let all of them look again."""
        if self._waiting:
            waiting, self._waiting = self._waiting, set()
            for each in waiting:
                if not each.done():
                    each.set_result(None)

    async def wait(self, seconds: float | None) -> None:
        """Wait for the signal, or this long. None waits for the signal only."""
        woken: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting.add(woken)
        try:
            with self._waits.until_stop():
                await asyncio.wait([woken], timeout=seconds)
        finally:
            self._waiting.discard(woken)
