"""Reads the gauges of the user's own server beside a run, and bounds the number in flight by them.

    once a second -> GET /metrics -> gauges.py -> the bound of an AdaptiveLimit

The request has no key and no header of the user's. It is not sent while nothing is in flight.
"""

from __future__ import annotations

from collections.abc import Callable

import httpx

from chatpipe.exchange import ExchangeContext
from chatpipe.limits.concurrency import AdaptiveLimit
from chatpipe.limits.gauges import Gauges, QueueBound, parse_gauges
from chatpipe.server.request_extensions import DEADLINE, MAX_REPLY
from chatpipe.wire.light_messages import headers_by_name
from chatpipe.wire.reply_body import ReplyBody

PERIOD_S = 1.0
# A full server answers this late, too. One that takes longer is asked no more.
_TIMEOUT_S = 10.0
# The metrics of a server with many models and histograms are some 200 kB.
_MOST_BYTES = 8_000_000


async def follow_gauges(
    url: str,
    context: ExchangeContext,
    limit: AdaptiveLimit,
    in_flight: Callable[[], int],
) -> None:
    """Bound the limit by the gauges at url, until a reading fails or the task is cancelled.

    in_flight is the number of our requests at the server. A server that has no gauges, or does not show
    them, is asked once: its limit has no bound from then on.
    """
    bound = QueueBound()
    while True:
        await context.sleep(PERIOD_S)
        before = in_flight()
        if not before:
            continue
        gauges = await _read(url, context)
        if gauges is None:
            limit.bound(None, context.monotonic())
            return
        limit.bound(bound.observe(gauges, min(before, in_flight())), context.monotonic())


async def _read(url: str, context: ExchangeContext) -> Gauges | None:
    """The gauges at url, None for any other reply and for none. Raises nothing for a fault of the server."""
    request = httpx.Request(
        "GET",
        url,
        headers={"Accept": "text/plain", "Accept-Encoding": "identity"},
        extensions={
            "timeout": dict.fromkeys(("connect", "read", "write", "pool"), _TIMEOUT_S),
            DEADLINE: context.monotonic() + _TIMEOUT_S,
            MAX_REPLY: _MOST_BYTES,
        },
    )
    if context.detail is not None:
        context.detail(f"> GET {url}")
    try:
        response = await context.transport.handle_async_request(request)
        assert isinstance(response.stream, httpx.AsyncByteStream)
        try:
            body = ReplyBody(response, headers_by_name(response), request)
            text = b"".join([piece async for piece in body]) if response.status_code == 200 else b""
        finally:
            await response.stream.aclose()
    except httpx.HTTPError:
        return None
    return parse_gauges(text)
