"""The wait of a run for its cluster, and later for a worker of it."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from chatpipe.errors import ChatpipeError, NoServerLeft

# A longer wait is noted.
_NOTICE_S = 5.0


class ClusterWait:
    """A wait, one at a time. note prints that it is long. fail gets the fault of one that is too long.

    fix is what to do then.
    """

    def __init__(self, note: Callable[[str], None], fail: Callable[[ChatpipeError], None], fix: str) -> None:
        self._note = note
        self._fail = fail
        self._fix = fix
        self._timers: tuple[asyncio.TimerHandle, ...] = ()

    def begin(self, longest_s: float, awaited: Callable[[], str]) -> None:
        """Begin a wait, and end the one before. awaited names what has not come yet."""
        self.end()
        loop = asyncio.get_running_loop()
        self._timers = (
            loop.call_later(_NOTICE_S, lambda: self._note(f"waiting for {awaited()}")),
            loop.call_later(longest_s, self._lose_patience, longest_s, awaited),
        )

    def end(self) -> None:
        for timer in self._timers:
            timer.cancel()
        self._timers = ()

    def _lose_patience(self, after_s: float, awaited: Callable[[], str]) -> None:
        self._fail(NoServerLeft(f"waited {after_s:.0f} s for {awaited()}", fix=self._fix))
