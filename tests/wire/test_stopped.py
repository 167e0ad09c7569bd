"""A process that is stopped for longer than its limits: what arrived in the meantime is an answer.

A limit of LIMIT_S times the factor begins before the process is stopped, and must not have ended by then.
"""

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
from support.speed import at_any_speed

LIMIT_S = 0.5
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
def stopped(process: Process, limit_s: float) -> Iterator[None]:
    """Stop the process for the block, and for longer than limit_s. It sits in its wait by then."""
    process.settle()
    process.send_signal(signal.SIGSTOP)
    os.waitid(os.P_PID, process.pid, os.WSTOPPED | os.WNOWAIT)
    yield
    time.sleep(2 * limit_s)
    process.send_signal(signal.SIGCONT)


@pytest.mark.parametrize("tls", [False, True], ids=["http", "https"])
@pytest.mark.parametrize("limit", ["--timeout", "--deadline"])
@pytest.mark.parametrize("command", KINDS.values(), ids=KINDS)
@at_any_speed
def test_an_answer_that_arrived_during_a_stop_is_read(
    factor: int, command: tuple[str, ...], limit: str, tls: bool
) -> None:
    limit_s = LIMIT_S * factor
    with held(command, limit, str(limit_s), tls=tls) as run:
        with stopped(run.process, limit_s):
            run.send()
        out, err = run.process.communicate()
        assert (run.process.returncode, out, err) == (0, f"{LONG}\n".encode(), b"")
        assert len(run.server.requests) == 1


@pytest.mark.parametrize(("kind", "limit"), [("ask", "--deadline"), ("batch", "--timeout")])
@at_any_speed
def test_an_answer_that_arrived_during_a_stop_is_read_behind_a_proxy(
    factor: int, kind: str, limit: str
) -> None:
    limit_s = LIMIT_S * factor
    with held(KINDS[kind], limit, str(limit_s), tls=True, proxied=True) as run:
        with stopped(run.process, limit_s):
            run.send()
        out, err = run.process.communicate()
        assert (run.process.returncode, out, err) == (0, f"{LONG}\n".encode(), b"")


@pytest.mark.parametrize("limit", ["--timeout", "--deadline"])
@pytest.mark.parametrize("command", KINDS.values(), ids=KINDS)
@at_any_speed
def test_without_an_answer_the_limit_holds_after_a_stop(
    factor: int, command: tuple[str, ...], limit: str
) -> None:
    limit_s = LIMIT_S * factor
    with held(command, limit, str(limit_s), tls=False) as run:
        with stopped(run.process, limit_s):
            pass
        _, err = run.process.communicate()
        assert run.process.returncode == 75, err


@at_any_speed
def test_an_answer_that_arrived_during_a_stop_in_the_grace_is_written(factor: int) -> None:
    limit_s = LIMIT_S * factor
    with held(KINDS["batch"], "--grace", str(limit_s), tls=False) as run:
        run.process.send_signal(signal.SIGINT)
        with stopped(run.process, limit_s):
            run.send()
        out, _ = run.process.communicate()
        assert (run.process.returncode, out) == (-signal.SIGINT, f"{LONG}\n".encode())


@pytest.mark.parametrize("command", KINDS.values(), ids=KINDS)
@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
@at_any_speed
def test_a_handshake_goes_on_after_a_stop(
    factor: int, command: tuple[str, ...], version: ssl.TLSVersion, monkeypatch: pytest.MonkeyPatch
) -> None:
    limit_s = LIMIT_S * factor
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
        with start(*command, *options, "--connect-timeout", str(limit_s), stdin=-1) as process:
            if command[0] == "batch":
                process.send(b"hi\n")
            process.hang_up()
            assert accepted.wait(PATIENCE_S)
            with stopped(process, limit_s):
                let.set()
            out, err = process.communicate()
            assert (process.returncode, out, err) == (0, b"hi\n", b"")
        thread.join(30)
