"""Pauses between the turns of one call, as the headers of good replies ask for them."""

from __future__ import annotations

from collections.abc import Mapping

from chatpipe.exchange import ExchangeContext, Hooks
from chatpipe.inputs.stdin import NOTICE_DELAY_S
from chatpipe.limits.rate import RateLimiter
from chatpipe.wire import retry


class TurnPause(Hooks):
    """Hooks of the turns of one call: they wait for the limits that the headers of good replies report.

    wire/retry.py decides about the delays that a refusal asks for.

    A pause of more than longest_s is skipped: a refusal of the next request then ends the call
    with what the turns before it have come to, and some servers do not refuse it.
    """

    def __init__(self, context: ExchangeContext, longest_s: float) -> None:
        self._context = context
        self._longest_s = longest_s
        self._rate = RateLimiter()

    async def before_attempt(self) -> None:
        left_s = self._rate.opens_in_s(self._context.monotonic())
        if not 0 < left_s <= self._longest_s:
            return
        if left_s > NOTICE_DELAY_S:
            self._context.note(f"waiting {left_s:.0f} s, as the server asks: {self._rate.pause_reason}")
        await self._context.sleep(left_s)

    def on_reply(self, status: int, headers: Mapping[str, str]) -> None:
        if status >= 400 or retry.REPLAYED in headers:
            return
        now = self._context.monotonic()
        self._rate.reserve(0, now)  # the next request takes the place of this one
        self._rate.observe_headers(headers, now, self._context.now())
        self._rate.settle(0, None, now)
