"""Ten thousand connections to `serve` at once: its memory, another client among them, and the end of all."""

from __future__ import annotations

import re
import resource
import socket
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from serve.client import Running, chat_request, serving, statuses

CONNECTIONS = 10_000
MOST_S = 120.0
_WAVES = 3  # what one leaves behind would show in the next
WAIT = "<wait>"
ASKED = chat_request(f"{WAIT} {'word ' * 50}", headers=b"")

# What each client has sent, and the most KiB that its connection may take in the server.
SENT = {"idle": (b"", 7), "half a request": (ASKED[:-20], 8), "working": (ASKED, 12)}


@pytest.fixture
def descriptors() -> Iterator[None]:
    """As many as the clients need, in this process."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = CONNECTIONS + 500
    if hard != resource.RLIM_INFINITY and hard < wanted:
        pytest.skip(f"the system permits {hard} descriptors only")
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, wanted), hard))
    yield
    resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


@pytest.mark.parametrize("kind", SENT)
@pytest.mark.usefixtures("descriptors")
def test_ten_thousand_connections(kind: str) -> None:
    sent, most_kib = SENT[kind]
    with serving("-q", "--fault", f"delay=1h:match={WAIT}") as server:
        assert statuses(server.chat()) == [200]
        open_before, before_kib = _open_files(server), _memory_kib(server)
        peaks = []
        for _ in range(_WAVES):
            with ExitStack() as stack:
                for _ in range(CONNECTIONS):
                    stack.enter_context(server.connect()).sendall(sent)
                _until(lambda: _open_files(server) >= open_before + CONNECTIONS)
                if kind == "working":
                    server.until(b"requests_running", CONNECTIONS)
                peaks.append((_memory_kib(server) - before_kib) / CONNECTIONS)
                began = time.monotonic()
                assert statuses(server.chat()) == [200]
                took_s = time.monotonic() - began
            _until(lambda: _open_files(server) == open_before)
        text = ", then ".join(f"{peak:.1f}" for peak in peaks)
        print(f"\n{kind}: {text} KiB a connection, another client answered in {took_s * 1e3:.0f} ms", end="")
        assert max(peaks) <= most_kib
        assert server.process.poll() is None


def _open_files(server: Running) -> int:
    return len(list(Path(f"/proc/{server.process.pid}/fd").iterdir()))


def _memory_kib(server: Running) -> int:
    found = re.search(r"VmRSS:\s+(\d+)", Path(f"/proc/{server.process.pid}/status").read_text())
    assert found is not None
    return int(found[1])


def _until(condition: Callable[[], bool]) -> None:
    """Wait until a condition is true, which the server reaches by itself."""
    end = time.monotonic() + MOST_S
    while not condition():
        assert time.monotonic() < end, "the server does not get there"
        time.sleep(0.05)


def test_a_limit_of_descriptors_is_reported_once_and_the_others_are_answered() -> None:
    """A server that may open few files takes no more connections, and goes on when some have left."""
    with serving(preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_NOFILE, (60, 60))) as server:
        idle = [socket.create_connection(("127.0.0.1", server.port)) for _ in range(100)]
        for connection in idle:
            connection.close()
        assert statuses(server.chat()) == [200]
        server.process.terminate()
        _, errors = server.process.communicate(timeout=20)
    assert errors.count(b"cannot take a connection") == 1
