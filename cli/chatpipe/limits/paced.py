"""`ask` within limits that processes share: `xargs -P` and `make -j` stay under one of them."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager

from chatpipe.exchange import ExchangeContext, Hooks, SendRequest, chain
from chatpipe.inputs import values
from chatpipe.inputs.values import Value
from chatpipe.limits.rate import RateLimiter, wait_for_start
from chatpipe.limits.shared import PaceFile, SharedRateLimiter
from chatpipe.limits.tokens import TokenEstimator, answer_limits
from chatpipe.options.run import SharedLimits
from chatpipe.response.usage import usage_of
from chatpipe.wire.answer import Answer, Receiver

# A wait that is longer is told: a call that hangs in silence looks broken.
_SILENT_S = 2.0


class Pacer:
    """The turns of one process in a pace file, and what it hears of the server's limits."""

    def __init__(
        self, file: PaceFile, origin: str, sharing: SharedLimits, context: ExchangeContext, ask: SendRequest
    ) -> None:
        self._ask = ask
        self._file = file
        self._origin = origin
        self._jobs = sharing.pace_jobs
        self.share = SharedRateLimiter(file, origin, sharing.rpm, sharing.tpm)
        self._pace = RateLimiter(None, None)  # reads the headers; the limits are in the file
        self._estimator = TokenEstimator()
        self._context = context

    async def ask(self, body: dict[str, Value], receiver: Receiver, hooks: Hooks) -> Answer:
        """Ask when it is our turn, each try anew; what the answer really used is booked in the end."""
        attempts = _SharedAttempts(
            self, self._estimator.estimate(len(values.dumps(body)), *answer_limits(body))
        )
        await self._enter()
        try:
            answer = await self._ask(body, receiver, chain(hooks, attempts))
            used = usage_of(answer.completion).total
            if used:
                self.share.settle(attempts.tokens, used, time.time())
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
                self._context.note(f"waiting for one of {self._jobs} places: --pace-jobs")
                is_told = True
            await self._context.sleep(wait_s)

    async def sleep(self, seconds: float) -> None:
        if seconds > _SILENT_S:
            self._context.note(f"waiting {seconds:.0f} s for the turn of this request: --pace-file")
        await self._context.sleep(seconds)

    def observe_reply(self, status: int, headers: Mapping[str, str], started: float) -> None:
        """Share a pause that the server asks for with all processes."""
        now = time.monotonic()
        self._pace.observe_reply(headers, status, now, time.time(), started=started)
        if (pause_s := self._pace.pause_left(now)) > 0:
            self._file.pause_until(self._origin, time.time() + pause_s, time.time())


class _SharedAttempts(Hooks):
    """The attempts of one request: each reserves its start in the pace file."""

    def __init__(self, pacer: Pacer, tokens: int) -> None:
        self.tokens = tokens
        self._pacer = pacer
        self._is_reserved = False
        self._started = 0.0

    async def before_attempt(self) -> None:
        if self._is_reserved:
            self._pacer.share.settle(self.tokens, 0, time.time())  # the attempt before was refused
        self._is_reserved = True
        await wait_for_start(self._pacer.share, self.tokens, time.time, self._pacer.sleep)
        self._started = time.monotonic()

    def on_reply(self, status: int, headers: Mapping[str, str]) -> None:
        self._pacer.observe_reply(status, headers, self._started)


@contextmanager
def open_paced(
    sharing: SharedLimits, origin: str, context: ExchangeContext, ask: SendRequest
) -> Iterator[SendRequest]:
    """ask, at the pace of the file that pacing names. Raises BadInput, CannotWrite for that file."""
    assert sharing.pace_file is not None
    file = PaceFile(sharing.pace_file)
    try:
        yield Pacer(file, origin, sharing, context, ask).ask
    finally:
        file.close()
