"""Connections that the pool shares: reuse, staleness, the cap and its queue, cancellation, the end.

The figures of the server decide.
"""

from __future__ import annotations

import asyncio
import itertools
import os
import random
import ssl
import threading
import time
from collections.abc import Callable, Coroutine
from typing import Any

import httpx
import pytest

from chatpipe.serve.wakeup import Wakeup
from chatpipe.wire.pool import PoolTransport
from support.parametrize import cases
from support.patience import PATIENCE_S
from support.senders import HI, NO_LIMITS, AsyncSender, Sender, read, run, turns, until
from support.servers import loopback
from support.servers.loopback import (
    Close,
    Pause,
    Stall,
    WaitFor,
    chunked,
    event_stream,
    in_turn,
    reply,
    serve,
)
from support.speed import at_any_speed

HEAD = b"HTTP/1.1 200 OK\r\n"
CUT = HEAD + b"Content-Length: 10\r\n\r\nabc"


# One connection after the other


def test_requests_at_the_same_time_have_a_connection_each(pool: Sender) -> None:
    with serve(lambda _: [Pause(0.02), reply(200, b"hi")]) as server:
        for _ in range(4):
            assert pool.at_once(20, server.url) == [HI] * 20
        assert (server.connections, len(server.requests), server.peak) == (20, 80, 20)


def test_the_connection_used_last_is_used_first(pool: Sender) -> None:
    slower: list[list[loopback.Step]] = [[Pause(seconds), reply(200)] for seconds in (0.02, 0.05, 0.1)]
    with serve(in_turn(*slower, reply(200))) as server:
        pool.at_once(3, server.url)
        last = server.requests[-1].connection
        for _ in range(5):
            pool(server.url)
        assert {request.connection for request in server.requests[3:]} == {last}
        assert server.connections == 3


def test_origins_do_not_share(pool: Sender, server_tls: ssl.SSLContext | None) -> None:
    with (
        serve(lambda _: reply(200, b"one"), tls=server_tls) as one,
        serve(lambda _: reply(200, b"two")) as two,
    ):
        for _ in range(3):
            assert pool(one.url) == (200, b"one")
            assert pool(two.url) == (200, b"two")
        assert pool(one.url.replace("127.0.0.1", "localhost")) == (200, b"one")
        assert (one.connections, two.connections) == (2, 1)


@at_any_speed
def test_idle_connections_are_closed_after_a_while(
    factor: int, make_pool: Callable[..., Sender], server_tls: ssl.SSLContext | None
) -> None:
    pool = make_pool(idle_s=1.0 * factor)
    with serve(lambda _: [Pause(0.02), reply(200, b"hi")], tls=server_tls) as server:
        pool.at_once(3, server.url)
        assert (pool.held, pool.idle) == (3, 3)
        pool.pause(0.5 * factor)
        pool(server.url)  # this one begins anew
        pool.pause(0.6 * factor)
        assert pool.idle == 1
        pool.until(lambda: pool.held == 0)
        pool.until(lambda: not server.open)
        assert pool(server.url) == HI
        assert server.connections == 4


def test_a_connection_that_is_too_old_is_not_used_even_before_it_is_closed(
    make_pool: Callable[..., Sender],
) -> None:
    pool = make_pool(idle_s=0.05)
    with serve(lambda _: reply(200, b"hi")) as server:
        pool(server.url)
        time.sleep(0.06)  # the loop stands still: no timer goes off
        pool(server.url)
        assert server.connections == 2


# Stale connections


def test_the_replacement_is_new_although_others_are_idle(make_pool: Callable[..., Sender]) -> None:
    """All idle ones are dead when a server has restarted: trying each would fail each time."""
    pool, dead = make_pool(max_connections=5 + 1), threading.Event()

    def handler(request: loopback.Request) -> loopback.Answer:
        return [Close()] if dead.is_set() and request.connection < 5 else [Pause(0.02), reply(200, b"hi")]

    with serve(handler) as server:
        pool.at_once(5, server.url)
        assert pool.idle == 5
        dead.set()
        assert pool(server.url, b"{}", "PUT") == HI
        assert server.connections == 6


def test_a_server_that_restarts_costs_no_request(make_pool: Callable[..., Sender]) -> None:
    """Two hundred idle connections die at once; every request after that goes through."""
    pool = make_pool(max_connections=200)
    with serve(lambda _: [Pause(0.02), reply(200, b"hi")]) as first:
        port = first.port
        assert pool.at_once(200, first.url) == [HI] * 200
        assert pool.idle == 200
        # Without a turn of our loop: their ends have come, and nobody looked
    with loopback.Server(lambda _: reply(200, b"hi"), port=port) as second:
        assert pool.at_once(200, second.url) == [HI] * 200
        assert len(second.requests) == 200


def test_connections_that_the_server_closes_by_the_hundred_give_their_places_back(
    make_pool: Callable[..., Sender],
) -> None:
    pool = make_pool(max_connections=300)
    with serve(lambda _: [Pause(0.02), reply(200, b"hi"), Pause(0.1), Close()]) as server:
        for _ in range(3):
            assert pool.at_once(300, server.url) == [HI] * 300
            pool.until(lambda: pool.held == 0)
        assert not pool.links
        assert server.connections == 900


# The cap


def test_the_cap_holds_and_requests_are_sent_in_order() -> None:
    async def main(send: AsyncSender) -> None:
        tasks = [asyncio.create_task(send(server.url, b"%d" % at)) for at in range(30)]
        await turns(3)
        assert send.held == 3
        assert await asyncio.gather(*tasks) == [HI] * 30
        assert send.held == send.idle == 3

    three, seen = threading.Event(), itertools.count(1)

    def handler(_: loopback.Request) -> loopback.Answer:
        if next(seen) == 3:
            three.set()
        return [WaitFor(three), Pause(0.003), reply(200, b"hi")]

    with serve(handler) as server:
        run(main, max_connections=3)
        order = [int(request.body) for request in server.requests]
        assert (server.connections, server.peak) == (3, 3)
    # Three at a time are sent in turn; which of three connections the server reads first is its own.
    assert all(abs(place - at) <= 3 for place, at in enumerate(order))


@cases(
    ("answer", "count", "connections"),
    {
        "one connection serves it": (reply(200, b"hi"), 50, 1),
        "a place is passed on alone": (reply(200, b"hi", {"connection": "close"}), 10, 10),
    },
)
def test_the_queue_is_served_in_order(answer: bytes, count: int, connections: int) -> None:
    async def main(send: AsyncSender) -> None:
        await asyncio.gather(*(send(server.url, b"%d" % at) for at in range(count)))

    with serve(lambda _: answer) as server:
        run(main, max_connections=1)
        assert [request.body for request in server.requests] == [b"%d" % at for at in range(count)]
        assert (server.connections, server.peak) == (connections, 1)


def test_a_failure_passes_its_place_on() -> None:
    async def main(send: AsyncSender) -> None:
        bad = f"http://127.0.0.1:{loopback.closed_port()}/v1"
        jobs = [send(bad if at % 2 else server.url) for at in range(20)]
        results = await asyncio.gather(*jobs, return_exceptions=True)
        assert [result if at % 2 == 0 else type(result) for at, result in enumerate(results)] == [
            HI,
            httpx.ConnectError,
        ] * 10

    with serve(lambda _: reply(200, b"hi")) as server:
        run(main, max_connections=2)


def test_the_idle_connection_of_another_origin_makes_room(make_pool: Callable[..., Sender]) -> None:
    pool = make_pool(max_connections=1)
    with serve(lambda _: reply(200, b"hi")) as one, serve(lambda _: reply(200, b"hi")) as two:
        for _ in range(3):
            assert pool(one.url) == HI
            assert pool(two.url) == HI
        assert pool.held == pool.idle == 1
        pool.until(lambda: not one.open)
        assert (one.connections, two.connections) == (3, 3)


def test_the_longest_idle_makes_room(make_pool: Callable[..., Sender]) -> None:
    pool = make_pool(max_connections=2)
    with serve() as one, serve() as two, serve() as three:
        for url in (one.url, two.url, three.url):  # of one and two, one is older
            pool(url)
        assert (one.connections, two.connections, three.connections) == (1, 1, 1)
        pool(two.url)
        assert two.connections == 1
        pool(one.url)
        assert one.connections == 2


def test_two_origins_in_one_queue_are_served_in_order() -> None:
    async def main(send: AsyncSender) -> None:
        done: list[int] = []

        async def job(at: int, url: str) -> None:
            assert await send(url) == HI
            done.append(at)

        async with asyncio.TaskGroup() as group:
            for at, url in enumerate((one.url, one.url, two.url, one.url, two.url, two.url)):
                group.create_task(job(at, url))
        assert done == [0, 1, 2, 3, 4, 5]

    with serve(lambda _: reply(200, b"hi")) as one, serve(lambda _: reply(200, b"hi")) as two:
        run(main, max_connections=1)
        assert (one.connections, two.connections) == (2, 2)


def test_a_reply_that_is_being_read_holds_its_place_until_it_is_read() -> None:
    async def main(send: AsyncSender) -> None:
        streamed = await send.open(server.url)
        other = asyncio.create_task(send(server.url))
        await asyncio.sleep(0.05)
        assert not other.done()
        go.set()
        assert await read(streamed) == b"onetwo"
        assert await other == HI

    go = threading.Event()
    head, one, two, end = event_stream([b"one", b"two"])
    with serve(in_turn([head, one, WaitFor(go), two, end], reply(200, b"hi"))) as server:
        run(main, max_connections=1)
        assert server.connections == 1


@at_any_speed
def test_waiting_too_long_for_a_place_is_a_pool_time_out(
    factor: int, make_pool: Callable[..., Sender]
) -> None:
    pool = make_pool(max_connections=1)
    with serve(in_turn([*event_stream([b"x"], end=False), Stall()], reply(200, b"hi"))) as server:
        streamed = pool.open(server.url)
        with pytest.raises(httpx.PoolTimeout, match=r"^no free connection within 0\.05 s$"):
            pool(server.url, pool=0.05)
        with pytest.raises(httpx.PoolTimeout, match=r"^deadline$"):
            pool(server.url, deadline=time.monotonic() + 0.05 * factor)
        assert pool.held == 1
        pool.close(streamed)
        assert pool.held == 0
        assert pool(server.url) == HI


def test_a_body_that_cannot_be_repeated_gets_a_new_connection_also_in_the_queue() -> None:
    class Upload(httpx.AsyncByteStream):
        async def __aiter__(self) -> Any:
            yield b"abc"

    async def main(send: AsyncSender) -> None:
        first = asyncio.create_task(send(server.url))
        await turns(3)
        assert await send(server.url, Upload(), headers={"content-length": "3"}) == HI
        assert await first == HI

    with serve(lambda _: [Pause(0.02), reply(200, b"hi")]) as server:
        run(main, max_connections=1)
        assert server.connections == 2


# Cancellation

Scenario = Callable[[AsyncSender, str], Coroutine[Any, Any, Any]]


async def one(send: AsyncSender, url: str) -> None:
    await send(url)


async def large(send: AsyncSender, url: str) -> None:
    await send(url, b"x" * 3_000_000)


CANCELLED: dict[str, tuple[Scenario, loopback.Answer]] = {
    "one piece": (one, reply(200, b"hi")),
    "slow head": (
        one,
        [HEAD, Pause(0.002), b"Content-Length: 2\r\n\r\n", Pause(0.002), b"h", Pause(0), b"i"],
    ),
    "stream": (one, event_stream([b"a", b"b", b"c"], pace=0.002)),
    "stream that stalls": (one, [*event_stream([b"a", b"b"], pace=0.002, end=False), Stall()]),
    "ends by close": (one, [HEAD + b"\r\nhi", Pause(0.002), Close()]),
    "large body": (large, reply(200, b"hi")),
    "cut": (one, [CUT, Close()]),
}


@pytest.mark.parametrize("kept", [False, True], ids=["new connection", "kept connection"])
@pytest.mark.parametrize(("scenario", "answer"), CANCELLED.values(), ids=CANCELLED)
def test_nothing_is_lost_when_a_request_is_cancelled_at_any_turn_of_the_loop(
    scenario: Scenario, answer: loopback.Answer, kept: bool, server_tls: ssl.SSLContext | None
) -> None:
    """The one place is free again, the next request works, and the server has no connection too many."""

    async def main(send: AsyncSender) -> int:
        tried = 0
        for count in (*range(13), 15, 20, 25):
            tried += 1
            if kept:
                assert await send(f"{server.origin}/well") == HI
            else:
                await until(lambda: not server.open)
            task = asyncio.create_task(scenario(send, server.url))
            await turns(count, 0.0007)
            ended = task.done()
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)
            assert send.held == send.idle
            assert await send(f"{server.origin}/well") == HI
            assert send.held == send.idle == 1
            assert len(send.links) <= 2  # one may be closing
            if not kept:
                assert await send(f"{server.origin}/last") == HI
            if ended:
                break
        return tried

    def handler(request: loopback.Request) -> loopback.Answer:
        if request.target == "/last":
            return reply(200, b"hi", {"connection": "close"})
        return reply(200, b"hi") if request.target == "/well" else answer

    with serve(handler, tls=server_tls) as server:
        assert run(main, max_connections=1) >= 3
        server.until(lambda: not server.open)


@pytest.mark.parametrize("count", range(6))
def test_the_others_move_up_when_requests_in_the_queue_are_cancelled(count: int) -> None:
    async def main(send: AsyncSender) -> None:
        first = await send.open(server.url)
        tasks = [asyncio.create_task(send(server.url, b"%d" % at)) for at in range(4)]
        await turns(count)
        tasks[0].cancel()
        tasks[2].cancel()
        await turns(count)
        await first.aclose()
        results = await asyncio.gather(*tasks, return_exceptions=True)
        assert [type(result) for result in results] == [asyncio.CancelledError, tuple] * 2
        assert send.held == send.idle == 1

    with serve(in_turn([*event_stream([b"x"], end=False), Stall()], reply(200, b"hi"))) as server:
        run(main, max_connections=1)
        assert [request.body for request in server.requests] == [b"{}", b"1", b"3"]


@pytest.mark.parametrize("keeps", [True, False], ids=["a connection", "a place"])
def test_a_grant_is_passed_on_when_its_request_is_cancelled_at_that_moment(keeps: bool) -> None:
    async def main(send: AsyncSender) -> None:
        first = await send.open(server.url)
        granted, later = (asyncio.create_task(send(server.url, name)) for name in (b"granted", b"later"))
        await turns(2)
        if keeps:
            end.set()
            await read(first)  # hands its connection on ...
        else:
            await first.aclose()  # or only its place
        granted.cancel()  # ... and the task that has it did not run yet
        assert await later == HI
        with pytest.raises(asyncio.CancelledError):
            await granted
        assert send.held == send.idle == 1

    end = threading.Event()
    head, piece, last = event_stream([b"x"])
    with serve(in_turn([head, piece, WaitFor(end), last], reply(200, b"hi"))) as server:
        run(main, max_connections=1)
        assert [request.body for request in server.requests] == [b"{}", b"later"]
        assert server.connections == 2 - keeps


def test_a_granted_connection_that_dies_before_its_use_is_replaced() -> None:
    with serve(lambda _: [reply(200, b"hi"), Close()]) as server:
        assert run(lambda send: send.at_once(20, server.url, b"{}", "PUT"), max_connections=1) == [HI] * 20
        assert len(server.requests) <= 40


# The end


def test_closing_ends_requests_wherever_they_are(server_tls: ssl.SSLContext | None) -> None:
    async def main(send: AsyncSender) -> None:
        with loopback.silent() as silent:
            streamed = await send.open(server.url)
            jobs = [
                send(server.url),  # its head is waited for
                send(f"https://127.0.0.1:{silent}/"),  # in its TLS handshake
                send(server.url),  # in the queue
                send(f"https://127.0.0.1:{silent}/"),
            ]
            tasks = list(map(asyncio.create_task, jobs))
            reading = asyncio.create_task(read(streamed))
            await asyncio.sleep(0.05)
            before = time.monotonic()
            await send.transport.aclose()
            assert time.monotonic() - before < 8
            results = await asyncio.gather(*tasks, reading, return_exceptions=True)
            assert [type(result) for result in results] == [httpx.CloseError] * 5
            assert {str(result) for result in results} == {"the transport was closed"}
            assert send.held == 0
            with pytest.raises(RuntimeError, match="the transport was closed"):
                await send(server.url)
            await send.transport.aclose()
        await until(lambda: not server.open)

    stalling: list[loopback.Answer] = [[*event_stream([b"x"], end=False), Stall()], [Stall()]]
    with serve(in_turn(*stalling), tls=server_tls) as server:
        run(main, max_connections=3)


def test_closing_closes_idle_connections_at_once(server_tls: ssl.SSLContext | None) -> None:
    async def main(send: AsyncSender) -> None:
        await send.at_once(10, server.url)
        before = time.monotonic()
        await send.transport.aclose()
        assert time.monotonic() - before < 8
        assert not send.links

    with serve(lambda _: [Pause(0.02), reply(200, b"hi")], tls=server_tls) as server:
        run(main)
        server.until(lambda: not server.open)


@pytest.mark.parametrize("count", range(12))
def test_closing_at_any_turn_of_a_request_leaves_no_connection(
    count: int, server_tls: ssl.SSLContext | None
) -> None:
    async def main(send: AsyncSender) -> None:
        task = asyncio.create_task(send(server.url))
        await turns(count, 0.001)
        if count:
            await send.transport.aclose()
        else:
            task.cancel()
        (result,) = await asyncio.gather(task, return_exceptions=True)
        assert result == HI or isinstance(result, (httpx.CloseError, asyncio.CancelledError))

    steps: list[loopback.Step] = [HEAD, Pause(0.002), b"Content-Length: 2\r\n\r\nhi"]
    with serve(lambda _: steps, tls=server_tls) as server:
        run(main)
        server.until(lambda: not server.open)


def test_closing_at_the_moment_of_a_new_connection_sends_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    """The connection is there before its opening can be stopped."""

    async def main(send: AsyncSender) -> None:
        task = asyncio.create_task(send(server.url))
        await turns(1)
        await send.transport.aclose()
        with pytest.raises(httpx.CloseError):
            await task

    monkeypatch.setattr("chatpipe.wire.connect.Connector.stop", lambda _: None)
    with serve(lambda _: reply(200, b"hi")) as server:
        run(main)
        assert server.requests == []


def test_an_unused_transport_can_be_closed() -> None:
    run(lambda send: send.transport.aclose())


def test_a_pool_is_an_async_context_manager() -> None:
    async def main() -> None:
        async with PoolTransport() as transport:
            request = httpx.Request("POST", server.url, stream=httpx.ByteStream(b"{}"))
            assert await read(await transport.handle_async_request(request)) == b"hi"

    with serve(lambda _: reply(200, b"hi")) as server:
        asyncio.run(main())


# Many


def descriptors() -> int:
    return len(os.listdir("/proc/self/fd"))


def test_two_thousand_in_flight_leave_no_descriptor_open() -> None:
    async def main(send: AsyncSender) -> None:
        for _ in range(2):
            assert await send.at_once(count, server.url, b"x" * 300, **NO_LIMITS) == [HI] * count

    before, count = descriptors(), 2000
    with serve(together(count)) as server:
        run(main, idle_s=PATIENCE_S)
        assert (server.peak, server.connections) == (count, count)
    assert descriptors() == before


def together(count: int) -> loopback.Handler:
    """A server that answers so many requests when all of them are there."""
    waiting: list[Wakeup] = []

    def handler(_: loopback.Request) -> list[loopback.Step]:
        if len(waiting) < count - 1:
            waiting.append(Wakeup())
            return [waiting[-1], reply(200, b"hi")]
        for each in waiting:
            each.wake()
        waiting.clear()
        return [reply(200, b"hi")]

    return handler


@pytest.mark.parametrize("seed", range(4))
def test_any_mix_of_replies_faults_and_cancellations_loses_nothing(seed: int) -> None:
    """Every request ends, at most seven are on their way, and all seven places come back."""
    choice = random.Random(seed)
    answers: list[tuple[loopback.Answer, bool]] = [
        (reply(200, b"hi"), True),
        ([Pause(0.004), reply(200, b"hi")], True),
        (chunked([b"h", b"i"]), True),
        (event_stream([b"h", b"i"], pace=0.002), True),
        (reply(200, b"hi", {"connection": "close"}), True),
        ([reply(200, b"hi"), Close()], True),
        ([reply(200, b"hi"), Pause(0.003), Close()], True),
        (reply(200, b"hi") + b"x", True),
        ([Close()], False),
        ([CUT, Close()], False),
        ([*event_stream([b"h"], end=False), Stall()], False),
        ([Stall()], False),
        (b"garbage\r\n\r\n", False),
    ]

    def handler(request: loopback.Request) -> loopback.Answer:
        return answers[int(request.body.partition(b" ")[0])][0]

    async def job(send: AsyncSender, url: str, kind: int, cancelled_after: float | None, size: int) -> None:
        try:
            async with asyncio.timeout(cancelled_after):
                read_s = PATIENCE_S if answers[kind][1] else 0.05
                assert await send(url, b"%d " % kind + b"x" * size, "PUT", read=read_s) == HI
        except TimeoutError:
            assert cancelled_after is not None
        except httpx.TransportError:
            # A good reply may meet a connection that dies before its first byte, but only once.
            assert not answers[kind][1], kind

    async def main(send: AsyncSender) -> None:
        async with asyncio.TaskGroup() as group:
            for _ in range(400):
                kind = choice.randrange(len(answers))
                after = choice.choice([None, None, choice.random() * 0.05])
                size = choice.choice([0, 300, 300_000])
                there = choice.choice([server, tls_server])
                group.create_task(job(send, there.url, kind, after, size))
                if choice.random() < 0.5:
                    await asyncio.sleep(choice.random() * 0.003)
                assert send.held <= 7
        await until(lambda: send.held == send.idle)
        streams = [await send.open(server.url, b"10 ") for _ in range(7)]
        assert (send.held, send.idle) == (7, 0)
        for response in streams:
            await response.aclose()
        assert send.held == 0

    with serve(handler) as server, serve(handler, tls=loopback.tls_contexts().server) as tls_server:
        run(main, max_connections=7)
        assert server.peak <= 7 + 7  # the server notices a cancelled request a little later
        server.until(lambda: not server.open)
        tls_server.until(lambda: not tls_server.open)
