"""The limits of a single call that other processes share with it: those of its pace file."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager

from chatpipe.exchange import ExchangeContext
from chatpipe.inputs.stdin import NOTICE_DELAY_S
from chatpipe.limits.paced import PacedAttempts, Pacer
from chatpipe.limits.rate import RateLimiter, wait_for_start
from chatpipe.limits.shared import SharedPace, open_shared
from chatpipe.limits.tokens import TokenEstimator
from chatpipe.options.run import SharedLimits
from chatpipe.options.server import RetryPolicy
from chatpipe.system.lock import LockPatience
from chatpipe.wire.retry import GiveUp, RetryAfter


class CallPacer(Pacer):
    """The limits of a single call: those of the pace file. It needs no event loop."""

    def __init__(self, context: ExchangeContext, shared: SharedPace) -> None:
        super().__init__(context, RateLimiter(), shared, TokenEstimator())
        self._schedule = shared
        self._is_refused = False  # the request has given back its slot

    @property
    def takes_slots(self) -> bool:
        return True

    def others_at_server(self) -> int:
        return self._schedule.refuse(self.context.now())

    def decide_busy(self, others: int, asked_s: float, attempts: PacedAttempts) -> RetryAfter | GiveUp | None:
        """Wait for room while requests of other processes are at the server. It counts as no attempt."""
        if not others or asked_s:
            return None
        self._schedule.release_slot(self.context.now(), answered=False)
        self._is_refused = True
        return RetryAfter(0.0, server_requested=False, uncounted=True)

    async def acquire_slot(self, shared: SharedPace) -> None:
        asked = self.context.monotonic()
        is_noted = False
        while wait_s := shared.acquire_slot(self.context.now()):
            if not is_noted and self.context.monotonic() - asked > NOTICE_DELAY_S:
                which = "room: --pace-file"
                if shared.jobs:
                    places = f"one of {shared.jobs} places" if shared.jobs > 1 else "the only place"
                    which = f"{places}: --pace-jobs"
                self.context.note(f"waiting for {which}")
                is_noted = True
            await self.context.sleep(wait_s)

    async def start(self, attempts: PacedAttempts) -> int:
        """Wait for a start. Raises PausedTooLong if the pause of the server is longer than a call waits."""
        if self._is_refused:
            self._is_refused = False
            await self.acquire_slot(self._schedule)
        await self.check_shared_pause(self._schedule, RetryPolicy().max_delay_s, fix="try again then")
        reserved = attempts.estimated_tokens()
        await wait_for_start(self._schedule, reserved, self.context.now, self._sleep)
        return reserved

    def end(self, attempts: PacedAttempts) -> None:
        """Nobody waits for it: there are no other requests."""

    async def _sleep(self, seconds: float) -> None:
        if seconds > NOTICE_DELAY_S:
            self.context.note(f"waiting {seconds:.0f} s for the turn of this request: --pace-file")
        await self.context.sleep(seconds)

    def observe_headers(self, headers: Mapping[str, str]) -> None:
        """Share every pause: also one before which the server has refused nothing."""
        super().observe_headers(headers)
        self.share_pause()


@contextmanager
def open_call_pacer(
    context: ExchangeContext, limits: SharedLimits, origin: str, deadline_s: float | None
) -> Iterator[CallPacer | None]:
    """The limits that other processes share with a call, None without a pace file."""
    with open_shared(limits, origin, LockPatience(context.note, deadline_s)) as shared:
        yield None if shared is None else CallPacer(context, shared)
