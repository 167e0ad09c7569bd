from __future__ import annotations

import contextlib
import gc
import socket
import threading
from collections.abc import Callable, Coroutine, Iterator
from typing import Any

import pytest

from chatpipe.wire.blocking import BlockingTransport

import httpx  # isort: skip - after chatpipe.wire, which keeps httpx's own command line out

LIMITS = {"connect": 10.0, "read": 10.0, "write": 10.0, "pool": None}


def drive(coroutine: Coroutine[Any, Any, Any]) -> Any:
    """Run it as the program does, without an event loop: no await may suspend."""
    try:
        coroutine.send(None)
    except StopIteration as done:
        return done.value
    coroutine.close()
    raise AssertionError("it suspended")


class Sender:
    """Sends through one transport, reads the whole reply, and closes it."""

    def __init__(self, transport: httpx.AsyncBaseTransport) -> None:
        self.transport = transport

    def open(self, url: str, body: bytes = b"{}", **extensions: Any) -> httpx.Response:
        """The reply, its body not read. extensions are time-outs by name, and deadline."""
        deadline = extensions.pop("deadline", None)
        made = {"timeout": {**LIMITS, **extensions}, "deadline": deadline}
        request = httpx.Request("POST", url, content=body, extensions=made)
        response = drive(self.transport.handle_async_request(request))
        assert isinstance(response, httpx.Response)
        return response

    def __call__(self, url: str, body: bytes = b"{}", **extensions: Any) -> tuple[int, bytes]:
        response = self.open(url, body, **extensions)
        try:
            return response.status_code, drive(response.aread())
        finally:
            drive(response.aclose())

    def close(self) -> None:
        drive(self.transport.aclose())


@pytest.fixture
def make_sender() -> Iterator[Callable[[httpx.AsyncBaseTransport], Sender]]:
    made: list[Sender] = []

    def make(transport: httpx.AsyncBaseTransport) -> Sender:
        made.append(Sender(transport))
        return made[-1]

    yield make
    for sender in made:
        sender.close()
    gc.collect()  # a socket left open is a ResourceWarning now, and so an error of this test


@pytest.fixture
def send(make_sender: Callable[[httpx.AsyncBaseTransport], Sender]) -> Sender:
    return make_sender(BlockingTransport())


@contextlib.contextmanager
def raw_server(talk: Callable[[socket.socket], None]) -> Iterator[str]:
    """A server of one connection, for what is said before a request is read. Yields its URL."""

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


@pytest.fixture(name="raw_server")
def raw_server_fixture() -> Callable[
    [Callable[[socket.socket], None]], contextlib.AbstractContextManager[str]
]:
    return raw_server
