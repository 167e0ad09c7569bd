"""Faults over the wire: what a client of ours makes of each, and the endings that only a socket shows."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from serve.client import Running, chat_request, serving
from support.process import run

# The exit status of `ask --retries 0` for each fault, streamed. A text is all that it writes.
STREAMED = {
    "status=503": (69, ""),
    "status=429": (75, ""),
    "status=401": (77, ""),
    "status=400": (65, ""),
    "html": (69, ""),
    "length": (3, "one two"),
    "filter": (4, "one two"),
    "refuse": (4, ""),
    "truncate": (76, "one two"),
    "no-done": (0, "one two"),
    "error-event": (76, "one"),
    "garbage": (76, "one"),
    "blank": (0, "one two"),
    "comment": (0, "one two"),
    "stall=10ms": (0, "one two"),
    "cut": (76, "one"),
    "reset": (69, ""),
    "reset=2": (76, "one"),
    "empty": (76, ""),
    "delay=10ms": (0, "one two"),
    "ttft=10ms": (0, "one two"),
    "itl=1ms": (0, "one two"),
    "slice=1": (0, "one two"),
    "status=503:times=1": (69, ""),
    "tool=unknown": (0, "one two"),
}


@pytest.fixture(scope="module")
def server() -> Iterator[Running]:
    """Each fault is for the requests that have its own text in the system message."""
    faults = [word for text in STREAMED for word in ("--fault", f"{text}:match=<{text}>")]
    with serving(*faults) as running:
        yield running


@pytest.mark.parametrize("fault", STREAMED)
def test_status_and_text_of_our_client(server: Running, fault: str) -> None:
    status, text = STREAMED[fault]
    options = ("--base-url", server.url, "-m", "echo", "--retries", "0")
    done = run("ask", "-s", f"<{fault}>", "one two", *options)
    assert (done.status, done.stdout.decode().strip()) == (status, text)


def test_a_fault_that_passes_is_retried(server: Running) -> None:
    """The second request of the same body has none. It is another body than those of the test above."""
    done = run("ask", "-s", "<status=503:times=1>", "again", "--base-url", server.url, "-m", "echo")
    assert (done.status, done.stdout) == (0, b"again\n")


@pytest.mark.parametrize(
    ("fault", "received"),
    [("empty", b""), ("reset", None), ("cut", b"HTTP/1.1 200 OK")],
)
def test_endings_on_the_wire(server: Running, fault: str, received: bytes | None) -> None:
    """FIN after what was written, or a reset; None for that."""
    request = chat_request(f"<{fault}>")
    if received is None:
        with pytest.raises(ConnectionResetError):
            server.exchange(request)
    else:
        data = server.exchange(request)
        assert data[:15] == received
        assert not data.endswith(b"}")


def test_a_client_that_leaves_a_stall_is_forgotten() -> None:
    with serving("--fault", "stall", "--slots", "1", "--queue") as server:
        with server.connect() as stalled:
            stalled.sendall(chat_request())
            assert stalled.recv(4) == b"HTTP"
            server.until(b"requests_running", 1)
        server.until(b"requests_running", 0)


def test_what_is_no_fault_is_one_line() -> None:
    done = run("serve", "--fault", "cutt")
    assert (done.status, done.stdout, done.stderr.count(b"\n")) == (2, b"", 1)
    assert done.stderr.startswith(
        b"chatpipe: invalid value for '--fault': 'cutt' is not a kind of fault: did you mean cut?"
    )
