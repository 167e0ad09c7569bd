"""Senders through the two transports."""

from __future__ import annotations

import contextlib
import ssl
from collections.abc import Callable, Iterator
from typing import Any

import httpx
import pytest

from chatpipe.exchange import run_without_loop
from chatpipe.wire import connection, sync
from chatpipe.wire.pool import PoolTransport
from chatpipe.wire.sync import BlockingTransport
from support.patience import PATIENCE_S
from support.senders import AsyncSender, Sender, client_context, collect_garbage, event_loop
from support.servers import loopback
from wire.servers import Resolver


@pytest.fixture(autouse=True)
def any_end_is_prompt(monkeypatch: pytest.MonkeyPatch) -> None:
    """The end of a kept connection comes at once, also on a machine that stands still for a moment."""
    for module in (sync, connection):
        monkeypatch.setattr(module, "STALE_CLOSE_S", PATIENCE_S)


@pytest.fixture
def make_sender() -> Iterator[Callable[[httpx.AsyncBaseTransport], Sender]]:
    """Makes a sender through a transport that blocks."""
    made: list[Sender] = []

    def make(transport: httpx.AsyncBaseTransport) -> Sender:
        made.append(Sender(AsyncSender(transport)))
        return made[-1]

    yield make
    for sender in made:
        sender.close()
    collect_garbage()


@contextlib.contextmanager
def _senders(pool: bool) -> Iterator[Callable[..., Sender]]:
    with contextlib.ExitStack() as stack:
        run = stack.enter_context(event_loop()) if pool else run_without_loop

        def make(ssl_context: Any = client_context, **options: Any) -> Sender:
            transport = PoolTransport(ssl_context, **options) if pool else BlockingTransport(ssl_context)
            sender = Sender(AsyncSender(transport), run)
            stack.callback(close, sender)
            return sender

        def close(sender: Sender) -> None:
            sender.close()
            assert sender.held == sender.idle == 0, (sender.held, sender.idle)

        yield make
    collect_garbage()


@pytest.fixture(params=["blocking", "pool"])
def make_send(request: pytest.FixtureRequest) -> Iterator[Callable[..., Sender]]:
    """Makes a sender through each of the two transports. All options but ssl_context are the pool's."""
    with _senders(request.param == "pool") as make:
        yield make


@pytest.fixture
def send(make_send: Callable[..., Sender]) -> Sender:
    return make_send()


@pytest.fixture
def make_pool() -> Iterator[Callable[..., Sender]]:
    with _senders(pool=True) as make:
        yield make


@pytest.fixture
def pool(make_pool: Callable[..., Sender]) -> Sender:
    return make_pool()


@pytest.fixture(params=["http", "https"])
def server_tls(request: pytest.FixtureRequest) -> ssl.SSLContext | None:
    return loopback.tls_contexts().server if request.param == "https" else None


@pytest.fixture
def resolver(monkeypatch: pytest.MonkeyPatch) -> Resolver:
    return Resolver(monkeypatch)
