"""`ask` within limits that processes share: `xargs -P` and `make -j` stay under one of them."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager

from chatpipe.batch.tally import usage_of
from chatpipe.exchange import ExchangeContext, SendRequest
from chatpipe.inputs import values
from chatpipe.inputs.values import Value
from chatpipe.limits.rate import RateLimiter, wait_for_start
from chatpipe.limits.shared import PaceFile, SharedRateLimiter
from chatpipe.limits.tokens import TokenEstimator, answer_limits
from chatpipe.options.run import SharedLimits
from chatpipe.wire.answer import Answer, Receiver
from chatpipe.wire.pooled import origin

# A wait that is longer is told: a call that hangs in silence looks broken.
_SILENT_S = 2.0


class Pacer:
    """The turns of one process in a pace file, and what it hears of the server's limits."""

    def __init__(
        self, file: PaceFile, origin: str, sharing: SharedLimits, world: ExchangeContext, ask: SendRequest
    ) -> None:
        self._ask = ask
        self._file = file
        self._origin = origin
        self._jobs = sharing.pace_jobs
        self._share = SharedRateLimiter(file, origin, sharing.rpm, sharing.tpm)
        self._pace = RateLimiter(None, None)  # reads the headers; the limits are in the file
        self._estimator = TokenEstimator()
        self._world = world
        self._started = 0.0

    async def ask(self, body: dict[str, Value], world: ExchangeContext, receiver: Receiver) -> Answer:
        """Ask when it is our turn, each try anew; what the answer really used is booked in the end."""
        tokens = self._estimator.estimate(len(values.dumps(body)), *answer_limits(body))
        is_reserved = False
        before = world.before

        async def wait() -> None:
            nonlocal is_reserved
            if before is not None:
                await before()
            if is_reserved:
                self._share.settle(tokens, 0, time.time())  # the try before was refused
            is_reserved = True
            await wait_for_start(self._share, tokens, time.time, self._sleep)
            self._started = time.monotonic()

        await self._enter()
        try:
            paced = world._replace(before=wait, heard=self._heard)
            answer = await self._ask(body, paced, receiver)
            used = usage_of(answer.completion).total
            if used:
                self._share.settle(tokens, used, time.time())
            return answer
        finally:
            if self._jobs is not None:
                self._file.release_slot(self._origin, time.time())

    async def _enter(self) -> None:
        """Wait for a place among those in flight."""
        if self._jobs is None:
            return
        asked = time.monotonic()
        is_told = False
        while wait_s := self._file.acquire_slot(self._origin, self._jobs, time.time()):
            if not is_told and time.monotonic() - asked > _SILENT_S:
                self._world.note(f"waiting for one of {self._jobs} places: --pace-jobs")
                is_told = True
            await self._world.sleep(wait_s)

    async def _sleep(self, seconds: float) -> None:
        if seconds > _SILENT_S:
            self._world.note(f"waiting {seconds:.0f} s for the turn of this request: --pace-file")
        await self._world.sleep(seconds)

    def _heard(self, status: int, headers: Mapping[str, str]) -> None:
        """A pause that the server asks for is one for all processes."""
        now = time.monotonic()
        self._pace.observe_reply(headers, status, now, time.time(), started=self._started)
        if (pause_s := self._pace.pause_left(now)) > 0:
            self._file.pause_until(self._origin, time.time() + pause_s, time.time())


@contextmanager
def open_paced(
    sharing: SharedLimits, url: str, world: ExchangeContext, ask: SendRequest
) -> Iterator[SendRequest]:
    """ask, at the pace of the file that pacing names. Raises BadInput, CannotWrite for that file."""
    assert sharing.pace_file is not None
    file = PaceFile(sharing.pace_file)
    try:
        yield Pacer(file, origin(url), sharing, world, ask).ask
    finally:
        file.close()
