"""From an origin to a connection: names, several addresses, TLS, and the time all of it may take."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import ssl
import threading
import time
from collections.abc import Iterator
from typing import Any

import pytest

import loopback
from chatpipe.wire import connect, faults
from chatpipe.wire.connect import Address, interleaved
from chatpipe.wire.timeouts import DEADLINE
from loopback import closed_port, reply, serve
from pooled import Pool, client_context, run, turns

import httpx  # isort: skip - after chatpipe.wire, which keeps httpx's own command line out

HI = (200, b"hi")


class Resolver:
    """What the system answers to any name: it is the one thing that is not on loopback."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.asked: list[tuple[Any, ...]] = []
        self.answers: list[tuple[str, int]] | Exception = []
        self.held: threading.Event | None = None
        monkeypatch.setattr(socket, "getaddrinfo", self._answer)

    def _answer(self, *names: Any, **_: Any) -> list[tuple[Any, ...]]:
        self.asked.append(names)
        if self.held is not None:
            self.held.wait(10)
        if isinstance(self.answers, Exception):
            raise self.answers
        entry = (socket.AF_INET, socket.SOCK_STREAM, 6, "")
        return [(*entry, address) for address in self.answers]


@pytest.fixture
def resolver(monkeypatch: pytest.MonkeyPatch) -> Resolver:
    return Resolver(monkeypatch)


@contextlib.contextmanager
def full_backlog() -> Iterator[int]:
    """A port that answers no further connection: Linux drops a SYN when the backlog is full."""
    with socket.socket() as listener, contextlib.ExitStack() as stack:
        listener.bind(("127.0.0.1", 0))
        listener.listen(0)
        for _ in range(3):
            client = stack.enter_context(socket.socket())
            client.setblocking(False)
            client.connect_ex(listener.getsockname())
        yield listener.getsockname()[1]


# Names


def test_a_name_is_looked_up_once_for_all_who_ask(resolver: Resolver) -> None:
    async def main(send: Pool) -> None:
        resolver.answers = [("127.0.0.1", server.port)]
        for _ in range(3):
            url = f"http://one.example:{server.port}/v1"
            assert await asyncio.gather(*(send(url) for _ in range(20))) == [HI] * 20
        assert resolver.asked == [(b"one.example", server.port)]
        assert await send(f"http://two.example:{server.port}/v1") == HI
        assert len(resolver.asked) == 2

    with serve(lambda _: reply(200, b"hi", {"connection": "close"})) as server:
        run(main)
        assert server.requests[0].headers["host"] == f"one.example:{server.port}"


def test_a_name_is_looked_up_again_after_a_while(resolver: Resolver, monkeypatch: pytest.MonkeyPatch) -> None:
    async def main(send: Pool) -> None:
        resolver.answers = [("127.0.0.1", server.port)]
        for _ in range(2):
            await send("http://one.example/v1")

    monkeypatch.setattr(connect, "NAMES_KEPT_S", 0.0)
    with serve(lambda _: reply(200, b"", {"connection": "close"})) as server:
        run(main)
    assert len(resolver.asked) == 2


def test_a_name_is_looked_up_again_when_nobody_listens_there_any_more(resolver: Resolver) -> None:
    async def main(send: Pool) -> None:
        resolver.answers = [("127.0.0.1", closed_port())]
        with pytest.raises(httpx.ConnectError, match="Connection refused"):
            await send("http://one.example/v1")
        resolver.answers = [("127.0.0.1", server.port)]
        assert await send("http://one.example/v1") == HI

    with serve(lambda _: reply(200, b"hi")) as server:
        run(main)


def test_addresses_are_not_looked_up(resolver: Resolver) -> None:
    async def main(send: Pool) -> None:
        assert await send(server.url) == HI
        with pytest.raises(httpx.ConnectError):
            await send("http://[::1]:9/", connect=1.0)

    with serve(lambda _: reply(200, b"hi")) as server:
        run(main)
    assert resolver.asked == []


@pytest.mark.parametrize(
    ("failure", "message"),
    [
        (socket.gaierror(socket.EAI_NONAME, "Name or service not known"), "Name or service not known"),
        (socket.gaierror(socket.EAI_AGAIN, "Temporary failure"), "Temporary failure"),
        (UnicodeError("label too long"), "label too long"),
    ],
)
def test_an_unknown_name_is_a_connect_error_for_all_who_ask(
    resolver: Resolver, failure: Exception, message: str
) -> None:
    async def main(send: Pool) -> None:
        resolver.answers = failure
        for _ in range(2):  # it is not remembered
            jobs = [send("http://none.example/v1") for _ in range(5)]
            results = await asyncio.gather(*jobs, return_exceptions=True)
            assert [(type(result), str(result)) for result in results] == [(httpx.ConnectError, message)] * 5
        assert len(resolver.asked) == 2
        assert send.held == 0
        assert isinstance(results[0], httpx.ConnectError)
        assert faults.is_passing(results[0]) is not (getattr(failure, "errno", None) == socket.EAI_NONAME)

    run(main, max_connections=5)


def test_who_gives_up_on_a_look_up_does_not_spoil_it_for_the_others(resolver: Resolver) -> None:
    async def main(send: Pool) -> None:
        resolver.answers = [("127.0.0.1", server.port)]
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


def test_a_slow_look_up_is_a_connect_time_out_and_holds_nobody_up(resolver: Resolver) -> None:
    """Neither the end of the loop waits for it, nor does its late answer find anybody surprised."""

    async def main(send: Pool) -> None:
        with pytest.raises(httpx.ConnectTimeout, match=r"^no connection within 0\.05 s$"):
            await send("http://one.example/v1", connect=0.05)
        with pytest.raises(httpx.ConnectTimeout, match=f"^{DEADLINE}$"):
            await send("http://one.example/v1", deadline=time.monotonic() + 0.05)
        assert len(resolver.asked) == 1

    resolver.held = threading.Event()
    resolver.answers = OSError("late")
    started = time.monotonic()
    run(main)
    assert time.monotonic() - started < 2
    resolver.held.set()
    for thread in threading.enumerate():
        if thread.name == "look-up of one.example":
            thread.join(10)


# Several addresses


def test_all_addresses_of_a_name_are_tried(resolver: Resolver) -> None:
    async def main(send: Pool) -> None:
        resolver.answers = [("127.0.0.1", closed_port()), ("127.0.0.1", server.port)]
        started = time.monotonic()
        assert await send("http://two.example/v1") == HI
        assert time.monotonic() - started < connect.STAGGER_S  # a failure lets the next one start

    with serve(lambda _: reply(200, b"hi")) as server:
        run(main)


def test_an_address_that_swallows_packets_is_overtaken_by_the_next(resolver: Resolver) -> None:
    async def main(send: Pool) -> None:
        resolver.answers = [("127.0.0.1", swallowing), ("127.0.0.1", server.port)]
        started = time.monotonic()
        assert await send("http://two.example/v1") == HI
        assert connect.STAGGER_S <= time.monotonic() - started < 2

    with full_backlog() as swallowing, serve(lambda _: reply(200, b"hi")) as server:
        run(main)


def test_when_all_fail_the_first_failure_is_told(resolver: Resolver) -> None:
    async def main(send: Pool) -> None:
        resolver.answers = [("127.0.0.1", closed_port()), ("255.255.255.255", 9)]
        with pytest.raises(httpx.ConnectError, match=r"^Connection refused$"):
            await send("http://two.example/v1")

    run(main)


@pytest.mark.parametrize("count", range(8))
def test_a_race_that_is_cancelled_leaves_no_socket(resolver: Resolver, count: int) -> None:
    """What is left open is found by the garbage collector, and told by `run`."""

    async def main(send: Pool) -> None:
        resolver.answers = [("127.0.0.1", swallowing), ("127.0.0.1", server.port), ("127.0.0.1", server.port)]
        task = asyncio.create_task(send("http://two.example/v1"))
        await asyncio.sleep(connect.STAGGER_S * 0.99 if count else 0)
        await turns(count, 0.001)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        assert send.held == send.idle
        await turns(3)

    with full_backlog() as swallowing, serve(lambda _: reply(200, b"hi")) as server:
        run(main)
        server.until(lambda: not server.open)


def test_the_families_take_turns() -> None:
    four = [Address(socket.AF_INET, (f"10.0.0.{at}", 80)) for at in range(3)]
    six = [Address(socket.AF_INET6, (f"fd::{at}", 80, 0, 0)) for at in range(2)]
    assert interleaved([*six, *four]) == [six[0], four[0], six[1], four[1], four[2]]
    assert interleaved([*four, *six]) == [four[0], six[0], four[1], six[1], four[2]]
    assert interleaved(four) == four
    assert interleaved([]) == []


# Time, and nobody there


@pytest.mark.parametrize("scheme", ["http", "https"])
def test_refused(scheme: str) -> None:
    async def main(send: Pool) -> None:
        with pytest.raises(httpx.ConnectError, match=r"^Connection refused$") as caught:
            await send(f"{scheme}://127.0.0.1:{closed_port()}/v1")
        assert isinstance(caught.value.__cause__, ConnectionRefusedError)
        assert faults.is_passing(caught.value)
        assert send.held == 0

    run(main)


def test_no_answer_to_a_connection_is_a_connect_time_out() -> None:
    async def main(send: Pool) -> None:
        with pytest.raises(httpx.ConnectTimeout, match=r"^no connection within 0\.1 s$"):
            await send(f"http://127.0.0.1:{port}/v1", connect=0.1)
        with pytest.raises(httpx.ConnectTimeout, match=f"^{DEADLINE}$"):
            await send(f"http://127.0.0.1:{port}/v1", deadline=time.monotonic() + 0.1)
        assert send.held == 0

    with full_backlog() as port:
        run(main)


def test_a_stalled_handshake_is_a_connect_time_out() -> None:
    async def main(send: Pool) -> None:
        with pytest.raises(httpx.ConnectTimeout, match=r"^no TLS handshake within 0\.1 s$"):
            await send(f"https://127.0.0.1:{port}/v1", connect=0.1)
        assert send.held == 0

    with loopback.silent() as port:
        run(main)


def test_no_descriptor_left_is_a_connect_error(monkeypatch: pytest.MonkeyPatch) -> None:
    async def main(send: Pool) -> None:
        real = socket.socket

        def refuse(*_: object) -> socket.socket:
            raise OSError(24, "Too many open files")

        monkeypatch.setattr(socket, "socket", refuse)
        with pytest.raises(httpx.ConnectError, match=r"^Too many open files$"):
            await send(url)
        monkeypatch.setattr(socket, "socket", real)
        assert send.held == 0

    url = f"http://127.0.0.1:{closed_port()}/v1"
    run(main)


# TLS


def test_an_unknown_authority_is_said_in_plain_words() -> None:
    async def main(send: Pool) -> None:
        with pytest.raises(
            httpx.ConnectError, match=r"^certificate verify failed: unable to get local issuer"
        ) as caught:
            await send(server.url)
        assert isinstance(caught.value.__cause__, ssl.SSLCertVerificationError)
        assert not faults.is_passing(caught.value)
        assert send.held == 0

    with serve(tls=loopback.tls_contexts().server) as server:
        run(main, ssl_context=ssl.create_default_context)


def test_a_certificate_for_another_name_is_refused() -> None:
    async def main(send: Pool) -> None:
        with pytest.raises(httpx.ConnectError, match=r"certificate is not valid for '127\.0\.0\.1'"):
            await send(server.url)

    with serve(tls=loopback.tls_contexts().wrong_name) as server:
        run(main)


def test_the_name_is_sent_to_the_server_and_checked(resolver: Resolver) -> None:
    async def main(send: Pool) -> None:
        resolver.answers = [("127.0.0.1", server.port)]
        assert await send(f"https://localhost.:{server.port}/v1") == HI
        with pytest.raises(httpx.ConnectError, match=r"not valid for 'other.example'"):
            await send("https://other.example/v1")

    names = []
    context = loopback.tls_contexts().server
    context.sni_callback = lambda _, name, __: names.append(name)
    try:
        with serve(lambda _: reply(200, b"hi"), tls=context) as server:
            run(main)
    finally:
        context.sni_callback = None
    assert names == ["localhost", "other.example"]


def test_a_name_that_no_certificate_can_have(resolver: Resolver) -> None:
    async def main(send: Pool) -> None:
        resolver.answers = [("127.0.0.1", server.port)]
        with pytest.raises(httpx.ConnectError):
            await send(f"https://{'a' * 70}.example:{server.port}/v1")
        assert send.held == 0

    with serve(tls=loopback.tls_contexts().server) as server:
        run(main)


def test_tls_to_a_server_without_it() -> None:
    async def main(send: Pool) -> None:
        with pytest.raises(httpx.ConnectError, match=r"(?i)^(wrong version|record layer|http request)"):
            await send(server.url.replace("http:", "https:"))
        assert send.held == 0

    with serve() as server:
        run(main)


def test_no_tls_to_a_server_with_it() -> None:
    async def main(send: Pool) -> None:
        with pytest.raises((httpx.RemoteProtocolError, httpx.ReadError)):
            await send(server.url.replace("https:", "http:"))
        assert send.held == 0

    with serve(tls=loopback.tls_contexts().server) as server:
        run(main)


def test_a_server_that_hangs_up_in_the_handshake(raw_server: Any) -> None:
    async def main(send: Pool) -> None:
        with pytest.raises(httpx.ConnectError) as caught:
            await send(url.replace("http:", "https:"))
        assert str(caught.value)
        assert send.held == 0

    with raw_server(lambda connection: connection.recv(1)) as url:
        run(main)


def test_a_client_certificate_that_is_wanted_and_missing(raw_server: Any) -> None:
    """In TLS 1.3 the alert comes after our handshake is done, as the first thing that is read."""

    async def main(send: Pool) -> None:
        with pytest.raises(httpx.ReadError, match=r"(?i)alert certificate required"):
            await send(url.replace("http:", "https:"))
        assert send.held == 0

    def talk(connection: socket.socket) -> None:
        context = loopback.tls_contexts().asks_client
        with context.wrap_socket(connection, server_side=True, do_handshake_on_connect=False) as wrapped:
            with contextlib.suppress(ssl.SSLError):
                wrapped.do_handshake()
            while socket.socket.recv(wrapped, 1000):  # so that no reset overtakes the alert
                pass

    with raw_server(talk) as url:
        run(main)


def test_a_client_certificate_is_shown() -> None:
    async def main(send: Pool) -> None:
        assert await send(server.url) == HI

    made = loopback.tls_contexts()
    context = ssl.create_default_context(cafile=made.ca_pem)
    context.load_cert_chain(made.client_cert, made.client_key)
    with serve(lambda _: reply(200, b"hi"), tls=made.asks_client) as server:
        run(main, ssl_context=context)


def test_a_context_is_made_at_the_first_https_url_and_only_once() -> None:
    async def main(send: Pool) -> None:
        await send(plain.url)
        assert made == []
        await asyncio.gather(*(send(server.url) for _ in range(5)))

    made = []

    def make() -> ssl.SSLContext:
        made.append(1)
        return client_context()

    closing = reply(200, b"", {"connection": "close"})
    with (
        serve(lambda _: closing) as plain,
        serve(lambda _: closing, tls=loopback.tls_contexts().server) as server,
    ):
        run(main, ssl_context=make)
    assert made == [1]


def test_a_hundred_handshakes_at_a_time() -> None:
    async def main(send: Pool) -> None:
        assert await asyncio.gather(*(send(server.url) for _ in range(100))) == [HI] * 100

    with serve(lambda _: reply(200, b"hi"), tls=loopback.tls_contexts().server) as server:
        run(main)
