"""Servers below HTTP: one that a test scripts byte by byte, one that never accepts, and a resolver."""

from __future__ import annotations

import contextlib
import socket
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from support.patience import PATIENCE_S


@contextlib.contextmanager
def raw_server(talk: Callable[[socket.socket], object]) -> Iterator[str]:
    """A server of one connection, for tests that write before a request is read. Yields its URL."""

    def run() -> None:
        connection, _ = listener.accept()
        with connection, contextlib.suppress(OSError):
            talk(connection)

    with socket.create_server(("127.0.0.1", 0)) as listener:
        thread = threading.Thread(target=run, daemon=True)
        thread.start()
        yield f"http://127.0.0.1:{listener.getsockname()[1]}/v1"
        thread.join(10)
        assert not thread.is_alive()


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


class Resolver:
    """The system's answer to a look-up of any name: the one thing that is not on loopback."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.asked: list[tuple[Any, ...]] = []
        self.ports: list[int] = []  # of 127.0.0.1
        self.addresses: list[tuple[str, int]] = []  # after those
        self.failure: Exception | None = None
        self.held: threading.Event | None = None
        monkeypatch.setattr(socket, "getaddrinfo", self._answer)

    def _answer(self, *names: Any, **_: Any) -> list[tuple[Any, ...]]:
        self.asked.append(names)
        if self.held is not None:
            self.held.wait(PATIENCE_S)
        if self.failure is not None:
            raise self.failure
        entry = (socket.AF_INET, socket.SOCK_STREAM, 6, "")
        addresses = [*(("127.0.0.1", port) for port in self.ports), *self.addresses]
        return [(*entry, address) for address in addresses]


def drain(connection: socket.socket, size: int, most: int = 1 << 20, pause_s: float = 0.0) -> None:
    """Read size bytes, at most `most` at a time."""
    while size > 0:
        time.sleep(pause_s)
        size -= len(connection.recv(most))


def drain_to_end(connection: socket.socket) -> None:
    while connection.recv(1 << 20):
        pass
