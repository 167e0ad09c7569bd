"""Readings of /metrics beside a run: how often they are asked for, and when no more."""

from __future__ import annotations

import asyncio
import gzip
import time
from collections.abc import Callable, Iterator, Mapping

import httpx

from chatpipe.exchange import ExchangeContext
from chatpipe.limits.concurrency import AdaptiveLimit
from chatpipe.limits.metrics import follow_gauges
from support.parametrize import cases

URL = "http://127.0.0.1:1/metrics"
QUEUE = b"llamacpp:requests_processing 2\nllamacpp:requests_deferred 2\n"
NO_HEADERS: Mapping[str, str] = {}
Reply = Callable[[httpx.Request], httpx.Response]


class Metrics(httpx.AsyncBaseTransport):
    """A transport that answers from a list, the last reply for ever."""

    def __init__(self, *replies: Reply) -> None:
        self.replies = list(replies)
        self.requests: list[httpx.Request] = []

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        self.requests.append(request)
        return (self.replies.pop(0) if len(self.replies) > 1 else self.replies[0])(request)


def follow(metrics: Metrics, in_flight: Iterator[int], periods: int = 9) -> AdaptiveLimit:
    """The limit after so many periods in which this number is in flight, before and after each reading."""
    limit, left = AdaptiveLimit(), iter(range(periods))

    async def sleep(seconds: float) -> None:
        if next(left, None) is None:
            raise asyncio.CancelledError

    async def main() -> None:
        context = ExchangeContext(metrics, sleep, note=lambda text: None)
        task = asyncio.create_task(follow_gauges(URL, context, limit, lambda: next(in_flight)))
        await asyncio.wait([task])
        assert task.cancelled() or task.result() is None

    asyncio.run(main())
    return limit


def always(number: int) -> Iterator[int]:
    return iter(lambda: number, None)


def says(body: bytes, status: int = 200, headers: Mapping[str, str] = NO_HEADERS) -> Reply:
    return lambda request: httpx.Response(status, content=body, headers=headers)


def fails(error: type[httpx.TransportError]) -> Reply:
    def reply(request: httpx.Request) -> httpx.Response:
        raise error("no")

    return reply


def test_gauges_with_a_queue_bound_the_limit() -> None:
    metrics = Metrics(says(QUEUE))
    assert follow(metrics, always(4)).limit == 3
    assert len(metrics.requests) == 9


def test_compressed_text_is_read() -> None:
    packed = says(gzip.compress(QUEUE), 200, {"content-encoding": "gzip"})
    assert follow(Metrics(packed), always(4)).limit == 3


def test_nothing_is_asked_while_nothing_is_in_flight() -> None:
    metrics = Metrics(says(QUEUE))
    follow(metrics, always(0))
    assert metrics.requests == []


def test_fewer_in_flight_after_the_reading_than_before_is_what_counts() -> None:
    """The gauges count the 4 that are left: they are about the whole server."""
    assert follow(Metrics(says(QUEUE)), iter([20, 4] * 9)).limit == 3


@cases(
    "reply",
    {
        "not there": says(b"no", 404),
        "not switched on": says(QUEUE, 501),
        "only with the key": says(QUEUE, 401),
        "elsewhere": says(b"", 307, {"location": "/other"}),
        "empty": says(b""),
        "a page": says(b"<html>hello</html>"),
        "no count": says(b"llamacpp:requests_processing NaN\n"),
        "unpacks to nothing": says(QUEUE, 200, {"content-encoding": "gzip"}),
        "too long": says(QUEUE + b"# TYPE a gauge\n" * 600_000),
        "refused": fails(httpx.ConnectError),
        "late": fails(httpx.ReadTimeout),
        "cut": fails(httpx.RemoteProtocolError),
    },
)
def test_server_that_does_not_show_gauges_is_asked_once(reply: Reply) -> None:
    metrics = Metrics(reply, says(QUEUE))
    assert follow(metrics, always(4)).limit == 4
    assert len(metrics.requests) == 1


def test_gauges_that_end_leave_no_bound() -> None:
    metrics = Metrics(*[says(QUEUE)] * 5, says(b"", 500), says(QUEUE))
    limit = follow(metrics, always(4), periods=20)
    assert (limit.limit, len(metrics.requests)) == (3, 6)
    now = time.monotonic()
    for _ in range(400):
        now += 1 / limit.limit
        limit.record_finished(1.0, limit.limit, now, is_good=True)
    assert limit.limit > 4


def test_request_has_time_limits_and_nothing_of_the_user() -> None:
    metrics = Metrics(says(b""))
    follow(metrics, always(1))
    (request,) = metrics.requests
    assert (request.method, str(request.url)) == ("GET", URL)
    assert {*request.headers} == {"host", "accept", "accept-encoding"}
    assert request.extensions["timeout"]["read"] == 10.0
    assert request.extensions["deadline"] is not None
