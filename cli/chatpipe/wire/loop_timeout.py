"""asyncio.timeout() for limits that are extended after the process was stopped."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from chatpipe.wire.timeouts import WaitLimits


@asynccontextmanager
async def loop_timeout(limits: WaitLimits) -> AsyncIterator[asyncio.Timeout]:
    """Raise TimeoutError when the limits have passed, or the yielded time-out was set to the past."""
    loop = asyncio.get_running_loop()
    timer: asyncio.TimerHandle | None = None

    def check() -> None:
        nonlocal timer
        if not limits.have_passed():
            timer = loop.call_later(limits.ends_at - loop.time(), check)
        elif not timeout.expired():
            timeout.reschedule(-1)

    try:
        async with asyncio.timeout(None) as timeout:
            if limits.ends_at != float("inf"):
                timer = loop.call_later(limits.ends_at - loop.time(), check)
            yield timeout
    finally:
        if timer is not None:
            timer.cancel()
