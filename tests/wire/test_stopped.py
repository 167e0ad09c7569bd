"""A process that is stopped for longer than its limits: what arrived in the meantime is an answer."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import ssl
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from typing import NamedTuple

import pytest

from support.patience import PATIENCE_S
from support.process import Process, start
from support.servers import loopback
from support.servers.loopback import Answer, Proxy, Request, Server, WaitFor, completion, reply, serve

LIMIT_S = 1.0
LONG = "hi" * 100_000  # more than one read
KINDS = {"ask": ("ask", "hi"), "batch": ("batch", "-f", "text", "--lines", "-")}


class Held(NamedTuple):
    """A process that waits for its server. send lets the server go on."""

    process: Process
    server: Server
    send: Callable[[], None]


@contextmanager
def held(command: tuple[str, ...], *options: str, tls: bool, proxied: bool = False) -> Iterator[Held]:
    """A process whose request has arrived and is not answered yet."""
    arrived, let = threading.Event(), threading.Event()

    def handle(_: Request) -> Answer:
        arrived.set()
        return [WaitFor(let), reply(200, completion(LONG))]

    with ExitStack() as stack:
        server = stack.enter_context(serve(handle, tls=loopback.tls_contexts().server if tls else None))
        shared = ("--base-url", server.url, "-m", "m", "--insecure", "-q", "--retries", "0")
        if proxied:
            options += ("--proxy", stack.enter_context(Proxy()).url, "--connect-timeout", "30")
        process = stack.enter_context(start(*command, *shared, *options, stdin=-1))
        if command[0] == "batch":
            process.send(b"hi\n")
        process.hang_up()
        assert arrived.wait(PATIENCE_S)
        yield Held(process, server, let.set)


@contextmanager
def stopped(process: Process) -> Iterator[None]:
    """Stop the process for the block, and for longer than LIMIT_S. It sits in its wait by then."""
    process.settle()
    process.send_signal(signal.SIGSTOP)
    os.waitid(os.P_PID, process.pid, os.WSTOPPED | os.WNOWAIT)
    yield
    time.sleep(2 * LIMIT_S)
    process.send_signal(signal.SIGCONT)


@pytest.mark.parametrize("tls", [False, True], ids=["http", "https"])
@pytest.mark.parametrize("limit", ["--timeout", "--deadline"])
@pytest.mark.parametrize("command", KINDS.values(), ids=KINDS)
def test_an_answer_that_arrived_during_a_stop_is_read(
    command: tuple[str, ...], limit: str, tls: bool
) -> None:
    with held(command, limit, str(LIMIT_S), tls=tls) as run:
        with stopped(run.process):
            run.send()
        out, err = run.process.communicate()
        assert (run.process.returncode, out, err) == (0, f"{LONG}\n".encode(), b"")
        assert len(run.server.requests) == 1


@pytest.mark.parametrize(("kind", "limit"), [("ask", "--deadline"), ("batch", "--timeout")])
def test_an_answer_that_arrived_during_a_stop_is_read_behind_a_proxy(kind: str, limit: str) -> None:
    with held(KINDS[kind], limit, str(LIMIT_S), tls=True, proxied=True) as run:
        with stopped(run.process):
            run.send()
        out, err = run.process.communicate()
        assert (run.process.returncode, out, err) == (0, f"{LONG}\n".encode(), b"")


@pytest.mark.parametrize("limit", ["--timeout", "--deadline"])
@pytest.mark.parametrize("command", KINDS.values(), ids=KINDS)
def test_without_an_answer_the_limit_holds_after_a_stop(command: tuple[str, ...], limit: str) -> None:
    with held(command, limit, str(LIMIT_S), tls=False) as run:
        with stopped(run.process):
            pass
        _, err = run.process.communicate()
        assert run.process.returncode == 75, err


def test_an_answer_that_arrived_during_a_stop_in_the_grace_is_written() -> None:
    with held(KINDS["batch"], "--grace", str(LIMIT_S), tls=False) as run:
        run.process.send_signal(signal.SIGINT)
        with stopped(run.process):
            run.send()
        out, _ = run.process.communicate()
        assert (run.process.returncode, out) == (-signal.SIGINT, f"{LONG}\n".encode())


@pytest.mark.parametrize("command", KINDS.values(), ids=KINDS)
@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
def test_a_handshake_goes_on_after_a_stop(
    command: tuple[str, ...], version: ssl.TLSVersion, monkeypatch: pytest.MonkeyPatch
) -> None:
    accepted, let = threading.Event(), threading.Event()
    context = loopback.tls_contexts().server
    monkeypatch.setattr(context, "maximum_version", version)

    def talk() -> None:
        with contextlib.suppress(OSError):
            connection, _ = listener.accept()
            accepted.set()
            let.wait(PATIENCE_S)
            with context.wrap_socket(connection, server_side=True) as encrypted:
                encrypted.recv(65536)
                encrypted.sendall(reply(200, completion("hi"), {"connection": "close"}))
                encrypted.recv(65536)

    with socket.create_server(("127.0.0.1", 0)) as listener:
        thread = threading.Thread(target=talk, daemon=True)
        thread.start()
        url = f"https://127.0.0.1:{listener.getsockname()[1]}/v1"
        options = ("--base-url", url, "-m", "m", "--insecure", "-q", "--retries", "0")
        with start(*command, *options, "--connect-timeout", str(LIMIT_S), stdin=-1) as process:
            if command[0] == "batch":
                process.send(b"hi\n")
            process.hang_up()
            assert accepted.wait(PATIENCE_S)
            with stopped(process):
                let.set()
            out, err = process.communicate()
            assert (process.returncode, out, err) == (0, b"hi\n", b"")
        thread.join(30)
