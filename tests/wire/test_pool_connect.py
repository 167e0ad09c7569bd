"""From an origin to a connection of the pool: names that many look up, and several addresses."""

from __future__ import annotations

import asyncio
import socket
import ssl
import threading
import time
from collections.abc import Callable

import httpx
import pytest

from chatpipe.wire import connect, faults
from chatpipe.wire.connect import Address, interleave
from chatpipe.wire.timeouts import ATTEMPT_DELAY_S, DEADLINE_PASSED
from support.senders import HI, AsyncSender, Sender, client_context, run, turns
from support.servers import loopback
from support.servers.loopback import closed_port, reply, serve
from wire.servers import Resolver, full_backlog

CLOSING = reply(200, b"hi", {"connection": "close"})

# Names


def test_a_name_is_looked_up_once_for_all_who_ask(resolver: Resolver, pool: Sender) -> None:
    with serve(lambda _: CLOSING) as server:
        resolver.ports = [server.port]
        for _ in range(3):
            url = f"http://one.example:{server.port}/v1"
            assert pool.at_once(20, url) == [HI] * 20
        assert resolver.asked == [(b"one.example", server.port)]
        assert pool(f"http://two.example:{server.port}/v1") == HI
        assert len(resolver.asked) == 2
        assert server.requests[0].headers["host"] == f"one.example:{server.port}"


def test_a_name_is_looked_up_again_after_a_while(
    resolver: Resolver, pool: Sender, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(connect, "RESOLVER_CACHE_S", 0.0)
    with serve(lambda _: CLOSING) as server:
        resolver.ports = [server.port]
        for _ in range(2):
            pool("http://one.example/v1")
    assert len(resolver.asked) == 2


def test_a_name_is_looked_up_again_when_nobody_listens_there_any_more(
    resolver: Resolver, pool: Sender
) -> None:
    with serve(lambda _: reply(200, b"hi")) as server:
        resolver.ports = [closed_port()]
        with pytest.raises(httpx.ConnectError, match="Connection refused"):
            pool("http://one.example/v1")
        resolver.ports = [server.port]
        assert pool("http://one.example/v1") == HI


def test_addresses_are_not_looked_up(resolver: Resolver, pool: Sender) -> None:
    with serve(lambda _: reply(200, b"hi")) as server:
        assert pool(server.url) == HI
        with pytest.raises(httpx.ConnectError):
            pool("http://[::1]:9/", connect=1.0)
    assert resolver.asked == []


@pytest.mark.parametrize(
    ("failure", "message"),
    [
        (socket.gaierror(socket.EAI_NONAME, "Name or service not known"), "Name or service not known"),
        (socket.gaierror(socket.EAI_AGAIN, "Temporary failure"), "Temporary failure"),
        (UnicodeError("label too long"), "no host can have this name"),
    ],
)
def test_an_unknown_name_is_a_connect_error_for_all_who_ask(
    resolver: Resolver, failure: Exception, message: str
) -> None:
    async def main(send: AsyncSender) -> None:
        resolver.failure = failure
        for _ in range(2):  # it is not remembered
            jobs = [send("http://none.example/v1") for _ in range(5)]
            results = await asyncio.gather(*jobs, return_exceptions=True)
            assert [(type(result), str(result)) for result in results] == [(httpx.ConnectError, message)] * 5
        assert len(resolver.asked) == 2
        assert send.held == 0
        assert isinstance(results[0], httpx.ConnectError)
        assert faults.is_transient(results[0]) is not (getattr(failure, "errno", None) == socket.EAI_NONAME)

    run(main, max_connections=5)


def test_a_cancelled_look_up_does_not_disturb_the_others(resolver: Resolver) -> None:
    async def main(send: AsyncSender) -> None:
        resolver.ports = [server.port]
        impatient, patient = (asyncio.create_task(send("http://one.example/v1")) for _ in range(2))
        await turns(3)
        impatient.cancel()
        await turns(3)
        resolver.held.set()  # type: ignore[union-attr]
        assert await patient == HI
        assert impatient.cancelled()
        assert len(resolver.asked) == 1

    resolver.held = threading.Event()
    with serve(lambda _: reply(200, b"hi")) as server:
        run(main)


def test_a_slow_look_up_is_a_connect_time_out_and_does_not_delay_the_end(resolver: Resolver) -> None:
    """The end of the loop does not wait for it, and its late answer is ignored."""

    async def main(send: AsyncSender) -> None:
        with pytest.raises(httpx.ConnectTimeout, match=r"^no connection within 0\.05 s$"):
            await send("http://one.example/v1", connect=0.05)
        with pytest.raises(httpx.ConnectTimeout, match=f"^{DEADLINE_PASSED}$"):
            await send("http://one.example/v1", deadline=time.monotonic() + 0.05)
        assert len(resolver.asked) == 1

    resolver.held = threading.Event()
    resolver.failure = OSError("late")
    started = time.monotonic()
    run(main)
    assert time.monotonic() - started < 8
    resolver.held.set()
    for thread in threading.enumerate():
        if thread.name == "look-up of one.example":
            thread.join(10)


# Several addresses


@pytest.mark.parametrize("count", range(8))
def test_a_race_that_is_cancelled_leaves_no_socket(resolver: Resolver, count: int) -> None:
    """The garbage collector finds a socket that is left open, and `run` then fails."""

    async def main(send: AsyncSender) -> None:
        resolver.ports = [swallowing, server.port, server.port]
        task = asyncio.create_task(send("http://two.example/v1"))
        await asyncio.sleep(ATTEMPT_DELAY_S * 0.99 if count else 0)
        await turns(count, 0.001)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        assert send.held == send.idle
        await turns(3)

    with full_backlog() as swallowing, serve(lambda _: reply(200, b"hi")) as server:
        run(main)
        server.until(lambda: not server.open)


def test_the_address_families_take_turns() -> None:
    four = [Address(socket.AF_INET, (f"10.0.0.{at}", 80)) for at in range(3)]
    six = [Address(socket.AF_INET6, (f"fd::{at}", 80, 0, 0)) for at in range(2)]
    assert interleave([*six, *four]) == [six[0], four[0], six[1], four[1], four[2]]
    assert interleave([*four, *six]) == [four[0], six[0], four[1], six[1], four[2]]
    assert interleave(four) == four
    assert interleave([]) == []


# The limits of the machine, and many handshakes


def test_no_descriptor_left_is_a_connect_error(pool: Sender, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> socket.socket:
        raise OSError(24, "Too many open files")

    url = f"http://127.0.0.1:{closed_port()}/v1"
    with monkeypatch.context() as patch:
        patch.setattr(socket, "socket", refuse)
        with pytest.raises(httpx.ConnectError, match=r"^Too many open files$"):
            pool(url)
    assert pool.held == 0


def test_a_context_is_made_once_for_many_connections(make_pool: Callable[..., Sender]) -> None:
    made = []

    def make() -> ssl.SSLContext:
        made.append(1)
        return client_context()

    pool = make_pool(make)
    with (
        serve(lambda _: CLOSING) as plain,
        serve(lambda _: CLOSING, tls=loopback.tls_contexts().server) as server,
    ):
        pool(plain.url)
        assert made == []
        pool.at_once(5, server.url)
    assert made == [1]


def test_a_hundred_handshakes_at_a_time(pool: Sender) -> None:
    with serve(lambda _: reply(200, b"hi"), tls=loopback.tls_contexts().server) as server:
        assert pool.at_once(100, server.url) == [HI] * 100
