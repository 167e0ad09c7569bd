"""The limits of a single call that other processes share with it: those of its pace file."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from contextlib import contextmanager

from chatpipe.errors import TryLater
from chatpipe.exchange import ExchangeContext
from chatpipe.inputs.stdin import NOTICE_DELAY_S
from chatpipe.limits.pacer import PacedAttempts, Pacer
from chatpipe.limits.rate import RateLimiter, wait_for_start, when_unlocked
from chatpipe.limits.shared import SharedPace, open_shared
from chatpipe.limits.tokens import TokenEstimator
from chatpipe.options.run import SharedLimits
from chatpipe.options.server import RetryPolicy
from chatpipe.system.lock import LockPatience
from chatpipe.wire.retry import GiveUp, RetryAfter


class CallPacer(Pacer):
    """The limits of a single call: those of the pace file. It needs no event loop.

    deadline is when the next request must end, on the clock of the context; None for no deadline. A wait that
    would end later raises TryLater.
    """

    deadline: float | None = None

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
        while True:
            _, wait_s = await when_unlocked(shared.try_slot, self.context.now, self.context.sleep)
            if not wait_s:
                return
            if self._is_too_long(wait_s):
                what, place = "no room was free before the deadline", "--pace-file"
                if shared.jobs:
                    what, place = "no place was free before the deadline", "--pace-jobs"
                raise TryLater(what, place=place, fix="try again later, or raise --deadline")
            if not is_noted and self.context.monotonic() - asked > NOTICE_DELAY_S:
                which = "room: --pace-file"
                if shared.jobs:
                    places = f"one of {shared.jobs} places" if shared.jobs > 1 else "the only place"
                    which = f"{places}: --pace-jobs"
                self.context.note(f"waiting for {which}")
                is_noted = True
            await self.context.sleep(wait_s)

    async def start(self, attempts: PacedAttempts) -> int:
        """Wait for a start. Raises TryLater if it comes after the deadline.

        Raises PausedTooLong if the pause of the server is longer than a call waits.
        """
        if self._is_refused:
            self._is_refused = False
            await self.acquire_slot(self._schedule)
        await self.check_shared_pause(self._schedule, RetryPolicy().max_delay_s, fix="try again then")
        if self.deadline is not None:  # a start that is not used would be lost to the other processes
            _, wait_s = await when_unlocked(self._schedule.opens_in_s, self.context.now, self.context.sleep)
            self._check_deadline(wait_s)
        reserved = attempts.estimated_tokens()
        await wait_for_start(self._schedule, reserved, self.context.now, self._sleep)
        return reserved

    def lose(self, attempts: PacedAttempts) -> None:
        """One call has no budget."""

    def end(self, attempts: PacedAttempts) -> None:
        """Nobody waits for it: there are no other requests."""

    def _is_too_long(self, wait_s: float) -> bool:
        return self.deadline is not None and self.context.monotonic() + wait_s >= self.deadline

    def _check_deadline(self, wait_s: float) -> None:
        if wait_s and self._is_too_long(wait_s):
            what = f"the turn of this request comes in {math.ceil(wait_s)} s, after the deadline"
            raise TryLater(what, place="--pace-file", fix="try again then, or raise --deadline")

    async def _sleep(self, seconds: float) -> None:
        self._check_deadline(seconds)  # a pause that began meanwhile may have postponed it
        if seconds > NOTICE_DELAY_S:
            self.context.note(f"waiting {seconds:.0f} s for the turn of this request: --pace-file")
        await self.context.sleep(seconds)

    def observe_headers(self, headers: Mapping[str, str]) -> None:
        """Share every pause: one that follows from headers alone, too."""
        super().observe_headers(headers)
        self.share_pause()


@contextmanager
def open_call_pacer(
    context: ExchangeContext, limits: SharedLimits, origin: str, deadline_s: float | None
) -> Iterator[CallPacer | None]:
    """The limits that other processes share with a call, None without a pace file."""
    with open_shared(limits, origin, LockPatience(context.note, deadline_s)) as shared:
        yield None if shared is None else CallPacer(context, shared)
